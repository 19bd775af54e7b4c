//! Who vouches for what in a repository whose top level is trusted.

use std::collections::BTreeSet;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::{Hashes, Sha256Digest};
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::limits;
use bulla_keys_schema::metadata::{Children, DelegatedRole, DenyList, Root, TargetInfo, Targets};
use bulla_keys_schema::names::{RELEASES, REVOCATIONS, RepositoryName, RoleName, Tag, TargetPath};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{ChainError, TrustedTargets, Verified, Walk};

use crate::flow::layout::{self, Layout, Signers};
use crate::flow::refresh::{RefreshError, Session};
use crate::flow::sign::role_name;
use crate::flow::verify::{KeyHolder, Refusal, Trusted, VerifyError, Voucher};

/// A repository whose root, timestamp, snapshot and targets are trusted and unexpired.
pub struct Repository<'a> {
    session: Session<'a>,
    name: RepositoryName,
    top: TrustedTargets,
    /// The deny list, where there is one: without it nothing is trusted.
    denied: Option<Verified<Targets>>,
}

/// What a role says, under the role's name.
type Saying = (RoleName, Verified<Targets>);

impl<'a> Repository<'a> {
    /// Gets and judges the top-level targets, and the deny list that outranks all others.
    ///
    /// # Errors
    /// One of them cannot be had, or cannot be trusted: withheld, expired or rolled back.
    pub async fn open(session: Session<'a>, name: &RepositoryName) -> Result<Self, RefreshError> {
        let snapshot = session.snapshot();
        let bytes = session.fetch(&RoleName::Targets, snapshot.wanted()?).await?;
        let top = snapshot.clone().targets(bytes)?;
        session.keep(&RoleName::Targets, top.targets().bytes())?;
        let mut repository = Self { session, name: name.clone(), top, denied: None };
        let targets = repository.top.targets().payload();
        if let Some((role, _)) = layout::revocations(repository.top.root().dialect(), targets) {
            repository.denied = Some(repository.role(role).await?);
        }
        Ok(repository)
    }

    /// Refuses what is on the deny list, whoever signed it since.
    ///
    /// # Errors
    /// It is.
    pub fn require_not_denied(&self, hashes: &Hashes) -> Result<(), Refusal> {
        let list = self.denied.as_ref().map(|document| DenyList::new(document.payload()));
        match list.and_then(|list| list.find(hashes)) {
            None => Ok(()),
            Some(denial) => Err(Refusal::Denied {
                repository: self.name.clone(),
                by: self.holders(&denial.revoked_by),
                denial: Box::new(denial),
            }),
        }
    }

