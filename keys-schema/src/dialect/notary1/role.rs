//! Names of roles: `targets/releases` on the wire, `releases` in the model.
//!
//! A role that is called like a top-level one (somebody's user name may be `root`) keeps its
//! whole wire name in the model, where it then collides with nothing: no other model name
//! starts with `targets/`.

use crate::names::{DelegatedRoleName, RoleName};

/// What every delegated role starts with.
const PREFIX: &str = "targets/";
/// Longest name, in bytes.
const NAME_BYTES: usize = 255;

/// Reads a role name as Notary spells it. `None` for what no Notary server accepts: capitals,
/// dots, empty segments, 256 bytes or more, a delegated role outside of `targets/`.
#[must_use]
pub fn role_from_wire(wire: &str) -> Option<RoleName> {
    let Some(path) = wire.strip_prefix(PREFIX) else {
        return match wire {
            "root" => Some(RoleName::Root),
            "targets" => Some(RoleName::Targets),
            "snapshot" => Some(RoleName::Snapshot),
            "timestamp" => Some(RoleName::Timestamp),
            _ => None,
        };
    };
    let is_segment = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b))
    };
    if wire.len() > NAME_BYTES || !path.split('/').all(is_segment) {
        return None;
    }
    let model = if is_reserved(path) { wire } else { path };
    model.parse::<DelegatedRoleName>().ok().map(RoleName::Delegated)
}

/// The name as Notary spells it.
#[must_use]
pub fn role_to_wire(role: &RoleName) -> String {
    match role {
        RoleName::Delegated(name) if !name.as_str().starts_with(PREFIX) => format!("{PREFIX}{name}"),
        other => other.as_str().to_owned(),
    }
}

/// Whether `child` stands right below `parent`: nobody else can delegate to it.
#[must_use]
pub fn is_direct_child(parent: &RoleName, child: &DelegatedRoleName) -> bool {
    let child = role_to_wire(&RoleName::Delegated(child.clone()));
    let below = child.strip_prefix(&role_to_wire(parent)).and_then(|rest| rest.strip_prefix('/'));
    below.is_some_and(|segment| !segment.is_empty() && !segment.contains('/'))
}

fn is_reserved(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    matches!(first, "root" | "targets" | "snapshot" | "timestamp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back_and_never_meet() {
        let wires = [
            "root",
            "targets",
            "snapshot",
            "timestamp",
            "targets/releases",
            "targets/alice",
            "targets/a/b",
            "targets/root",
            "targets/targets",
            "targets/targets/root",
            "targets/root/a",
            "targets/a-b_c/0",
        ];
        let models: std::collections::BTreeSet<_> =
            wires.iter().map(|wire| role_from_wire(wire).unwrap_or_else(|| panic!("{wire}"))).collect();
        assert_eq!(models.len(), wires.len());
        for wire in wires {
            assert_eq!(role_to_wire(&role_from_wire(wire).unwrap()), wire);
        }
        assert_eq!(role_from_wire("targets/releases").unwrap().as_str(), "releases");
    }

    #[test]
    fn refuses_what_a_notary_server_refuses() {
        for bad in [
            "",
            "releases",
            "targets/",
            "targets//a",
            "targets/a/",
            "/targets",
            "targets/A",
            "targets/a.b",
            "targets/../root",
            "targets/.",
            "Root",
            "targets/a b",
            "targets/\u{e9}",
            &format!("targets/{}", "a".repeat(248)),
        ] {
            assert_eq!(role_from_wire(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_direct_children_can_be_delegated_to() {
        let role = |wire: &str| role_from_wire(wire).unwrap();
        let name = |wire: &str| match role(wire) {
            RoleName::Delegated(name) => name,
            _ => panic!("{wire}"),
        };
        assert!(is_direct_child(&RoleName::Targets, &name("targets/a")));
        assert!(is_direct_child(&RoleName::Targets, &name("targets/root")));
        assert!(is_direct_child(&role("targets/a"), &name("targets/a/b")));
        assert!(is_direct_child(&role("targets/targets"), &name("targets/targets/root")));
        assert!(!is_direct_child(&RoleName::Targets, &name("targets/a/b")));
        assert!(!is_direct_child(&role("targets/a"), &name("targets/ab")));
        assert!(!is_direct_child(&role("targets/a"), &name("targets/a")));
        assert!(!is_direct_child(&role("targets/a"), &name("targets/b/c")));
        assert!(!is_direct_child(&RoleName::Root, &name("targets/a")));
    }
}
