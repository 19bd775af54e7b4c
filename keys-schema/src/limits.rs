//! Upper bounds on everything that comes from outside.
//!
//! The sizes are the defaults of python-tuf's and go-tuf's clients: metadata beyond them
//! could be published but not be read by them.

/// Largest root document, in bytes.
pub const ROOT_BYTES: usize = 512_000;
/// Largest timestamp document, in bytes.
pub const TIMESTAMP_BYTES: usize = 16_384;
/// Largest snapshot document, in bytes.
pub const SNAPSHOT_BYTES: usize = 2_000_000;
/// Largest targets or delegated targets document, in bytes.
pub const TARGETS_BYTES: usize = 5_000_000;
/// Largest image manifest kept as a target, in bytes; registries accept 4 MiB.
pub const MANIFEST_BYTES: usize = 4 * 1024 * 1024;
/// Largest target file of any kind, in bytes: the envelope of an attestation.
pub const TARGET_FILE_BYTES: usize = 16 * 1024 * 1024;
/// Root documents walked in one refresh (C3, endless data).
pub const ROOT_STEPS: usize = 256;
/// Delegated roles visited in one lookup (C25, resource abuse).
pub const VISITED_ROLES: usize = 32;
/// Delegated roles of one repository in Notary's dialect, whose clients visit all of them.
pub const NOTARY_ROLES: usize = 512;
/// Signatures one document may carry (CVE-2020-6173: thousands of bad signatures burn CPU).
pub const SIGNATURES: usize = 256;
/// Keys one document may list.
pub const KEYS: usize = 1_024;
/// Delegations one document may list.
pub const DELEGATIONS: usize = 4_096;
/// Nesting of JSON containers.
pub const JSON_DEPTH: usize = 64;
/// Objects and arrays in one JSON text: twice those of the largest document that lists tags.
pub const JSON_CONTAINERS: usize = 200_000;
/// Largest integer in metadata: beyond 2^53 - 1, JavaScript clients would see another number.
pub const JSON_INTEGER: i64 = (1 << 53) - 1;
/// Largest version that Bulla writes or accepts in an upload.
pub const WRITTEN_VERSION: u64 = i32::MAX as u64;
/// Largest version that a role in Notary's dialect may begin with. Its clients do not always
/// begin with 1; one that begins near the end could never be changed again.
pub const FIRST_VERSION: u64 = WRITTEN_VERSION / 2;
/// Longest repository name, in bytes.
pub const REPOSITORY_NAME_BYTES: usize = 255;
/// Longest role name read from metadata, in bytes.
pub const ROLE_NAME_BYTES: usize = 256;
/// Longest target path, in bytes.
pub const TARGET_PATH_BYTES: usize = 1_024;
/// Longest path pattern, in bytes.
pub const PATTERN_BYTES: usize = 1_024;
/// Largest signing request, in bytes of its JSON text.
pub const REQUEST_BYTES: usize = 8 * 1024 * 1024;
/// Largest signing request when it is made: the rest is room for signatures.
pub const NEW_REQUEST_BYTES: usize = 7 * 1024 * 1024;
/// Largest signing request with the documents that a machine without network needs to judge it.
pub const EXPORT_BYTES: usize = 64 * 1024 * 1024;
/// Largest file of signatures, in bytes of its JSON text.
pub const SIGNATURE_FILE_BYTES: usize = 1024 * 1024;
/// Documents in one signing request.
pub const REQUEST_DOCUMENTS: usize = 34;
/// Longest time that a signing request stays open, in seconds: 90 days.
pub const REQUEST_SECONDS: i64 = 90 * 24 * 60 * 60;
/// Longest free text in a signing request, in characters.
pub const REQUEST_TEXT: usize = 500;
/// Largest report of a scanner, in bytes.
pub const REPORT_BYTES: usize = 16 * 1024 * 1024;
/// How deep arrays and objects may lie in each other in a report.
pub const REPORT_DEPTH: usize = 64;
/// Values in a report: names of members are not counted, containers are.
pub const REPORT_VALUES: usize = 1_000_000;
/// Findings in a report. The largest images have a few thousand.
pub const REPORT_FINDINGS: usize = 100_000;
/// Largest envelope of an attestation, in bytes. In base64, a report of up to 12 MiB fits.
pub const ENVELOPE_BYTES: usize = TARGET_FILE_BYTES;
/// Signatures one envelope may carry: each is checked over all of its bytes.
pub const ENVELOPE_SIGNATURES: usize = 8;
/// Images one statement may be about.
pub const STATEMENT_SUBJECTS: usize = 1_024;
/// Layers of one manifest of signatures or attestations.
pub const SIGNATURE_LAYERS: usize = 256;
/// Entries in one list of what refers to an image.
pub const REFERRERS: usize = 1_000;
/// Largest payload of one signature, in bytes.
pub const SIMPLE_SIGNING_BYTES: usize = 64 * 1024;
/// Largest bundle that signs an image, in bytes.
pub const SIGNATURE_BUNDLE_BYTES: usize = 1024 * 1024;
/// Largest bundle with an attestation, in bytes: the largest envelope, and what stands around it.
pub const BUNDLE_BYTES: usize = ENVELOPE_BYTES + 64 * 1024;
/// Largest policy, in bytes.
pub const POLICY_BYTES: usize = 1024 * 1024;
/// Patterns of repositories in one policy.
pub const POLICY_PATTERNS: usize = 2_048;
