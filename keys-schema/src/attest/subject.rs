//! Which image a report says that it is of.

use std::collections::BTreeSet;

use crate::digest::Sha256Digest;

/// What one part of a report says of its image. Each digest names one content, so one that fits is
/// enough, in the order of what it proves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectClaim {
    /// Of the manifest, or of the index above it: what was pulled.
    pub manifests: BTreeSet<Sha256Digest>,
    /// Image ids: of the configuration, or, from some container engines, of the manifest or the index.
    pub image_ids: BTreeSet<Sha256Digest>,
    /// Of the unpacked layers, the lowest first: what a scan of an archive or of a local build knows.
    pub diff_ids: Vec<Sha256Digest>,
}

/// All that is known of an image: what a claim can be held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageIdentity {
    /// The digest of its manifest, or of the index itself, if that is what is asked about.
    pub manifest: Sha256Digest,
    /// The digest of the index that it was chosen from.
    pub index: Option<Sha256Digest>,
    /// The digest of its configuration.
    pub config: Option<Sha256Digest>,
    /// The `rootfs.diff_ids` of its configuration; empty if nobody looked.
    pub diff_ids: Vec<Sha256Digest>,
}

impl SubjectClaim {
    /// Of manifests or indexes alone.
    pub(super) fn of_manifests(manifests: BTreeSet<Sha256Digest>) -> Self {
        Self { manifests, ..Self::default() }
    }

    /// Whether nothing is claimed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.manifests.is_empty() && self.image_ids.is_empty() && self.diff_ids.is_empty()
    }

    /// Whether it gives this digest.
    pub(super) fn names(&self, digest: &Sha256Digest) -> bool {
        self.manifests.contains(digest) || self.image_ids.contains(digest)
    }

    /// The index says nothing where an image id is known: it would vouch for the other platforms.
    pub(super) fn is_of(&self, image: &ImageIdentity) -> bool {
        let is_named = |digest: Option<&Sha256Digest>| digest.is_some_and(|digest| self.names(digest));
        let has_no_id = self.image_ids.is_empty() || image.config.is_none();
        self.names(&image.manifest)
            || is_named(image.config.as_ref())
            || (has_no_id && is_named(image.index.as_ref()))
            || (!self.diff_ids.is_empty() && self.diff_ids == image.diff_ids)
    }

    /// Whether it is of another image, as far as that can be told: layers that nobody has looked up
    /// speak neither for nor against it.
    pub(super) fn is_of_another(&self, image: &ImageIdentity) -> bool {
        let is_by_layers =
            self.manifests.is_empty() && !self.diff_ids.is_empty() && image.diff_ids.is_empty();
        !self.is_empty() && !is_by_layers && !self.is_of(image)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_vouches_for_no_other_platform_than_the_one_that_was_scanned() {
        let digest = |byte| Sha256Digest::from_bytes([byte; 32]);
        let (index, manifest, config) = (digest(1), digest(2), digest(3));
        let image = ImageIdentity {
            manifest,
            index: Some(index),
            config: Some(config),
            diff_ids: vec![digest(4), digest(5)],
        };
        let claim = |manifests: &[u8], ids: &[u8], layers: &[u8]| {
            let all = |bytes: &[u8]| bytes.iter().map(|byte| digest(*byte)).collect::<Vec<_>>();
            SubjectClaim {
                manifests: all(manifests).into_iter().collect(),
                image_ids: all(ids).into_iter().collect(),
                diff_ids: all(layers),
            }
        };
        for (claim, is_of) in [
            (claim(&[2], &[], &[]), true),
            (claim(&[1], &[], &[]), true),
            (claim(&[1], &[3], &[]), true),
            // Of another platform of the same index.
            (claim(&[1], &[9], &[9]), false),
            (claim(&[9], &[3], &[]), true),
            (claim(&[], &[2], &[]), true),
            (claim(&[9], &[9], &[4, 5]), true),
            (claim(&[9], &[9], &[5, 4]), false),
            (claim(&[9], &[9], &[4]), false),
            (claim(&[4], &[5], &[]), false),
            (claim(&[], &[], &[]), false),
        ] {
            assert_eq!(claim.is_of(&image), is_of, "{claim:?}");
        }
        let unread = ImageIdentity { manifest, index: Some(index), config: None, diff_ids: Vec::new() };
        assert!(claim(&[1], &[9], &[]).is_of(&unread) && !claim(&[9], &[9], &[]).is_of(&unread));
    }
}
