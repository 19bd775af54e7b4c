//! The role layout of an upload: what stands where, so that all clients see the same.

use crate::names::{RELEASES, RoleName};
use crate::verify::submission::{AcceptedUpdate, Rejection};

impl AcceptedUpdate {
    /// The rules of the role layout: see the module documentation of `submission`.
    pub(super) fn check_layout(&self) -> Result<(), Rejection> {
        for (name, document) in &self.delegated {
            for (path, info) in &document.payload().targets {
                let at_top = self.targets.payload().targets.get(path);
                if at_top.is_some_and(|top| !top.is_same(info)) {
                    let role = RoleName::Delegated(name.clone());
                    return Err(Rejection::SplitTarget { role, path: path.clone() });
                }
            }
        }
        let Some(releases) = self.delegated.iter().find(|(name, _)| name.as_str() == RELEASES) else {
            return Ok(());
        };
        let is_new = self.uploaded.contains(releases.0);
        for (path, info) in &releases.1.payload().targets {
            let vouched = path.parse().is_ok_and(|target| {
                self.delegated.iter().filter(|(name, _)| name.as_str() != RELEASES).any(|(name, signer)| {
                    // Whose time is over vouches for nothing new; what was released before stays.
                    let speaks = self.targets.payload().delegation(name).is_some_and(|role| {
                        role.scope.matches(&target) && !(is_new && role.is_over(self.now))
                    });
                    let listed = signer.payload().targets.get(path);
                    speaks && listed.is_some_and(|listed| listed.is_same(info))
                })
            });
            if !vouched {
                return Err(Rejection::Unvouched { path: path.clone() });
            }
        }
        Ok(())
    }
}
