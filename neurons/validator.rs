//! `templar validator`: judge every peer, lead where the stake is highest, set weights.

use crate::{
    cli::Failure,
    context::{self, Followed, NodeArgs, NodeContext, Role},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use templar::{
    chain::{RevealState, WeightsRequest},
    checkpoint::{Desk, Thinning, Writer},
    gauntlet::Evidence,
    node::{
        self, FollowOutcome, NodeError, Payload, Prefetched,
        gather::{self, Gathered},
        judge::Judge,
        window::{DecidingBlocks, OpenWindow, block_hash, weights_are_due},
    },
    report::LossPoint,
    wallet::AccountId,
    window::{PutWindow, Window},
};

mod copies;
mod mirror;
pub mod publish;
mod state;

use copies::Copies;
use mirror::Mirror;
use state::State;

/// Windows at the end of a long way to catch up whose losses are measured one by one; measuring all would take as long as the run.
const LOSSES_BEHIND: u64 = 8;
/// Pause between two looks for the record of a leader that this validator has replaced.
const POLL: Duration = Duration::from_millis(250);

/// Flags of `templar validator`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    node: NodeArgs,
}

/// Runs until the run's last window, or until it is told to stop.
pub async fn run(args: Args) -> Result<(), Failure> {
    if args.node.dry_run {
        return context::dry_run(&args.node, Role::Validator).await;
    }
    let work = async {
        let ctx = context::prepare(&args.node, Role::Validator).await?;
        Validator::new(ctx)?.judge_windows().await.map_err(Failure::from)
    };
    tokio::select! {
        result = work => result,
        () = context::told_to_stop(args.node.exit_with_parent) => Ok(()),
    }
}

struct Validator {
    ctx: NodeContext,
    state: State,
    judge: Judge,
    copies: Copies,
    mirror: Mirror,
    /// Writes and publishes checkpoints beside everything else.
    checkpoints: Option<Writer>,
    thinning: Thinning,
}

impl Validator {
    fn new(mut ctx: NodeContext) -> Result<Self, NodeError> {
        let state = State::open(&ctx)?;
        let judge = Judge::new(&ctx.identity, ctx.device);
        let mut copies = Copies::open(ctx.dir.join("copies"))?;
        // A record may have been published just before this validator was interrupted.
        copies.publish(&ctx.identity.bucket);
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
        Ok(Self { ctx, state, judge, copies, mirror, checkpoints, thinning })
    }

    async fn judge_windows(mut self) -> Result<(), NodeError> {
        while let Err(error) = self.catch_up().await {
            match error.is_transient() {
                true => context::pause(&error).await,
                false => return Err(error),
            }
        }
        self.state.publish_newest(&self.ctx).await?;
        let last = self.ctx.last_window();
        loop {
            let window = self.ctx.replica.window + 1;
            if last.is_some_and(|last| window > last) {
                break;
            }
            match self.window(window).await {
                Err(error) if error.is_transient() => {
                    context::pause(&error).await;
                    // What could not be published then is not lost.
                    if let Err(error) = self.state.publish_newest(&self.ctx).await {
                        tracing::warn!(%error, "the newest scores are not published yet");
                    }
                }
                result => result?,
            }
        }
        self.copies.done().await;
        if let Some(checkpoints) = &mut self.checkpoints {
            checkpoints.done().await;
        }
        self.ctx.settled().await;
        self.ctx.applied = None;
        self.mirror.done().await;
        tracing::info!(model = self.ctx.replica.hash, "the run is over");
        Ok(())
    }

