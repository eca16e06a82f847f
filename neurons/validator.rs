//! `templar validator`: judge every peer, decide the round where it is this validator's turn, set weights.

use crate::{
    cli::Failure,
    context::{self, Followed, NodeArgs, NodeContext, Role},
    retention::{self, Retention},
};
use std::{collections::BTreeSet, path::Path, time::Duration};
use templar::{
    chain::{CommitBook as _, RevealState, WeightsRequest},
    checkpoint::{Desk, Thinning, Writer},
    node::{
        self, Backoff, FollowOutcome, NodeError, Payload, Prefetched,
        gather::{self, Gathered},
        judge::Judge,
        persist,
        window::{DecidingBlocks, Measured, OpenWindow, block_hash, weights_are_due},
    },
    report::LossPoint,
    round::Null,
    wallet::AccountId,
    window::{PutWindow, Window},
};
use tokio::time::Instant;

mod copies;
pub mod losses;
mod mirror;
pub mod publish;
mod state;

use copies::Copies;
use mirror::Mirror;
use publish::Decided;
use state::{State, Unpaid};

/// Windows at the end of a long way to catch up whose losses are measured one by one; measuring all would take as long as the run.
const LOSSES_BEHIND: u64 = 8;
/// Windows that may have passed since the last one that was scored, for the others to be scored after a restart.
const SCORED_LATE: u64 = 3;

/// The window from which on a validator with this folder goes on scoring, if it is not too long ago.
pub fn scored_lately(dir: &Path, now: Window) -> Option<Window> {
    State::scored(dir).filter(|scored| scored + SCORED_LATE >= now)
}
/// Gathering ends this part of a window after the put window has closed, within these bounds.
const GATHER_PART: u64 = 5;
const GATHER_LEAST_MS: u64 = 5_000;
const GATHER_MOST_MS: u64 = 120_000;
/// Times that the last weights of a run are tried.
const LAST_TRIES: usize = 10;
/// The share of the peers that deliver below which it is not their fault that the others do not.
const DELIVERED: f64 = 0.4;
/// Null windows in a row, at most, that an outage excuses; after that whoever is missing is missing.
const OUTAGE: u64 = 3;

/// Flags of `templar validator`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
    /// Begin the run, if no validator has begun it. Without it the validator waits for one that has
    #[arg(long)]
    new_run: bool,
}

/// Runs until the run's last window, or until it is told to stop.
pub async fn run(args: Args) -> Result<(), Failure> {
    if args.node.dry_run {
        return context::dry_run(&args.node, Role::Validator).await;
    }
    let work = async {
        let ctx = context::prepare(&args.node, Role::Validator, args.new_run).await?;
        judge(ctx).await.map_err(Failure::from)
    };
    tokio::select! {
        result = work => result,
        () = context::told_to_stop(args.node.exit_with_parent) => Ok(()),
    }
}

/// Judges window after window, to the run's last one.
pub async fn judge(ctx: NodeContext) -> Result<(), NodeError> {
    Validator::new(ctx)?.judge_windows().await
}

struct Validator {
    ctx: NodeContext,
    state: State,
    judge: Judge,
    copies: Copies,
    /// Of what was accepted and not aggregated.
    judged: Copies,
    mirror: Mirror,
    /// Writes and publishes checkpoints beside everything else.
    checkpoints: Option<Writer>,
    thinning: Thinning,
    retention: Retention,
}

