//! What commands answer: one form for people, one JSON form with a versioned schema
//! (`keys-schema/schema`).

use std::fmt::Write as _;

use bulla_keys_schema::names::{ImageRef, RepositoryName};
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::flow::init::Begun;
use crate::flow::inspect::{Inspection, RoleState, SignerState, TagState};
use crate::flow::publish::Published;
use crate::flow::revoke::Revoked;
use crate::flow::sign::Signed;
use crate::flow::signer::{Added, Removed};
use crate::flow::verify::{Refusal, Trusted};
use crate::output::Report;
use crate::pins::{Pin, PinnedRoot};
use crate::port::StoredKey;

/// One key.
#[derive(Clone, Debug, Serialize)]
pub struct KeyReport {
    name: String,
    fingerprint: String,
    algorithm: String,
    created: String,
    roles: Vec<HeldRoleReport>,
    public_key: String,
}

#[derive(Clone, Debug, Serialize)]
struct HeldRoleReport {
    repository: String,
    role: String,
}

impl From<&StoredKey> for KeyReport {
    fn from(key: &StoredKey) -> Self {
        let roles = key.sidecar.roles.iter();
        Self {
            name: key.name.to_string(),
            fingerprint: key.public.fingerprint().to_string(),
            algorithm: key.sidecar.algorithm.to_string(),
            created: key.sidecar.created.to_string(),
            roles: roles
                .map(|held| HeldRoleReport {
                    repository: held.repository.to_string(),
                    role: held.role.to_string(),
                })
                .collect(),
            public_key: key.public.to_pem(),
        }
    }
}

impl Report for KeyReport {
    const SCHEMA: &'static str = "bulla/key/v1";

    fn text(&self) -> String {
        let mut text = format!(
            "name:        {}\nfingerprint: {}\nalgorithm:   {}\ncreated:     {}\n",
            self.name, self.fingerprint, self.algorithm, self.created
        );
        for held in &self.roles {
            line(&mut text, format_args!("holds:       {} of {}", held.role, held.repository));
        }
        text
    }
}

/// All keys.
#[derive(Clone, Debug, Serialize)]
pub struct KeysReport {
    keys: Vec<KeyReport>,
}

impl KeysReport {
    /// Of these keys.
    #[must_use]
    pub fn new(keys: &[StoredKey]) -> Self {
        Self { keys: keys.iter().map(KeyReport::from).collect() }
    }
}

impl Report for KeysReport {
    const SCHEMA: &'static str = "bulla/keys/v1";

    fn text(&self) -> String {
        let rows = self.keys.iter().map(|key| {
            let roles: Vec<String> =
                key.roles.iter().map(|held| format!("{} of {}", held.role, held.repository)).collect();
            vec![key.name.clone(), key.algorithm.clone(), key.fingerprint.clone(), roles.join(", ")]
        });
        table(&["NAME", "ALGORITHM", "FINGERPRINT", "ROLES"], rows)
    }
}

/// One pin.
#[derive(Clone, Debug, Serialize)]
pub struct PinReport {
    scope: String,
    root_sha256: Option<String>,
    root_keys: Vec<String>,
    root_threshold: Option<u32>,
    server: Option<String>,
}

impl From<&Pin> for PinReport {
    fn from(pin: &Pin) -> Self {
        let (root_sha256, root_keys, root_threshold) = match &pin.root {
            PinnedRoot::Document(digest) => (Some(digest.to_string()), vec![], None),
            PinnedRoot::Keys { fingerprints, threshold } => {
                (None, fingerprints.iter().map(ToString::to_string).collect(), Some(threshold.get()))
            }
        };
        Self {
            scope: pin.scope.to_string(),
            root_sha256,
            root_keys,
            root_threshold,
            server: pin.server.clone(),
        }
    }
}

impl PinReport {
    fn root(&self) -> String {
        match (&self.root_sha256, self.root_threshold) {
            (Some(digest), _) => format!("document sha256:{digest}"),
            (None, threshold) => {
                format!("{} of keys {}", threshold.unwrap_or_default(), self.root_keys.join(", "))
            }
        }
    }
}

