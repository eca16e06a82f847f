mod body;
mod failure;
mod throttled;

use super::{
    BucketError, Endpoint, Object, ObjectInfo, Pieces, ReadCredential, Store, WriteCredential, check_key,
};
use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        SharedHttpClient,
        retry::{RetryConfig, RetryPartition, TokenBucket},
        timeout::TimeoutConfig,
    },
    primitives::{ByteStream, DateTime},
    types::{CompletedMultipartUpload, CompletedPart},
};
use aws_smithy_http_client::tls;
use body::Body;
use bytes::{Bytes, BytesMut};
use failure::{At, classify};
use futures::{StreamExt, stream};
use std::time::Duration;
use throttled::Throttled;

/// How patient an [`S3Store`] is. Clones share their connections and TLS settings: make one for the
/// program and clone it for every peer's bucket.
#[derive(Clone, Debug)]
pub struct S3Options {
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a request may take, without its content.
    pub request_timeout: Duration,
    /// The slowest transfer of content that is waited for, in bytes each second.
    pub slowest_bytes_per_second: u64,
    /// How often a request is tried in all, at least 1.
    pub attempts: u32,
    /// The region that requests are signed for. R2 takes `auto` and the names of its regions.
    pub region: String,
    /// Objects above this size are uploaded in parts; never so a pseudo-gradient, because the time stamp
    /// of parts proves nothing. S3 allows 5 GiB in one request.
    pub parts_above_bytes: usize,
    /// The connections that clones share.
    pub connections: Connections,
}

/// A pool of connections and the TLS settings for them.
#[derive(Clone, Debug)]
pub struct Connections(SharedHttpClient);

impl Default for Connections {
    fn default() -> Self {
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
        Self(aws_smithy_http_client::Builder::new().tls_provider(provider).build_https())
    }
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(15),
            slowest_bytes_per_second: 128 * 1024,
            attempts: 3,
            region: "auto".to_owned(),
            parts_above_bytes: 1 << 30,
            connections: Connections::default(),
        }
    }
}

/// Bytes of one part of a large upload; S3 wants at least 5 MiB and at most 10,000 parts.
const PART_BYTES: usize = 64 << 20;

impl S3Options {
    /// For a command that reads much at one go, with nobody waiting for it: a store that fails now and then does not end it.
    #[must_use]
    pub fn patient() -> Self {
        Self { attempts: 8, ..Self::default() }
    }

    /// The time for a request that carries `bytes`.
    fn time_for(&self, bytes: u64) -> Duration {
        self.request_timeout + Duration::from_secs(bytes / self.slowest_bytes_per_second.max(1))
    }

    fn timeouts(&self, bytes: u64) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect_timeout)
            .operation_attempt_timeout(self.time_for(bytes))
            .build()
    }
}

/// A bucket of Cloudflare R2 or of any other S3: path-style addresses, Signature Version 4.
#[derive(Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
    endpoint: String,
    options: S3Options,
}

