//! Text that is elsewhere: in a bucket, or in a dataset of the Hugging Face Hub.

use crate::cli::{Exit, Failure};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};
use templar::{
    bucket::{NamedBucket, S3Store, Store},
    data::{Bring, DataError, InputFile, Kind, Place, local},
    hub::{Hub, Repo, Snapshot},
};
use tokio::runtime::Handle;

/// How a dataset of the Hub begins.
const DATASETS: &str = "hf://datasets/";
/// Bytes that are held of a file that comes from a bucket.
const PART: u64 = 16 << 20;
/// Objects of a bucket that are listed.
const MOST_OBJECTS: usize = 1_000_000;

/// The files of all inputs, in their order.
pub async fn files(inputs: &[String]) -> Result<Vec<InputFile>, Failure> {
    let mut files = Vec::new();
    let mut here: Vec<PathBuf> = Vec::new();
    for input in inputs {
        if NamedBucket::is_named(input) {
            files.extend(in_bucket(input).await?);
        } else if input.starts_with(DATASETS) {
            files.extend(in_dataset(input).await?);
        } else if input.contains("://") {
            return Err(Failure::new(Exit::Usage, format!("`{input}` is no place that text is read from"))
                .hint("name a file, a folder, s3://BUCKET/PREFIX or hf://datasets/OWNER/NAME"));
        } else {
            here.push(PathBuf::from(input));
        }
    }
    if !here.is_empty() {
        files.extend(local(&here)?);
    }
    Ok(files)
}

/// Some of these, or a sentence.
fn some(files: Vec<InputFile>, input: &str) -> Result<Vec<InputFile>, Failure> {
    if files.is_empty() {
        return Err(DataError::NoText { sources: input.to_owned() }.into());
    }
    Ok(files)
}

async fn in_bucket(input: &str) -> Result<Vec<InputFile>, Failure> {
    let NamedBucket { store, prefix } = NamedBucket::open(input, |name| std::env::var(name).ok())?;
    let mut keys = store.list(&prefix, MOST_OBJECTS).await?;
    // The place may also be one object.
    let single = prefix.trim_end_matches('/');
    if keys.is_empty() && !single.is_empty() && store.head(single).await?.is_some() {
        keys.push(single.to_owned());
    }
    let mut files = Vec::new();
    for key in keys {
        let Some(kind) = Kind::of(&key) else { continue };
        let Some(info) = store.head(&key).await? else { continue };
        let object =
            InBucket { store: store.clone(), key: key.clone(), bytes: info.size, handle: Handle::current() };
        let place = Place::Elsewhere(Arc::new(object));
        files.push(InputFile { name: key, bytes: info.size, kind, place, named: false });
    }
    some(files, input)
}

/// An object of a bucket.
#[derive(Debug)]
struct InBucket {
    store: S3Store,
    key: String,
    bytes: u64,
    handle: Handle,
}

impl Bring for InBucket {
    fn bring(&self, to: &Path) -> Result<(), DataError> {
        let failed = |source| DataError::File { action: "write", path: to.to_owned(), source };
        let mut file = File::create(to).map_err(failed)?;
        let mut start = 0;
        while start < self.bytes {
            let length = PART.min(self.bytes - start);
            let part = self.handle.block_on(self.store.get_range(&self.key, start, length));
            let part =
                part.map_err(|e| DataError::Unreachable { what: self.key.clone(), problem: e.to_string() })?;
            file.write_all(&part).map_err(failed)?;
            start += length;
        }
        Ok(())
    }
}

async fn in_dataset(input: &str) -> Result<Vec<InputFile>, Failure> {
    let bad = || {
        Failure::new(Exit::Usage, format!("`{input}` is no dataset of the Hub"))
            .hint("write it as hf://datasets/OWNER/NAME, with a folder and @REVISION behind it where they are needed")
    };
    let rest = input.strip_prefix(DATASETS).ok_or_else(bad)?;
    let (rest, revision) = rest.split_once('@').map_or((rest, None), |(rest, at)| (rest, Some(at)));
    let mut parts = rest.splitn(3, '/');
    let (owner, name) = (parts.next().ok_or_else(bad)?, parts.next().ok_or_else(bad)?);
    let folder = parts.next().unwrap_or_default().trim_end_matches('/');
    let revision = revision.map(|revision| format!("@{revision}")).unwrap_or_default();
    let repo: Repo = format!("hf:datasets/{owner}/{name}{revision}").parse()?;
    let hub = Hub::from_env(|name| std::env::var(name).ok())?;
    let snapshot = hub.snapshot(&repo).await?;
    let within = |name: &str| {
        let below = name.strip_prefix(folder);
        folder.is_empty() || below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
    };
    let mut names: Vec<String> = snapshot.files().filter(|name| within(name)).map(str::to_owned).collect();
    names.sort();
    let mut files = Vec::new();
    for name in names {
        let Some(kind) = Kind::of(&name) else { continue };
        let bytes = snapshot.bytes(|other| other == name);
        let file = InDataset {
            hub: hub.clone(),
            snapshot: snapshot.clone(),
            name: name.clone(),
            handle: Handle::current(),
        };
        files.push(InputFile { name, bytes, kind, place: Place::Elsewhere(Arc::new(file)), named: false });
    }
    some(files, input)
}

/// A file of a dataset. It is in the Hub's cache only while it is read: a dataset may be larger than the disk.
#[derive(Debug)]
struct InDataset {
    hub: Hub,
    snapshot: Snapshot,
    name: String,
    handle: Handle,
}

impl Bring for InDataset {
    fn bring(&self, to: &Path) -> Result<(), DataError> {
        let fetched = self.handle.block_on(self.hub.fetch(&self.snapshot, |name| name == self.name, |_| ()));
        let folder = fetched
            .map_err(|e| DataError::Unreachable { what: self.name.clone(), problem: e.to_string() })?;
        let link = folder.join(&self.name);
        let moved = fs::canonicalize(&link).and_then(|blob| {
            fs::rename(&blob, to).or_else(|_| fs::copy(&blob, to).and_then(|_| fs::remove_file(&blob)))
        });
        let _ = fs::remove_file(&link);
        moved.map_err(|source| DataError::File { action: "write", path: to.to_owned(), source })
    }
}
