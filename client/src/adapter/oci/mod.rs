//! What registries are asked for, one file per kind of request, over a way that knows logins,
//! tokens, repetition and bounds.
//!
//! Not `oci-client`'s: that crate reads an answer of any length into memory, gives no header of
//! the answer to a push (`OCI-Subject` says who has to keep the list of referrers), takes any
//! failure to list referrers for "there are none", and cannot make a push conditional. Its types
//! for logins are used.

mod answer;
mod read;
mod way;
mod write;

pub(super) use read::{read_blob, read_manifest, read_referrers, read_tags};
pub(super) use way::{Way, WayTo};
pub(super) use write::{write_blob, write_manifest};
