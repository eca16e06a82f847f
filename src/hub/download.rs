//! Files of a repository, fetched into the cache.

use super::{
    Hub, HubError, Repo, body,
    cache::{RepoCache, is_hash, is_inside},
};
use futures::{StreamExt, TryStreamExt, stream};
use reqwest::{Method, Response, StatusCode, Url, header};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

/// Bytes of one range.
const RANGE: u64 = 8 << 20;
/// Ranges that are fetched side by side.
const AT_ONCE: usize = 8;
/// No file of a model or dataset is larger; room is made for it before it comes.
const MAX_FILE: u64 = 1 << 40;

/// A repository at one commit.
#[derive(Debug, Clone)]
pub struct Snapshot {
    repo: Repo,
    commit: String,
    files: Vec<RepoFile>,
    cache: RepoCache,
}

#[derive(Debug, Clone)]
struct RepoFile {
    name: String,
    size: Option<u64>,
    /// What the blob is called: SHA-256 of a large file, git's hash of another.
    hash: String,
}

#[derive(Deserialize)]
struct Described {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    oid: Option<String>,
    size: Option<u64>,
}

impl Snapshot {
    /// Names of its files.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }

    /// Bytes of the files that are wanted, as far as the repository says.
    pub fn bytes(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        self.files.iter().filter(|file| wanted(&file.name)).filter_map(|file| file.size).sum()
    }

    /// The folder with the files that were fetched.
    pub fn folder(&self) -> PathBuf {
        self.cache.snapshot(&self.commit)
    }
}

impl Hub {
    /// What a repository holds now. Where the Hub may not be asked or cannot be reached, what the cache has of it.
    ///
    /// # Errors
    /// [`HubError`] where there is no such repository, or no access to it.
    pub async fn snapshot(&self, repo: &Repo) -> Result<Snapshot, HubError> {
        let cache = RepoCache::new(&self.cache, repo);
        if self.offline {
            return cached(repo, cache).ok_or_else(|| HubError::Offline { repo: repo.clone() });
        }
        let path =
            format!("api/{}/{}/revision/{}?blobs=true", repo.plural(), repo.id, repo.escaped_revision());
        let url = self.url(&path)?;
        let what = repo.to_string();
        let answer = match self.retry(&what, || self.request(Method::GET, url.clone()), body).await {
            Ok(answer) => answer,
            Err(error @ HubError::Broken { .. }) => {
                let Some(found) = cached(repo, cache) else { return Err(error) };
                tracing::warn!(%error, "the Hub cannot be reached; what the cache has is used");
                return Ok(found);
            }
            Err(error) => return Err(error),
        };
        let problem = |problem: String| HubError::Answer { what: what.clone(), problem };
        let described: Described = serde_json::from_slice(&answer).map_err(|e| problem(e.to_string()))?;
        if !is_hash(&described.sha) {
            return Err(problem("its commit is no hash".to_owned()));
        }
        let mut files = Vec::new();
        for Sibling { rfilename: name, size, blob_id, lfs } in described.siblings {
            if !is_inside(&name) {
                return Err(problem(format!("its file `{}` leads out of it", name.escape_debug())));
            }
            let large = lfs.as_ref().and_then(|lfs| lfs.sha256.clone().or_else(|| lfs.oid.clone()));
            let size = lfs.and_then(|lfs| lfs.size).or(size);
            if size.is_some_and(|size| size > MAX_FILE) {
                return Err(problem(format!("its file {name} is said to have more than {MAX_FILE} bytes")));
            }
            let hash = large.or(blob_id).filter(|hash| is_hash(hash));
            let hash = hash.ok_or_else(|| problem(format!("its file {name} has no hash")))?;
            files.push(RepoFile { name, size, hash });
        }
        cache.remember(&repo.revision, &described.sha)?;
        Ok(Snapshot { repo: repo.clone(), commit: described.sha, files, cache })
    }

