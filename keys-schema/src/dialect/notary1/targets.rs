//! Targets and delegations.

use crate::dialect::InvalidMetadata;
use crate::dialect::fields::{At, Fields, refuse_case_variants};
use crate::dialect::listed::{Reader, read_targets, take_custom, take_targets};
use crate::dialect::notary1::key::{read_role_keys, read_table, write_role_keys, write_table};
use crate::dialect::notary1::meta::{read_hashes, read_sha256, write_hashes};
use crate::dialect::notary1::{integer, list, read_header, role_from_wire, role_to_wire, write_header};
use crate::json::{Json, Object};
use crate::key::Certificate;
use crate::limits;
use crate::metadata::{Children, DelegatedRole, Delegations, Scope, TargetInfo, Targets};
use crate::names::{DelegatedRoleName, RoleName};

pub(in crate::dialect) const READER: Reader = Reader { target: read_target, sha256: read_sha256 };

pub(crate) fn decode(signed: &mut Object) -> Result<Targets, InvalidMetadata> {
    let listed = take_targets(signed);
    let mut fields = Fields::new(signed, "targets")?;
    let header = read_header(&mut fields, "Targets")?;
    fields.need("targets", "an object", Json::as_object)?;
    let targets = read_targets(listed, READER)?;
    let delegations = match fields.take("delegations") {
        Some(value) => read_delegations(value)?,
        None => None,
    };
    Ok(Targets {
        repository: None,
        role: None,
        version: header.version,
        expires: header.expires,
        targets,
        delegations,
        revoked: std::collections::BTreeMap::new(),
        extra: fields.rest()?,
    })
}

pub(crate) fn encode(targets: &Targets) -> Object {
    let mut signed = write_header("Targets", targets.version, targets.expires);
    let listed = targets.targets.iter().map(|(name, info)| (name.clone(), write_target(info)));
    signed.insert("targets".to_owned(), Json::Object(listed.collect()));
    signed.insert("delegations".to_owned(), write_delegations(targets.delegations.as_ref()));
    signed
}

fn read_target(mut value: Json, at: At<'_>) -> Result<TargetInfo, InvalidMetadata> {
    let custom = take_custom(&mut value);
    let mut fields = Fields::of(&value, at)?;
    let length = fields.need("length", "a number", Json::as_u64)?;
    let hashes = read_hashes(fields.need("hashes", "an object", Some)?, &fields.at("hashes"))?;
    fields.take("custom");
    if let Some(custom) = &custom {
        refuse_case_variants(custom, &fields.path("custom"))?;
    }
    fields.rest()?;
    Ok(TargetInfo { length, hashes, custom })
}

fn write_target(info: &TargetInfo) -> Json {
    let mut object = Object::from([
        ("hashes".to_owned(), write_hashes(&info.hashes)),
        ("length".to_owned(), integer(info.length)),
    ]);
    if let Some(custom) = &info.custom {
        object.insert("custom".to_owned(), custom.clone());
    }
    Json::Object(object)
}

/// No delegations and an empty list of them mean the same.
fn read_delegations(value: &Json) -> Result<Option<Delegations>, InvalidMetadata> {
    let at = "targets.delegations";
    let mut fields = Fields::of(value, at)?;
    let listed = fields.need("keys", "an object", Some)?;
    let keys = read_table(listed, "targets.delegations.keys", Certificate::from_delegation_pem)?;
    let listed = fields.need("roles", "an array", list)?;
    if listed.len() > limits::DELEGATIONS {
        return Err(InvalidMetadata::TooMany { at: fields.path("roles") });
    }
    let roles = listed.iter().map(read_role).collect::<Result<Vec<_>, _>>()?;
    let names: std::collections::BTreeSet<_> = roles.iter().map(|role| &role.name).collect();
    if names.len() != roles.len() {
        return Err(fields.wrong("roles", "an array of roles, each once"));
    }
    fields.rest()?;
    if roles.is_empty() && keys.is_empty() {
        return Ok(None);
    }
    Ok(Some(Delegations { keys, children: Children::Roles(roles), extra: Object::new() }))
}

fn write_delegations(delegations: Option<&Delegations>) -> Json {
    let (keys, roles) = match delegations {
        Some(Delegations { keys, children: Children::Roles(roles), .. }) => {
            (write_table(keys), roles.iter().map(write_role).collect())
        }
        _ => (Json::Object(Object::new()), Vec::new()),
    };
    Json::Object(Object::from([("keys".to_owned(), keys), ("roles".to_owned(), Json::Array(roles))]))
}

fn read_role(value: &Json) -> Result<DelegatedRole, InvalidMetadata> {
    let mut fields = Fields::of(value, "targets.delegations.roles")?;
    let name = fields.need("name", "the name of a role below targets", |v| read_name(v.as_str()?))?;
    let keys = read_role_keys(&mut fields)?;
    // Go leaves out a list without entries: the role may then speak for nothing.
    let prefixes = fields.optional("paths", "an array of path prefixes", |value| {
        list(value)?.iter().map(|prefix| prefix.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    })?;
    let scope = Scope::Prefixes(prefixes.unwrap_or_default());
    fields.rest()?;
    Ok(DelegatedRole { name, keys, terminating: false, scope, ends: None, extra: Object::new() })
}

fn read_name(wire: &str) -> Option<DelegatedRoleName> {
    match role_from_wire(wire)? {
        RoleName::Delegated(name) => Some(name),
        _ => None,
    }
}

fn write_role(role: &DelegatedRole) -> Json {
    let mut object = Object::new();
    write_role_keys(&mut object, &role.keys);
    object.insert("name".to_owned(), Json::from(role_to_wire(&RoleName::Delegated(role.name.clone()))));
    if let Scope::Prefixes(prefixes) = &role.scope
        && !prefixes.is_empty()
    {
        let prefixes = prefixes.iter().map(|prefix| Json::from(prefix.as_str())).collect();
        object.insert("paths".to_owned(), Json::Array(prefixes));
    }
    Json::Object(object)
}