impl std::fmt::Debug for S3Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Store")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl S3Store {
    /// A peer's bucket, by the key it committed on chain.
    pub fn reader(credential: &ReadCredential, endpoint: &Endpoint, options: &S3Options) -> Self {
        Self::new(credential.account_id(), credential.access_key_id(), credential.secret(), endpoint, options)
    }

    /// One's own bucket.
    pub fn writer(credential: &WriteCredential, endpoint: &Endpoint, options: &S3Options) -> Self {
        Self::new(credential.account_id(), credential.access_key_id(), credential.secret(), endpoint, options)
    }

    fn new(account_id: &str, id: &str, secret: &str, endpoint: &Endpoint, options: &S3Options) -> Self {
        Self::at_address(account_id, id, secret, endpoint.url_for(account_id), options)
    }

    pub(super) fn at_address(bucket: &str, id: &str, secret: &str, url: String, options: &S3Options) -> Self {
        // Everything is stated here: no file, variable or metadata service of the machine is asked.
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(options.connections.0.clone())
            .region(Region::new(options.region.clone()))
            .endpoint_url(&url)
            .credentials_provider(Credentials::new(id, secret, None, None, "templar"))
            .force_path_style(true)
            .timeout_config(options.timeouts(0))
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(options.attempts.max(1))
                    .with_initial_backoff(Duration::from_millis(200))
                    .with_max_backoff(Duration::from_secs(3)),
            )
            // By default all clients of a program draw on one allowance of retries: a few peers whose stores answer
            // nothing would use up what the others need. `attempts` bounds each request by itself.
            .retry_partition(
                RetryPartition::custom(bucket.to_owned()).token_bucket(TokenBucket::unlimited()).build(),
            )
            .retry_classifier(Throttled)
            // The newer checksums are not known to every S3; the payload's hash is signed anyway.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .build();
        Self {
            client: Client::from_conf(config),
            bucket: bucket.to_owned(),
            endpoint: url,
            options: options.clone(),
        }
    }

    fn at<'a>(&'a self, operation: &'static str, key: &'a str, bytes: u64) -> At<'a> {
        let after = self.options.time_for(bytes);
        At { endpoint: &self.endpoint, bucket: &self.bucket, key, operation, after }
    }

    /// The settings of a request that carries `bytes`.
    fn patient(&self, bytes: usize) -> aws_sdk_s3::config::Builder {
        Config::builder().timeout_config(self.options.timeouts(bytes as u64))
    }

    async fn put_in_parts(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
        let at = self.at("write", key, PART_BYTES as u64);
        let begun = self.client.create_multipart_upload().bucket(&self.bucket).key(key).send().await;
        let begun = begun.map_err(|e| classify(&at, e))?;
        let Some(upload) = begun.upload_id() else {
            return Err(at.bad_answer("an upload in parts without an id"));
        };
        let result = self.put_parts(&at, upload, bytes).await;
        if result.is_err() {
            // So that the parts do not stay and cost; what went wrong before is what matters.
            let abort = self.client.abort_multipart_upload().bucket(&self.bucket).key(key).upload_id(upload);
            if let Err(e) = abort.send().await {
                tracing::debug!(key, error = %classify(&at, e), "the parts of a failed upload remain");
            }
        }
        result
    }

    async fn put_parts(&self, at: &At<'_>, upload: &str, bytes: Bytes) -> Result<(), BucketError> {
        let mut parts = Vec::new();
        for (number, start) in (1..).zip((0..bytes.len()).step_by(PART_BYTES)) {
            let part = bytes.slice(start..bytes.len().min(start + PART_BYTES));
            let length = part.len();
            let sent = self
                .client
                .upload_part()
                .bucket(&self.bucket)
                .key(at.key)
                .upload_id(upload)
                .part_number(number)
                .body(ByteStream::from(part))
                .customize()
                .config_override(self.patient(length))
                .send()
                .await
                .map_err(|e| classify(at, e))?;
            parts.push(CompletedPart::builder().part_number(number).set_e_tag(sent.e_tag).build());
        }
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        self.client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(at.key)
            .upload_id(upload)
            .multipart_upload(parts)
            .send()
            .await
            .map(drop)
            .map_err(|e| classify(at, e))
    }

    /// One request for an object, whose content is yet to be read.
    async fn open(&self, key: &str, max_bytes: u64) -> Result<(ObjectInfo, Body), BucketError> {
        let at = self.at("read", key, max_bytes);
        let sent = self.client.get_object().bucket(&self.bucket).key(key).send().await;
        let answer = sent.map_err(|e| classify(&at, e))?;
        // A proxy may have taken the length away; then only the reading tells.
        let stated = answer.content_length;
        let info = info(&at, stated.or(Some(0)), answer.last_modified, answer.e_tag)?;
        if info.size > max_bytes {
            // The body is dropped unread, and the connection with it.
            let (key, size, limit) = (key.to_owned(), info.size, max_bytes);
            return Err(BucketError::TooLarge { key, size, limit, exact: true });
        }
        let stated = stated.map(|_| info.size);
        let body = Body::new(self.clone(), key, answer.body, stated, max_bytes);
        Ok((info, body))
    }

    /// One request for a range, which an answer must be of.
    async fn range_once(&self, key: &str, start: u64, length: u64) -> Result<Bytes, BucketError> {
        let at = self.at("read", key, length);
        let last = start.saturating_add(length) - 1;
        let request = self.client.get_object().bucket(&self.bucket).key(key);
        let sent = request.range(format!("bytes={start}-{last}")).send().await;
        let answer = sent.map_err(|e| classify(&at, e))?;
        let stated = answer.content_range.as_deref().unwrap_or_default();
        if !stated.starts_with(&format!("bytes {start}-{last}/")) {
            return Err(at.bad_answer("another range than was asked for"));
        }
        let mut body = Body::new(self.clone(), key, answer.body, Some(length), length);
        let mut bytes = BytesMut::with_capacity(length.min(1 << 20) as usize);
        while let Some(piece) = body.piece().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }

    /// One request for an object and its content.
    async fn get_once(&self, key: &str, max_bytes: u64) -> Result<Object, BucketError> {
        let (mut info, mut body) = self.open(key, max_bytes).await?;
        // What is stated is believed for the first allocation only as far as a mebibyte.
        let mut bytes = BytesMut::with_capacity(info.size.min(1 << 20) as usize);
        while let Some(piece) = body.piece().await? {
            bytes.extend_from_slice(&piece);
        }
        info.size = bytes.len() as u64;
        Ok(Object { bytes: bytes.freeze(), info })
    }
}

