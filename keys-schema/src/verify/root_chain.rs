//! The chain of roots (TUF 1.0, 5.3).

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::dialect::Dialect;
use crate::key::Fingerprint;
use crate::limits;
use crate::metadata::{Root, Threshold, TopLevelRole, Version};
use crate::names::RepositoryName;
use crate::time::UtcTime;
use crate::verify::chain::TrustedRoot;
use crate::verify::verified::Holder;
use crate::verify::{Pin, RawMetadata, Verified, VerifyError};

/// A chain that starts at a pinned root and is extended link by link.
#[derive(Clone, Debug)]
pub struct RootChain {
    latest: Verified<Root>,
    /// Online keys of the root that the stored timestamp and snapshot were accepted under.
    stored_under: OnlineKeys,
    steps: usize,
    /// Whom the certificates of roots in Notary's dialect have to name.
    holder: Option<Holder>,
}

impl RootChain {
    /// Starts at the root that `pin` names. Its expiry is not looked at (C2).
    ///
    /// # Errors
    /// The bytes are no root, not the pinned one, or too few keys signed.
    pub fn start(dialect: Dialect, root: Bytes, pin: &Pin) -> Result<Self, RootError> {
        let latest = within_limit(root)
            .and_then(|bytes| Ok(RawMetadata::<Root>::new(dialect, bytes).verify_pinned(pin)?))?;
        Ok(Self::resume(latest))
    }

    /// Goes on from a root that was verified before.
    #[must_use]
    pub fn resume(latest: Verified<Root>) -> Self {
        Self { stored_under: OnlineKeys::of(latest.payload()), latest, steps: 0, holder: None }
    }

    /// Requires that the root, and every one after it, is made for `repository`. A root that
    /// names none passes only if `named` is false: a pin for many repositories says nothing
    /// else about which is which. In Notary's dialect the certificates name it, and for such a
    /// pin a certificate for many repositories is not enough.
    ///
    /// # Errors
    /// Made for another repository, or for none in particular where one must be named.
    pub fn require_repository(mut self, repository: &RepositoryName, named: bool) -> Result<Self, RootError> {
        if self.latest.dialect() == Dialect::Notary1 {
            let holder = Holder { repository: repository.clone(), exactly: named };
            self.latest.require_certificates(&holder, None)?;
            self.holder = Some(holder);
            return Ok(self);
        }
        match &self.latest.payload().repository {
            Some(found) if found == repository => Ok(self),
            None if !named => Ok(self),
            found => Err(VerifyError::OtherRepository { found: found.clone() }.into()),
        }
    }

    /// The newest root so far.
    #[must_use]
    pub const fn latest(&self) -> &Verified<Root> {
        &self.latest
    }

    /// The version to ask for next (C3); `None` once as many steps were taken as one run
    /// may take (infinite chain).
    #[must_use]
    pub fn wanted(&self) -> Option<Version> {
        if self.steps >= limits::ROOT_STEPS {
            return None;
        }
        self.latest.version().next()
    }

    /// Goes one step: a root signed by the old keys and its own (C4, C5), with the very next
    /// version (C7). Expiry of a link is not looked at (C8). On error the chain is unchanged.
    ///
    /// # Errors
    /// The bytes are no successor of the latest root.
    pub fn step(&mut self, root: Bytes) -> Result<(), RootError> {
        let wanted = self.wanted().ok_or(RootError::TooLong)?;
        let raw = RawMetadata::<Root>::new(self.latest.dialect(), within_limit(root)?);
        let new = raw.verify_successor(&self.latest)?;
        if new.version() != wanted {
            return Err(RootError::Version { wanted, found: new.version() });
        }
        if let Some(holder) = &self.holder {
            new.require_old_certificates(&self.latest, holder)?;
            new.require_certificates(holder, None)?;
        }
        self.latest = new;
        self.steps += 1;
        Ok(())
    }

    /// Says that all roots so far were stored by an earlier run. What was stored beside them
    /// was accepted under the latest of them, so a rotation of online keys is measured from
    /// here (C10), and the run may take as many steps again.
    pub fn mark_stored(&mut self) {
        self.stored_under = OnlineKeys::of(self.latest.payload());
        self.steps = 0;
    }

    /// Whether keys of timestamp or snapshot were rotated since the stored roots: what was
    /// stored of these roles is then deleted before the new root is stored, or a run that
    /// dies in between would forget that it was to be (C10).
    #[must_use]
    pub fn online_keys_rotated(&self) -> bool {
        OnlineKeys::of(self.latest.payload()) != self.stored_under
    }

