//! What the crate `tuf` thinks of a set of metadata.
//!
//! It reads Ed25519 keys in hexadecimal and no other, knows no glob patterns, and is lax
//! about rollback. A yes of it is therefore necessary and never sufficient.

use tuf::Database;
use tuf::metadata::{RawSignedMetadata, RawSignedMetadataSetBuilder};
use tuf::pouf::Pouf1;

/// Follow `roots` from the first, which is trusted, to the last, then accept `timestamp`,
/// `snapshot` and `targets` at the machine's present time.
///
/// # Errors
/// The crate's own words for refusing one of them.
///
/// # Panics
/// `roots` is empty.
pub fn second_opinion(
    roots: &[&[u8]],
    timestamp: &[u8],
    snapshot: &[u8],
    targets: &[u8],
) -> Result<(), tuf::error::Error> {
    let (pinned, later) = roots.split_first().expect("a second opinion starts from a pinned root");
    let mut database = Database::<Pouf1>::from_trusted_root(&RawSignedMetadata::new(pinned.to_vec()))?;
    for root in later {
        database.update_root(&RawSignedMetadata::new(root.to_vec()))?;
    }
    let below_root = RawSignedMetadataSetBuilder::new()
        .timestamp(RawSignedMetadata::new(timestamp.to_vec()))
        .snapshot(RawSignedMetadata::new(snapshot.to_vec()))
        .targets(RawSignedMetadata::new(targets.to_vec()))
        .build();
    let updated = database.update_metadata(&below_root)?;
    assert!(updated, "an empty database took nothing from a full set");
    Ok(())
}
