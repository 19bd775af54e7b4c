//! Targets and delegated targets (TUF 1.0, 4.5; TAP 15).

use std::collections::{BTreeMap, BTreeSet};

use crate::dialect::InvalidMetadata;
use crate::dialect::fields::{At, Fields, refuse_case_variants};
use crate::dialect::listed::{Reader, read_targets, take_custom, take_targets};
use crate::dialect::tuf1::key::{read_role_keys, read_table, write_role_keys, write_table};
use crate::dialect::tuf1::meta::{read_hashes, read_sha256, write_hashes};
use crate::dialect::tuf1::{
    integer, read_header, read_repository, read_role_name, write_header, write_repository,
};
use crate::digest::Sha256Digest;
use crate::json::{Json, Object};
use crate::key::Fingerprint;
use crate::limits;
use crate::metadata::{
    Children, DelegatedRole, Delegations, Scope, SuccinctRoles, TargetInfo, Targets, Tombstone,
};
use crate::names::{DelegatedRoleName, PathPattern, TargetPath};
use crate::time::UtcTime;

/// Our extra member of `signed`: which role this is.
const ROLE: &str = "x_bulla_role";
/// Our extra member of `signed`: what this role took back.
const REVOKED: &str = "x_bulla_revoked";
/// Our extra member of `signed`: until when roles that are delegated to may speak. It does not
/// stand in the delegation itself: there, some clients drop what they do not know before they
/// check the signature.
const ENDS: &str = "x_bulla_expires";

pub(in crate::dialect) const READER: Reader = Reader { target: read_target, sha256: read_sha256 };

pub(crate) fn decode(signed: &mut Object) -> Result<Targets, InvalidMetadata> {
    let listed = take_targets(signed);
    let mut fields = Fields::new(signed, "targets")?;
    let header = read_header(&mut fields, "targets")?;
    fields.need("targets", "an object", Json::as_object)?;
    let targets = read_targets(listed, READER)?;
    let mut delegations = match fields.take("delegations") {
        Some(value) => Some(read_delegations(value)?),
        None => None,
    };
    if let Some(value) = fields.take(ENDS) {
        read_ends(value, &mut delegations)?;
    }
    let revoked = match fields.take(REVOKED) {
        Some(value) => read_revoked(value)?,
        None => BTreeMap::new(),
    };
    let role = fields.optional(ROLE, "the name of a targets role", |v| v.as_str()?.parse().ok())?;
    Ok(Targets {
        repository: read_repository(&mut fields)?,
        role,
        version: header.version,
        expires: header.expires,
        targets,
        delegations,
        revoked,
        extra: fields.rest()?,
    })
}

pub(crate) fn encode(targets: &Targets) -> Object {
    let mut signed = targets.extra.clone();
    write_header(&mut signed, "targets", targets.version, targets.expires);
    let listed = targets.targets.iter().map(|(name, info)| (name.clone(), write_target(info)));
    signed.insert("targets".to_owned(), Json::Object(listed.collect()));
    if let Some(delegations) = &targets.delegations {
        signed.insert("delegations".to_owned(), write_delegations(delegations));
        let ends = write_ends(delegations);
        if !ends.is_empty() {
            signed.insert(ENDS.to_owned(), Json::Object(ends));
        }
    }
    write_repository(&mut signed, targets.repository.as_ref());
    if let Some(role) = &targets.role {
        signed.insert(ROLE.to_owned(), Json::from(role.as_str()));
    }
    if !targets.revoked.is_empty() {
        let revoked = targets.revoked.iter().map(|(path, t)| (path.as_str().to_owned(), write_tombstone(t)));
        signed.insert(REVOKED.to_owned(), Json::Object(revoked.collect()));
    }
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
        ("length".to_owned(), integer(info.length)),
        ("hashes".to_owned(), write_hashes(&info.hashes)),
    ]);
    if let Some(custom) = &info.custom {
        object.insert("custom".to_owned(), custom.clone());
    }
    Json::Object(object)
}

