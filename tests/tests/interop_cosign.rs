//! Who reads whose signatures: every program that signs images in Sigstore's formats, against every one that
//! judges them. Each cell is tried with the right key and with another one, which is never accepted.

use std::path::Path;

use bulla_tests::sigstore_peers::cosign::{Cosign, Layout, SIGNATURE};
use bulla_tests::sigstore_peers::images::{Image, ImageRegistry};
use bulla_tests::sigstore_peers::libraries::{Library, signed_by_the_crate, verified_by_the_crate};
use bulla_tests::sigstore_peers::ours::{TrustSite, verify_with, verify_with_key};
use bulla_tests::sigstore_peers::reports::{trivy, vulnerabilities};
use bulla_tests::sigstore_peers::skopeo::{Identity, Skopeo};
use bulla_tests::sigstore_peers::stored::{is_about, statement};
use bulla_tests::sigstore_peers::{KeyPair, Keys, text};
use jiff::SignedDuration;
use serde_json::Value;

/// `skopeo` and `podman` want the signature to name the very tag (`exact`), unless their policy says otherwise
/// (`repository`); cosign names no tag. cosign 2 reads bundles only when told to (`bundle`). What is no bundle,
/// the libraries do not see.
const SIGNATURES: &str = "
made by \\ read by   cosign-2 bundle-2 cosign-3 exact repository crate @sigstore/verify securesystemslib bulla
cosign-2             yes      no       yes      no    yes        yes   no               no               yes
cosign-3-tags        yes      no       yes      no    yes        yes   no               no               yes
cosign-3-bundle      no       yes      yes      no    no         no    yes              yes              yes
skopeo-1.18          yes      no       yes      yes   yes        yes   no               no               yes
skopeo-1.22          yes      no       yes      yes   yes        yes   no               no               yes
crate                yes      no       yes      yes   yes        yes   no               no               yes
bulla                yes      yes      yes      yes   yes        yes   yes              yes              yes
bulla-only-registry  yes      yes      yes      yes   yes        yes   yes              yes              yes
";

/// An attestation is read as one, and never as a signature.
const ATTESTATIONS: &str = "
made by \\ read by   cosign-2 bundle-2 cosign-3 @sigstore/verify securesystemslib bulla
cosign-2             yes      no       yes      no               yes              yes
cosign-3-tags        yes      no       yes      no               yes              yes
cosign-3-bundle      no       yes      yes      yes              yes              yes
bulla                yes      yes      yes      yes              yes              yes
bulla-only-registry  yes      yes      yes      yes              yes              yes
";

const VULNERABILITIES: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";

/// Everybody, at one registry.
struct Fair {
    registry: ImageRegistry,
    cosign: (Cosign, Cosign),
    skopeo: Vec<Skopeo>,
    keys: Keys,
    ours: TrustSite,
}

impl Fair {
    fn open() -> Option<Self> {
        let registry = ImageRegistry::start()?;
        let cosign = Cosign::both()?;
        let skopeo = Skopeo::present();
        let libraries = Library::ALL.map(Library::is_present);
        if skopeo.is_empty() || libraries.contains(&false) {
            return None;
        }
        let keys = Keys::make(&cosign.0);
        let ours = TrustSite::start();
        ours.begin(&registry, "team/app");
        Some(Self { registry, cosign, skopeo, keys, ours })
    }

    /// An image signed by `maker`, and the key to verify it with.
    fn signed(&self, maker: &str) -> (Image, KeyPair) {
        let image = self.registry.push("team/app", maker, maker);
        let good = self.keys.good.clone();
        match maker {
            "cosign-2" => self.cosign.0.sign(Layout::Tags, &good, &image, &[]),
            "cosign-3-tags" => self.cosign.1.sign(Layout::Tags, &good, &image, &[]),
            "cosign-3-bundle" => self.cosign.1.sign(Layout::Bundle, &good, &image, &[]),
            "crate" => self.registry.set_signatures(&image, &[signed_by_the_crate(&good, &image)]),
            "bulla" => {
                self.ours.sign(&image);
                return (image, self.ours.key("alice"));
            }
            "bulla-only-registry" => {
                self.ours.sign_in_the_registry("alice", &image);
                return (image, self.ours.key("alice"));
            }
            _ => return (self.signed_by_skopeo(maker, &image), good),
        }
        (image, good)
    }

    /// An image attested by `maker`, and the key to verify it with.
    fn attested(&self, maker: &str) -> (Image, KeyPair) {
        let image = self.registry.push("team/app", &format!("{maker}-att"), &format!("{maker}, attested"));
        let good = self.keys.good.clone();
        let report = trivy(&image, 0, SignedDuration::from_mins(1));
        let predicate = vulnerabilities(&report);
        match maker {
            "cosign-2" => self.cosign.0.attest(Layout::Tags, &good, "vuln", &predicate, &image),
            "cosign-3-tags" => self.cosign.1.attest(Layout::Tags, &good, "vuln", &predicate, &image),
            "cosign-3-bundle" => self.cosign.1.attest(Layout::Bundle, &good, "vuln", &predicate, &image),
            "bulla-only-registry" => {
                self.ours.attest_in_the_registry("alice", &image, report.to_string().as_bytes());
                return (image, self.ours.key("alice"));
            }
            _ => {
                self.ours.attest(&image, "trivy", report.to_string().as_bytes());
                return (image, self.ours.key("scanner"));
            }
        }
        (image, good)
    }

