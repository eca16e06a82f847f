//! Libraries that are opened when the program runs, because most machines have none of them.

#![allow(
    unsafe_code,
    reason = "libraries are opened by name, and their functions are what their vendor's headers say"
)]

use libloading::Library;
use std::path::{Path, PathBuf};

/// Opens the first of some libraries that is there.
pub(crate) fn open(candidates: &[PathBuf]) -> Result<Library, String> {
    let mut problem = "no library is known".to_owned();
    for candidate in candidates {
        // SAFETY: the driver's and NVRTC's initialisers only set up their own state.
        match unsafe { Library::new(candidate) } {
            Ok(library) => return Ok(library),
            // Of the names that are tried the first says most.
            Err(error) if Some(candidate) == candidates.first() => problem = error.to_string(),
            Err(_) => {}
        }
    }
    Err(problem)
}

/// A function of a library, by its name; `F` is its type in the vendor's header.
pub(crate) fn function<F: Copy>(library: &Library, name: &str) -> Result<F, String> {
    // SAFETY: the caller states the type that the header has; the library outlives the function, because both are kept together.
    unsafe { library.get::<F>(name.as_bytes()) }.map(|function| *function).map_err(|error| error.to_string())
}

/// Files of this kind in the folders of packages that lie beside libtorch: `nvidia/*/lib/NAME*`.
pub(crate) fn beside(packages: &Path, name: &str) -> Vec<PathBuf> {
    let entries = |folder: &Path| -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        entries.flatten().map(|entry| entry.path()).collect()
    };
    let libraries =
        entries(&packages.join("nvidia")).into_iter().flat_map(|package| entries(&package.join("lib")));
    let mut found: Vec<PathBuf> = libraries
        .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(name)))
        .collect();
    found.sort();
    found
}
