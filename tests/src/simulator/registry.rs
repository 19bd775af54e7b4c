//! A registry that misbehaves when told to. It keeps everything for one repository, whatever its
//! name.

mod answers;
mod kept;
mod port;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bulla_keys_schema::digest::Sha256Digest;
use bytes::Bytes;

pub use self::kept::{Kept, NotTaken, OCI_INDEX, OCI_MANIFEST};
use super::wire::{Loopback, Reply, Request};

/// The repository that stands for all.
const ANY: &str = "";

/// A registry; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    kept: Kept,
    habits: Habits,
    fault: Option<RegistryFault>,
    /// Writes to come that will be done all the same.
    allowed_writes: usize,
    /// What the next write meets, and no other.
    next_fault: Option<RegistryFault>,
    /// Manifests that others push just before the next ones that clients push.
    rivals: Vec<(String, Bytes)>,
    /// The same, just after.
    overwriters: Vec<(String, Bytes)>,
    asked: Vec<String>,
    written: Vec<String>,
    /// What was sent as `Authorization`.
    logins: Vec<String>,
}

/// What kind of registry it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// It lists referrers, so many in each answer; none: it does not.
    pub referrers_at_once: Option<usize>,
    /// It knows versions and conditions.
    pub conditional: bool,
    /// Its lists never end.
    pub endless_lists: bool,
}

/// How it misbehaves.
#[derive(Clone, Debug)]
pub enum RegistryFault {
    /// Other bytes than asked for, under whatever name.
    Instead(Bytes),
    /// A `Docker-Content-Digest` that is not that of the bytes.
    Claims(Sha256Digest),
    /// A manifest that never ends.
    Endless,
    /// Another status.
    Status(u16),
    /// "Look elsewhere."
    Redirect(String),
    /// A token is wanted; the token server answers like this.
    Token(Reply),
    /// A byte every so often.
    Slow(Duration),
    /// The connection ends before any answer.
    Hangup,
    /// Half of every blob and manifest, then the end of the connection.
    Truncated,
    /// Another status for whoever asks for referrers.
    Referrers(u16),
    /// Another status for whoever writes.
    Writes(u16),
    /// A manifest is taken and thrown away.
    Forgets,
}

impl Registry {
    /// One with these habits.
    #[must_use]
    pub fn with(habits: Habits) -> Self {
        Self(Arc::new(Mutex::new(State { habits, ..State::default() })))
    }

    /// `tag` means `manifest` from now on; what it meant before stays under its digest.
    pub fn push(&self, tag: &str, manifest: &[u8]) -> Sha256Digest {
        self.state().kept.put(ANY, Some(tag), Bytes::copy_from_slice(manifest), OCI_MANIFEST)
    }

    /// What it keeps now.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.state().kept.clone()
    }

    /// Has `change` done to what it keeps.
    pub fn change(&self, change: impl FnOnce(&mut Kept)) {
        change(&mut self.state().kept);
    }

    /// Somebody else pushes `manifest` as `tag` just before the next manifest that a client
    /// pushes under that tag.
    pub fn rival(&self, tag: &str, manifest: impl Into<Bytes>) {
        self.state().rivals.push((tag.to_owned(), manifest.into()));
    }

    /// The same, just after it.
    pub fn overwrite_next(&self, tag: &str, manifest: impl Into<Bytes>) {
        self.state().overwriters.push((tag.to_owned(), manifest.into()));
    }

    /// What kind of registry it is.
    #[must_use]
    pub fn habits(&self) -> Habits {
        self.state().habits
    }

    /// Misbehaves from now on, or no more.
    pub fn spoil(&self, fault: Option<RegistryFault>) {
        self.spoil_after(0, fault);
    }

    /// The same, but the next `writes` writes are done.
    pub fn spoil_after(&self, writes: usize, fault: Option<RegistryFault>) {
        let mut state = self.state();
        (state.fault, state.allowed_writes) = (fault, writes);
    }

    /// The next write meets a fault, and no other does.
    pub fn spoil_once(&self, fault: RegistryFault) {
        self.state().next_fault = Some(fault);
    }

    /// Every tag or digest asked for since this was called last.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    /// Every tag or digest of a manifest that was pushed since this was called last.
    #[must_use]
    pub fn written(&self) -> Vec<String> {
        std::mem::take(&mut self.state().written)
    }

    /// Every login or token that was sent since this was called last.
    #[must_use]
    pub fn logins(&self) -> Vec<String> {
        std::mem::take(&mut self.state().logins)
    }

    /// The same registry over HTTP.
    #[must_use]
    pub fn over_http(&self) -> Loopback {
        let registry = self.clone();
        Loopback::serve(move |request: &Request| registry.reply(request))
    }

    fn ask(&self, reference: &str) -> (Option<Bytes>, Option<RegistryFault>) {
        let mut state = self.state();
        state.asked.push(reference.to_owned());
        (state.kept.manifest(ANY, reference).map(|(bytes, _)| bytes), state.fault.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics in here")
    }
}

impl State {
    /// The fault that a write meets, if it meets one.
    fn meet(&mut self) -> Option<RegistryFault> {
        if let Some(fault) = self.next_fault.take() {
            return Some(fault);
        }
        if self.allowed_writes > 0 {
            self.allowed_writes -= 1;
            return None;
        }
        self.fault.clone()
    }

    /// What others push just before.
    fn admit_rivals(&mut self, tag: &str) {
        Self::admit(&mut self.rivals, &mut self.kept, tag);
    }

    /// What others push just after.
    fn admit_overwriters(&mut self, tag: &str) {
        Self::admit(&mut self.overwriters, &mut self.kept, tag);
    }

    fn admit(rivals: &mut Vec<(String, Bytes)>, kept: &mut Kept, tag: &str) {
        if let Some(at) = rivals.iter().position(|(name, _)| name == tag) {
            let (tag, manifest) = rivals.remove(at);
            kept.put(ANY, Some(&tag), manifest, OCI_MANIFEST);
        }
    }
}
