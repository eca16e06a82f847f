//! The running node: a thread that makes blocks, and the server.

use crate::{
    chain::{Chain, ChainError},
    rpc,
    spec::{self, SpecVersion},
};
use jsonrpsee::server::{Server, ServerHandle};
use node_subtensor_runtime::Beacon;
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// How to run the chain.
#[derive(Clone, Debug)]
pub struct Config {
    /// Port of the JSON-RPC server on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Time between two blocks.
    pub block_time: Duration,
    /// How many blocks the last final one is behind the newest. On Subtensor mainnet it is one or two.
    pub finality_lag: u32,
    /// Every so many blocks the newest is replaced by another before it is final, as by a reorganisation; 0 never does. Takes a
    /// `finality_lag`.
    pub reorg_every: u32,
    /// How many of the newest blocks' states may be asked for, as with a node that prunes; 0 for all.
    pub keep_states: u32,
    /// Where the blocks are kept; `None` keeps them in memory alone.
    pub dir: Option<PathBuf>,
    /// The runtime that a new chain begins with; one that the folder holds goes on with its own.
    pub spec: SpecVersion,
    /// The beacon that opens timelocks. Without one there are no pulses, and timelocks stay shut. It belongs
    /// to the process: the first chain's is that of all.
    pub beacon: Option<Beacon>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            port: 9944,
            block_time: Duration::from_millis(250),
            finality_lag: 0,
            reorg_every: 0,
            keep_states: 0,
            dir: None,
            spec: SpecVersion::Spec425,
            beacon: None,
        }
    }
}

/// Why the chain does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevchainError {
    /// The port cannot be listened on.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Listen {
        /// The port.
        port: u16,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is no chain, or no next block.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The system gives no thread to make blocks on.
    #[error("cannot start the thread that makes blocks")]
    Thread(#[source] std::io::Error),
    /// The server's methods clash.
    #[error("cannot register the RPC methods")]
    Methods(#[from] jsonrpsee::core::RegisterMethodError),
    /// The chain ended without saying why.
    #[error("the chain ended unexpectedly")]
    Ended,
}

impl DevchainError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "another program may use the port: name another one",
            Self::Chain(error) => error.hint(),
            Self::Thread(_) => "end other programs, or raise the limit of processes",
            Self::Methods(_) | Self::Ended => "this is a defect of the program: report it",
        }
    }
}

/// A running chain. It ends when this is dropped.
#[derive(Debug)]
pub struct Handle {
    addr: SocketAddr,
    server: ServerHandle,
    stop: mpsc::Sender<()>,
    ended: oneshot::Receiver<Result<(), ChainError>>,
}

impl Handle {
    /// Where the JSON-RPC server listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same as an address for clients.
    pub fn url(&self) -> String {
        format!("ws://{}", self.addr)
    }

    /// Waits until the chain ends by itself, which it does only when a block cannot be made or kept.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn stopped(mut self) -> Result<(), DevchainError> {
        let ended = (&mut self.ended).await;
        self.close().await;
        Ok(ended.map_err(|_| DevchainError::Ended)??)
    }

    /// Ends it: no further block, connections closed. Every block that anybody saw is on disk.
    ///
    /// # Errors
    /// If it had ended by itself, why.
    pub async fn stop(self) -> Result<(), DevchainError> {
        // If nobody listens, the thread has ended, and `stopped` says why.
        let _ = self.stop.send(());
        self.stopped().await
    }

    async fn close(&self) {
        if self.server.stop().is_ok() {
            self.server.clone().stopped().await;
        }
    }
}

/// Reads back what the folder holds, listens, and makes blocks until it is stopped. Runs on any tokio
/// runtime.
///
/// # Errors
/// If the folder or the port cannot be used.
pub async fn run(config: Config) -> Result<Handle, DevchainError> {
    if let Some(beacon) = config.beacon {
        spec::install(beacon);
    }
    spec::set_block_time(config.block_time);
    let (dir, spec) = (config.dir.clone(), config.spec);
    let opened = tokio::task::spawn_blocking(move || Chain::open(dir.as_deref(), spec, config.block_time));
    let chain = Arc::new(opened.await.map_err(|_| DevchainError::Ended)??);
    chain.set_finality_lag(config.finality_lag);
    chain.keep_states(config.keep_states);
    let listen = |source| DevchainError::Listen { port: config.port, source };
    let server = Server::builder().set_config(rpc::limits());
    let server = server.build((Ipv4Addr::LOCALHOST, config.port)).await.map_err(listen)?;
    let addr = server.local_addr().map_err(listen)?;
    let server = server.start(rpc::module(chain.clone())?);
    let (stop, stopping) = mpsc::channel();
    let (end, ended) = oneshot::channel();
    let make = move || {
        let result = make_blocks(&chain, &stopping, config.reorg_every);
        chain.close();
        // Nobody may wait for it.
        let _ = end.send(result);
    };
    let thread = std::thread::Builder::new().name("blocks".to_owned()).spawn(make);
    thread.map_err(DevchainError::Thread)?;
    Ok(Handle { addr, server, stop, ended })
}

/// Makes one block for each tick until it is told to stop, or nobody is left to tell it. Ticks that were
/// missed, because the machine slept or was busy, are not made up for: a burst of blocks would rob clients of
/// their time.
fn make_blocks(chain: &Chain, stopping: &mpsc::Receiver<()>, reorg_every: u32) -> Result<(), ChainError> {
    let mut next = Instant::now() + chain.block_time();
    while let Err(mpsc::RecvTimeoutError::Timeout) =
        stopping.recv_timeout(next.saturating_duration_since(Instant::now()))
    {
        let block = chain.make_block()?;
        tracing::debug!(number = block.header.number, extrinsics = block.extrinsics.len(), "block");
        next = (next + chain.block_time()).max(Instant::now());
        if reorg_every > 0 && block.header.number.is_multiple_of(reorg_every) {
            let Err(mpsc::RecvTimeoutError::Timeout) = stopping.recv_timeout(chain.block_time() / 2) else {
                break;
            };
            chain.replace_best()?;
        }
    }
    Ok(())
}
