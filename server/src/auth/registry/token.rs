//! A JSON Web Token in its compact form (RFC 7515 3.1), taken apart but not believed.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bulla_keys_schema::json::{Json, Object};
use rustls_pki_types::CertificateDer;

use super::RegistryTokenFault as Fault;
use super::key::{Algorithm, VerifyingKey};

/// Bytes of the longest token that is looked at.
const LONGEST: usize = 16 * 1024;
/// Certificates of the longest chain that is looked at.
const CHAIN: usize = 8;

/// A token whose header was read.
pub(super) struct Token<'a> {
    /// How the header says that it is signed.
    pub(super) algorithm: Algorithm,
    /// `kid`: the key's name.
    pub(super) key_id: Option<String>,
    /// `x5c`: certificates, the key's own first. Empty if there are none.
    pub(super) chain: Vec<CertificateDer<'static>>,
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Takes `text` apart and reads the header.
    pub(super) fn read(text: &'a str) -> Result<Self, Fault> {
        if text.len() > LONGEST {
            return Err(Fault::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(Fault::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(Fault::Malformed)?;
        if payload.contains('.') {
            return Err(Fault::Malformed);
        }
        let header = object(header)?;
        // RFC 7515 4.1.11: what must be understood and is not. We understand nothing of it.
        if header.contains_key("crit") {
            return Err(Fault::Critical);
        }
        let algorithm = text_member(&header, "alg")?.and_then(Algorithm::named).ok_or(Fault::Algorithm)?;
        // RFC 8725 3.11: other things that the same server signs are no tokens.
        if !text_member(&header, "typ")?.is_none_or(|kind| kind.eq_ignore_ascii_case("JWT")) {
            return Err(Fault::Kind);
        }
        let key_id = text_member(&header, "kid")?.map(str::to_owned);
        let chain = header.get("x5c").map_or(Ok(Vec::new()), chain)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Fault::Malformed)?;
        Ok(Self { algorithm, key_id, chain, signed, payload, signature })
    }

    /// The claims, if one of `keys` has signed them: nothing reads them before.
    pub(super) fn open<'k>(&self, keys: impl Iterator<Item = &'k VerifyingKey>) -> Result<Object, Fault> {
        let mut refusal = Fault::UnknownKey;
        for key in keys {
            if key.algorithm() != self.algorithm {
                refusal = Fault::Algorithm;
            } else if key.has_signed(self.signed.as_bytes(), &self.signature) {
                return object(self.payload);
            } else {
                refusal = Fault::Signature;
            }
        }
        Err(refusal)
    }
}

/// Strict JSON: with two members of one name, two readers could see two tokens.
fn object(encoded: &str) -> Result<Object, Fault> {
    let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Fault::Malformed)?;
    match Json::parse(&bytes) {
        Ok(Json::Object(members)) => Ok(members),
        _ => Err(Fault::Malformed),
    }
}

fn text_member<'a>(members: &'a Object, name: &str) -> Result<Option<&'a str>, Fault> {
    members.get(name).map(|value| value.as_str().ok_or(Fault::Malformed)).transpose()
}

/// RFC 7515 4.1.6: DER in base64 with padding, not in the URL's alphabet.
fn chain(value: &Json) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let list = value.as_array().filter(|list| (1..=CHAIN).contains(&list.len())).ok_or(Fault::Malformed)?;
    let one = |item: &Json| {
        let der = STANDARD.decode(item.as_str()?).ok()?;
        Some(CertificateDer::from(der))
    };
    list.iter().map(|item| one(item).ok_or(Fault::Malformed)).collect()
}