/// The three headers that every S3 sends with an object.
fn info(
    at: &At<'_>,
    length: Option<i64>,
    modified: Option<DateTime>,
    etag: Option<String>,
) -> Result<ObjectInfo, BucketError> {
    let size = length.and_then(|n| u64::try_from(n).ok());
    let size = size.ok_or_else(|| at.bad_answer("an object without a Content-Length"))?;
    let dated = modified.and_then(|date| u64::try_from(date.secs()).ok());
    let last_modified_s = dated.ok_or_else(|| at.bad_answer("an object without a Last-Modified"))?;
    let etag = etag.map(|tag| super::printable(tag.trim_matches('"'), 128));
    Ok(ObjectInfo { size, last_modified_s, etag })
}

#[async_trait]
impl Store for S3Store {
    fn bucket(&self) -> &str {
        &self.bucket
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), BucketError> {
        check_key(key)?;
        if bytes.len() > self.options.parts_above_bytes {
            return self.put_in_parts(key, bytes).await;
        }
        let length = bytes.len();
        let at = self.at("write", key, length as u64);
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .body(ByteStream::from(bytes))
            .customize()
            .config_override(self.patient(length))
            .send()
            .await
            .map(drop)
            .map_err(|e| classify(&at, e))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectInfo>, BucketError> {
        check_key(key)?;
        let at = self.at("read", key, 0);
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(answer) => info(&at, answer.content_length, answer.last_modified, answer.e_tag).map(Some),
            Err(e) => match classify(&at, e) {
                BucketError::NotFound { .. } => Ok(None),
                other => Err(other),
            },
        }
    }

    async fn get(&self, key: &str, max_bytes: u64) -> Result<Object, BucketError> {
        check_key(key)?;
        let mut left = self.options.attempts.max(1);
        loop {
            left -= 1;
            // The client itself has tried again to get an answer; what is tried again here is a content
            // that broke off.
            match self.get_once(key, max_bytes).await {
                Err(BucketError::Unreachable { .. }) if left > 0 => {}
                other => return other,
            }
        }
    }

    async fn read(&self, key: &str, max_bytes: u64) -> Result<Pieces, BucketError> {
        check_key(key)?;
        let (info, body) = self.open(key, max_bytes).await?;
        let next = async |mut body: Body| Ok(body.piece().await?.map(|piece| (piece, body)));
        Ok(Pieces { info, content: stream::try_unfold(body, next).boxed() })
    }

    async fn get_range(&self, key: &str, start: u64, length: u64) -> Result<Bytes, BucketError> {
        check_key(key)?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let mut left = self.options.attempts.max(1);
        loop {
            left -= 1;
            match self.range_once(key, start, length).await {
                Err(BucketError::Unreachable { .. }) if left > 0 => {}
                other => return other,
            }
        }
    }

    async fn list_after(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>, BucketError> {
        let at = self.at("list", prefix, 0);
        let mut keys: Vec<String> = Vec::new();
        let mut after = after.to_owned();
        while keys.len() < limit {
            let wanted = (limit - keys.len()).min(1000);
            // Each page starts after the last key seen, not at a token: a store cannot lead in a circle.
            let page = self
                .client
                .list_objects_v2()
                .bucket(&self.bucket)
                .prefix(prefix)
                .set_start_after((!after.is_empty()).then(|| after.clone()))
                .max_keys(wanted as i32)
                .send()
                .await
                .map_err(|e| classify(&at, e))?;
            let more = page.is_truncated.unwrap_or(false);
            let found = page.contents.unwrap_or_default();
            if found.len() > wanted || (found.is_empty() && more) {
                return Err(at.bad_answer("a page of keys of another length than asked for"));
            }
            for object in found {
                let key = object.key.unwrap_or_default();
                if !key.starts_with(prefix) || key <= after {
                    return Err(at.bad_answer("a list of keys that were not asked for or are not in order"));
                }
                after.clone_from(&key);
                // Others may keep objects there whose names this program does not use.
                if check_key(&key).is_ok() {
                    keys.push(key);
                }
            }
            if !more {
                break;
            }
        }
        Ok(keys)
    }

    async fn delete(&self, key: &str) -> Result<(), BucketError> {
        check_key(key)?;
        let at = self.at("delete", key, 0);
        let sent = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
        match sent.map_err(|e| classify(&at, e)) {
            Ok(_) | Err(BucketError::NotFound { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }
}