    /// Fetches the files that are wanted and not there yet; `told` hears the bytes that are there. Returns their folder.
    ///
    /// # Errors
    /// [`HubError`]; what came until then is kept, and gone on with the next time.
    pub async fn fetch(
        &self,
        snapshot: &Snapshot,
        wanted: impl Fn(&str) -> bool,
        told: impl Fn(u64),
    ) -> Result<PathBuf, HubError> {
        snapshot.cache.make_blobs()?;
        for file in snapshot.files.iter().filter(|file| wanted(&file.name)) {
            let blob = snapshot.cache.blob(&file.hash);
            let there =
                fs::metadata(&blob).is_ok_and(|found| file.size.is_none_or(|size| found.len() == size));
            if there {
                told(file.size.unwrap_or(0));
            } else if self.offline {
                return Err(HubError::Offline { repo: snapshot.repo.clone() });
            } else {
                self.fetch_file(snapshot, file, &blob, &told).await?;
            }
            snapshot.cache.link(&snapshot.commit, &file.name, &file.hash)?;
        }
        Ok(snapshot.folder())
    }

    async fn fetch_file(
        &self,
        snapshot: &Snapshot,
        file: &RepoFile,
        blob: &Path,
        told: &impl Fn(u64),
    ) -> Result<(), HubError> {
        let (repo, name) = (&snapshot.repo, &file.name);
        let kind = if repo.plural() == "datasets" { "datasets/" } else { "" };
        let escaped: Vec<String> = name.split('/').map(escape).collect();
        let path = format!("{kind}{}/resolve/{}/{}", repo.id, snapshot.commit, escaped.join("/"));
        let url = self.url(&path)?;
        let part = Part::open(blob, file.size)?;
        let what = format!("{name} of {repo}");
        match file.size {
            Some(size) if size > RANGE => {
                let missing = part.missing(size);
                told(size - missing.iter().map(|from| RANGE.min(size - from)).sum::<u64>());
                let ranges = stream::iter(missing.into_iter().map(|from| {
                    let to = (from + RANGE).min(size);
                    self.fetch_range(&what, &url, &part, from, to, told)
                }));
                ranges.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
            }
            _ => {
                let bytes = self.retry(&what, || self.request(Method::GET, url.clone()), whole).await?;
                if file.size.is_some_and(|size| size != bytes.len() as u64) {
                    return Err(part.wrong(name));
                }
                told(bytes.len() as u64);
                part.write(0, &bytes)?;
            }
        }
        part.finish(name, &file.hash)
    }

    /// Fetches one range. A server that answers with the whole file is read up to the range's end.
    async fn fetch_range(
        &self,
        what: &str,
        url: &Url,
        part: &Part,
        from: u64,
        to: u64,
        told: &impl Fn(u64),
    ) -> Result<(), HubError> {
        let range = format!("bytes={from}-{}", to - 1);
        let make = || self.request(Method::GET, url.clone()).header(header::RANGE, &range);
        let read = |response: Response| async move { ranged(response, from, to).await };
        let bytes = self.retry(what, make, read).await?;
        if bytes.len() as u64 != to - from {
            let problem = format!("a range of {} bytes has {}", to - from, bytes.len());
            return Err(HubError::Answer { what: what.to_owned(), problem });
        }
        part.write(from, &bytes)?;
        part.done(from)?;
        told(to - from);
        Ok(())
    }
}

/// A whole file that is small.
async fn whole(response: Response) -> Result<Vec<u8>, reqwest::Error> {
    body(response).await
}

/// The bytes of a range.
async fn ranged(mut response: Response, from: u64, to: u64) -> Result<Vec<u8>, reqwest::Error> {
    let skip = if response.status() == StatusCode::PARTIAL_CONTENT { 0 } else { from };
    let (mut bytes, mut seen) = (Vec::new(), 0u64);
    while let Some(chunk) = response.chunk().await? {
        let start = skip.saturating_sub(seen).min(chunk.len() as u64) as usize;
        seen += chunk.len() as u64;
        let left = (to - from) as usize - bytes.len();
        let chunk = &chunk[start..];
        bytes.extend_from_slice(&chunk[..chunk.len().min(left)]);
        if bytes.len() as u64 == to - from {
            break;
        }
    }
    Ok(bytes)
}

/// A name's part, as it stands in an address.
fn escape(part: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    let one = |b: u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    part.bytes().map(one).collect()
}