impl Validator {
    fn new(mut ctx: NodeContext) -> Result<Self, NodeError> {
        let state = State::open(&ctx)?;
        let judge = Judge::new(&ctx.identity, ctx.device, &ctx.helpers);
        let mut copies = Copies::open(ctx.dir.join("copies"))?;
        // A record may have been published just before this validator was interrupted.
        copies.publish(&ctx.identity.bucket);
        let mut judged = Copies::open(ctx.dir.join("judged"))?;
        judged.publish(&ctx.identity.bucket);
        let mirror = Mirror::open(&ctx.identity, ctx.dir.join("mirror"))?;
        ctx.applied = Some(mirror.listener(&ctx.identity));
        let identity = &ctx.identity;
        let every = identity.manifest.parsed.checkpoint.every_windows;
        let thinning = Thinning { start: ctx.start.start_window, every };
        let desk = |shelf| Desk {
            shelf,
            bucket: identity.bucket.clone(),
            keys: identity.keys(),
            hotkey: identity.hotkey.clone(),
            thinning,
        };
        let checkpoints = ctx.shelf.clone().map(|shelf| Writer::start(desk(shelf)));
        let kept = identity.manifest.parsed.gauntlet.audit.map_or(0, |audit| audit.copies);
        let retention = Retention::new(retention::of_a_validator(every, kept));
        Ok(Self { ctx, state, judge, copies, judged, mirror, checkpoints, thinning, retention })
    }

