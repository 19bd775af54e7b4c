//! One document: what it says, who signs it, and what an attacker does to its text.

use bulla_keys_schema::canonical::canonical;
use bulla_keys_schema::dialect::{Dialect, Document, Envelope, Signature};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::key::KeyId;
use bulla_keys_schema::metadata::Version;
use bytes::Bytes;

use super::{DIALECT, TestKey};

/// A document that signs whatever it is made to say.
#[derive(Clone)]
pub struct Doc {
    dialect: Dialect,
    signed: Object,
    signers: Vec<(KeyId, TestKey)>,
    carried: Vec<Signature>,
    rewrites: Vec<(String, String)>,
    spaces: usize,
}

impl Doc {
    /// What the author room would write, signed by `signers` under their usual ids.
    pub fn new(document: &impl Document, signers: &[TestKey]) -> Self {
        Self::of(DIALECT, document, signers.iter().map(|key| (key.id(), *key)))
    }

    /// The same in any dialect, signed under the ids that the signers have there.
    pub fn of(
        dialect: Dialect,
        document: &impl Document,
        signers: impl IntoIterator<Item = (KeyId, TestKey)>,
    ) -> Self {
        Self {
            dialect,
            signed: document.encode(dialect),
            signers: signers.into_iter().collect(),
            carried: Vec::new(),
            rewrites: Vec::new(),
            spaces: 0,
        }
    }

    /// Its version, or 1 where it has none.
    pub fn version(&self) -> Version {
        let number = self.get("version").and_then(Json::as_u64);
        number.and_then(Version::new).unwrap_or(Version::FIRST)
    }

    /// Sets the member at `path`: names and array positions with `/` between them.
    pub fn set(&mut self, path: &str, value: impl Into<Json>) -> &mut Self {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.at(parent) {
            Holder::Members(members) => {
                members.insert(name.to_owned(), value.into());
            }
            Holder::Items(items) => items[name.parse::<usize>().unwrap()] = value.into(),
        }
        self
    }

    pub fn set_number(&mut self, path: &str, number: i64) -> &mut Self {
        self.set(path, Json::Integer(number))
    }

    /// Changes whatever `edit` likes, also members whose names hold a `/`.
    pub fn edit(&mut self, edit: impl FnOnce(&mut Object)) -> &mut Self {
        edit(&mut self.signed);
        self
    }

    /// Puts a value at the end of the array at `path`.
    pub fn push(&mut self, path: &str, value: impl Into<Json>) -> &mut Self {
        match self.at(path) {
            Holder::Items(items) => items.push(value.into()),
            Holder::Members(_) => panic!("{path} is no array"),
        }
        self
    }

    pub fn remove(&mut self, path: &str) -> &mut Self {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.at(parent) {
            Holder::Members(members) => drop(members.remove(name).unwrap()),
            Holder::Items(items) => drop(items.remove(name.parse().unwrap())),
        }
        self
    }

    /// What stands at `path`.
    pub fn get(&self, path: &str) -> Option<&Json> {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let mut value = self.signed.get(first)?;
        for name in rest.split('/').filter(|name| !name.is_empty()) {
            value = match value {
                Json::Object(members) => members.get(name)?,
                Json::Array(items) => items.get(name.parse::<usize>().ok()?)?,
                _ => return None,
            };
        }
        Some(value)
    }

    /// Lets `keys`, under their usual ids, sign the role at `path`: `roles/root`, or
    /// `delegations/roles/0`.
    pub fn trust(&mut self, path: &str, keys: &[TestKey], threshold: i64) -> &mut Self {
        self.set(&format!("{path}/keyids"), Json::Array(Vec::new()));
        for key in keys {
            self.trust_as(path, key.id().as_str(), key.object());
        }
        self.set_number(&format!("{path}/threshold"), threshold)
    }

    /// Lets one more key sign the role at `path`, declared by `object` under `id`.
    pub fn trust_as(&mut self, path: &str, id: &str, object: Json) -> &mut Self {
        let table = if path.starts_with("delegations") { "delegations/keys" } else { "keys" };
        self.set(&format!("{table}/{id}"), object);
        self.push(&format!("{path}/keyids"), id)
    }