impl Report for PinReport {
    const SCHEMA: &'static str = "bulla/pin/v1";

    fn text(&self) -> String {
        format!("{}\n", self.scope)
    }
}

/// All pins.
#[derive(Clone, Debug, Serialize)]
pub struct PinsReport {
    pins: Vec<PinReport>,
}

impl PinsReport {
    /// Of these pins.
    #[must_use]
    pub fn new(pins: &[Pin]) -> Self {
        Self { pins: pins.iter().map(PinReport::from).collect() }
    }
}

impl Report for PinsReport {
    const SCHEMA: &'static str = "bulla/pins/v1";

    fn text(&self) -> String {
        let rows = self
            .pins
            .iter()
            .map(|pin| vec![pin.scope.clone(), pin.root(), pin.server.clone().unwrap_or_default()]);
        table(&["SCOPE", "ROOT", "SERVER"], rows)
    }
}

/// A repository that was begun.
#[derive(Clone, Debug, Serialize)]
pub struct InitReport {
    repository: String,
    root_sha256: Option<String>,
    root_keys: Vec<String>,
    root_threshold: u32,
    root_expires: String,
    pinned_as: String,
    dry_run: bool,
}

impl InitReport {
    /// Of what `init` did.
    #[must_use]
    pub fn new(repository: &RepositoryName, begun: &Begun) -> Self {
        Self {
            repository: repository.to_string(),
            root_sha256: begun.root_digest.map(|digest| digest.to_string()),
            root_keys: begun.root_keys.iter().map(ToString::to_string).collect(),
            root_threshold: begun.threshold.get(),
            root_expires: begun.expires.to_string(),
            pinned_as: begun.scope.to_string(),
            dry_run: !begun.done,
        }
    }
}

impl Report for InitReport {
    const SCHEMA: &'static str = "bulla/init/v1";

    fn text(&self) -> String {
        let mut text = format!("repository:     {}\n", self.repository);
        if let Some(digest) = &self.root_sha256 {
            line(&mut text, format_args!("root sha256:    {digest}"));
        }
        line(&mut text, format_args!("root threshold: {} of {}", self.root_threshold, self.root_keys.len()));
        for key in &self.root_keys {
            line(&mut text, format_args!("root key:       {key}"));
        }
        line(&mut text, format_args!("root expires:   {}", self.root_expires));
        text
    }
}

/// What a change wrote.
#[derive(Clone, Debug, Serialize)]
struct Written {
    documents: Vec<DocumentReport>,
    signed_with: Vec<String>,
    dry_run: bool,
}

#[derive(Clone, Debug, Serialize)]
struct DocumentReport {
    role: String,
    version: u64,
}

impl From<&Published> for Written {
    fn from(published: &Published) -> Self {
        let documents = published.roles.iter();
        Self {
            documents: documents
                .map(|(role, version)| DocumentReport { role: role.to_string(), version: version.get() })
                .collect(),
            signed_with: published.keys.iter().map(ToString::to_string).collect(),
            dry_run: !published.done,
        }
    }
}

/// A tag that was signed.
#[derive(Clone, Debug, Serialize)]
pub struct SignReport {
    repository: String,
    tag: String,
    digest: String,
    size: u64,
    reference: String,
    platforms: Vec<PlatformReport>,
    #[serde(flatten)]
    written: Written,
}

#[derive(Clone, Debug, Serialize)]
struct PlatformReport {
    platform: String,
    digest: String,
    size: u64,
}

impl SignReport {
    /// Of what `sign` did.
    #[must_use]
    pub fn new(repository: &RepositoryName, signed: &Signed) -> Self {
        let platforms = signed.platforms.iter();
        Self {
            repository: repository.to_string(),
            tag: signed.tag.to_string(),
            digest: signed.digest.to_oci(),
            size: signed.size,
            reference: ImageRef::pinned(repository, signed.digest),
            platforms: platforms
                .map(|p| PlatformReport { platform: p.name.clone(), digest: p.digest.to_oci(), size: p.size })
                .collect(),
            written: Written::from(&signed.published),
        }
    }
}

