//! Trouble on purpose, to see what clients make of it.

use super::S3Service;
use hyper::{body::Incoming, service::Service};
use s3s::{Body, HttpError, HttpResponse};
use serde::{Deserialize, Serialize};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
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
    /// Nothing is answered at all, for as long as this is so.
    pub silent: bool,
}

const STATUSES: [u16; 5] = [500, 502, 503, 504, 429];
/// How long a request is held while nothing is answered, before it is looked at again.
const HELD: Duration = Duration::from_millis(100);

/// A service with faults.
#[derive(Debug, Clone)]
pub(super) struct Faulty {
    service: S3Service,
    faults: watch::Receiver<Faults>,
    requests: Arc<AtomicU64>,
}

impl Faulty {
    pub fn new(service: S3Service, faults: watch::Receiver<Faults>) -> Self {
        Self { service, faults, requests: Arc::default() }
    }
}

impl Service<hyper::Request<Incoming>> for Faulty {
    type Response = HttpResponse;
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        let Self { service, mut faults, requests } = self.clone();
        Box::pin(async move {
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
            Service::call(&service, request).await
        })
    }
}