    /// Notes that everything was accepted.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn finish(&self) -> Result<(), RefreshError> {
        self.session.finish()
    }

    /// The session that this repository was opened with.
    #[must_use]
    pub const fn session(&self) -> &Session<'a> {
        &self.session
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// The top-level targets.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        self.top.targets().payload()
    }

    /// The search for any target, as every client of TUF makes it.
    pub(super) fn search(&self, path: TargetPath) -> Walk<'_> {
        Walk::new(&self.top, path)
    }

    /// Whether a role that `targets` delegates to has said anything yet.
    pub(super) fn has_document(&self, role: &DelegatedRole) -> bool {
        self.top.wanted(&role.name).is_ok()
    }

    /// The signers who list `tag` like this now, released or not; none is no error.
    ///
    /// # Errors
    /// A role cannot be had or trusted.
    pub async fn who_lists(&self, tag: &Tag, info: &TargetInfo) -> Result<Vec<Voucher>, VerifyError> {
        let Layout::Signers(signers) = self.layout()? else { return Ok(vec![]) };
        match self.vouchers(tag, info, &signers).await {
            Err(VerifyError::Refused(_))
            | Err(VerifyError::Refresh(RefreshError::Chain(
                ChainError::Expired { .. } | ChainError::Ended { .. },
            ))) => Ok(vec![]),
            vouchers => vouchers,
        }
    }

    /// Until when what stands above the signers can be used, without `releases`.
    #[must_use]
    pub fn listed_until(&self) -> UtcTime {
        let until = self.top.valid_until();
        self.denied.as_ref().map_or(until, |document| document.expires().min(until))
    }

    /// What `tag` means. With signers, `releases` says it, and a signer who may speak for
    /// the tag has to say the same.
    ///
    /// # Errors
    /// A refusal, or a role that cannot be trusted.
    pub async fn tag(&self, tag: &Tag) -> Result<Trusted, VerifyError> {
        let path = tag.target_path();
        let top = (RoleName::Targets, self.top.targets().clone());
        let Layout::Signers(signers) = self.layout()? else {
            let info = find(&top.1, &path).ok_or_else(|| self.absent(tag, std::slice::from_ref(&top)))?;
            let until = self.top.valid_until();
            return self.trusted(tag, &info, vec![voucher(&top, Some(&info))], until, until);
        };
        let Some(releases) = self.releases(&signers).await? else {
            return Err(self.not_released(tag, &signers, &[top]).into());
        };
        let listed = find(&releases.1, &path);
        // A tag in `targets` would come first for every other client of a repository in TUF's
        // dialect. Notary's ask `releases` first, and leave old tags in `targets`.
        let contradicts = find(&top.1, &path).is_some_and(|other| Some(&other) != listed.as_ref());
        if contradicts && !self.is_legacy() {
            return Err(self.bad_layout().into());
        }
        let info = listed.ok_or_else(|| self.not_released(tag, &signers, &[releases.clone(), top]))?;
        self.require_not_denied(&info.hashes)?;
        let vouchers = self.vouchers(tag, &info, &signers).await?;
        // One signer is enough, so the one that lasts longest counts.
        let listed_until = self.top.valid_until().min(releases.1.expires());
        let vouched_until = vouchers.iter().map(|voucher| voucher.expires).max();
        let valid_until = vouched_until.map_or(listed_until, |until| until.min(listed_until));
        let signed_by = [voucher(&releases, None)].into_iter().chain(vouchers).collect();
        self.trusted(tag, &info, signed_by, valid_until, listed_until)
    }

    /// The first tag that means `digest`, vouched for as [`Self::tag`] demands.
    ///
    /// # Errors
    /// No tag does; then the reason of the last one that seemed to, if any.
    pub async fn digest(&self, digest: Sha256Digest) -> Result<Trusted, VerifyError> {
        let (role, listing) = match self.layout()? {
            Layout::Alone => (RoleName::Targets, self.top.targets().clone()),
            Layout::Signers(signers) => match self.releases(&signers).await? {
                Some(releases) => releases,
                None => return Err(self.digest_not_signed(digest).into()),
            },
        };
        self.require_not_denied(&Hashes::sha256(digest))?;
        let mut refused = None;
        for (path, info) in &listing.payload().targets {
            let Some(tag) = path.parse::<Tag>().ok().filter(|_| info.hashes.as_sha256() == Some(digest))
            else {
                continue;
            };
            match self.tag(&tag).await {
                Ok(trusted) => return Ok(trusted),
                Err(error) => refused = Some(error),
            }
        }
        let mut tombstones =
            listing.payload().revoked.iter().filter(|(_, tombstone)| tombstone.digest == digest);
        if let (None, Some((path, tombstone))) = (&refused, tombstones.next())
            && let Ok(tag) = path.as_str().parse()
        {
            let repository = self.name.clone();
            let by = self.holders(&tombstone.revoked_by);
            let tombstone = Box::new(tombstone.clone());
            return Err(Refusal::Revoked { repository, tag, role, tombstone, by }.into());
        }
        Err(refused.unwrap_or_else(|| self.digest_not_signed(digest).into()))
    }

    fn layout(&self) -> Result<Layout<'_>, Refusal> {
        Layout::of(self.top.targets().payload()).ok_or_else(|| self.bad_layout())
    }

    /// The document that lists every released tag. `None` while nothing was released, which
    /// only Notary's dialect allows.
    async fn releases(&self, signers: &Signers<'_>) -> Result<Option<Saying>, VerifyError> {
        match signers.releases() {
            Some(role) if !self.is_legacy() || self.top.wanted(&role.name).is_ok() => {
                Ok(Some((role_name(role), self.role(role).await?)))
            }
            None if !self.is_legacy() => Err(self.bad_layout().into()),
            _ => Ok(None),
        }
    }

    fn is_legacy(&self) -> bool {
        self.top.root().dialect() == Dialect::Notary1
    }

    pub(super) async fn role(&self, role: &DelegatedRole) -> Result<Verified<Targets>, RefreshError> {
        let name = role_name(role);
        let bytes = self.session.fetch(&name, self.top.wanted(&role.name)?).await?;
        let document = self.top.delegated(&role.name, bytes)?;
        self.session.keep(&name, document.bytes())?;
        Ok(document)
    }

    /// Every signer who may speak for the tag and lists it like `info`. An expired role, or one
    /// whose right to sign is over, vouches for nothing; any other role that cannot be trusted ends the search (C26).
    async fn vouchers(
        &self,
        tag: &Tag,
        info: &TargetInfo,
        signers: &Signers<'_>,
    ) -> Result<Vec<Voucher>, VerifyError> {
        let path = tag.target_path();
        let (mut vouchers, mut revoked, mut expired, mut asked) = (vec![], None, None, vec![]);
        for role in signers.for_path(&path).take(limits::VISITED_ROLES) {
            asked.push(role_name(role));
            if self.top.wanted(&role.name).is_err() {
                // Who has not signed yet vouches for nothing.
                continue;
            }
            let signer = match self.role(role).await {
                Err(RefreshError::Chain(error @ (ChainError::Expired { .. } | ChainError::Ended { .. }))) => {
                    expired = expired.or(Some(error));
                    continue;
                }
                signer => (role_name(role), signer?),
            };
            if let Some(own) = find(&signer.1, &path).filter(|own| own.is_same(info)) {
                vouchers.push(voucher(&signer, Some(&own)));
            }
            revoked = revoked.or_else(|| self.revoked(tag, &signer));
        }
        if !vouchers.is_empty() {
            return Ok(vouchers);
        }
        Err(match (revoked, expired) {
            (Some(refusal), _) => refusal.into(),
            (None, Some(error)) => RefreshError::Chain(error).into(),
            (None, None) => {
                Refusal::NotVouched { repository: self.name.clone(), tag: tag.clone(), asked }.into()
            }
        })
    }

    fn trusted(
        &self,
        tag: &Tag,
        info: &TargetInfo,
        signed_by: Vec<Voucher>,
        valid_until: UtcTime,
        listed_until: UtcTime,
    ) -> Result<Trusted, VerifyError> {
        let Some(digest) = info.hashes.as_sha256() else { return Err(self.bad_layout().into()) };
        self.require_not_denied(&info.hashes)?;
        let bound =
            |until: UtcTime| self.denied.as_ref().map_or(until, |document| document.expires().min(until));
        Ok(Trusted {
            repository: self.name.clone(),
            tag: tag.clone(),
            digest,
            size: info.length,
            signed_by,
            valid_until: bound(valid_until),
            listed_until: bound(listed_until),
            offline: self.session.offline().map(ToString::to_string),
        })
    }

    /// What is wrong with a tag that `releases` does not list. Where `targets` lists it all the
    /// same, no signer ever took over what the repository key had signed.
    fn not_released(&self, tag: &Tag, signers: &Signers<'_>, sayings: &[Saying]) -> Refusal {
        let path = tag.target_path();
        if sayings.iter().all(|saying| find(&saying.1, &path).is_none()) {
            return self.absent(tag, sayings);
        }
        let asked = signers.for_path(&path).take(limits::VISITED_ROLES).map(role_name).collect();
        Refusal::NotVouched { repository: self.name.clone(), tag: tag.clone(), asked }
    }

    /// Revoked if one of the roles says so, else never signed, as far as anybody can tell.
    fn absent(&self, tag: &Tag, sayings: &[Saying]) -> Refusal {
        let revoked = sayings.iter().find_map(|saying| self.revoked(tag, saying));
        revoked.unwrap_or_else(|| Refusal::NotSigned {
            repository: self.name.clone(),
            tag: tag.clone(),
            is_certain: !self.is_legacy(),
        })
    }

    fn digest_not_signed(&self, digest: Sha256Digest) -> Refusal {
        Refusal::DigestNotSigned { repository: self.name.clone(), digest }
    }

    fn revoked(&self, tag: &Tag, (role, document): &Saying) -> Option<Refusal> {
        let tombstone = Box::new(document.payload().revoked.get(&tag.target_path())?.clone());
        Some(Refusal::Revoked {
            repository: self.name.clone(),
            tag: tag.clone(),
            role: role.clone(),
            by: self.holders(&tombstone.revoked_by),
            tombstone,
        })
    }

    fn holders(&self, keys: &BTreeSet<Fingerprint>) -> Vec<KeyHolder> {
        holders(self.top.root().payload(), self.top.targets().payload(), keys)
    }

    fn bad_layout(&self) -> Refusal {
        Refusal::Layout { repository: self.name.clone() }
    }
}