    fn signed_by_skopeo(&self, maker: &str, image: &Image) -> Image {
        let version = maker.strip_prefix("skopeo-").expect("nobody else is left");
        let skopeo = self.skopeo.iter().find(|skopeo| skopeo.version.starts_with(version));
        skopeo.expect("both are here").sign(&self.keys, image, &format!("{maker}-signed"))
    }

    /// `reader` takes the image for signed with this key.
    fn reads(&self, reader: &str, public: &Path, image: &Image) -> bool {
        let cosign = &self.cosign;
        match reader {
            "cosign-2" => cosign.0.verify(public, image, &[]).accepted,
            "bundle-2" => cosign.0.verify_bundle(public, SIGNATURE, image).accepted,
            "cosign-3" => cosign.1.verify(public, image, &[]).accepted,
            "exact" => self.skopeos_agree(public, image, Identity::Exact),
            "repository" => self.skopeos_agree(public, image, Identity::Repository),
            "crate" => {
                self.registry.signatures(image).iter().any(|layer| verified_by_the_crate(public, layer))
            }
            "bulla" => verify_with_key(public, image).accepted,
            library => self.library_reads(library, public, image, SIGNATURE),
        }
    }

    /// `reader` takes the image for attested with this key.
    fn reads_attestation(&self, reader: &str, public: &Path, image: &Image) -> bool {
        let cosign = &self.cosign;
        match reader {
            "cosign-2" => cosign.0.verify_attestation(public, "vuln", image).accepted,
            "bundle-2" => cosign.0.verify_bundle(public, VULNERABILITIES, image).accepted,
            "cosign-3" => cosign.1.verify_attestation(public, "vuln", image).accepted,
            "bulla" => verify_with(&["--key", text(public), "--type", "vuln"], image).accepted,
            library => self.library_reads(library, public, image, VULNERABILITIES),
        }
    }

    /// All releases of skopeo say the same.
    fn skopeos_agree(&self, public: &Path, image: &Image, identity: Identity) -> bool {
        let opinions: Vec<_> =
            self.skopeo.iter().map(|skopeo| skopeo.verify(public, image, identity)).collect();
        let accepted = opinions[0].accepted;
        assert!(opinions.iter().all(|opinion| opinion.accepted == accepted), "{opinions:?}");
        accepted
    }

    /// The libraries verify what they are given; that it speaks of this image is looked up here.
    fn library_reads(&self, name: &str, public: &Path, image: &Image, predicate_type: &str) -> bool {
        let library = Library::ALL.into_iter().find(|library| library.name() == name).expect("a reader");
        let verifies = |document: &Value, envelope: &Value| {
            is_about(&statement(envelope), image, predicate_type) && library.verify(public, document).accepted
        };
        match library {
            Library::SigstoreJs => {
                let bundles = self.registry.bundles(image);
                bundles.iter().any(|bundle| verifies(bundle, &bundle["dsseEnvelope"]))
            }
            Library::Securesystemslib => {
                self.registry.envelopes(image).iter().any(|envelope| verifies(envelope, envelope))
            }
        }
    }
}

/// The rows of a table: the maker, and for each reader whether it accepts.
fn rows(table: &'static str) -> Vec<(&'static str, Vec<(&'static str, bool)>)> {
    let mut lines = table.trim().lines();
    let readers: Vec<&str> = lines
        .next()
        .and_then(|head| head.split_once("read by"))
        .expect("a head")
        .1
        .split_whitespace()
        .collect();
    let row = |line: &'static str| {
        let mut cells = line.split_whitespace();
        let maker = cells.next().expect("a maker");
        let answers: Vec<bool> = cells
            .map(|cell| ["no", "yes"].iter().position(|word| *word == cell))
            .map(|at| at.expect("yes or no") == 1)
            .collect();
        assert_eq!(answers.len(), readers.len(), "{maker}");
        (maker, readers.iter().copied().zip(answers).collect())
    };
    lines.map(row).collect()
}

#[test]
fn who_reads_whose_signatures() {
    let Some(fair) = Fair::open() else { return };
    let mut wrong = Vec::new();
    for (maker, cells) in rows(SIGNATURES) {
        let (image, key) = fair.signed(maker);
        for (reader, expected) in cells {
            for (public, expected) in [(&key.public, expected), (&fair.keys.other.public, false)] {
                if fair.reads(reader, public, &image) != expected {
                    wrong.push(format!("made by {maker}, read by {reader} with {}", public.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn who_reads_whose_attestations() {
    let Some(fair) = Fair::open() else { return };
    let mut wrong = Vec::new();
    for (maker, cells) in rows(ATTESTATIONS) {
        let (image, key) = fair.attested(maker);
        for (reader, expected) in cells {
            for (public, expected) in [(&key.public, expected), (&fair.keys.other.public, false)] {
                if fair.reads_attestation(reader, public, &image) != expected {
                    wrong.push(format!("made by {maker}, read by {reader} with {}", public.display()));
                }
            }
        }
        let signed = verify_with_key(&key.public, &image);
        if signed.accepted {
            wrong.push(format!("bulla takes what {maker} attested for signed: {signed:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
