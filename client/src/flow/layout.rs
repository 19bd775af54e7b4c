//! Where tags stand: in `targets` while a repository has no signer, in `releases` and in the
//! role of a signer after that.

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::metadata::{Children, DelegatedRole, Delegations, KeyTable, RoleKeys, Scope, Targets};
use bulla_keys_schema::names::{DelegatedRoleName, RELEASES, REVOCATIONS, TargetPath};
use bulla_keys_schema::policy::is_for_policies;

/// What the top-level targets of a repository say about signers.
#[derive(Clone, Copy, Debug)]
pub enum Layout<'a> {
    /// No signer of tags: they stand in `targets`.
    Alone,
    /// Tags stand in `releases`, and in the role of whoever vouches for them.
    Signers(Signers<'a>),
}

/// The delegations of a repository with signers.
#[derive(Clone, Copy, Debug)]
pub struct Signers<'a> {
    delegations: &'a Delegations,
    roles: &'a [DelegatedRole],
}

impl<'a> Layout<'a> {
    /// Reads the layout; `None` where names are spread over hash bins, which Bulla does not
    /// write and where no signer has a name.
    #[must_use]
    pub fn of(targets: &'a Targets) -> Option<Self> {
        let Some(delegations) = &targets.delegations else { return Some(Self::Alone) };
        match &delegations.children {
            Children::Roles(roles) if roles.iter().all(is_beside) => Some(Self::Alone),
            Children::Roles(roles) => Some(Self::Signers(Signers { delegations, roles })),
            Children::Succinct(_) => None,
        }
    }
}

impl<'a> Signers<'a> {
    /// The roles that `targets` delegates to by name, if there are any: also where
    /// [`Layout::of`] sees no signer, because only the deny list is delegated.
    #[must_use]
    pub fn of(targets: &'a Targets) -> Option<Self> {
        let delegations = targets.delegations.as_ref()?;
        match &delegations.children {
            Children::Roles(roles) => Some(Self { delegations, roles }),
            Children::Succinct(_) => None,
        }
    }

    /// Every role, `releases` and `revocations` included, in the order of the delegations.
    #[must_use]
    pub const fn roles(&self) -> &'a [DelegatedRole] {
        self.roles
    }

    /// The role that lists every released tag, if there is one.
    #[must_use]
    pub fn releases(&self) -> Option<&'a DelegatedRole> {
        self.roles.iter().find(|role| role.name.as_str() == RELEASES)
    }

    /// Every signer, of tags or of attestations, in the order of the delegations.
    pub fn all(&self) -> impl Iterator<Item = &'a DelegatedRole> + use<'a> {
        self.roles.iter().filter(|role| !matches!(role.name.as_str(), RELEASES | REVOCATIONS))
    }

    /// Every signer who may sign tags, in the order of the delegations.
    pub fn of_tags(&self) -> impl Iterator<Item = &'a DelegatedRole> + use<'a> {
        self.all().filter(|role| signs_tags(role))
    }

    /// The signers who may speak for `path`.
    pub fn for_path<'p>(
        &self,
        path: &'p TargetPath,
    ) -> impl Iterator<Item = &'a DelegatedRole> + use<'a, 'p> {
        self.all().filter(|role| role.scope.matches(path))
    }

    /// The keys of all roles.
    #[must_use]
    pub const fn table(&self) -> &'a KeyTable {
        &self.delegations.keys
    }
}

/// Whether some tag is in the scope of `role`. No tag holds a slash, so whoever may only speak for names
/// with one is an attester, and never asked about tags.
#[must_use]
pub fn signs_tags(role: &DelegatedRole) -> bool {
    reaches_tags(&role.scope)
}

/// The same for a scope that is not delegated yet.
#[must_use]
pub fn reaches_tags(scope: &Scope) -> bool {
    match scope {
        Scope::HashPrefixes(_) => true,
        Scope::Paths(patterns) => patterns.iter().any(|pattern| !pattern.as_str().contains('/')),
        Scope::Prefixes(prefixes) => prefixes.iter().any(|prefix| !prefix.contains('/')),
    }
}

/// Whether some attestation can be in the scope of `role`. Who speaks for policies alone attests nothing.
#[must_use]
pub fn attests(role: &DelegatedRole) -> bool {
    match &role.scope {
        scope if is_for_policies(scope) => false,
        Scope::HashPrefixes(_) | Scope::Prefixes(_) => true,
        Scope::Paths(patterns) => patterns.iter().any(|pattern| pattern.as_str().contains('/')),
    }
}

fn is_beside(role: &DelegatedRole) -> bool {
    role.name.as_str() == REVOCATIONS || !signs_tags(role)
}

/// Who signs the deny list, if `targets` delegates to it. Notary's repositories have none.
#[must_use]
pub fn revocations(dialect: Dialect, targets: &Targets) -> Option<(&DelegatedRole, Authority)> {
    let role = targets.delegation(&DelegatedRoleName::revocations()).filter(|_| dialect == Dialect::Tuf1)?;
    let table = targets.delegations.as_ref()?.keys.clone();
    Some((role, Authority { keys: role.keys.clone(), table }))
}

/// Which keys sign a document, and where they are listed.
#[derive(Clone, Debug)]
pub struct Authority {
    /// The ids and the threshold.
    pub keys: RoleKeys,
    /// The keys behind the ids.
    pub table: KeyTable,
}

#[cfg(test)]
mod tests {
    use bulla_keys_schema::metadata::Threshold;

    use super::*;

    fn role(pattern: &str) -> DelegatedRole {
        DelegatedRole {
            name: "somebody".parse().unwrap(),
            keys: RoleKeys { key_ids: vec![], threshold: Threshold::ONE },
            terminating: false,
            scope: Scope::Paths(vec![pattern.parse().unwrap()]),
            ends: None,
            extra: Default::default(),
        }
    }

    #[test]
    fn a_role_has_one_task() {
        for (pattern, tags, attestations) in [
            ("*", true, false),
            ("v*", true, false),
            ("att/**", false, true),
            ("policy/*", false, false),
            ("*/*", false, true),
        ] {
            let role = role(pattern);
            assert_eq!((signs_tags(&role), attests(&role)), (tags, attestations), "{pattern}");
        }
    }
}