impl Report for SignReport {
    const SCHEMA: &'static str = "bulla/sign/v1";

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.reference);
        for platform in &self.platforms {
            line(&mut text, format_args!("{} {}", platform.digest, platform.platform));
        }
        text
    }
}

/// The answer of `verify` and `resolve`.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum VerdictReport {
    /// "Yes".
    Trusted {
        /// The repository.
        repository: String,
        /// The tag.
        tag: String,
        /// What to pull.
        digest: String,
        /// Size of the manifest, in bytes.
        size: u64,
        /// What to pull, as a reference.
        reference: String,
        /// Who says so.
        signed_by: Vec<VoucherReport>,
        /// When to ask again at the latest.
        valid_until: String,
        /// Why the trust server was not asked.
        offline: Option<String>,
    },
    /// "No".
    Refused {
        /// Names the reason, stable.
        reason: &'static str,
        /// The reason in words.
        message: String,
        /// What the signers vouch for.
        signed_digest: Option<String>,
        /// What the registry serves.
        served_digest: Option<String>,
        /// The exit code.
        exit_code: u8,
    },
}

/// One role that lists the tag.
#[derive(Clone, Debug, Serialize)]
pub struct VoucherReport {
    role: String,
    keys: Vec<String>,
    expires: String,
}

impl VerdictReport {
    /// "No", with the exit code that goes with it.
    #[must_use]
    pub fn refused(refusal: &Refusal, exit_code: u8) -> Self {
        let (signed, served) = match refusal {
            Refusal::Moved { signed, served, .. } => (Some(signed.to_oci()), Some(served.to_oci())),
            Refusal::Revoked { tombstone, .. } => (Some(tombstone.digest.to_oci()), None),
            _ => (None, None),
        };
        Self::Refused {
            reason: match refusal {
                Refusal::DigestNotSigned { .. } | Refusal::NotSigned { .. } => "not-signed",
                Refusal::Layout { .. } => "layout",
                Refusal::Moved { .. } => "moved",
                Refusal::NotVouched { .. } => "not-vouched",
                Refusal::Revoked { .. } => "revoked",
                Refusal::Size { .. } => "size",
            },
            message: refusal.to_string(),
            signed_digest: signed,
            served_digest: served,
            exit_code,
        }
    }
}

impl From<&Trusted> for VerdictReport {
    fn from(trusted: &Trusted) -> Self {
        let signed_by = trusted.signed_by.iter();
        Self::Trusted {
            repository: trusted.repository.to_string(),
            tag: trusted.tag.to_string(),
            digest: trusted.digest.to_oci(),
            size: trusted.size,
            reference: ImageRef::pinned(&trusted.repository, trusted.digest),
            signed_by: signed_by
                .map(|voucher| VoucherReport {
                    role: voucher.role.to_string(),
                    keys: voucher.keys.iter().map(ToString::to_string).collect(),
                    expires: voucher.expires.to_string(),
                })
                .collect(),
            valid_until: trusted.valid_until.to_string(),
            offline: trusted.offline.clone(),
        }
    }
}

impl Report for VerdictReport {
    const SCHEMA: &'static str = "bulla/verdict/v1";

    /// The reference to pull by and nothing else, so that it can be given to another program.
    fn text(&self) -> String {
        match self {
            Self::Trusted { reference, .. } => format!("{reference}\n"),
            Self::Refused { .. } => String::new(),
        }
    }
}

/// A tag that was revoked.
#[derive(Clone, Debug, Serialize)]
pub struct RevokeReport {
    repository: String,
    tag: String,
    digest: String,
    still_listed_by: Vec<String>,
    #[serde(flatten)]
    written: Written,
}

impl RevokeReport {
    /// Of what `revoke` did.
    #[must_use]
    pub fn new(repository: &RepositoryName, tag: &str, revoked: &Revoked) -> Self {
        Self {
            repository: repository.to_string(),
            tag: tag.to_owned(),
            digest: revoked.digest.to_oci(),
            still_listed_by: revoked.still_listed_by.iter().map(ToString::to_string).collect(),
            written: Written::from(&revoked.published),
        }
    }
}