fn read_revoked(value: &Json) -> Result<BTreeMap<TargetPath, Tombstone>, InvalidMetadata> {
    let at = format!("targets.{REVOKED}");
    let wrong = || InvalidMetadata::Member { at: at.clone(), expected: "an object of target paths" };
    let mut revoked = BTreeMap::new();
    for (name, value) in value.as_object().ok_or_else(wrong)? {
        let path: TargetPath = name.parse().map_err(|_| wrong())?;
        let mut fields = Fields::of(value, format!("{at}.{name}"))?;
        let tombstone = Tombstone {
            digest: fields.need("sha256", "64 lower case hex digits", read_digest)?,
            reason: fields.optional("reason", "a string", |v| v.as_str().map(str::to_owned))?,
            revoked_at: fields.need("revoked_at", "a UTC date", |v| v.as_str()?.parse().ok())?,
            revoked_by: fields
                .optional("revoked_by", "an array of key fingerprints", read_fingerprints)?
                .unwrap_or_default(),
        };
        fields.rest()?;
        revoked.insert(path, tombstone);
    }
    Ok(revoked)
}

fn read_fingerprints(value: &Json) -> Option<BTreeSet<Fingerprint>> {
    let listed = value.as_array().filter(|listed| listed.len() <= limits::SIGNATURES)?;
    listed.iter().map(|key| key.as_str()?.parse().ok()).collect()
}

fn read_digest(value: &Json) -> Option<Sha256Digest> {
    value.as_str()?.parse().ok()
}

fn write_tombstone(tombstone: &Tombstone) -> Json {
    let mut object = Object::from([
        ("sha256".to_owned(), Json::from(tombstone.digest.to_string())),
        ("revoked_at".to_owned(), Json::from(tombstone.revoked_at.to_string())),
    ]);
    if let Some(reason) = &tombstone.reason {
        object.insert("reason".to_owned(), Json::from(reason.as_str()));
    }
    if !tombstone.revoked_by.is_empty() {
        let keys = tombstone.revoked_by.iter().map(|key| Json::from(key.to_string()));
        object.insert("revoked_by".to_owned(), Json::Array(keys.collect()));
    }
    Json::Object(object)
}

/// A limit of a role that is not delegated to would seem to hold, and hold nobody.
fn read_ends(value: &Json, delegations: &mut Option<Delegations>) -> Result<(), InvalidMetadata> {
    let at = format!("targets.{ENDS}");
    let wrong = || InvalidMetadata::Member { at: at.clone(), expected: "an object of delegated roles" };
    let mut roles: BTreeMap<DelegatedRoleName, &mut Option<UtcTime>> = match delegations {
        Some(Delegations { children: Children::Roles(roles), .. }) => {
            roles.iter_mut().map(|role| (role.name.clone(), &mut role.ends)).collect()
        }
        _ => BTreeMap::new(),
    };
    for (name, date) in value.as_object().ok_or_else(wrong)? {
        let ends = read_role_name(name).and_then(|name| roles.get_mut(&name)).ok_or_else(wrong)?;
        let date = date.as_str().and_then(|text| text.parse().ok());
        let no_date = || InvalidMetadata::Member { at: format!("{at}.{name}"), expected: "a UTC date" };
        **ends = Some(date.ok_or_else(no_date)?);
    }
    Ok(())
}

fn write_ends(delegations: &Delegations) -> Object {
    let Children::Roles(roles) = &delegations.children else { return Object::new() };
    let limited = roles.iter().filter_map(|role| Some((role, role.ends?)));
    limited.map(|(role, ends)| (role.name.as_str().to_owned(), Json::from(ends.to_string()))).collect()
}

fn read_delegations(value: &Json) -> Result<Delegations, InvalidMetadata> {
    let mut fields = Fields::of(value, "targets.delegations")?;
    let keys = read_table(&mut fields)?;
    let roles = fields.take("roles");
    let succinct = fields.take("succinct_roles");
    let children = match (roles, succinct) {
        (Some(roles), None) => Children::Roles(read_roles(roles)?),
        (None, Some(succinct)) => Children::Succinct(read_succinct(succinct)?),
        _ => return Err(fields.wrong("roles", "there, or succinct_roles, and not both")),
    };
    Ok(Delegations { keys, children, extra: fields.rest()? })
}

