//! The sources of a folder, for tests that read them.

use std::path::{Path, PathBuf};

/// Each file with Rust code in `folder` and in the folders inside.
pub(crate) fn sources_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