impl Report for RevokeReport {
    const SCHEMA: &'static str = "bulla/revoke/v1";

    fn text(&self) -> String {
        format!("{}:{} {}\n", self.repository, self.tag, self.digest)
    }
}

/// A signer who came or went.
#[derive(Clone, Debug, Serialize)]
pub struct SignerChangeReport {
    repository: String,
    signer: String,
    keys: Vec<String>,
    taken_over: Vec<String>,
    dropped: Vec<String>,
    #[serde(flatten)]
    written: Written,
}

impl SignerChangeReport {
    /// Of what `signer add` did.
    #[must_use]
    pub fn added(repository: &RepositoryName, signer: &str, added: &Added) -> Self {
        Self {
            repository: repository.to_string(),
            signer: signer.to_owned(),
            keys: added.keys.iter().map(ToString::to_string).collect(),
            taken_over: added.taken_over.clone(),
            dropped: vec![],
            written: Written::from(&added.published),
        }
    }

    /// Of what `signer remove` did.
    #[must_use]
    pub fn removed(repository: &RepositoryName, signer: &str, removed: &Removed) -> Self {
        Self {
            repository: repository.to_string(),
            signer: signer.to_owned(),
            keys: vec![],
            taken_over: vec![],
            dropped: removed.dropped.clone(),
            written: Written::from(&removed.published),
        }
    }
}

impl Report for SignerChangeReport {
    const SCHEMA: &'static str = "bulla/signer-change/v1";

    fn text(&self) -> String {
        let mut text = format!("{} {}\n", self.repository, self.signer);
        for tag in &self.taken_over {
            line(&mut text, format_args!("taken over: {tag}"));
        }
        for tag in &self.dropped {
            line(&mut text, format_args!("not signed any more: {tag}"));
        }
        text
    }
}

/// The file that a signer hands to the admin.
#[derive(Clone, Debug, Serialize)]
pub struct EnrolmentReport {
    repository: String,
    signer: String,
    file: String,
}

impl EnrolmentReport {
    /// Of what `signer enrol` wrote.
    #[must_use]
    pub fn new(repository: &RepositoryName, signer: &str, file: &str) -> Self {
        Self { repository: repository.to_string(), signer: signer.to_owned(), file: file.to_owned() }
    }
}

impl Report for EnrolmentReport {
    const SCHEMA: &'static str = "bulla/enrolment/v1";

    fn text(&self) -> String {
        format!("{}\n", self.file)
    }
}

/// The signers of a repository.
#[derive(Clone, Debug, Serialize)]
pub struct SignersReport {
    repository: String,
    signers: Vec<SignerReport>,
}

#[derive(Clone, Debug, Serialize)]
struct SignerReport {
    name: String,
    patterns: Vec<String>,
    threshold: u32,
    keys: Vec<String>,
    version: u64,
    expires: String,
    expired: bool,
    tags: usize,
}

impl SignersReport {
    /// Of an inspection.
    #[must_use]
    pub fn new(inspection: &Inspection) -> Self {
        let signers = inspection.signers.iter().map(|signer| signer_report(inspection, signer)).collect();
        Self { repository: inspection.repository.to_string(), signers }
    }
}

impl Report for SignersReport {
    const SCHEMA: &'static str = "bulla/signers/v1";

    fn text(&self) -> String {
        signer_table(&self.signers)
    }
}

