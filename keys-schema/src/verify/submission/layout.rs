//! The role layout of an upload: what stands where, so that all clients see the same.

use crate::metadata::TargetInfo;
use crate::names::{RELEASES, RoleName};
use crate::verify::submission::{AcceptedUpdate, Rejection};

impl AcceptedUpdate {
    /// The rules of the role layout: see the module documentation of `submission`.
    pub(super) fn check_layout(&self) -> Result<(), Rejection> {
        for (name, document) in &self.delegated {
            for (path, info) in &document.payload().targets {
                let at_top = self.targets.payload().targets.get(path);
                if at_top.is_some_and(|top| !is_same(top, info)) {
                    let role = RoleName::Delegated(name.clone());
                    return Err(Rejection::SplitTarget { role, path: path.clone() });
                }
            }
        }
        let Some(releases) = self.delegated.iter().find(|(name, _)| name.as_str() == RELEASES) else {
            return Ok(());
        };
        for (path, info) in &releases.1.payload().targets {
            let vouched = path.parse().is_ok_and(|target| {
                self.delegated.iter().filter(|(name, _)| name.as_str() != RELEASES).any(|(name, signer)| {
                    let speaks =
                        self.targets.payload().delegation(name).is_some_and(|d| d.scope.matches(&target));
                    let listed = signer.payload().targets.get(path);
                    speaks && listed.is_some_and(|listed| is_same(listed, info))
                })
            });
            if !vouched {
                return Err(Rejection::Unvouched { path: path.clone() });
            }
        }
        Ok(())
    }
}

/// Whether two roles mean the same bytes.
fn is_same(one: &TargetInfo, other: &TargetInfo) -> bool {
    one.hashes == other.hashes && one.length == other.length
}