    /// Ends the chain: the last root must not be expired (C9), and `now`, fixed once for the
    /// whole run (C1), must not be before `last_accepted`, the `now` of the last successful
    /// run (C30: a clock set back revives expired metadata). In Notary's dialect its
    /// certificates must be valid as well, for the repository of [`Self::require_repository`];
    /// those of earlier roots need not be any more.
    ///
    /// # Errors
    /// Expired, the clock went backwards, too few certificates are valid, or nobody said for
    /// which repository they must be.
    pub fn finish(self, now: UtcTime, last_accepted: Option<UtcTime>) -> Result<TrustedRoot, RootError> {
        self.end(now, Some(now), last_accepted)
    }

    /// Ends the chain for whoever writes the next root: one that is expired is succeeded like
    /// any other, as clients do not look at the expiry of a link (C8). Not for consumers.
    ///
    /// # Errors
    /// As for [`Self::finish`], but for expiry.
    pub fn finish_to_succeed(
        self,
        now: UtcTime,
        last_accepted: Option<UtcTime>,
    ) -> Result<TrustedRoot, RootError> {
        self.end(now, None, last_accepted)
    }

    /// Expiry and the life of certificates are looked at if `valid_at` is given.
    fn end(
        self,
        now: UtcTime,
        valid_at: Option<UtcTime>,
        last_accepted: Option<UtcTime>,
    ) -> Result<TrustedRoot, RootError> {
        if let Some(last_accepted) = last_accepted.filter(|last| now < *last) {
            return Err(RootError::ClockWentBack { now, last_accepted });
        }
        if valid_at.is_some_and(|at| self.latest.expires().is_over(at)) {
            return Err(RootError::Expired {
                version: self.latest.version(),
                expires: self.latest.expires(),
            });
        }
        match &self.holder {
            Some(holder) => self.latest.require_certificates(holder, valid_at)?,
            // Whoever forgot to ask for one would trust a root of any repository.
            None if self.latest.dialect() == Dialect::Notary1 => {
                return Err(VerifyError::OtherRepository { found: None }.into());
            }
            None => {}
        }
        Ok(self.finish_expired(now))
    }

    /// Ends the chain without looking at the root's expiry: for the server, which judges its
    /// own output while an expired root waits to be replaced.
    pub(super) fn finish_expired(self, now: UtcTime) -> TrustedRoot {
        let rotated = self.online_keys_rotated();
        TrustedRoot::new(self.latest, now, rotated)
    }
}

/// Why a chain of roots cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// The system clock is behind the last time metadata was accepted.
    #[error("the clock says {now}, but metadata was accepted at {last_accepted}")]
    ClockWentBack {
        /// The clock.
        now: UtcTime,
        /// When metadata was last accepted.
        last_accepted: UtcTime,
    },
    /// The newest root is expired.
    #[error("root version {version} expired at {expires}")]
    Expired {
        /// Its version.
        version: Version,
        /// When it expired.
        expires: UtcTime,
    },
    /// The document is larger than any client reads.
    #[error("root has {found} bytes, more than {} allowed", limits::ROOT_BYTES)]
    TooLarge {
        /// Its size in bytes.
        found: usize,
    },
    /// More successors than one run may follow.
    #[error("more than {} new roots in one run", limits::ROOT_STEPS)]
    TooLong,
    /// Not signed as it must be, or malformed.
    #[error("root: {0}")]
    Verify(#[from] VerifyError),
    /// Not the very next version.
    #[error("root has version {found}, expected {wanted}")]
    Version {
        /// The version after the latest.
        wanted: Version,
        /// The version found.
        found: Version,
    },
}

fn within_limit(bytes: Bytes) -> Result<Bytes, RootError> {
    if bytes.len() > limits::ROOT_BYTES {
        return Err(RootError::TooLarge { found: bytes.len() });
    }
    Ok(bytes)
}

/// Key material and thresholds of the roles that a server holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OnlineKeys([(BTreeSet<Fingerprint>, Threshold); 2]);

impl OnlineKeys {
    fn of(root: &Root) -> Self {
        Self([TopLevelRole::Snapshot, TopLevelRole::Timestamp].map(|role| {
            let keys = root.role(role);
            (keys.fingerprints(&root.keys), keys.threshold)
        }))
    }
}
