//! Names, parsed once at the door: safe as path, as key and in messages from then on.

mod image;
mod pattern;
mod repository;
mod role;
mod target;

pub use image::{ImageRef, InvalidImageRef, InvalidTag, Tag};
pub use pattern::{InvalidPattern, PathPattern};
pub use repository::{InvalidRepositoryName, RepositoryName};
pub use role::{DelegatedRoleName, InvalidRoleName, RELEASES, REVOCATIONS, RoleName, SignerName};
pub use target::{InvalidTargetPath, TargetPath};