/// Who holds each of `keys`: the roles of root, the signers and `revocations` that list it.
/// `releases` lists everybody's.
#[must_use]
pub fn holders(root: &Root, targets: &Targets, keys: &BTreeSet<Fingerprint>) -> Vec<KeyHolder> {
    let top = [(RoleName::Root, &root.root), (RoleName::Targets, &root.targets)];
    let top = top.map(|(name, role)| (name, role.fingerprints(&root.keys)));
    let delegated = targets.delegations.iter().flat_map(|delegations| {
        let roles: &[DelegatedRole] = match &delegations.children {
            Children::Roles(roles) => roles,
            Children::Succinct(_) => &[],
        };
        let named = roles.iter().filter(|role| role.name.as_str() != RELEASES);
        named.map(|role| (role_name(role), role.keys.fingerprints(&delegations.keys)))
    });
    let roles: Vec<_> = top.into_iter().chain(delegated).collect();
    let holder = |key: &Fingerprint| {
        let listing = roles.iter().filter(|(_, listed)| listed.contains(key));
        let mut names: Vec<RoleName> = listing.map(|(name, _)| name.clone()).collect();
        // The deny list is usually kept by holders of other roles, which say more.
        if names.len() > 1 {
            names.retain(|name| name.as_str() != REVOCATIONS);
        }
        KeyHolder { key: *key, roles: names }
    };
    keys.iter().map(holder).collect()
}

fn find(document: &Verified<Targets>, path: &TargetPath) -> Option<TargetInfo> {
    document.payload().targets.get(path.as_str()).cloned()
}

/// `entry` is what the role itself says of the tag, if it is a signer's.
fn voucher((role, document): &Saying, entry: Option<&TargetInfo>) -> Voucher {
    Voucher {
        role: role.clone(),
        keys: document.signed_by().clone(),
        expires: document.expires(),
        signed_at: entry.and_then(TargetInfo::signed_at),
        facts: entry.and_then(TargetInfo::facts),
    }
}
