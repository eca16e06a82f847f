//! An S3 server inside this program, for a localnet and for whoever keeps buckets on an own machine.
//!
//! It is s3s with s3s-fs: a bucket is a folder, an object a file, `Last-Modified` the file's. Every
//! request must be signed with a key of the [`Keys`], and a key reaches its own bucket only, to read or to
//! read and write. What no neuron needs (copies, policies, listing of buckets) is not served at all.

mod access;
mod faults;
mod keys;
mod objects;

pub use faults::Faults;
pub use keys::{Access, AccessKey, BucketKeys, Keys, KeysError};

use access::Gate;
use faults::Faulty;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use objects::Objects;
use s3s::service::{S3Service, S3ServiceBuilder};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// What to serve.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where to listen; port 0 takes a free one.
    pub addr: SocketAddr,
    /// The folder of the buckets; it and the buckets' folders are made if they are missing.
    pub dir: PathBuf,
    /// Who may do what.
    pub keys: Keys,
    /// Uploads larger than this are refused.
    pub max_object_bytes: u64,
    /// How it misbehaves, for tests of what clients make of it.
    pub faults: Option<watch::Receiver<Faults>>,
}

impl ServerConfig {
    /// Objects of up to 5 GiB, the most that S3 allows in one request.
    pub fn new(addr: SocketAddr, dir: impl Into<PathBuf>, keys: Keys) -> Self {
        Self { addr, dir: dir.into(), keys, max_object_bytes: 5 << 30, faults: None }
    }
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A folder cannot be made or opened.
    #[error("cannot use the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The keys cannot be used.
    #[error("cannot use the keys")]
    Keys(#[from] KeysError),
}

impl ServerError {
    /// What to do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "Choose another port; another program may be listening on this one.",
            Self::Folder { .. } => "Check that it is a folder that this user may write to.",
            Self::Keys(e) => e.hint(),
        }
    }
}

/// A server that runs until [`Handle::stop`], or until the handle is dropped.
#[derive(Debug)]
pub struct Handle {
    addr: SocketAddr,
    stop: watch::Sender<()>,
    serving: JoinHandle<()>,
}

impl Handle {
    /// Where it listens, with the port that was taken.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Takes no more connections, lets requests under way finish for up to five seconds, and returns when
    /// nothing runs any more.
    pub async fn stop(self) {
        // The receiver can only be gone if the task has ended already.
        let _ = self.stop.send(());
        if let Err(e) = self.serving.await {
            tracing::warn!(error = %e, "the storage server did not end by itself");
        }
    }
}

/// How long requests under way may take when the server stops.
const GRACE: Duration = Duration::from_secs(5);
/// How long a client may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts the server.
pub async fn start(config: ServerConfig) -> Result<Handle, ServerError> {
    config.keys.check()?;
    let ServerConfig { addr, dir, keys, max_object_bytes, faults } = config;
    make_folder(&dir)?;
    for bucket in keys.buckets() {
        make_folder(&dir.join(bucket))?;
    }
    let objects = Objects::open(&dir, max_object_bytes)
        .map_err(|source| ServerError::Folder { path: dir.clone(), source: std::io::Error::other(source) })?;
    let gate = Gate::new(&keys);
    let mut service = S3ServiceBuilder::new(objects);
    service.set_auth(gate.clone());
    service.set_access(gate);
    let listener = TcpListener::bind(addr).await.map_err(|source| ServerError::Listen { addr, source })?;
    let addr = listener.local_addr().map_err(|source| ServerError::Listen { addr, source })?;
    let (stop, stopped) = watch::channel(());
    let faults = faults.unwrap_or_else(|| watch::channel(Faults::default()).1);
    let serving = tokio::spawn(serve(listener, Faulty::new(service.build(), faults), stopped));
    Ok(Handle { addr, stop, serving })
}

fn make_folder(path: &Path) -> Result<(), ServerError> {
    let fail = |source| ServerError::Folder { path: path.to_owned(), source };
    std::fs::create_dir_all(path).map_err(fail)
}

async fn serve(listener: TcpListener, service: Faulty, mut stopped: watch::Receiver<()>) {
    let mut http = Builder::new(TokioExecutor::new());
    http.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    http.http2().timer(TokioTimer::new());
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Also when the handle was dropped.
            _ = stopped.changed() => break,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(e) => {
                // Out of file descriptors, usually: let some connections end.
                tracing::warn!(error = %e, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Small answers go out at once.
        let _ = socket.set_nodelay(true);
        let connection = http.serve_connection(TokioIo::new(socket), service.clone()).into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(e) = connection.await {
                tracing::debug!(error = %e, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::debug!("requests were still under way when the storage server stopped");
    }
}
