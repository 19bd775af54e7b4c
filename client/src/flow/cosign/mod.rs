//! Signatures as cosign and podman keep them: in the registry, beside the image.

pub mod import;
pub mod look;
pub mod only;
mod place;
pub mod verify;
pub mod write;
