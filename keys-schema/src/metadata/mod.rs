//! The logical model of trust metadata, the same for both dialects.
//!
//! Values of these types say what a document means. Whether it can be trusted is said by
//! [`Verified`](crate::verify::Verified) around it.

mod counters;
mod denials;
mod image_facts;
mod keys;
mod root;
mod snapshot;
mod targets;
mod timestamp;

pub use counters::{Threshold, Version};
pub use denials::{Denial, DenyList};
pub use image_facts::{BaseImage, ChildFacts, Facts, ImageFacts, InvalidPlatform, Labels, Platform};
pub use keys::{KeyEntry, KeyTable, RoleKeys};
pub use root::{Root, TopLevelRole};
pub use snapshot::{MetaInfo, Snapshot};
pub use targets::{
    Children, DelegatedRole, Delegations, Scope, SuccinctRoles, TargetInfo, Targets, Tombstone,
};
pub use timestamp::Timestamp;
