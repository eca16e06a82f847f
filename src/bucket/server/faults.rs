//! Trouble on purpose, to see what clients make of it.

use super::S3Service;
use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame, Incoming},
    header::{CONTENT_LENGTH, DATE, HeaderValue, LAST_MODIFIED},
    service::Service,
};
use s3s::{Body, HttpError, HttpResponse};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// How a server misbehaves. By default not at all.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Every answer comes so much later, milliseconds.
    pub latency_ms: u64,
    /// Share of the requests that are answered with 500, 502, 503, 504 or 429, in turn.
    pub errors: f64,
    /// Share of the requests whose connection breaks off instead of an answer.
    pub resets: f64,
    /// Share of the answers with a body that break off in the middle of it.
    pub cut: f64,
    /// Share of the answers whose body has lost its second half, and says so nowhere.
    pub short: f64,
    /// Bodies come at so many bytes a second; 0 for as fast as can be.
    pub bytes_per_second: u64,
    /// A listing is answered as it was up to so many seconds ago.
    pub stale_listing_s: u64,
    /// The store's clock is ahead by so many seconds, or behind.
    pub clock_skew_s: i64,
    /// Nothing is answered at all, for as long as this is so.
    pub silent: bool,
}

/// Bytes of a slow body that come at once.
const PIECE: usize = 4096;
const STATUSES: [u16; 5] = [500, 502, 503, 504, 429];
/// How long a request is held while nothing is answered, before it is looked at again.
const HELD: Duration = Duration::from_millis(100);

/// A service with faults.
#[derive(Debug, Clone)]
pub(super) struct Faulty {
    service: S3Service,
    faults: watch::Receiver<Faults>,
    requests: Arc<AtomicU64>,
    listings: Arc<Mutex<BTreeMap<String, Listing>>>,
}

/// A listing as it was.
#[derive(Debug, Clone)]
struct Listing {
    taken: Instant,
    body: Bytes,
}

impl Faulty {
    pub fn new(service: S3Service, faults: watch::Receiver<Faults>) -> Self {
        Self { service, faults, requests: Arc::default(), listings: Arc::default() }
    }

    /// The answer's body with its faults: from the past, slow, or not whole.
    async fn spoil(
        &self,
        answer: HttpResponse,
        now: &Faults,
        listing: Option<String>,
        (cut, short): (bool, bool),
    ) -> Result<HttpResponse, HttpError> {
        let stale = listing.filter(|_| now.stale_listing_s > 0);
        if !cut && !short && now.bytes_per_second == 0 && stale.is_none() {
            return Ok(answer);
        }
        let (mut head, body) = answer.into_parts();
        let mut bytes = BodyExt::collect(body).await.map_err(HttpError::new)?.to_bytes();
        if let Some(url) = stale {
            let mut listings = self.listings.lock().unwrap_or_else(PoisonError::into_inner);
            let fresh = Listing { taken: Instant::now(), body: bytes.clone() };
            let listing = listings.entry(url).or_insert_with(|| fresh.clone());
            match listing.taken.elapsed() < Duration::from_secs(now.stale_listing_s) {
                true => bytes = listing.body.clone(),
                false => *listing = fresh,
            }
        }
        let half = bytes.slice(..bytes.len() / 2);
        if short {
            bytes = half.clone();
        }
        head.headers.remove(CONTENT_LENGTH);
        if !cut && now.bytes_per_second == 0 {
            return Ok(HttpResponse::from_parts(head, Body::from(bytes)));
        }
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
        let pieces = match cut {
            true => vec![Ok(half), Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))],
            false => bytes.chunks(PIECE).map(|piece| Ok(bytes.slice_ref(piece))).collect(),
        };
        let rate = now.bytes_per_second;
        let pieces = stream::iter(pieces).then(move |piece| async move {
            if let (Ok(piece), true) = (&piece, rate > 0) {
                tokio::time::sleep(Duration::from_secs_f64(piece.len() as f64 / rate as f64)).await;
            }
            piece.map(Frame::data)
        });
        Ok(HttpResponse::from_parts(head, Body::http_body_unsync(StreamBody::new(pieces))))
    }
}

/// Moves the times of an answer.
fn skew(answer: &mut HttpResponse, seconds: i64) {
    for name in [DATE, LAST_MODIFIED] {
        let time = match answer.headers().get(&name).and_then(|value| value.to_str().ok()) {
            Some(text) => jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp()),
            // What is left out here the server adds by its own clock.
            None => Some(jiff::Timestamp::now()).filter(|_| name == DATE),
        };
        let moved = time.and_then(|time| time.checked_add(jiff::SignedDuration::from_secs(seconds)).ok());
        let text = moved.map(|time| time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string());
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(&text).ok()) {
            answer.headers_mut().insert(name, value);
        }
    }
}

impl Service<hyper::Request<Incoming>> for Faulty {
    type Response = HttpResponse;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let Self { service, mut faults, requests, .. } = this.clone();
            let number = requests.fetch_add(1, Ordering::Relaxed);
            let now = faults.borrow().clone();
            if now.silent {
                // The server that owns the other end is gone when this fails.
                while faults.borrow_and_update().silent {
                    tokio::time::sleep(HELD).await;
                }
            }
            if now.latency_ms > 0 {
                tokio::time::sleep(Duration::from_millis(now.latency_ms)).await;
            }
            // A draw from the request's number: runs differ only by who asks first.
            let draw = |purpose: &[u8]| {
                let lot = blake3::keyed_hash(&[7; 32], &[purpose, &number.to_le_bytes()[..]].concat());
                let lot = lot.as_bytes().iter().take(8).fold(0u64, |n, byte| n << 8 | u64::from(*byte));
                (lot >> 11) as f64 / (1u64 << 53) as f64
            };
            if draw(b"reset") < now.resets {
                return Err(HttpError::new(Box::new(std::io::Error::from(
                    std::io::ErrorKind::ConnectionReset,
                ))));
            }
            if draw(b"error") < now.errors {
                let mut answer = HttpResponse::new(Body::from(String::new()));
                let status = STATUSES[(number % STATUSES.len() as u64) as usize];
                if let Ok(status) = hyper::StatusCode::from_u16(status) {
                    *answer.status_mut() = status;
                }
                return Ok(answer);
            }
            let query = request.uri().query().unwrap_or_default();
            let listing = query.contains("list-type").then(|| request.uri().to_string());
            let read = request.method() == hyper::Method::GET;
            let mut answer = Service::call(&service, request).await?;
            if now.clock_skew_s != 0 {
                skew(&mut answer, now.clock_skew_s);
            }
            let spoilt = (read && draw(b"cut") < now.cut, read && draw(b"short") < now.short);
            this.spoil(answer, &now, listing, spoilt).await
        })
    }
}