    /// Applies the rounds that were published while this validator was away, its own among them: what a
    /// leader has once said stands.
    async fn catch_up(&mut self) -> Result<(), NodeError> {
        let here = Prefetched::default();
        let far = self.ctx.clock.window().saturating_sub(LOSSES_BEHIND);
        if self.ctx.replica.window < far {
            self.ctx.catch_up(far, &here).await?;
        }
        while self.ctx.replica.window < self.ctx.clock.window() {
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
        tokio::task::block_in_place(|| self.judge.keep(&self.ctx.replica));
        self.ctx.refresh().await;
        let peers: Vec<AccountId> =
            self.ctx.directory.peers().map(|(neuron, _)| neuron.hotkey.clone()).collect();
        self.ctx.learn_assignments(window, &peers).await?;
        // Who led when the put window opened may have more to say about it than who leads when it closes.
        // The newest final block says so: the opening one is final only when the round is out.
        let opening = self.ctx.schedule.opening_block(window).min(chain.head().await?.number);
        let view = self.ctx.view();
        let (arrivals, led) =
            tokio::join!(gather::watch(&view, window, &put), node::leader_at(&self.ctx.identity, opening));

        // A block that replaced the opening one may have moved the put window.
        let put = self.ctx.clock.closed(window).await?;
        // The put window has closed: what is found from here on counts.
        let started = Instant::now();
        self.ctx.refresh_now().await;
        let arrived = arrivals.len();
        let gathered = gather::gather(&self.ctx.view(), window, put, arrivals).await;
        let seconds = started.elapsed().as_secs_f64();
        let accepted = gathered.accepted().count();
        tracing::info!(window, arrived, accepted, seconds, phase = "gather", "gathered");

        self.state.roster(&self.ctx);
        let open = tokio::task::block_in_place(|| OpenWindow::new(&self.ctx.view(), window, &gathered, lots));
        let chosen = self.take_step(window, &put, &gathered, &open, led.as_ref()).await?;
        self.write_checkpoint();
        self.note_loss(window)?;

        let blocks = DecidingBlocks::find(&mut self.ctx.clock, &self.ctx.schedule, window).await?;
        if blocks.put != put {
            tracing::warn!(
                window,
                "the block that opened the put window was replaced after uploads were judged; an audit may differ"
            );
        }
        let seed = block_hash(chain.as_ref(), blocks.evaluation).await?;
        let evidence = self.evaluate(window, &gathered, &open, &chosen, &seed).await?;
        self.state.score(&self.ctx, window, |gauntlet| open.score(gauntlet, &chosen, evidence)).await?;
        self.reveal().await;
        self.submit_weights(window).await;
        publish::progress(&self.ctx, window, &self.state.losses, None).await;
        Ok(())
    }

    /// Measures the model after a window's step, once.
    fn note_loss(&mut self, window: Window) -> Result<(), NodeError> {
        if self.state.losses.iter().all(|known| known.window != window) {
            let loss = tokio::task::block_in_place(|| self.judge.held_out(&self.ctx.view()))?;
            self.state.losses.push(LossPoint { window, loss });
            tracing::info!(window, loss, "held-out loss");
        }
        Ok(())
    }

    /// Takes the step of the window: the leader decides and publishes, the others follow. Returns who
    /// was aggregated. `led` is who led when the put window opened, if that is known.
    async fn take_step(
        &mut self,
        window: Window,
        put: &PutWindow,
        gathered: &Gathered,
        open: &OpenWindow<'_>,
        led: Option<&AccountId>,
    ) -> Result<BTreeSet<AccountId>, NodeError> {
        // The record names what was gathered here, but for what only one of the two could fetch.
        let here = Prefetched::default();
        gathered.accepted().for_each(|(_, _, gradient, object)| {
            here.keep(Payload { gradient: gradient.clone(), object: Some(object.clone()) });
        });
        // What the leader has published stands, also if it was this validator, before it was interrupted.
        if self.ctx.follow_or_lead(window, &here).await? == Followed::Reached
            || self.said_before(window, led, &here).await?
        {
            if let Some(named) = self.ctx.replica.taken(window) {
                return Ok(named.clone());
            }
            // A checkpoint that was newer was loaded on the way.
            let record = node::fetch_round(&self.ctx.identity, &self.ctx.directory, window).await?;
            return Ok(record.into_iter().flat_map(|record| record.accepted).map(|a| a.hotkey).collect());
        }
        let ctx = &mut self.ctx;
        let chosen = open.choose(&self.state.gauntlet);
        let (record, payloads) = publish::round(ctx, &mut self.copies, window, gathered, &chosen).await?;
        let after_close_ms = node::now_ms().saturating_sub(put.last_accepted_ms());
        let peers = payloads.len();
        tracing::info!(window, peers, after_close_ms, phase = "publish", "round published");
        let started = Instant::now();
        tokio::task::block_in_place(|| ctx.replica.apply(&record, &payloads))?;
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(window, peers, seconds, phase = "aggregate", "round applied");
        ctx.publish_sync().await;
        Ok(chosen)
    }

    /// Takes the step of a window as the validator said that led when its put window opened, if it was another: its word stands
    /// where it can be read.
    async fn said_before(
        &mut self,
        window: Window,
        led: Option<&AccountId>,
        here: &Prefetched,
    ) -> Result<bool, NodeError> {
        let Some(led) = led.filter(|led| **led != self.ctx.identity.account()) else { return Ok(false) };
        // It decides when the put window closes, and needs no longer for it than that was open.
        let until = Instant::now() + self.ctx.schedule.put_window;
        loop {
            let (identity, directory) = (&self.ctx.identity, &self.ctx.directory);
            let result = match node::fetch_round_of(identity, directory, led, window).await {
                Ok(Some(record)) => self.ctx.take_round(led, record, here).await.map(|()| true),
                other => other.map(|_| false),
            };
            match result {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(error) if error.is_transient() => tracing::debug!(window, %error, "not read yet"),
                Err(error) => {
                    tracing::warn!(window, %error, "what the leader before said is not used");
                    return Ok(false);
                }
            }
            if Instant::now() >= until {
                tracing::info!(window, hotkey = %led, "the leader before has said nothing; this validator decides");
                return Ok(false);
            }
            tokio::time::sleep(POLL).await;
        }
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
    ) -> Result<BTreeMap<AccountId, Evidence>, NodeError> {
        let started = Instant::now();
        let order = self.state.gauntlet.evaluation_order(&gathered.hotkeys(), window, seed);
        let (ctx, losses) = (&self.ctx, &self.state.losses);
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
        let evidence = open.measure(&mut self.judge, &ctx.view(), chosen, seed, &order, go_on).await?;
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(window, peers = evidence.len(), seconds, phase = "evaluate", "judged");
        Ok(evidence)
    }

    /// Sets weights on chain where they are due. A refusal is logged and tried again when they are next
    /// due: judging goes on.
    async fn submit_weights(&mut self, window: Window) {
        let manifest = &self.ctx.identity.manifest.parsed;
        if !weights_are_due(manifest, self.ctx.start.start_window, window) {
            return;
        }
        let weights = self.state.gauntlet.weights();
        if weights.is_empty() {
            tracing::warn!(window, "nobody has a positive score; weights are not set");
            return;
        }
        let (identity, peers) = (&self.ctx.identity, weights.len());
        let request =
            WeightsRequest { netuid: identity.netuid, mechanism: 0, weights, version_key: node::VERSION_KEY };
        match identity.chain.set_weights(&request, &identity.hotkey).await {
            Ok(submitted) => {
                let block = submitted.included.block;
                let (path, opens_at) = (submitted.path, submitted.opens_at);
                tracing::info!(window, block, peers, ?path, opens_at, "weights set");
                if let Some(commit) = submitted.salted {
                    self.state.keep(commit);
                }
            }
            Err(error) => tracing::warn!(window, %error, "weights could not be set"),
        }
    }

    /// Reveals salted commits whose time has come; the chain opens all others by itself.
    async fn reveal(&mut self) {
        let identity = &self.ctx.identity;
        let mut waiting = Vec::new();
        for commit in self.state.commits() {
            let state = identity.chain.reveal_state(&commit, &identity.account()).await;
            match state {
                Ok(RevealState::Due) => {
                    match identity.chain.reveal_weights(&commit, &identity.hotkey).await {
                        Ok(included) => tracing::info!(block = included.block, "weights revealed"),
                        Err(error) => {
                            tracing::warn!(%error, "weights could not be revealed; trying again");
                            waiting.push(commit);
                        }
                    }
                }
                Ok(RevealState::Gone) => {
                    tracing::warn!(block = commit.block, "the time to reveal a commit is over");
                }
                Ok(RevealState::Early) | Err(_) => waiting.push(commit),
            }
        }
        self.state.set_commits(waiting);
    }
}
