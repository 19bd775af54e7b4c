//! The deny list in uploads: nobody lists a denied digest anew, and nobody but the keys of the
//! list takes a digest off it.

use crate::dialect::Dialect;
use crate::metadata::{DenyList, Targets};
use crate::names::{DelegatedRoleName, REVOCATIONS};
use crate::verify::Verified;
use crate::verify::submission::{AcceptedUpdate, CurrentState, Rejection};

impl CurrentState {
    /// The document of `revocations`, in a repository that has one. Notary's know no such role.
    #[must_use]
    pub fn revocations(&self) -> Option<&Verified<Targets>> {
        let is_reserved = self.root().dialect() == Dialect::Tuf1;
        self.delegated().get(&DelegatedRoleName::revocations()).filter(|_| is_reserved)
    }
}

impl AcceptedUpdate {
    /// The rules of the deny list. A document that nobody uploads anew may go on to list a
    /// denied digest, or it could be denied only where all keys are at once.
    pub(super) fn check_denials(&self) -> Result<(), Rejection> {
        self.check_dropped()?;
        let Some(list) = self.delegated.get(&DelegatedRoleName::revocations()) else { return Ok(()) };
        let list = DenyList::new(list.payload());
        for (role, document) in self.changed_targets().filter(|(role, _)| role.as_str() != REVOCATIONS) {
            for (path, info) in &document.payload().targets {
                if let Some(denial) = list.find(&info.hashes) {
                    let (path, digest) = (path.clone(), denial.digest);
                    return Err(Rejection::DeniedDigest { role, path, digest });
                }
            }
        }
        Ok(())
    }

    /// What was denied stays denied, unless the keys that the list had so far say otherwise. The
    /// targets keys delegate to the role: without this they could let it go, or give it other
    /// keys and an empty list, in one upload that looks like any other.
    fn check_dropped(&self) -> Result<(), Rejection> {
        let name = DelegatedRoleName::revocations();
        let Some((before, old)) =
            self.before.as_ref().and_then(|before| Some((before, before.revocations()?)))
        else {
            return Ok(());
        };
        let old_list = DenyList::new(old.payload());
        let new = self.delegated.get(&name);
        let missing = match new {
            Some(new) => DenyList::new(new.payload()).missing(old_list),
            None => old.payload().targets.keys().next().cloned(),
        };
        let Some(missing) = missing else { return Ok(()) };
        let targets = before.targets().payload();
        let holders = targets.delegation(&name).zip(targets.delegations.as_ref());
        let agrees = new
            .zip(holders)
            .is_some_and(|(new, (role, delegations))| new.reverify(&role.keys, &delegations.keys).is_ok());
        if agrees { Ok(()) } else { Err(Rejection::DenialDropped { name: missing }) }
    }
}
