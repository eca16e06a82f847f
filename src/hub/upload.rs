//! A folder, put into a repository as one commit: small files in the commit itself, large ones by git's protocol for them.

use super::{Hub, HubError, Repo, body};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{Stream, stream};
use reqwest::{Body, Method, Response, Url, header};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

/// What the Hub judges a file by.
const SAMPLE: u64 = 512;
/// Bytes of a piece of a body.
const PIECE: usize = 1 << 20;
const LFS: &str = "application/vnd.git-lfs+json";

/// A file of the folder.
struct Upload {
    name: String,
    path: PathBuf,
    size: u64,
}

#[derive(Deserialize)]
struct Modes {
    files: Vec<Mode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mode {
    path: String,
    upload_mode: String,
    #[serde(default)]
    should_ignore: bool,
}

#[derive(Deserialize)]
struct Batch {
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: String,
    #[serde(default)]
    actions: Option<Actions>,
    #[serde(default)]
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: Map<String, Value>,
}

impl Hub {
    /// Puts the files of a folder into a model's repository, which is made where there is none; `told` hears the bytes that
    /// have been sent. Nothing of it can be seen there before all of it is. Returns the commit's address.
    ///
    /// # Errors
    /// [`HubError`]; large files that were sent need not be sent again.
    pub async fn push(
        &self,
        repo: &Repo,
        folder: &Path,
        message: &str,
        told: impl Fn(u64),
    ) -> Result<String, HubError> {
        if self.token.is_none() {
            return Err(HubError::NoToken);
        }
        let files = list(folder)?;
        self.create(repo).await?;
        let modes = self.modes(repo, &files).await?;
        let is_large = |file: &Upload| modes.iter().any(|m| m.path == file.name && m.upload_mode == "lfs");
        let ignored = |file: &Upload| modes.iter().any(|m| m.path == file.name && m.should_ignore);
        let mut lines = vec![json!({ "key": "header", "value": { "summary": message, "description": "" } })];
        for file in files.iter().filter(|file| !ignored(file)) {
            let value = if is_large(file) {
                let oid = self.send_large(repo, file, &told).await?;
                json!({ "key": "lfsFile", "value": {
                    "path": file.name, "algo": "sha256", "oid": oid, "size": file.size,
                } })
            } else {
                let bytes = fs::read(&file.path).map_err(disk(&file.path))?;
                told(file.size);
                json!({ "key": "file", "value": {
                    "path": file.name, "encoding": "base64", "content": STANDARD.encode(bytes),
                } })
            };
            lines.push(value);
        }
        self.commit(repo, &lines).await
    }

