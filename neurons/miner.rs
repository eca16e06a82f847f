//! `templar miner`: train on what the window assigns, publish the pseudo-gradient, take everybody's step.

use crate::{
    cli::Failure,
    context::{self, NodeArgs, NodeContext, Role},
    retention::{self, Retention},
};
use std::{sync::Arc, time::Duration};
use tch::{Device, Tensor};
use templar::{
    gradient::{self, Expected, Header, PseudoGradient},
    model::Llama,
    node::{self, Backoff, NodeError, Prefetch, Prefetched},
    train::Models,
    wallet::verify,
    window::{Timing, Window},
};
use tokio::time::Instant;

mod deadline;
mod learner;
pub mod sabotage;
use deadline::{Closing, Deadline};
use learner::{Learned, Learner};
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

/// Runs until the run's last window, or until it is told to stop.
pub async fn run(args: Args) -> Result<(), Failure> {
    if args.node.dry_run {
        return context::dry_run(&args.node, Role::Miner).await;
    }
    let work = async {
        let ctx = context::prepare(&args.node, Role::Miner, false).await?;
        mine(ctx, args.sabotage).await.map_err(Failure::from)
    };
    tokio::select! {
        result = work => result,
        () = context::told_to_stop(args.node.exit_with_parent) => Ok(()),
    }
}

/// Trains window after window, to the run's last one.
pub async fn mine(ctx: NodeContext, sabotage: Option<Sabotage>) -> Result<(), NodeError> {
    Miner::new(ctx, sabotage).mine().await
}

/// What came of a window's training.
struct Work {
    /// What is to be sent.
    update: Vec<Tensor>,
    /// The assigned sequences that were trained on.
    claimed: Vec<u64>,
    /// The sealed sketches of their micro-batches, where the run asks for them.
    sketches: Vec<u8>,
}

struct Miner {
    ctx: NodeContext,
    learner: Learner,
    /// Models on the devices that help.
    helpers: Vec<Llama>,
    sabotage: Option<Sabotage>,
    closing: Closing,
    retention: Retention,
    /// Whether the learner's memory was compared with the bucket.
    taken_up: bool,
    /// The newest window of which the bucket has a pseudo-gradient: there is one a window.
    sent: Option<Window>,
}

impl Miner {
    fn new(ctx: NodeContext, sabotage: Option<Sabotage>) -> Self {
        let manifest = &ctx.identity.manifest.parsed;
        let train = &manifest.train;
        let helper = |device: &Device| Llama::new(&manifest.model, manifest.seed, *device);
        let helpers = ctx.helpers.iter().map(helper).collect();
        let learner = Learner::open(&ctx.dir, train, &ctx.replica.model, ctx.replica.layout());
        let (closing, retention) = (Closing::default(), Retention::new(retention::of_a_miner()));
        Self { ctx, learner, helpers, sabotage, closing, retention, taken_up: false, sent: None }
    }

    async fn mine(&mut self) -> Result<(), NodeError> {
        let mut backoff = Backoff::default();
        loop {
            match self.windows().await {
                Err(error) if error.is_transient() => backoff.pause(&error).await,
                result => return result,
            }
        }
    }