/// A repository, inspected.
#[derive(Clone, Debug, Serialize)]
pub struct InspectReport {
    repository: String,
    root_sha256: String,
    roles: Vec<RoleReport>,
    signers: Vec<SignerReport>,
    tags: Vec<TagReport>,
    offline: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct RoleReport {
    role: String,
    version: u64,
    expires: String,
    expired: bool,
    threshold: u32,
    keys: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct TagReport {
    tag: String,
    digest: Option<String>,
    size: Option<u64>,
    signed_by: Vec<String>,
    revoked_at: Option<String>,
    reason: Option<String>,
}

impl From<&Inspection> for InspectReport {
    fn from(inspection: &Inspection) -> Self {
        Self {
            repository: inspection.repository.to_string(),
            root_sha256: inspection.root_digest.to_string(),
            roles: inspection.roles.iter().map(|role| role_report(inspection, role)).collect(),
            signers: inspection.signers.iter().map(|signer| signer_report(inspection, signer)).collect(),
            tags: inspection.tags.iter().map(tag_report).collect(),
            offline: inspection.offline.clone(),
        }
    }
}

impl Report for InspectReport {
    const SCHEMA: &'static str = "bulla/inspect/v1";

    fn text(&self) -> String {
        let mut text = format!("{}\nroot sha256: {}\n\n", self.repository, self.root_sha256);
        let roles = self.roles.iter().map(|role| {
            let keys = format!("{} of {}", role.threshold, role.keys.len());
            vec![role.role.clone(), role.version.to_string(), keys, expiry(&role.expires, role.expired)]
        });
        text += &table(&["ROLE", "VERSION", "KEYS", "EXPIRES"], roles);
        if !self.signers.is_empty() {
            text.push('\n');
            text += &signer_table(&self.signers);
        }
        text.push('\n');
        let tags = self.tags.iter().map(|tag| {
            let by = match &tag.revoked_at {
                Some(at) => format!("REVOKED {at}"),
                None => tag.signed_by.join(", "),
            };
            vec![tag.tag.clone(), tag.digest.clone().unwrap_or_default(), by]
        });
        text + &table(&["TAG", "DIGEST", "SIGNED BY"], tags)
    }
}

/// Why a command failed.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorReport {
    /// What and where.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// The exit code.
    pub exit_code: u8,
}

impl Report for ErrorReport {
    const SCHEMA: &'static str = "bulla/error/v1";

    fn text(&self) -> String {
        let mut text = format!("error: {}\n", self.message);
        if let Some(hint) = &self.hint {
            line(&mut text, format_args!("hint: {hint}"));
        }
        text
    }
}

fn role_report(inspection: &Inspection, role: &RoleState) -> RoleReport {
    RoleReport {
        role: role.role.to_string(),
        version: role.version.get(),
        expires: role.expires.to_string(),
        expired: role.expires.is_over(inspection.now),
        threshold: role.threshold.get(),
        keys: role.keys.iter().map(ToString::to_string).collect(),
    }
}

fn signer_report(inspection: &Inspection, signer: &SignerState) -> SignerReport {
    let RoleReport { role, version, expires, expired, threshold, keys } =
        role_report(inspection, &signer.role);
    let (patterns, tags) = (signer.patterns.clone(), signer.tags);
    SignerReport { name: role, patterns, threshold, keys, version, expires, expired, tags }
}

fn tag_report(tag: &TagState) -> TagReport {
    let revoked = tag.revoked.as_ref();
    TagReport {
        tag: tag.tag.clone(),
        digest: tag.digest.map(|digest| digest.to_oci()),
        size: tag.size,
        signed_by: tag.signed_by.iter().map(ToString::to_string).collect(),
        revoked_at: revoked.map(|(at, _)| at.to_string()),
        reason: revoked.and_then(|(_, reason)| reason.clone()),
    }
}

fn signer_table(signers: &[SignerReport]) -> String {
    let rows = signers.iter().map(|signer| {
        let keys = format!("{} of {}", signer.threshold, signer.keys.len());
        let expires = expiry(&signer.expires, signer.expired);
        vec![signer.name.clone(), signer.patterns.join(", "), keys, signer.tags.to_string(), expires]
    });
    table(&["SIGNER", "TAGS ALLOWED", "KEYS", "TAGS", "EXPIRES"], rows)
}

fn expiry(expires: &str, expired: bool) -> String {
    if expired { format!("{expires} (expired)") } else { expires.to_owned() }
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_header(header);
    for row in rows {
        // What metadata of others says must not steer the terminal.
        table.add_row(row.into_iter().map(|cell| cell.escape_debug().to_string().replace("\\'", "'")));
    }
    table.trim_fmt() + "\n"
}

fn line(text: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = text.write_fmt(words);
    text.push('\n');
}
