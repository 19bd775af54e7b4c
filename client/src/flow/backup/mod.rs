//! Backups of a home: made, judged before they are needed, and brought back.

pub mod check;
pub mod docker_folder;
pub mod make;
pub mod restore;
