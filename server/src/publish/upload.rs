//! What somebody sent, before anything of it is believed.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Hashed;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::verify::submission::{Rejection, Submission};

use super::{PublishFailure, size};
use crate::store::{HeadToken, OperationId};

/// An upload to one repository.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Which repository.
    pub repository: RepositoryName,
    /// How its documents are encoded: like those that are there, if there are any.
    pub dialect: Dialect,
    /// What it was built on.
    pub base: Base,
    /// Chosen by the publisher; done once. `None` for publishers that know of no such thing.
    pub operation: Option<OperationId>,
    /// The documents as their file names call them; roots oldest first.
    pub documents: Vec<Uploaded>,
    /// Bytes of targets.
    pub targets: Vec<Hashed>,
    /// Who sent it.
    pub actor: String,
}

/// What an upload was built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// This head, `None` to create the repository. With another one it is a conflict.
    Head(Option<HeadToken>),
    /// Whatever is current when its turn comes: the versions tell whether it fits.
    Latest,
}

/// A document of an upload.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// Its role.
    pub role: RoleName,
    /// Its version, if its file name tells it.
    pub version: Option<Version>,
    /// Its bytes.
    pub bytes: Hashed,
}

/// The versions that the file names of an upload promised.
pub(super) struct Names(BTreeMap<RoleName, BTreeSet<Version>>);

impl Upload {
    /// All bytes together.
    pub(super) fn bytes(&self) -> usize {
        let documents: usize = self.documents.iter().map(|document| document.bytes.len()).sum();
        documents + self.targets.iter().map(|target| target.len()).sum::<usize>()
    }

    /// The documents each of which is heavy work alone.
    pub(super) fn heavy_documents(&self) -> Vec<Hashed> {
        let documents = self.documents.iter().map(|document| &document.bytes);
        documents.filter(|bytes| size::is_heavy(bytes.len())).cloned().collect()
    }

    pub(super) fn names(&self) -> Names {
        let mut names: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for document in &self.documents {
            names.entry(document.role.clone()).or_default().extend(document.version);
        }
        Names(names)
    }

    /// # Errors
    /// A role that cannot be uploaded, or twice a role that can have one document only.
    pub(super) fn into_submission(self) -> Result<Submission, PublishFailure> {
        let mut submission = Submission { target_files: self.targets, ..Submission::default() };
        for Uploaded { role, bytes, .. } in self.documents {
            let replaced = match &role {
                RoleName::Root => {
                    submission.roots.push(bytes);
                    None
                }
                RoleName::Targets => submission.targets.replace(bytes),
                RoleName::Delegated(name) => submission.delegated.insert(name.clone(), bytes),
                RoleName::Snapshot => submission.snapshot.replace(bytes),
                RoleName::Timestamp => return Err(Rejection::OnlineRole { role }.into()),
            };
            if replaced.is_some() {
                return Err(PublishFailure::Twice { role });
            }
        }
        Ok(submission)
    }
}

impl Names {
    /// Compares the promised versions with the true ones.
    ///
    /// # Errors
    /// A document of another version than its file name said: somebody mixed up files.
    pub(super) fn compare(&self, documents: &[(RoleName, Version, Hashed)]) -> Result<(), PublishFailure> {
        for (role, version, _) in documents {
            let Some(named) = self.0.get(role) else { continue };
            if let Some(first) = named.first()
                && !named.contains(version)
            {
                return Err(PublishFailure::Misnamed { role: role.clone(), named: *first, found: *version });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn upload(roles: &[&str]) -> Upload {
        let document = |role: &&str| Uploaded {
            role: role.parse().unwrap(),
            version: Some(Version::FIRST),
            bytes: Bytes::from_static(b"{}").into(),
        };
        Upload {
            repository: "a".parse().unwrap(),
            dialect: Dialect::Tuf1,
            base: Base::Head(None),
            operation: None,
            documents: roles.iter().map(document).collect(),
            targets: Vec::new(),
            actor: String::new(),
        }
    }

    #[test]
    fn several_roots_but_one_of_everything_else() {
        let submission = upload(&["root", "root", "targets", "alice"]).into_submission().ok().unwrap();
        assert_eq!((submission.roots.len(), submission.delegated.len()), (2, 1));
        for twice in [["targets", "targets"], ["alice", "alice"]] {
            let failure = upload(&twice).into_submission().err().unwrap();
            assert!(matches!(failure, PublishFailure::Twice { .. }), "{failure}");
        }
        let failure = upload(&["timestamp"]).into_submission().err().unwrap();
        let refused = matches!(failure, PublishFailure::Rejected(Rejection::OnlineRole { .. }));
        assert!(refused, "{failure}");
    }

    #[test]
    fn file_names_must_tell_the_truth() {
        let names = upload(&["root"]).names();
        let second = Version::new(2).unwrap();
        let document = |version| [(RoleName::Root, version, Bytes::new().into())];
        assert!(names.compare(&document(Version::FIRST)).is_ok());
        assert!(matches!(names.compare(&document(second)), Err(PublishFailure::Misnamed { .. })));
        let mut unnamed = upload(&["root"]);
        unnamed.documents[0].version = None;
        assert!(unnamed.names().compare(&document(second)).is_ok());
    }
}
