//! Places that a corpus can be fetched from.

use super::DataError;
use crate::bucket::{NamedBucket, NamedBucketError, Store};
use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{Client, StatusCode, Url, header};
use std::{
    fmt,
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// How long a server may take to answer a request for a range.
const PATIENCE: Duration = Duration::from_secs(20);

/// A place that has a corpus, or says so: whatever it gives is checked.
#[async_trait]
pub trait Mirror: fmt::Debug + Send + Sync {
    /// What it is called, for people.
    fn name(&self) -> &str;

    /// Bytes of one of the corpus' files from `start` on: so many, or it is an error, in words.
    async fn range(&self, file: &str, start: u64, length: u64) -> Result<Bytes, String>;

    /// A whole file of at most `most` bytes.
    async fn whole(&self, file: &str, most: u64) -> Result<Bytes, String>;
}

/// The mirror that a text names: `https://HOST/PATH` (`http` as well), `s3://BUCKET/PREFIX` with its key in the environment, or a folder.
///
/// # Errors
/// [`NamedBucketError`], also for a text that is no address.
pub fn mirror(
    text: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Arc<dyn Mirror>, NamedBucketError> {
    if NamedBucket::is_named(text) {
        let NamedBucket { store, prefix } = NamedBucket::open(text, variable)?;
        return Ok(Arc::new(InBucket { name: text.to_owned(), store: Arc::new(store), prefix }));
    }
    if text.starts_with("https://") || text.starts_with("http://") {
        let bad = || NamedBucketError::Name(text.to_owned());
        let base: Url = format!("{}/", text.trim_end_matches('/')).parse().map_err(|_| bad())?;
        if !base.username().is_empty() || base.password().is_some() || base.query().is_some() {
            return Err(bad());
        }
        crate::hub::install_tls();
        let client = Client::builder().connect_timeout(Duration::from_secs(5)).timeout(PATIENCE).build();
        return Ok(Arc::new(OnServer { name: text.to_owned(), client: client.map_err(|_| bad())?, base }));
    }
    Ok(Arc::new(InFolder { name: text.to_owned(), folder: PathBuf::from(text) }))
}

/// A corpus in a bucket.
#[derive(Debug)]
pub struct InBucket {
    /// What it is called.
    pub name: String,
    /// The bucket.
    pub store: Arc<dyn Store>,
    /// Before the names of the files; empty, or with a slash at its end.
    pub prefix: String,
}

#[async_trait]
impl Mirror for InBucket {
    fn name(&self) -> &str {
        &self.name
    }

    async fn range(&self, file: &str, start: u64, length: u64) -> Result<Bytes, String> {
        let key = format!("{}{file}", self.prefix);
        self.store.get_range(&key, start, length).await.map_err(|e| words(&e))
    }

    async fn whole(&self, file: &str, most: u64) -> Result<Bytes, String> {
        let key = format!("{}{file}", self.prefix);
        self.store.get(&key, most).await.map(|object| object.bytes).map_err(|e| words(&e))
    }
}

/// A corpus on a web server.
#[derive(Debug)]
struct OnServer {
    name: String,
    client: Client,
    base: Url,
}

impl OnServer {
    /// Reads an answer of at most `most` bytes.
    async fn read(&self, file: &str, range: Option<(u64, u64)>, most: u64) -> Result<Bytes, String> {
        let url = self.base.join(file).map_err(|e| e.to_string())?;
        let mut request = self.client.get(url);
        if let Some((start, length)) = range {
            request = request.header(header::RANGE, format!("bytes={start}-{}", start + length - 1));
        }
        let mut answer = request.send().await.map_err(|e| words(&e.without_url()))?;
        let expected = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        if answer.status() != expected {
            return Err(format!("it answers {} instead of {}", answer.status().as_u16(), expected.as_u16()));
        }
        let mut bytes = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|e| words(&e.without_url()))? {
            if (bytes.len() + part.len()) as u64 > most {
                return Err(format!("it sends more than {most} bytes"));
            }
            bytes.extend_from_slice(&part);
        }
        Ok(bytes.into())
    }
}

#[async_trait]
impl Mirror for OnServer {
    fn name(&self) -> &str {
        &self.name
    }

    async fn range(&self, file: &str, start: u64, length: u64) -> Result<Bytes, String> {
        let bytes = self.read(file, Some((start, length)), length).await?;
        if bytes.len() as u64 == length {
            Ok(bytes)
        } else {
            Err(format!("it sends {} bytes of {length}", bytes.len()))
        }
    }

    async fn whole(&self, file: &str, most: u64) -> Result<Bytes, String> {
        self.read(file, None, most).await
    }
}

/// A corpus in a folder, for instance of a disk that is mounted over a network.
#[derive(Debug)]
struct InFolder {
    name: String,
    folder: PathBuf,
}

#[async_trait]
impl Mirror for InFolder {
    fn name(&self) -> &str {
        &self.name
    }

    async fn range(&self, file: &str, start: u64, length: u64) -> Result<Bytes, String> {
        let path = self.folder.join(file);
        let read = move || {
            let mut file = std::fs::File::open(path)?;
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = vec![0; length as usize];
            file.read_exact(&mut bytes).map(|()| bytes)
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(|e| e.to_string())?;
        read.map(Bytes::from).map_err(|e| e.to_string())
    }

    async fn whole(&self, file: &str, most: u64) -> Result<Bytes, String> {
        let path = self.folder.join(file);
        let length = std::fs::metadata(&path).map_err(|e| e.to_string())?.len();
        if length > most {
            return Err(format!("its {file} has more than {most} bytes"));
        }
        std::fs::read(&path).map(Bytes::from).map_err(|e| e.to_string())
    }
}

/// An error and its causes, in a line.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// No mirror has it.
pub(super) fn nobody(what: &str, problems: &[String]) -> DataError {
    DataError::Unreachable { what: what.to_owned(), problem: problems.join("; ") }
}