fn write_delegations(delegations: &Delegations) -> Json {
    let mut object = delegations.extra.clone();
    object.insert("keys".to_owned(), write_table(&delegations.keys));
    match &delegations.children {
        Children::Roles(roles) => {
            object.insert("roles".to_owned(), Json::Array(roles.iter().map(write_role).collect()));
        }
        Children::Succinct(succinct) => {
            let mut inner = Object::from([
                ("bit_length".to_owned(), integer(u64::from(succinct.bit_length))),
                ("name_prefix".to_owned(), Json::from(succinct.name_prefix.as_str())),
            ]);
            write_role_keys(&mut inner, &succinct.keys);
            object.insert("succinct_roles".to_owned(), Json::Object(inner));
        }
    }
    Json::Object(object)
}

fn read_roles(value: &Json) -> Result<Vec<DelegatedRole>, InvalidMetadata> {
    let at = "targets.delegations.roles";
    let listed =
        value.as_array().ok_or(InvalidMetadata::Member { at: at.to_owned(), expected: "an array" })?;
    if listed.len() > limits::DELEGATIONS {
        return Err(InvalidMetadata::TooMany { at: at.to_owned() });
    }
    let roles = listed.iter().map(read_role).collect::<Result<Vec<_>, _>>()?;
    if roles.iter().map(|role| &role.name).collect::<BTreeSet<_>>().len() != roles.len() {
        return Err(InvalidMetadata::Member {
            at: at.to_owned(),
            expected: "an array that names each role once",
        });
    }
    Ok(roles)
}

fn read_role(value: &Json) -> Result<DelegatedRole, InvalidMetadata> {
    let mut fields = Fields::of(value, "targets.delegations.roles")?;
    let name = fields.need("name", "the name of a delegated role", |v| read_role_name(v.as_str()?))?;
    let keys = read_role_keys(&mut fields)?;
    let terminating = fields.need("terminating", "true or false", Json::as_bool)?;
    let paths = fields.optional("paths", "an array of path patterns", read_patterns)?;
    let prefixes = fields.optional("path_hash_prefixes", "an array of hex prefixes", read_prefixes)?;
    let scope = match (paths, prefixes) {
        (Some(paths), None) => Scope::Paths(paths),
        (None, Some(prefixes)) => Scope::HashPrefixes(prefixes),
        _ => return Err(fields.wrong("paths", "there, or path_hash_prefixes, and not both")),
    };
    Ok(DelegatedRole { name, keys, terminating, scope, ends: None, extra: fields.rest()? })
}

fn read_patterns(value: &Json) -> Option<Vec<PathPattern>> {
    value.as_array()?.iter().map(|pattern| pattern.as_str()?.parse().ok()).collect()
}

fn read_prefixes(value: &Json) -> Option<Vec<String>> {
    let is_prefix = |text: &str| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    value.as_array()?.iter().map(|p| p.as_str().filter(|text| is_prefix(text)).map(str::to_owned)).collect()
}

fn write_role(role: &DelegatedRole) -> Json {
    let mut object = role.extra.clone();
    object.insert("name".to_owned(), Json::from(role.name.as_str()));
    object.insert("terminating".to_owned(), Json::Bool(role.terminating));
    write_role_keys(&mut object, &role.keys);
    let (member, texts): (_, Vec<&str>) = match &role.scope {
        Scope::HashPrefixes(prefixes) => {
            ("path_hash_prefixes", prefixes.iter().map(String::as_str).collect())
        }
        Scope::Paths(patterns) => ("paths", patterns.iter().map(PathPattern::as_str).collect()),
        // Never read in this dialect, and no pattern says the same: it then matches nothing.
        Scope::Prefixes(_) => ("paths", Vec::new()),
    };
    object.insert(member.to_owned(), Json::Array(texts.into_iter().map(Json::from).collect()));
    Json::Object(object)
}

fn read_succinct(value: &Json) -> Result<SuccinctRoles, InvalidMetadata> {
    let mut fields = Fields::of(value, "targets.delegations.succinct_roles")?;
    let keys = read_role_keys(&mut fields)?;
    let bit_length = fields.need("bit_length", "a number from 1 to 32", |v| {
        u8::try_from(v.as_u64()?).ok().filter(|bits| (1..=32).contains(bits))
    })?;
    let name_prefix = fields.need("name_prefix", "the start of a role name", |v| {
        // The longest bin name must still be a role name.
        let prefix = v.as_str()?;
        read_role_name(&format!("{prefix}-ffffffff")).map(|_| prefix.to_owned())
    })?;
    fields.rest()?;
    Ok(SuccinctRoles { keys, bit_length, name_prefix })
}