    async fn create(&self, repo: &Repo) -> Result<(), HubError> {
        let (owner, name) = repo.id.split_once('/').ok_or_else(|| HubError::Name(repo.to_string()))?;
        let url = self.url("api/repos/create")?;
        let request = json!({ "type": "model", "name": name, "organization": owner });
        let make = || self.request(Method::POST, url.clone()).json(&request);
        match self.retry(&format!("making {repo}"), make, body).await {
            // It is there already.
            Ok(_) | Err(HubError::Status { status: 409, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn modes(&self, repo: &Repo, files: &[Upload]) -> Result<Vec<Mode>, HubError> {
        let url = self.url(&format!("api/models/{}/preupload/{}", repo.id, repo.escaped_revision()))?;
        let described = files
            .iter()
            .map(|file| {
                let sample = part(&file.path, 0, SAMPLE.min(file.size)).map_err(disk(&file.path))?;
                Ok(json!({ "path": file.name, "size": file.size, "sample": STANDARD.encode(sample) }))
            })
            .collect::<Result<Vec<_>, HubError>>()?;
        let request = json!({ "files": described });
        let make = || self.request(Method::POST, url.clone()).json(&request);
        let what = format!("how files of {repo} are sent");
        let answer = self.retry(&what, make, body).await?;
        let modes: Modes =
            serde_json::from_slice(&answer).map_err(|e| HubError::Answer { what, problem: e.to_string() })?;
        Ok(modes.files)
    }

    /// Sends a large file, unless it is there; returns its SHA-256.
    async fn send_large(&self, repo: &Repo, file: &Upload, told: &impl Fn(u64)) -> Result<String, HubError> {
        let oid = sha256(&file.path).map_err(disk(&file.path))?;
        let url = self.url(&format!("{}.git/info/lfs/objects/batch", repo.id))?;
        let request = json!({
            "operation": "upload", "transfers": ["basic", "multipart"], "hash_algo": "sha256",
            "objects": [{ "oid": oid, "size": file.size }], "ref": { "name": repo.revision },
        });
        let make = || {
            let body = request.to_string();
            let request = self.request(Method::POST, url.clone()).header(header::ACCEPT, LFS);
            request.header(header::CONTENT_TYPE, LFS).body(body)
        };
        let what = format!("sending {} to {repo}", file.name);
        let problem = |problem: String| HubError::Answer { what: what.clone(), problem };
        let answer = self.retry(&what, make, body).await?;
        let batch: Batch = serde_json::from_slice(&answer).map_err(|e| problem(e.to_string()))?;
        let object = batch.objects.into_iter().find(|object| object.oid == oid);
        let object = object.ok_or_else(|| problem("it does not name the file".to_owned()))?;
        if let Some(error) = object.error {
            return Err(problem(error["message"].as_str().unwrap_or("it refuses the file").to_owned()));
        }
        // Without anything to do it is there already.
        let Some(actions) = object.actions else {
            told(file.size);
            return Ok(oid);
        };
        if let Some(upload) = actions.upload {
            self.send_parts(&what, file, &oid, &upload, told).await?;
        }
        if let Some(verify) = actions.verify {
            let url = self.address(&what, &verify.href)?;
            let request = json!({ "oid": oid, "size": file.size });
            self.retry(&what, || self.own(&url).json(&request), body).await?;
        }
        Ok(oid)
    }

    async fn send_parts(
        &self,
        what: &str,
        file: &Upload,
        oid: &str,
        upload: &Action,
        told: &impl Fn(u64),
    ) -> Result<(), HubError> {
        let problem = |problem: &str| HubError::Answer { what: what.to_owned(), problem: problem.to_owned() };
        let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
        let Some(chunk) = upload.header.get("chunk_size").and_then(number).filter(|size| *size > 0) else {
            let url = self.address(what, &upload.href)?;
            self.send(what, &url, file, 0, file.size).await?;
            told(file.size);
            return Ok(());
        };
        let mut parts: Vec<(u64, &str)> = upload
            .header
            .iter()
            .filter_map(|(name, url)| Some((name.parse().ok()?, url.as_str()?)))
            .collect();
        parts.sort_unstable();
        if parts.len() as u64 != file.size.div_ceil(chunk) {
            return Err(problem("it asks for another number of parts than the file has"));
        }
        let mut sent = Vec::new();
        for (place, (_, url)) in parts.into_iter().enumerate() {
            let from = place as u64 * chunk;
            let length = chunk.min(file.size - from);
            let url = self.address(what, url)?;
            let etag = self.send(what, &url, file, from, length).await?;
            let etag = etag.ok_or_else(|| problem("a part was taken without a tag"))?;
            sent.push(json!({ "partNumber": place + 1, "etag": etag }));
            told(length);
        }
        let url = self.address(what, &upload.href)?;
        let sent = json!({ "oid": oid, "parts": sent }).to_string();
        let make = || {
            let request = self.own(&url).header(header::ACCEPT, LFS);
            request.header(header::CONTENT_TYPE, LFS).body(sent.clone())
        };
        self.retry(what, make, body).await.map(drop)
    }

    /// Sends a part of a file to where its storage is; returns the tag that the storage gave it. The token is not for it.
    async fn send(
        &self,
        what: &str,
        url: &Url,
        file: &Upload,
        from: u64,
        length: u64,
    ) -> Result<Option<String>, HubError> {
        let make = || {
            let body = Body::wrap_stream(pieces(file.path.clone(), from, length));
            self.client.put(url.clone()).header(header::CONTENT_LENGTH, length).body(body)
        };
        let tag = |response: Response| async move {
            let tag =
                response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned);
            Ok(tag)
        };
        self.retry(what, make, tag).await
    }

    /// A request to an address that the Hub named: with the token only where that is the Hub itself.
    fn own(&self, url: &Url) -> reqwest::RequestBuilder {
        if url.origin() == self.endpoint.origin() {
            self.request(Method::POST, url.clone())
        } else {
            self.client.post(url.clone())
        }
    }

    /// An address that the Hub named; no less encrypted than the Hub.
    fn address(&self, what: &str, text: &str) -> Result<Url, HubError> {
        let url = Url::parse(text)
            .ok()
            .filter(|url| url.scheme() == "https" || url.scheme() == self.endpoint.scheme());
        let problem = "it names an address that cannot be used".to_owned();
        url.ok_or_else(|| HubError::Answer { what: what.to_owned(), problem })
    }

    async fn commit(&self, repo: &Repo, lines: &[Value]) -> Result<String, HubError> {
        let url = self.url(&format!("api/models/{}/commit/{}", repo.id, repo.escaped_revision()))?;
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let what = format!("the commit to {repo}");
        let make = || {
            let request = self.request(Method::POST, url.clone());
            request.header(header::CONTENT_TYPE, "application/x-ndjson").body(lines.clone())
        };
        let answer = self.retry(&what, make, body).await?;
        let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
        Ok(answer["commitUrl"].as_str().unwrap_or(self.url(&repo.id)?.as_str()).to_owned())
    }
}

fn disk(path: &Path) -> impl FnOnce(std::io::Error) -> HubError {
    let path = path.to_owned();
    move |source| HubError::Disk { verb: "read", path, source }
}

/// The files of a folder, not of those in it.
fn list(folder: &Path) -> Result<Vec<Upload>, HubError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(disk(folder))? {
        let entry = entry.map_err(disk(folder))?;
        let path = entry.path();
        let metadata = fs::metadata(&path).map_err(disk(&path))?;
        if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
            files.push(Upload { name, path, size: metadata.len() });
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Bytes of a file.
fn part(path: &Path, from: u64, length: u64) -> std::io::Result<Vec<u8>> {
    let mut file = fs::File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Bytes of a file, piece by piece, so that memory holds one.
fn pieces(path: PathBuf, from: u64, length: u64) -> impl Stream<Item = std::io::Result<Vec<u8>>> {
    stream::try_unfold((path, from, length), |(path, from, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let size = left.min(PIECE as u64);
        let bytes = part(&path, from, size)?;
        if bytes.len() as u64 != size {
            return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the file became shorter"));
        }
        Ok(Some((bytes, (path, from + size, left - size))))
    })
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; PIECE];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            count => hasher.update(&buffer[..count]),
        }
    }
}