    /// Works window by window, to the run's last one.
    async fn windows(&mut self) -> Result<(), NodeError> {
        self.take_up().await?;
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
            let own = self.ctx.identity.account();
            self.ctx.learn_assignments(window, &[own]).await?;
            let fetching = self.prefetch(window);
            if self.sent.is_some_and(|sent| sent >= window) {
                tracing::info!(window, "this window's pseudo-gradient was uploaded before a restart");
                self.ctx.clock.put_window(window).await?;
            } else {
                self.work(window, fetching.here()).await?;
            }
            prefetch = Some(fetching);
        }
    }

    /// Compares the learner's memory with what the bucket has, once.
    async fn take_up(&mut self) -> Result<(), NodeError> {
        if self.taken_up {
            return Ok(());
        }
        let (identity, layout) = (&self.ctx.identity, self.ctx.replica.layout());
        let now = self.ctx.clock.window();
        let expected = Expected {
            run: identity.manifest.hash(),
            netuid: identity.netuid,
            window: now,
            uid: self.ctx.uid()?,
            hotkey: identity.account(),
        };
        let (bucket, keys) = (identity.bucket.as_ref(), identity.keys());
        self.sent = self.learner.take_up(bucket, &keys, layout, &expected, now).await?;
        self.taken_up = true;
        Ok(())
    }

    /// Takes the steps up to a window's, with what was prefetched of it.
    async fn follow(&mut self, prefetch: Option<Prefetch>, window: Window) -> Result<(), NodeError> {
        // Rounds from longer ago are there.
        if let Some(before) = window.checked_sub(1).filter(|before| self.ctx.replica.window < *before) {
            self.ctx.follow_to(before, &Prefetched::default()).await?;
        }
        // There can be no record of a window before its put window has closed.
        if self.ctx.replica.window < window {
            self.ctx.clock.closed(window).await?;
        }
        let here = prefetch.as_ref().map(|prefetch| prefetch.here().clone()).unwrap_or_default();
        let (started, behind) = (Instant::now(), self.ctx.replica.window < window);
        self.ctx.follow_to(window, &here).await?;
        if behind {
            let seconds = started.elapsed().as_secs_f64();
            tracing::info!(window, seconds, phase = "follow", "the round came after the close");
        }
        Ok(())
    }

    /// Looks for what the window's round record is likely to name, while this miner trains.
    fn prefetch(&self, window: Window) -> Prefetch {
        let NodeContext { identity, directory, replica, clock, .. } = &self.ctx;
        let peers = node::likely(directory, replica, identity.manifest.parsed.gauntlet.top_g);
        Prefetch::start(identity, directory, replica.layout(), &peers, window, clock.clone())
    }

    /// Trains for as long as the upload leaves time, uploads when the put window is open; `here` gets this node's own
    /// pseudo-gradient.
    async fn work(&mut self, window: Window, here: &Prefetched) -> Result<(), NodeError> {
        let reserve = self.closing.reserve(self.ctx.schedule.put_window);
        let deadline = Deadline::of(&self.ctx.clock, window, reserve).await?;
        let work = node::heavy(|| self.train(window, &deadline))?;
        let ended = Instant::now();
        let (object, own) = node::heavy(|| self.encode(window, &work))?;
        here.add(Arc::new(own));
        let encoding = ended.elapsed();
        self.ctx.clock.put_window(window).await?;
        let (started, before_ms) = (Instant::now(), node::now_ms());
        let identity = &self.ctx.identity;
        let keys = identity.keys();
        let bytes = object.len();
        let key = keys.gradient(window);
        let mut uploaded = None;
        let published = match identity.bucket.put(&key, object.into()).await {
            Ok(()) => {
                let took = started.elapsed();
                let seconds = took.as_secs_f64();
                tracing::info!(window, bytes, seconds, phase = "upload", "uploaded");
                uploaded = Some(took);
                true
            }
            // The window's pay is lost, not the miner. The answer may have been lost rather than the object; where nobody can tell, it
            // counts as sent: to send something twice is worse than to lose it.
            Err(error) => {
                tracing::warn!(window, %error, "the pseudo-gradient could not be uploaded");
                identity.bucket.head(&key).await.map_or(true, |found| found.is_some())
            }
        };
        if published {
            self.sent = Some(window);
        }
        self.retention.look(&identity.bucket, &keys, window);
        node::heavy(|| self.learner.settle(published))?;
        if let Some(took) = uploaded {
            match self.look_after(window, before_ms, before_ms + took.as_millis() as u64).await {
                Some(late) => {
                    let put_window = self.ctx.schedule.put_window;
                    self.closing.add_late(encoding + took, reserve, late, put_window);
                }
                None => self.closing.add(encoding + took),
            }
        }
        Ok(())
    }

    /// Looks whether what was uploaded between two times is in time as everybody will judge it, by the store's time stamp, and says
    /// so. Gives how much it was late.
    async fn look_after(&mut self, window: Window, before_ms: u64, after_ms: u64) -> Option<Duration> {
        let identity = &self.ctx.identity;
        let seen = identity.bucket.head(&identity.keys().gradient(window)).await;
        let put = self.ctx.clock.put_window(window).await;
        let (Ok(Some(info)), Ok(put)) = (seen, put) else {
            tracing::warn!(
                window,
                "whether the upload was in time cannot be said: the store or the chain does not answer"
            );
            return None;
        };
        self.ctx.clock.skew().store(info.last_modified_s, before_ms, after_ms);
        match put.judge(info.last_modified_s) {
            Timing::OnTime { .. } => {
                let seconds_left = (put.close_ms / 1000).saturating_sub(info.last_modified_s);
                tracing::info!(window, seconds_left, "uploaded in time, so many seconds before the close");
                None
            }
            Timing::Late { seconds } => {
                tracing::warn!(
                    window,
                    seconds,
                    "uploaded so many seconds late: it will not count; training ends earlier from here on"
                );
                Some(Duration::from_secs(seconds))
            }
            Timing::Early { seconds } => {
                tracing::warn!(
                    window,
                    seconds,
                    "uploaded so many seconds early by the store's clock: it will not count; check the clocks"
                );
                None
            }
        }
    }

    /// Trains piece by piece on what the window assigns, until the deadline or the end of the list.
    fn train(&mut self, window: Window, deadline: &Deadline) -> Result<Work, NodeError> {
        let started = Instant::now();
        let ctx = &mut self.ctx;
        let account = ctx.identity.account();
        let mut assigned = ctx.view().assigned(&account, window)?;
        let trained = match self.sabotage {
            // Honest work, on somebody else's data.
            Some(Sabotage::Lazy) => {
                ctx.view().part(!ctx.uid()?, blake3::hash(account.as_ref()).as_bytes(), window)?
            }
            _ => assigned.clone(),
        };
        let tokens = ctx.tokens(&trained)?;
        let (mut last, mut done) = (started, 0);
        let go_on = || {
            done += 1;
            // The next takes as long as the last or the mean, and a quarter: other work of the machine comes and goes.
            let next = last.elapsed().max(started.elapsed() / done) * 5 / 4;
            last = Instant::now();
            deadline.leaves(next)
        };
        let round = ctx.replica.round;
        let manifest = &ctx.identity.manifest;
        let seed = manifest.parsed.gauntlet.audit.map(|_| gradient::sketch_seed(&manifest.hash(), window));
        let models = Models::new(&mut ctx.replica.model, &mut self.helpers);
        let Learned { update, loss, sequences, sketches } =
            self.learner.learn(models, &tokens, round, seed, go_on)?;
        assigned.truncate(sequences);
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(window, loss, sequences, seconds, phase = "train", "trained");
        Ok(Work { update, claimed: assigned, sketches })
    }

    /// The window's pseudo-gradient, ready to upload, and as everybody else will read it.
    fn encode(&mut self, window: Window, work: &Work) -> Result<(Vec<u8>, PseudoGradient), NodeError> {
        let started = Instant::now();
        let ctx = &self.ctx;
        let identity = &ctx.identity;
        let (account, uid) = (identity.account(), ctx.uid()?);
        let mut tensors = self.learner.encode(window, &work.update)?;
        if self.sabotage == Some(Sabotage::Noise) {
            sabotage::randomise(&mut tensors, ctx.replica.layout(), window, account.as_ref());
        }
        let header = ctx.header(window, uid, &work.claimed)?;
        let sign = |message: &[u8]| identity.hotkey.sign(message);
        let layout = ctx.replica.layout();
        let (object, _) = gradient::encode_with_sketches(&header, &tensors, &work.sketches, layout, sign)?;
        let Header { run, netuid, hotkey, .. } = header;
        let expected = Expected { run, netuid, window, uid, hotkey };
        let own = gradient::decode(&object, ctx.replica.layout(), &expected, verify)?;
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(window, bytes = object.len(), seconds, phase = "compress", "compressed");
        Ok((object, own))
    }
}
