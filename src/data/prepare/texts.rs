//! Folders of text files: which are taken, in which order, and the text that every builder has.

use super::inputs::{InputFile, Kind, Place};
use crate::data::DataError;
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Which files of a folder are text.
const EXTENSIONS: [&str; 3] = ["rs", "md", "txt"];
/// Larger files of a folder are left out: they are tables and generated code, which repeat themselves.
const LARGEST_FILE: u64 = 200_000;
/// Folders inside of folders are followed this far.
pub(super) const DEEPEST: usize = 32;

/// The file by which cargo marks a crate that it unpacked.
const UNPACKED: &str = ".cargo-ok";
/// Crates that this library needs on every system: whoever built it has their sources, 30 MB of text and code by many
/// hands. Together with the lock file the list pins every byte of the default text.
const DEFAULT_TEXT: [&str; 29] = [
    "bitvec",
    "chrono",
    "curve25519-dalek",
    "futures-util",
    "h2",
    "hashbrown",
    "http",
    "hyper",
    "hyper-util",
    "indexmap",
    "itertools",
    "memchr",
    "ndarray",
    "num-bigint",
    "parquet",
    "quick-xml",
    "regex-automata",
    "regex-syntax",
    "rustls",
    "s3s",
    "serde_json",
    "subxt",
    "syn",
    "time",
    "tokio",
    "tokio-util",
    "tracing-subscriber",
    "winnow",
    "zerocopy",
];
/// Which versions of them were built.
const LOCK: &str = include_str!("../../../Cargo.lock");

/// The text that every builder has: the sources of some of this library's dependencies, in the versions of its lock
/// file, where cargo unpacked them (`$CARGO_HOME/registry/src/*/`). It is the same on every machine.
///
/// # Errors
/// [`DataError::NoRegistry`] where one of them is missing.
pub fn default_sources() -> Result<Vec<PathBuf>, DataError> {
    let no_registry = |missing: &str| DataError::NoRegistry { missing: missing.to_owned() };
    let home = env::var_os("CARGO_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let home = home.or_else(|| Some(env::home_dir()?.join(".cargo"))).ok_or_else(|| no_registry("cargo"))?;
    let listed = fs::read_dir(home.join("registry").join("src"));
    let registries: Vec<PathBuf> = listed.into_iter().flatten().flatten().map(|e| e.path()).collect();
    let crates = DEFAULT_TEXT.iter().map(|name| {
        let folder = format!("{name}-{}", locked_version(name).unwrap_or_default());
        let found = registries.iter().map(|registry| registry.join(&folder)).find(|path| path.is_dir());
        found.ok_or_else(|| no_registry(&folder))
    });
    crates.collect()
}

/// The version of a crate in the lock file; the first that is listed, the oldest, where there are several.
fn locked_version(name: &str) -> Option<&'static str> {
    let quoted =
        |line: &'static str, key: &str| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"');
    let mut lines = LOCK.lines();
    lines.find(|line| quoted(line, "name") == Some(name))?;
    quoted(lines.next()?, "version")
}

struct Candidate {
    /// By this files are ordered: the hash of the path without versions, then the path itself.
    order: ([u8; 32], String),
    path: PathBuf,
    bytes: u64,
    /// Named by the user, so taken whatever its extension and size.
    named: bool,
}

/// The text files of sources (text files, or folders whose `.rs`, `.md` and `.txt` files are taken), in the order in which they are read: by the
/// hash of their path within their source, which mixes the text of many projects. Versions of one crate stay next to each other, so that held-out
/// text is not a newer version of trained text.
pub(super) fn files(sources: &[PathBuf]) -> Result<Vec<InputFile>, DataError> {
    let mut candidates = Vec::new();
    for source in sources {
        let fail = |e| DataError::File { action: "read", path: source.clone(), source: e };
        let metadata = fs::metadata(source).map_err(fail)?;
        if metadata.is_dir() {
            // Fails where the user's own folder cannot be read; inside, that only leaves files out.
            fs::read_dir(source).map_err(fail)?;
            // A crate's own name counts, as if the registry with all of its crates had been given.
            let within = match source.file_name() {
                Some(name) if source.join(UNPACKED).exists() => format!("{}/", name.to_string_lossy()),
                _ => String::new(),
            };
            walk(source, &within, &mut candidates, DEEPEST);
        } else {
            let name = source.file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
            candidates.push(Candidate {
                order: order(&name),
                path: source.clone(),
                bytes: metadata.len(),
                named: true,
            });
        }
    }
    candidates.sort_by(|a, b| a.order.cmp(&b.order));
    let file = |Candidate { order, path, bytes, named }| InputFile {
        name: order.1,
        bytes,
        kind: Kind::Text,
        place: Place::Here(path),
        named,
    };
    Ok(candidates.into_iter().map(file).collect())
}

/// Collects the text files below a folder. `within` is the folder's path in its source, with a slash at
/// its end. Links are not followed, so there are no loops; what cannot be read is left out.
fn walk(folder: &Path, within: &str, candidates: &mut Vec<Candidate>, depth: usize) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        let path = entry.path();
        let within = format!("{within}{name}");
        if kind.is_dir() {
            if depth > 0 && !name.starts_with('.') {
                walk(&path, &format!("{within}/"), candidates, depth - 1);
            }
        } else if kind.is_file()
            && path.extension().and_then(|e| e.to_str()).is_some_and(|e| EXTENSIONS.contains(&e))
            && let Ok(metadata) = entry.metadata()
            && metadata.len() <= LARGEST_FILE
        {
            candidates.push(Candidate { order: order(&within), path, bytes: metadata.len(), named: false });
        }
    }
}

fn order(within: &str) -> ([u8; 32], String) {
    let mut parts = within.splitn(2, '/');
    let project = without_version(parts.next().unwrap_or_default());
    let mut hash = blake3::Hasher::new();
    hash.update(project.as_bytes()).update(b"/").update(parts.next().unwrap_or_default().as_bytes());
    (*hash.finalize().as_bytes(), within.to_owned())
}

/// A crate's folder is `name-1.2.3`.
fn without_version(folder: &str) -> &str {
    match folder.rsplit_once('-') {
        Some((name, version)) if version.starts_with(|c: char| c.is_ascii_digit()) => name,
        _ => folder,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_text_is_of_locked_crates() {
        for name in DEFAULT_TEXT {
            let version = locked_version(name);
            assert!(
                version.is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit())),
                "{name}: {version:?}"
            );
        }
        assert_eq!(locked_version("no-such-crate"), None);
    }

    #[test]
    fn versions_of_a_crate_stay_together() {
        assert_eq!(without_version("serde_json-1.0.150"), "serde_json");
        assert_eq!(without_version("windows-sys-0.59.0"), "windows-sys");
        assert_eq!(without_version("plain-folder"), "plain-folder");
        let (old, new) = (order("windows-sys-0.52.0/src/lib.rs"), order("windows-sys-0.59.0/src/lib.rs"));
        assert_eq!(old.0, new.0);
        assert!(old < new);
        assert_ne!(old.0, order("windows-sys-0.59.0/src/main.rs").0);
    }
}
