//! `templar model serve`: a model behind the interface that OpenAI's clients speak.

mod api;
mod request;
mod worker;

use super::{
    generate::computing_on,
    source::{Asked, Followed, Opened},
};
use crate::{
    cli::{Exit, Failure, output::print},
    context,
};
use std::{future::IntoFuture, net::SocketAddr, sync::Arc, time::Duration};
use tch::Device;
use templar::tokenizer::Tokenizer;
use tokio::{net::TcpListener, sync::RwLock};
use worker::Worker;

/// Which model, where to listen.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    asked: Asked,
    /// Where to listen; port 0 takes any that is free. Whoever can reach it can use it: set TEMPLAR_API_KEY to ask for a key
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Texts that are written side by side; others wait
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    slots: u16,
    /// What computes: `auto`, `cpu` or `cuda:N`
    #[arg(long, default_value = "auto")]
    device: String,
    /// Threads of the tensor library; all cores unless given
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// Pause between two looks for a newer checkpoint.
const POLL: Duration = Duration::from_secs(5);
/// How long answers are waited for once the process is told to stop.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The key that a client must show, where there is one.
const API_KEY: &str = "TEMPLAR_API_KEY";

/// What requests need to know of the model that answers now.
#[derive(Debug, Clone)]
pub(super) struct Served {
    /// What clients call it.
    name: String,
    window: Option<u64>,
    tokenizer: Arc<Tokenizer>,
    vocabulary: i64,
    /// Prompt and answer together.
    positions: usize,
}

impl Served {
    fn of(opened: &Opened) -> Result<Self, Failure> {
        let config = opened.model.config();
        Ok(Self {
            name: opened.about.name.clone(),
            window: opened.about.window(),
            tokenizer: Arc::new(opened.about.tokenizer()?.clone()),
            vocabulary: config.vocab_size,
            positions: config.sequence_length as usize,
        })
    }
}

/// What the handlers share.
pub(super) struct Server {
    served: RwLock<Served>,
    worker: Worker,
    /// The hash of the key that clients must show.
    key: Option<blake3::Hash>,
}

/// Runs the verb, until the process is told to stop.
pub async fn run(args: Args) -> Result<(), Failure> {
    let device = computing_on(&args.device, args.threads)?;
    let key =
        std::env::var(API_KEY).ok().filter(|key| !key.is_empty()).map(|key| blake3::hash(key.as_bytes()));
    let mut followed = match args.asked.follow {
        true => Some(Followed::open(&args.asked.at, args.asked.tokenizer.clone()).await?),
        false => None,
    };
    let opened = match &mut followed {
        Some(run) => run.newest(device).await?.ok_or_else(|| run.nothing_yet())?,
        None => args.asked.open(device).await?,
    };
    let served = Served::of(&opened)?;
    let listener = TcpListener::bind(args.listen).await.map_err(|e| {
        Failure::new(Exit::Usage, format!("cannot listen on {}: {e}", args.listen))
            .hint("name another address with --listen")
    })?;
    let address = listener.local_addr().map_err(|e| Failure::new(Exit::Unexpected, e))?;
    if !address.ip().is_loopback() && key.is_none() {
        tracing::warn!(%address, "anybody who can reach this address can use the model; {API_KEY} asks for a key");
    }
    let (worker, ended) = Worker::start(opened, usize::from(args.slots));
    let server = Arc::new(Server { served: RwLock::new(served), worker, key });
    if let Some(followed) = followed {
        tokio::spawn(follow(followed, server.clone(), device));
    }
    print(&format!("listening on http://{address}/v1\n"))?;
    let (tell, told) = tokio::sync::oneshot::channel();
    let stopped = async {
        let failed = tokio::select! {
            () = context::told_to_stop(false) => None,
            _ = ended => Some(Failure::new(Exit::Unexpected, "the model's thread has ended")
                .hint("see what stands above; a smaller --slots needs less memory")),
        };
        let _ = tell.send(());
        // Texts that are nearly done are waited for, others not.
        tokio::time::sleep(LAST_WORDS).await;
        failed.map_or(Ok(()), Err)
    };
    let graceful = async { told.await.unwrap_or_default() };
    let running = axum::serve(listener, api::router(server)).with_graceful_shutdown(graceful).into_future();
    tokio::select! {
        stopped = stopped => stopped,
        ended = running => ended.map_err(|e| Failure::new(Exit::Unexpected, format!("the server ended: {e}"))),
    }
}

/// Takes each new checkpoint; texts that are being written end with the model that they began with.
async fn follow(mut followed: Followed, server: Arc<Server>, device: Device) {
    loop {
        tokio::time::sleep(POLL).await;
        let found = followed.newest(device).await;
        let Ok(Some(opened)) = found.inspect_err(|failure| {
            tracing::warn!(%failure, "the newest checkpoint could not be read; the last one stays in use");
        }) else {
            continue;
        };
        match Served::of(&opened) {
            Ok(served) => {
                tracing::info!(window = served.window, "a new checkpoint answers");
                if server.worker.replace(opened).await.is_err() {
                    return;
                }
                *server.served.write().await = served;
            }
            Err(failure) => tracing::warn!(%failure, "the newest checkpoint cannot be used"),
        }
    }
}