    async fn judge_windows(mut self) -> Result<(), NodeError> {
        persist(async || self.catch_up().await).await?;
        persist(async || self.state.publish_newest(&self.ctx)).await?;
        let last = self.ctx.last_window();
        loop {
            let window = self.ctx.replica.window + 1;
            if last.is_some_and(|last| window > last) {
                break;
            }
            persist(async || self.window(window).await).await?;
        }
        self.pay_the_rest().await;
        self.copies.done().await;
        self.judged.done().await;
        self.state.published().await;
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.done().await;
        }
        self.ctx.settled().await;
        self.ctx.applied = None;
        self.mirror.done().await;
        tracing::info!(model = self.ctx.replica.hash, "the run is over");
        Ok(())
    }

    /// Applies the rounds that were published while this validator was away, its own among them: what was said stands. If it was not
    /// away for long, it stops at the last window that it has scored, to score the others as if nothing had been.
    async fn catch_up(&mut self) -> Result<(), NodeError> {
        let here = Prefetched::default();
        let now = self.ctx.clock.window();
        let scored = self.state.last_window().filter(|scored| scored + SCORED_LATE >= now);
        let to = scored.unwrap_or(now);
        let far = to.saturating_sub(LOSSES_BEHIND);
        if self.ctx.replica.window < far {
            self.ctx.catch_up(far, &here).await?;
        }
        while self.ctx.replica.window < to {
            let next = self.ctx.replica.window + 1;
            match self.ctx.catch_up(next, &here).await? {
                FollowOutcome::Waiting(_) => break,
                FollowOutcome::Reached => self.note_loss(next)?,
            }
        }
        self.ctx.publish_sync().await;
        Ok(())
    }

    /// One window: gather, let the round be known, take the step, judge, pay.
    async fn window(&mut self, window: Window) -> Result<(), NodeError> {
        let put = self.ctx.clock.put_window(window).await?;
        let chain = self.ctx.identity.chain.clone();
        let lots = block_hash(chain.as_ref(), DecidingBlocks::lots_block(&self.ctx.schedule, window)).await?;
        node::heavy(|| self.judge.keep(&self.ctx.replica));
        self.ctx.refresh().await;
        let peers: Vec<AccountId> =
            self.ctx.directory.peers().map(|(neuron, _)| neuron.hotkey.clone()).collect();
        self.ctx.learn_assignments(window, &peers).await?;
        let likely = self.first(&lots);
        self.ctx.spool.prefer(likely);
        let arrivals = gather::watch(&self.ctx.view(), window, &put, &self.ctx.clock).await;

        // A block that replaced the opening one may have moved the put window.
        let put = self.ctx.clock.closed(window).await?;
        // The put window has closed: what is found from here on counts.
        let started = Instant::now();
        self.ctx.refresh_now().await;
        let arrived = arrivals.len();
        self.state.roster(&self.ctx);
        let first = self.first(&lots);
        let begun_ms = chain.timestamp_ms(self.ctx.schedule.first_block(window)).await?;
        let length_ms = put.open_ms.saturating_sub(begun_ms);
        let by_ms =
            put.last_accepted_ms() + GATHER_LEAST_MS.max((length_ms / GATHER_PART).min(GATHER_MOST_MS));
        let left_ms = by_ms.saturating_sub(self.ctx.clock.now_ms()).max(GATHER_LEAST_MS);
        let order = gather::Order { put, within: Duration::from_millis(left_ms), first: &first };
        let gathered = gather::gather(&self.ctx.view(), window, order, arrivals).await;
        let seconds = started.elapsed().as_secs_f64();
        let accepted = gathered.accepted().count();
        tracing::info!(window, arrived, accepted, seconds, phase = "gather", "gathered");

        let open = node::heavy(|| OpenWindow::new(&self.ctx.view(), window, &gathered, lots))?;
        // From the step on nothing goes back to the beginning of the window: what fails for the moment is tried again where it failed.
        let decided = persist(async || self.take_step(window, &put, &gathered, &open).await).await?;
        self.write_checkpoint();
        persist(async || self.note_loss(window)).await?;
        let Some(chosen) = decided else {
            persist(async || self.state.null(&self.ctx, window)).await?;
            return self.pay(window).await;
        };

        let find = async || DecidingBlocks::find(&mut self.ctx.clock, &self.ctx.schedule, window).await;
        let blocks = persist(find).await?;
        if blocks.put != put {
            tracing::warn!(
                window,
                "the block that opened the put window was replaced after uploads were judged; an audit may differ"
            );
        }
        let seed = persist(async || block_hash(chain.as_ref(), blocks.evaluation).await).await?;
        let measured =
            persist(async || self.evaluate(window, &gathered, &open, &chosen, &seed).await).await?;
        node::heavy(|| publish::judged(&self.ctx, &mut self.judged, window, &gathered, &chosen));
        let due = weights_are_due(&self.ctx.identity.manifest.parsed, self.ctx.start.start_window, window);
        persist(async || {
            let measured = measured.clone();
            self.state.score(&self.ctx, window, due, |gauntlet| open.score(gauntlet, &chosen, measured))
        })
        .await?;
        persist(async || self.state.publish_newest(&self.ctx)).await?;
        self.pay(window).await
    }

    /// Who would be aggregated if everybody delivered.
    fn first(&self, lots: &[u8; 32]) -> Vec<AccountId> {
        let neurons = &self.ctx.directory.metagraph.neurons;
        let everybody: Vec<_> = neurons.iter().map(|n| n.hotkey.clone()).collect();
        let gauntlet = &self.state.gauntlet;
        gauntlet.aggregate_set(&everybody, gauntlet.config().top_g, lots)
    }

    /// What is due at the end of a window.
    async fn pay(&mut self, window: Window) -> Result<(), NodeError> {
        self.reveal().await;
        self.submit_weights().await;
        publish::progress(&self.ctx, window, self.state.losses().points(), None).await;
        let keys = self.ctx.identity.keys();
        self.retention.look(&self.ctx.identity.bucket, &keys, window);
        Ok(())
    }

    /// Measures the model after a window's step, once.
    fn note_loss(&mut self, window: Window) -> Result<(), NodeError> {
        if !self.state.losses().has(window) {
            let loss = node::heavy(|| self.judge.held_out(&self.ctx.view()))?;
            self.state.add_loss(&self.ctx, LossPoint { window, loss })?;
            tracing::info!(window, loss, "held-out loss");
        }
        Ok(())
    }

    /// Takes the step of the window: whoever's turn it is decides and publishes, the others follow. Returns who was aggregated; `None`
    /// for a null window.
    async fn take_step(
        &mut self,
        window: Window,
        put: &PutWindow,
        gathered: &Gathered,
        open: &OpenWindow<'_>,
    ) -> Result<Option<BTreeSet<AccountId>>, NodeError> {
        // The record names what was gathered here, but for what only one of the two could fetch.
        let here = Prefetched::default();
        for (gradient, object) in gathered.accepted().filter_map(|(.., delivered)| delivered.in_memory()) {
            here.keep(Payload { gradient: gradient.clone(), object: Some(object.clone()) });
        }
        // What was published stands, also if it was by this validator, before it was interrupted.
        while self.ctx.follow_or_decide(window, &here).await? == Followed::Decides {
            let null = self.null(window, put, gathered).await?;
            let chosen = match null {
                Some(_) => BTreeSet::new(),
                None => open.choose(&self.state.gauntlet),
            };
            let ctx = &mut self.ctx;
            let decided = publish::round(ctx, &mut self.copies, window, gathered, &chosen, null).await?;
            let Some(Decided { signed, payloads, said_s }) = decided else { continue };
            let after_close_ms = node::now_ms().saturating_sub(put.last_accepted_ms());
            let (peers, why) = (payloads.len(), null.map(Null::describe));
            tracing::info!(window, peers, after_close_ms, why, phase = "publish", "round published");
            let started = Instant::now();
            node::heavy(|| ctx.replica.apply(&signed, &payloads, Some(said_s)))?;
            let seconds = started.elapsed().as_secs_f64();
            tracing::info!(window, peers, seconds, phase = "aggregate", "round applied");
            ctx.publish_sync().await;
            return Ok(null.is_none().then_some(chosen));
        }
        if let Some(last) = self.ctx.replica.taken(window) {
            return Ok((last.nulls == 0).then(|| last.named.clone()));
        }
        if self.ctx.replica.skipped() > 0 {
            // What this validator has said too late must not be taken for the run's by those who come later.
            let key = self.ctx.identity.keys().round(window);
            self.ctx.identity.bucket.delete(&key).await?;
            return Ok(None);
        }
        // A checkpoint that was newer was loaded on the way.
        let record = node::fetch_round(&self.ctx.directory, &self.ctx.identity.manifest, window).await?;
        let accepted = record.filter(|signed| signed.record.null.is_none());
        Ok(accepted.map(|signed| signed.record.accepted.into_iter().map(|a| a.hotkey).collect()))
    }

    /// Whether the window is nobody's to answer for: most of those who have delivered until now are missing, and either the round before
    /// came when half of the time to train was over, or it has not been so for long.
    async fn null(
        &self,
        window: Window,
        put: &PutWindow,
        gathered: &Gathered,
    ) -> Result<Option<Null>, NodeError> {
        let active: Vec<&AccountId> = self.state.active().collect();
        let delivered = active
            .iter()
            .filter(|hotkey| gathered.peers.get(**hotkey).is_some_and(|peer| peer.stage1.is_accepted()));
        if active.is_empty() || delivered.count() as f64 >= DELIVERED * active.len() as f64 {
            return Ok(None);
        }
        let (chain, replica) = (&self.ctx.identity.chain, &self.ctx.replica);
        let begun_ms = chain.timestamp_ms(self.ctx.schedule.first_block(window)).await?;
        let half_ms = begun_ms + put.open_ms.saturating_sub(begun_ms) / 2;
        let said_ms = replica.last().and_then(|last| last.said_s).map(|seconds| seconds * 1000);
        if replica.skipped() > 0 || said_ms.is_some_and(|said| said > half_ms) {
            return Ok(Some(Null::LateRound));
        }
        Ok((replica.nulls_in_a_row() < OUTAGE).then_some(Null::Outage))
    }

    /// Begins to write a checkpoint of the model after the step, where one is due. Every validator does: what the leader has, others
    /// have too.
    fn write_checkpoint(&mut self) {
        let Self { ctx, checkpoints, thinning, .. } = self;
        if let Some(checkpoints) = checkpoints
            && thinning.number(ctx.replica.window).is_some()
        {
            checkpoints.write(node::stand(&ctx.identity, &ctx.replica), ctx.replica.lend());
        }
    }

    /// Measures peers in the order of the window's lottery, until the next window's uploads are due.
    async fn evaluate(
        &mut self,
        window: Window,
        gathered: &Gathered,
        open: &OpenWindow<'_>,
        chosen: &BTreeSet<AccountId>,
        seed: &[u8; 32],
    ) -> Result<Measured, NodeError> {
        let started = Instant::now();
        let order = self.state.gauntlet.evaluation_order(&gathered.hotkeys(), window, seed);
        let (ctx, losses) = (&self.ctx, self.state.losses().points());
        // Of the last window everybody is judged: nothing waits for its end.
        let last = ctx.last_window() == Some(window);
        let go_on = async |hotkey: &AccountId| {
            if !last && ctx.clock.window() > window + 1 {
                tracing::warn!(window, "time is up; the others come first next time");
                return false;
            }
            let uid = gathered.peers.get(hotkey).map(|peer| peer.uid);
            publish::progress(ctx, window, losses, uid).await;
            true
        };
        let measured = open.measure(&mut self.judge, &ctx.view(), chosen, seed, &order, go_on).await?;
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(window, peers = measured.evidence.len(), seconds, phase = "evaluate", "judged");
        Ok(measured)
    }

    /// Sets the weights that are due and not on chain yet. What is refused is tried again after each window, until newer ones are due:
    /// judging goes on.
    async fn submit_weights(&mut self) {
        let Some(Unpaid { window, weights }) = self.state.unpaid().cloned() else { return };
        if weights.is_empty() {
            tracing::warn!(window, "nobody has a positive score; weights are not set");
            return self.state.paid();
        }
        let (identity, peers) = (&self.ctx.identity, weights.len());
        let request =
            WeightsRequest { netuid: identity.netuid, mechanism: 0, weights, version_key: node::VERSION_KEY };
        match identity.chain.set_weights(&request, &identity.hotkey, &self.state.commits()).await {
            Ok(submitted) => {
                let block = submitted.included.block;
                let (path, opens_at) = (submitted.path, submitted.opens_at);
                tracing::info!(window, block, peers, ?path, opens_at, "weights set");
                self.state.paid();
            }
            Err(error) => tracing::warn!(window, %error, "weights could not be set; trying again later"),
        }
    }

    /// Sets the last weights of a run, which no later window can.
    async fn pay_the_rest(&mut self) {
        let mut backoff = Backoff::default();
        for _ in 0..LAST_TRIES {
            if self.state.unpaid().is_none() {
                return;
            }
            tokio::time::sleep(backoff.pause_length()).await;
            self.submit_weights().await;
        }
    }

    /// Reveals salted commits whose time has come; the chain opens all others by itself.
    async fn reveal(&mut self) {
        let (identity, book) = (&self.ctx.identity, self.state.commits());
        let commits = match book.read() {
            Ok(commits) => commits,
            Err(error) => {
                return tracing::error!(%error, "weight commits cannot be read, and are not revealed; the file is left as it is");
            }
        };
        for commit in commits {
            if !commit.is_of(&identity.account()) {
                tracing::warn!(block = commit.block, "a weight commit of another hotkey is left alone");
                continue;
            }
            let over = match identity.chain.reveal_state(&commit, &identity.account()).await {
                Ok(RevealState::Due) => {
                    match identity.chain.reveal_weights(&commit, &identity.hotkey).await {
                        Ok(included) => {
                            tracing::info!(block = included.block, "weights revealed");
                            true
                        }
                        Err(error) => {
                            tracing::warn!(%error, "weights could not be revealed; trying again");
                            false
                        }
                    }
                }
                Ok(RevealState::Gone) => {
                    tracing::warn!(block = commit.block, "a commit was revealed before, or its time is over");
                    true
                }
                Ok(RevealState::Early | RevealState::Unknown) | Err(_) => false,
            };
            if over && let Err(error) = book.forget(&commit.hash) {
                tracing::warn!(error, "a weight commit that is over stays written down");
            }
        }
    }
}
