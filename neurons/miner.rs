//! `templar miner`: train on what the window assigns, publish the pseudo-gradient, take everybody's step.

use crate::{
    cli::Failure,
    context::{self, NodeArgs, NodeContext, Role},
};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Instant};
use templar::{
    compress::ErrorFeedback,
    gradient::{self, Expected, Header, PseudoGradient},
    node::{self, NodeError, Prefetch, Prefetched},
    train,
    wallet::verify,
    window::Window,
};

pub mod sabotage;
use sabotage::Sabotage;

/// Flags of `templar miner`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// Misbehave on purpose, to see Gauntlet at work on a local network.
    #[arg(long, value_enum, hide = true)]
    sabotage: Option<Sabotage>,
}

/// Pseudo-gradients of the node's own that stay in its bucket, in windows.
const KEPT_WINDOWS: u64 = 100;

/// Runs until the run's last window, or until it is told to stop.
pub async fn run(args: Args) -> Result<(), Failure> {
    if args.node.dry_run {
        return context::dry_run(&args.node, Role::Miner).await;
    }
    let work = async {
        let ctx = context::prepare(&args.node, Role::Miner).await?;
        Miner::new(ctx, args.sabotage).mine().await.map_err(Failure::from)
    };
    tokio::select! {
        result = work => result,
        () = context::told_to_stop(args.node.exit_with_parent) => Ok(()),
    }
}

struct Miner {
    ctx: NodeContext,
    feedback: ErrorFeedback,
    sabotage: Option<Sabotage>,
    momentum: PathBuf,
}

impl Miner {
    /// Takes up the momentum of an earlier run of this node, so that a restart loses no error feedback.
    fn new(ctx: NodeContext, sabotage: Option<Sabotage>) -> Self {
        let momentum = ctx.dir.join("momentum.safetensors");
        let layout = ctx.replica.layout();
        let feedback = if momentum.exists() {
            match ErrorFeedback::load(layout, &momentum) {
                Ok((feedback, _)) => {
                    tracing::info!("momentum taken up from disk");
                    feedback
                }
                Err(error) => {
                    tracing::warn!(%error, "the saved momentum is not used; starting from zero");
                    ErrorFeedback::new(layout)
                }
            }
        } else {
            ErrorFeedback::new(layout)
        };
        Self { ctx, feedback, sabotage, momentum }
    }

    async fn mine(&mut self) -> Result<(), NodeError> {
        loop {
            match self.windows().await {
                Err(error) if error.is_transient() => context::pause(&error).await,
                result => return result,
            }
        }
    }

    /// Works window by window, to the run's last one.
    async fn windows(&mut self) -> Result<(), NodeError> {
        let last = self.ctx.last_window();
        let mut prefetch: Option<Prefetch> = None;
        loop {
            let window = self.ctx.clock.window().max(self.ctx.start.start_window);
            if let Some(last) = last.filter(|last| window > *last) {
                self.follow(prefetch.take(), last).await?;
                self.ctx.settled().await;
                tracing::info!(window = last, model = self.ctx.replica.hash, "the run is over");
                return Ok(());
            }
            self.ctx.clock.reach(self.ctx.schedule.first_block(window)).await?;
            // The model to train on is the one after the window before.
            self.follow(prefetch.take(), window - 1).await?;
            if self.ctx.clock.window() != window {
                tracing::warn!(window, "the round before came too late; this window is skipped");
                continue;
            }
            let fetching = self.prefetch(window);
            self.work(window, fetching.here()).await?;
            prefetch = Some(fetching);
        }
    }

    /// Takes the steps up to a window's, with what was prefetched of it.
    async fn follow(&mut self, prefetch: Option<Prefetch>, window: Window) -> Result<(), NodeError> {
        // There can be no record of a window before its put window has closed.
        if self.ctx.replica.window < window {
            self.ctx.clock.closed(window).await?;
        }
        let here = prefetch.as_ref().map(|prefetch| prefetch.here().clone()).unwrap_or_default();
        self.ctx.follow_to(window, &here).await
    }

    /// Looks for what the window's round record is likely to name, while this miner trains.
    fn prefetch(&self, window: Window) -> Prefetch {
        let NodeContext { identity, directory, replica, clock, .. } = &self.ctx;
        let peers = node::likely(directory, replica, identity.manifest.parsed.gauntlet.top_g);
        Prefetch::start(identity, directory, replica.layout(), &peers, window, clock.clone())
    }

    /// Trains, waits for the put window, uploads; `here` gets this node's own pseudo-gradient.
    async fn work(&mut self, window: Window, here: &Prefetched) -> Result<(), NodeError> {
        let (object, own) = tokio::task::block_in_place(|| self.train(window))?;
        here.add(Arc::new(own));
        self.ctx.clock.put_window(window).await?;
        let started = Instant::now();
        let identity = &self.ctx.identity;
        let keys = identity.keys();
        let bytes = object.len();
        match identity.bucket.put(&keys.gradient(window), object.into()).await {
            Ok(()) => {
                let seconds = started.elapsed().as_secs_f64();
                tracing::info!(window, bytes, seconds, phase = "upload", "uploaded");
            }
            // One window's work is lost, not the miner.
            Err(error) => tracing::warn!(window, %error, "the pseudo-gradient could not be uploaded"),
        }
        if let Some(old) = window.checked_sub(KEPT_WINDOWS) {
            // Best effort: an object that stays costs storage and harms nobody.
            let _ = identity.bucket.delete(&keys.gradient(old)).await;
        }
        Ok(())
    }

    /// The window's pseudo-gradient, ready to upload, and as everybody else will read it.
    fn train(&mut self, window: Window) -> Result<(Vec<u8>, PseudoGradient), NodeError> {
        let started = Instant::now();
        let ctx = &mut self.ctx;
        let identity = ctx.identity.clone();
        let account = identity.account();
        let uid = ctx.uid()?;
        let assigned = ctx.assigned(account.as_ref(), window);
        let trained = match self.sabotage {
            // Honest work, on somebody else's data.
            Some(Sabotage::Lazy) => ctx.assigned(blake3::hash(account.as_ref()).as_bytes(), window),
            _ => assigned.clone(),
        };
        let tokens = ctx.tokens(&trained)?;
        let micro_batch = identity.manifest.parsed.train.micro_batch;
        let step = train::local_step(&mut ctx.replica.model, &tokens, micro_batch)?;
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(window, loss = step.loss, seconds, phase = "train", "trained");

        let started = Instant::now();
        let mut tensors = self.feedback.encode(&step.gradients)?;
        if self.sabotage == Some(Sabotage::Noise) {
            sabotage::randomise(&mut tensors, ctx.replica.layout(), window, account.as_ref());
        }
        let header = ctx.header(window, uid, &assigned);
        let sign = |message: &[u8]| identity.hotkey.sign(message);
        let (object, _) = gradient::encode(&header, &tensors, ctx.replica.layout(), sign)?;
        let Header { run, netuid, hotkey, .. } = header;
        let expected = Expected { run, netuid, window, uid, hotkey };
        let own = gradient::decode(&object, ctx.replica.layout(), &expected, verify)?;
        if let Err(error) = self.feedback.save(&self.momentum, &BTreeMap::new()) {
            tracing::warn!(%error, "the momentum could not be saved; a restart would begin from zero");
        }
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(window, bytes = object.len(), seconds, phase = "compress", "compressed");
        Ok((object, own))
    }
}
