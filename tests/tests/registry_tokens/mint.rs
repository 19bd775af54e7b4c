//! A token server in miniature: keys, certificates and tokens, good ones and others. It shares
//! no code with what checks them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p256::ecdsa::signature::Signer as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, PublicKeyData, SignatureAlgorithm};
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::rand_core::{CryptoRng, Error, RngCore, impls};
use rsa::traits::PublicKeyParts as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A secret key.
pub(crate) struct Signer {
    secret: Secret,
    /// As it stands in a certificate.
    public: Vec<u8>,
}

enum Secret {
    P256(p256::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
    Rsa(Box<rsa::RsaPrivateKey>),
}

impl Signer {
    pub(crate) fn p256(seed: u8) -> Self {
        let secret = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).expect("a scalar");
        let public = secret.verifying_key().to_sec1_point(false).as_bytes().to_vec();
        Self { secret: Secret::P256(secret), public }
    }

    pub(crate) fn ed25519(seed: u8) -> Self {
        let secret = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        let public = secret.verifying_key().to_bytes().to_vec();
        Self { secret: Secret::Ed25519(secret), public }
    }

    pub(crate) fn rsa(bits: usize) -> Self {
        let secret = rsa::RsaPrivateKey::new(&mut Drawn(0), bits).expect("a key");
        let public = secret.to_public_key().to_pkcs1_der().expect("an encoding").into_vec();
        Self { secret: Secret::Rsa(Box::new(secret)), public }
    }

    /// The public key, as a certificate without its frame holds it.
    pub(crate) fn public(&self) -> &[u8] {
        &self.public
    }

    /// What `alg` has to say.
    pub(crate) fn algorithm(&self) -> &'static str {
        match &self.secret {
            Secret::P256(_) => "ES256",
            Secret::Ed25519(_) => "EdDSA",
            Secret::Rsa(_) => "RS256",
        }
    }

    /// A signature as tokens hold it.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.secret {
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Secret::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Secret::Rsa(key) => {
                let padding = rsa::Pkcs1v15Sign::new::<rsa::sha2::Sha256>();
                key.sign(padding, &Sha256::digest(message)).expect("a signature")
            }
        }
    }

    /// A signature as certificates hold it.
    pub(crate) fn sign_der(&self, message: &[u8]) -> Vec<u8> {
        match &self.secret {
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            _ => self.sign(message),
        }
    }

    /// The public key as a member of a set.
    pub(crate) fn jwk(&self, id: &str) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.secret {
            Secret::P256(_) => json!({
                "kty": "EC", "crv": "P-256", "kid": id,
                "x": encode(&self.public[1..33]), "y": encode(&self.public[33..]),
            }),
            Secret::Ed25519(_) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": encode(&self.public)})
            }
            Secret::Rsa(key) => json!({
                "kty": "RSA", "kid": id,
                "n": encode(&key.n().to_bytes_be()), "e": encode(&key.e().to_bytes_be()),
            }),
        }
    }
}

impl PublicKeyData for Signer {
    fn der_bytes(&self) -> &[u8] {
        &self.public
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match &self.secret {
            Secret::P256(_) => &rcgen::PKCS_ECDSA_P256_SHA256,
            Secret::Ed25519(_) => &rcgen::PKCS_ED25519,
            Secret::Rsa(_) => &rcgen::PKCS_RSA_SHA256,
        }
    }
}

impl rcgen::SigningKey for Signer {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.sign_der(message))
    }
}

/// Numbers drawn the same way each time: the keys are for nothing else.
struct Drawn(u64);

impl RngCore for Drawn {
    fn next_u32(&mut self) -> u32 {
        impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, target: &mut [u8]) {
        for chunk in target.chunks_mut(32) {
            self.0 += 1;
            chunk.copy_from_slice(&Sha256::digest(self.0.to_be_bytes())[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(target);
        Ok(())
    }
}

impl CryptoRng for Drawn {}

/// A certificate and its key.
pub(crate) struct Certified {
    pub(crate) key: Signer,
    pub(crate) der: Vec<u8>,
    params: CertificateParams,
}

/// What a certificate says before somebody edits it: valid from 1975 to 4096, for anything.
fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// Makes an authority of it, over at most `length` other authorities.
pub(crate) fn authority(length: Option<u8>) -> impl FnOnce(&mut CertificateParams) {
    move |params| {
        let constraints = length.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained);
        params.is_ca = IsCa::Ca(constraints);
    }
}

impl Certified {
    /// Signed by itself.
    pub(crate) fn by_itself(name: &str, key: Signer, edit: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = params(name);
        edit(&mut params);
        let der = params.self_signed(&key).expect("a certificate").der().to_vec();
        Self { key, der, params }
    }

    /// An authority that nobody is above of.
    pub(crate) fn root(name: &str, seed: u8) -> Self {
        Self::by_itself(name, Signer::p256(seed), authority(None))
    }

    /// Signs a certificate for `key`.
    pub(crate) fn certify(&self, name: &str, key: Signer, edit: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = params(name);
        edit(&mut params);
        let issuer = Issuer::from_params(&self.params, &self.key);
        let der = params.signed_by(&key, &issuer).expect("a certificate").der().to_vec();
        Self { key, der, params }
    }
}

/// The certificates as a file.
pub(crate) fn pem(certificates: &[&[u8]]) -> String {
    let one = |der: &&[u8]| {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", STANDARD.encode(der))
    };
    certificates.iter().map(one).collect()
}

/// The certificates as the header of a token.
pub(crate) fn x5c(certificates: &[&[u8]]) -> Value {
    certificates.iter().map(|der| STANDARD.encode(der)).collect()
}

/// A token of any two texts, signed with `key`.
pub(crate) fn token(header: &str, claims: &str, key: &Signer) -> String {
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// HMAC with SHA-256 (RFC 2104), with which a public key is taken for a shared secret.
pub(crate) fn hmac(secret: &[u8], message: &[u8]) -> Vec<u8> {
    let short = if secret.len() > 64 { Sha256::digest(secret).to_vec() } else { secret.to_vec() };
    let mut block = [0; 64];
    block[..short.len()].copy_from_slice(&short);
    let inner = Sha256::new().chain_update(block.map(|b| b ^ 0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(block.map(|b| b ^ 0x5c)).chain_update(inner).finalize().to_vec()
}
