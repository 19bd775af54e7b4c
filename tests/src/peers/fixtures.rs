//! Repositories made by other projects, which lie beside this one and are not copied into it.

use std::path::{Path, PathBuf};

/// The folder `name` under `../shared/data`, or nothing, said aloud, where it is absent.
///
/// # Panics
/// In CI, where the folder has to be there.
#[must_use]
pub fn folder(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(name);
    if !path.is_dir() {
        super::absent(&format!("the folder of test data {name}"), "put it at ../shared/data");
        return None;
    }
    Some(path)
}
