//! Root.

use crate::dialect::InvalidMetadata;
use crate::dialect::fields::Fields;
use crate::dialect::notary1::key::{read_role_keys, read_table, write_role_keys, write_table};
use crate::dialect::notary1::{list, read_header, write_header};
use crate::json::{Json, Object};
use crate::key::Certificate;
use crate::metadata::{RoleKeys, Root, TopLevelRole};

/// Where roles that no client knows are kept: the only uninterpreted content that Go keeps.
const ROLES: &str = "roles";

pub(crate) fn decode(signed: &Object) -> Result<Root, InvalidMetadata> {
    let mut fields = Fields::new(signed, "root")?;
    let header = read_header(&mut fields, "Root")?;
    let consistent_snapshot =
        fields.optional("consistent_snapshot", "true or false", Json::as_bool)?.unwrap_or(false);
    let keys =
        read_table(fields.need("keys", "an object", Some)?, "root.keys", Certificate::from_pem_bundle)?;
    let mut roles = Fields::of(fields.need(ROLES, "an object", Some)?, "root.roles")?;
    let root = read_role(&mut roles, "root")?;
    let targets = read_role(&mut roles, "targets")?;
    let snapshot = read_role(&mut roles, "snapshot")?;
    let timestamp = read_role(&mut roles, "timestamp")?;
    let others = roles.rest()?;
    for (name, role) in &others {
        read_other_role(role, format!("root.roles.{name}"))?;
    }
    let mut extra = fields.rest()?;
    if !others.is_empty() {
        extra.insert(ROLES.to_owned(), Json::Object(others));
    }
    Ok(Root {
        repository: None,
        version: header.version,
        expires: header.expires,
        consistent_snapshot,
        keys,
        root,
        targets,
        snapshot,
        timestamp,
        extra,
    })
}

pub(crate) fn encode(root: &Root) -> Object {
    let mut signed = write_header("Root", root.version, root.expires);
    signed.insert("consistent_snapshot".to_owned(), Json::Bool(root.consistent_snapshot));
    signed.insert("keys".to_owned(), write_table(&root.keys));
    let mut roles = root.extra.get(ROLES).and_then(Json::as_object).cloned().unwrap_or_default();
    for role in TopLevelRole::ALL {
        let mut object = Object::new();
        write_role_keys(&mut object, root.role(role));
        roles.insert(role.as_str().to_owned(), Json::Object(object));
    }
    signed.insert(ROLES.to_owned(), Json::Object(roles));
    signed
}

/// A role that no client knows, but that all of them decode: one that Go cannot read would
/// lock them out of the whole root, and of every later one.
fn read_other_role(role: &Json, at: String) -> Result<(), InvalidMetadata> {
    let mut role = Fields::of(role, at)?;
    let is_text = |items: &[Json]| items.iter().all(|item| item.as_str().is_some());
    role.optional("keyids", "an array of key ids", |ids| list(ids).filter(|ids| is_text(ids)).map(drop))?;
    role.optional("threshold", "a number", |v| v.as_u64().map(drop))?;
    role.rest().map(drop)
}

fn read_role(roles: &mut Fields<'_>, name: &'static str) -> Result<RoleKeys, InvalidMetadata> {
    let at = roles.path(name);
    let mut role = Fields::of(roles.need(name, "an object", Some)?, at)?;
    let keys = read_role_keys(&mut role)?;
    role.rest()?;
    Ok(keys)
}