    /// Lists a document in `meta`, unless something else was written there.
    pub fn describe(&mut self, file: &str, version: Version, bytes: &Bytes) {
        self.edit(|signed| {
            if let Some(Json::Object(meta)) = signed.get_mut("meta")
                && !meta.contains_key(file)
            {
                meta.insert(file.to_owned(), info(version.get(), bytes));
            }
        });
    }

    pub fn signed_by(&mut self, signers: &[TestKey]) -> &mut Self {
        self.signers = signers.iter().map(|key| (key.id(), *key)).collect();
        self
    }

    /// Adds a signature by `key` under the id `id`.
    pub fn signed_as(&mut self, id: &str, key: TestKey) -> &mut Self {
        self.signers.push((id.parse().unwrap(), key));
        self
    }

    /// Adds bytes that are no signature.
    pub fn bad_signature(&mut self, id: &str, bytes: &[u8]) -> &mut Self {
        self.carry(Signature { key_id: id.parse().unwrap(), algorithm: None, bytes: bytes.to_vec() })
    }

    /// Adds a signature that another program made, for a key that is none of ours.
    pub fn carry(&mut self, signature: Signature) -> &mut Self {
        self.carried.push(signature);
        self
    }

    /// Replaces a text after signing.
    pub fn rewrite(&mut self, from: &str, to: &str) -> &mut Self {
        self.rewrites.push((from.to_owned(), to.to_owned()));
        self
    }

    /// Adds white space at the end: valid JSON, and as long as one likes.
    pub fn pad(&mut self, spaces: usize) -> &mut Self {
        self.spaces = spaces;
        self
    }

    /// The final bytes.
    pub fn bytes(&self) -> Bytes {
        let payload = canonical(&Json::Object(self.signed.clone()));
        let sign = |(key_id, key): &(KeyId, TestKey)| Signature {
            algorithm: Some(key.algorithm()),
            key_id: key_id.clone(),
            bytes: key.sign(&payload),
        };
        let mut signatures: Vec<Signature> = self.signers.iter().map(sign).collect();
        signatures.extend(self.carried.iter().cloned());
        let mut text =
            String::from_utf8(Envelope::write(self.dialect, self.signed.clone(), &signatures)).unwrap();
        for (from, to) in &self.rewrites {
            assert!(text.contains(from), "{from} is not in {text}");
            text = text.replacen(from, to, 1);
        }
        text.extend(std::iter::repeat_n(' ', self.spaces));
        text.into()
    }

    fn at(&mut self, path: &str) -> Holder<'_> {
        let mut holder = Holder::Members(&mut self.signed);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let value = match holder {
                Holder::Members(members) => members.get_mut(name),
                Holder::Items(items) => items.get_mut(name.parse::<usize>().unwrap()),
            };
            holder = match value {
                Some(Json::Object(members)) => Holder::Members(members),
                Some(Json::Array(items)) => Holder::Items(items),
                other => panic!("{path}: {name} is {other:?}"),
            };
        }
        holder
    }
}

/// What a parent says of a document: version, length, digest.
pub fn info(version: u64, bytes: &[u8]) -> Json {
    let hashes = Object::from([("sha256".to_owned(), Json::from(Sha256Digest::of(bytes).to_string()))]);
    let mut info = version_only(version);
    if let Json::Object(members) = &mut info {
        members.insert("length".to_owned(), Json::Integer(i64::try_from(bytes.len()).unwrap()));
        members.insert("hashes".to_owned(), Json::Object(hashes));
    }
    info
}

/// What some repositories leave it at.
pub fn version_only(version: u64) -> Json {
    Json::Object(Object::from([("version".to_owned(), Json::Integer(i64::try_from(version).unwrap()))]))
}

enum Holder<'a> {
    Members(&'a mut Object),
    Items(&'a mut Vec<Json>),
}
