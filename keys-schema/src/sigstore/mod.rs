//! Signatures that cosign, podman and skopeo make and read, and what they prove.
//!
//! They lie in the registry beside the image, in two layouts: payloads of "simple signing" as
//! layers of a manifest, and Sigstore bundles as referrers. Both are read and written with plain
//! keys alone; what a certificate or a public log says is foreign here, neither proof nor error.

mod bundle;
mod descriptor;
mod judge;
mod manifest;
mod simple_signing;
mod statement;

pub use bundle::{Bundle, InvalidBundle, key_hint};
pub use descriptor::Descriptor;
pub use judge::{Content, Found, InvalidQuestion, Judgement, Origin, Other, Proof, Question, Reason};
pub use manifest::{
    Attached, CONFIG, DSSE_ENVELOPE, EMPTY_CONFIG, EMPTY_CONFIG_BYTES, FallbackIndex, INDEX, InvalidManifest,
    MANIFEST, PREDICATE_TYPE, ReferrerManifest, SIGNATURE, SIMPLE_SIGNING, SigManifest, is_bundle,
};
pub use simple_signing::{InvalidPayload, SimpleSigning};
pub use statement::{IMAGE_SIGNATURE, image_statement, predicate_type};

/// The media type of the bundles that are written, and of their artifacts.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
