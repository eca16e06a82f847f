//! A served folder with some buckets in it.

use std::{net::SocketAddr, time::Duration};
use templar::bucket::{
    Endpoint, S3Options, S3Store,
    server::{BucketKeys, Faults, Handle, Keys, ServerConfig, start},
};
use tokio::sync::watch;

pub struct Served {
    pub handle: Handle,
    pub buckets: Vec<BucketKeys>,
    pub endpoint: Endpoint,
    pub dir: tempfile::TempDir,
}

/// Serves `count` new buckets on a free port.
pub async fn serve(count: usize) -> Served {
    let buckets = (0..count).map(|_| BucketKeys::generate().unwrap()).collect();
    serve_again(([127, 0, 0, 1], 0).into(), tempfile::tempdir().unwrap(), buckets).await
}

pub async fn serve_again(addr: SocketAddr, dir: tempfile::TempDir, buckets: Vec<BucketKeys>) -> Served {
    let mut keys = Keys::default();
    buckets.iter().for_each(|bucket| keys.add(bucket));
    let handle = start(ServerConfig::new(addr, dir.path(), keys)).await.unwrap();
    let endpoint = format!("http://{}", handle.addr()).parse().unwrap();
    Served { handle, buckets, endpoint, dir }
}

/// Serves new buckets with faults.
pub async fn serve_with(count: usize, faults: watch::Receiver<Faults>) -> Served {
    let buckets: Vec<_> = (0..count).map(|_| BucketKeys::generate().unwrap()).collect();
    let (dir, mut keys) = (tempfile::tempdir().unwrap(), Keys::default());
    buckets.iter().for_each(|bucket| keys.add(bucket));
    let mut config = ServerConfig::new(([127, 0, 0, 1], 0).into(), dir.path(), keys);
    config.faults = Some(faults);
    let handle = start(config).await.unwrap();
    let endpoint = format!("http://{}", handle.addr()).parse().unwrap();
    Served { handle, buckets, endpoint, dir }
}

/// Short waits, as befits one machine.
pub fn patient() -> S3Options {
    S3Options {
        connect_timeout: Duration::from_secs(2),
        request_timeout: Duration::from_secs(20),
        attempts: 2,
        ..S3Options::default()
    }
}

pub fn writer(served: &Served, bucket: usize) -> S3Store {
    S3Store::writer(&served.buckets[bucket].write, &served.endpoint, &patient())
}

pub fn reader(served: &Served, bucket: usize) -> S3Store {
    S3Store::reader(&served.buckets[bucket].read, &served.endpoint, &patient())
}

/// A reader as patient as one of strangers' buckets.
pub fn patient_reader(served: &Served, bucket: usize) -> S3Store {
    S3Store::reader(&served.buckets[bucket].read, &served.endpoint, &S3Options::patient())
}