fn cached(repo: &Repo, cache: RepoCache) -> Option<Snapshot> {
    let commit =
        if is_hash(&repo.revision) { repo.revision.clone() } else { cache.commit_of(&repo.revision)? };
    let folder = cache.snapshot(&commit);
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).ok()?.flatten() {
        let name = entry.file_name().into_string().ok()?;
        // A link's target is called as the hash.
        let hash = fs::canonicalize(entry.path()).ok()?.file_name()?.to_str()?.to_owned();
        let size = fs::metadata(entry.path()).ok().map(|found| found.len());
        files.push(RepoFile { name, size, hash });
    }
    (!files.is_empty()).then_some(Snapshot { repo: repo.clone(), commit, files, cache })
}

/// A blob that is not whole: the bytes, and beside them which ranges have come. Other tools' half files have other names.
struct Part {
    blob: PathBuf,
    file: Mutex<File>,
    ranges: PathBuf,
}

impl Part {
    fn open(blob: &Path, size: Option<u64>) -> Result<Self, HubError> {
        let beside = |end: &str| {
            let mut name = blob.file_name().unwrap_or_default().to_owned();
            name.push(end);
            blob.with_file_name(name)
        };
        let (path, ranges) = (beside(".templar-part"), beside(".templar-ranges"));
        let failed = |source| HubError::Disk { verb: "write", path: path.clone(), source };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(failed)?;
        let had = file.metadata().map_err(failed)?.len();
        if size.is_none_or(|size| had != size) {
            // Another length than it should have: nothing of it counts.
            let _ = fs::remove_file(&ranges);
            file.set_len(size.unwrap_or(0)).map_err(failed)?;
        }
        Ok(Self { blob: blob.to_owned(), file: Mutex::new(file), ranges })
    }

    fn failed(&self) -> impl FnOnce(io::Error) -> HubError {
        let path = self.blob.clone();
        move |source| HubError::Disk { verb: "write", path, source }
    }

    /// Beginnings of the ranges that have not come.
    fn missing(&self, size: u64) -> Vec<u64> {
        let text = fs::read_to_string(&self.ranges).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let come: BTreeSet<u64> = text[..whole].lines().filter_map(|line| line.parse().ok()).collect();
        (0..size.div_ceil(RANGE)).map(|n| n * RANGE).filter(|from| !come.contains(from)).collect()
    }

    fn write(&self, from: u64, bytes: &[u8]) -> Result<(), HubError> {
        let write = |file: &mut File| {
            file.seek(SeekFrom::Start(from))?;
            file.write_all(bytes)
        };
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        write(&mut file).map_err(self.failed())
    }

    /// Remembers that a range has come. What the system loses after that, the hash finds.
    fn done(&self, from: u64) -> Result<(), HubError> {
        let append = || {
            let mut log = OpenOptions::new().create(true).append(true).open(&self.ranges)?;
            log.write_all(format!("{from}\n").as_bytes())
        };
        append().map_err(self.failed())
    }

    fn part(&self) -> PathBuf {
        self.ranges.with_extension("templar-part")
    }

    /// Forgets all that came.
    fn wrong(&self, name: &str) -> HubError {
        let _ = fs::remove_file(self.part());
        let _ = fs::remove_file(&self.ranges);
        HubError::WrongHash { file: name.to_owned() }
    }

    /// Checks the hash; then the blob is there.
    fn finish(self, name: &str, hash: &str) -> Result<(), HubError> {
        let failed = self.failed();
        let file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let check = || -> io::Result<bool> {
            file.sync_all()?;
            Ok(content_hash(&self.part(), hash.len())? == hash.to_ascii_lowercase())
        };
        let right = check().map_err(failed)?;
        drop(file);
        if !right {
            return Err(self.wrong(name));
        }
        fs::rename(self.part(), &self.blob).map_err(self.failed())?;
        let _ = fs::remove_file(&self.ranges);
        Ok(())
    }
}

/// The hash by which the Hub knows a file's content, in hex: SHA-256 (64 digits), or git's of a blob (40 digits).
fn content_hash(path: &Path, digits: usize) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let mut read = |update: &mut dyn FnMut(&[u8])| -> io::Result<()> {
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                count => update(&buffer[..count]),
            }
        }
    };
    if digits == 64 {
        let mut hasher = Sha256::new();
        read(&mut |bytes| hasher.update(bytes))?;
        return Ok(hex::encode(hasher.finalize()));
    }
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", fs::metadata(path)?.len()));
    read(&mut |bytes| hasher.update(bytes))?;
    Ok(hex::encode(hasher.finalize()))
}
