//! Root (TUF 1.0, 4.3).

use crate::dialect::InvalidMetadata;
use crate::dialect::fields::Fields;
use crate::dialect::tuf1::key::{read_role_keys, read_table, write_role_keys, write_table};
use crate::dialect::tuf1::{read_header, read_repository, write_header, write_repository};
use crate::json::{Json, Object};
use crate::metadata::{RoleKeys, Root, TopLevelRole};

pub(crate) fn decode(signed: &Object) -> Result<Root, InvalidMetadata> {
    let mut fields = Fields::new(signed, "root")?;
    let header = read_header(&mut fields, "root")?;
    // The specification makes the member optional; absent means old-style names.
    let consistent_snapshot =
        fields.optional("consistent_snapshot", "true or false", Json::as_bool)?.unwrap_or(false);
    let keys = read_table(&mut fields)?;
    let mut roles = Fields::of(fields.need("roles", "an object", Some)?, "root.roles")?;
    let root = read_role(&mut roles, "root")?;
    let targets = read_role(&mut roles, "targets")?;
    let snapshot = read_role(&mut roles, "snapshot")?;
    let timestamp = read_role(&mut roles, "timestamp")?;
    // `mirrors` was a role of early drafts; nothing else may claim to be one.
    if let Some(name) = roles.rest()?.into_keys().find(|name| name != "mirrors") {
        return Err(InvalidMetadata::Member { at: format!("root.roles.{name}"), expected: "absent" });
    }
    Ok(Root {
        repository: read_repository(&mut fields)?,
        version: header.version,
        expires: header.expires,
        consistent_snapshot,
        keys,
        root,
        targets,
        snapshot,
        timestamp,
        extra: fields.rest()?,
    })
}

pub(crate) fn encode(root: &Root) -> Object {
    let mut signed = root.extra.clone();
    write_header(&mut signed, "root", root.version, root.expires);
    write_repository(&mut signed, root.repository.as_ref());
    signed.insert("consistent_snapshot".to_owned(), Json::Bool(root.consistent_snapshot));
    signed.insert("keys".to_owned(), write_table(&root.keys));
    let roles = TopLevelRole::ALL.into_iter().map(|role| {
        let mut object = Object::new();
        write_role_keys(&mut object, root.role(role));
        (role.as_str().to_owned(), Json::Object(object))
    });
    signed.insert("roles".to_owned(), Json::Object(roles.collect()));
    signed
}

fn read_role(roles: &mut Fields<'_>, name: &'static str) -> Result<RoleKeys, InvalidMetadata> {
    let at = roles.path(name);
    let mut role = Fields::of(roles.need(name, "an object", Some)?, at)?;
    let keys = read_role_keys(&mut role)?;
    role.rest()?;
    Ok(keys)
}
