//! `templar validator`: judge every peer, lead where the stake is highest, set weights.

use crate::{
    cli::Failure,
    context::{self, NodeArgs, NodeContext, Role},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};
use templar::{
    chain::{RevealState, WeightsRequest},
    gauntlet::Evidence,
    node::{
        self, FollowOutcome, NodeError, Prefetched,
        gather::{self, Gathered},
        judge::Judge,
        window::{DecidingBlocks, OpenWindow, block_hash, weights_are_due},
    },
    report::LossPoint,
    wallet::AccountId,
    window::{PutWindow, Window},
};

mod copies;
pub mod publish;
mod state;

use copies::Copies;
use state::State;

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
        let mut validator = Validator::new(ctx)?;
        validator.judge_windows().await.map_err(Failure::from)
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
}

impl Validator {
    fn new(ctx: NodeContext) -> Result<Self, NodeError> {
        let state = State::open(&ctx)?;
        let judge = Judge::new(&ctx.identity, ctx.device);
        let mut copies = Copies::open(ctx.dir.join("copies"))?;
        // A record may have been published just before this validator was interrupted.
        copies.publish(&ctx.identity.bucket);
        Ok(Self { ctx, state, judge, copies })
    }

    async fn judge_windows(&mut self) -> Result<(), NodeError> {
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
        self.ctx.settled().await;
        tracing::info!(model = self.ctx.replica.hash, "the run is over");
        Ok(())
    }

    /// Applies the rounds that were published while this validator was away, its own among them: what a
    /// leader has once said stands.
    async fn catch_up(&mut self) -> Result<(), NodeError> {
        while self.ctx.replica.window < self.ctx.clock.window() {
            let next = self.ctx.replica.window + 1;
            let ctx = &mut self.ctx;
            match node::follow(&ctx.identity, &ctx.directory, &mut ctx.replica, next).await? {
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
        let opening_hash = block_hash(chain.as_ref(), self.ctx.schedule.opening_block(window)).await?;
        tokio::task::block_in_place(|| self.judge.keep(&self.ctx.replica));
        self.ctx.refresh().await;
        let arrivals = gather::watch(&self.ctx.view(), window, &put).await;

        // The put window has closed: what is found from here on counts.
        let started = Instant::now();
        self.ctx.refresh_now().await;
        let arrived = arrivals.len();
        let gathered = gather::gather(&self.ctx.view(), window, put, arrivals).await;
        let seconds = started.elapsed().as_secs_f64();
        let accepted = gathered.accepted().count();
        tracing::info!(window, arrived, accepted, seconds, phase = "gather", "gathered");

        self.state.roster(&self.ctx);
        let open = tokio::task::block_in_place(|| {
            OpenWindow::new(&self.ctx.view(), window, &gathered, opening_hash)
        });
        let chosen = self.take_step(window, &put, &gathered, &open).await?;
        self.note_loss(window)?;

        let blocks = DecidingBlocks::find(&mut self.ctx.clock, &self.ctx.schedule, window, &put).await?;
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
    /// was aggregated.
    async fn take_step(
        &mut self,
        window: Window,
        put: &PutWindow,
        gathered: &Gathered,
        open: &OpenWindow<'_>,
    ) -> Result<BTreeSet<AccountId>, NodeError> {
        let ctx = &mut self.ctx;
        let leads = ctx.directory.leader().is_some_and(|n| n.hotkey == ctx.identity.account());
        let mut record = node::fetch_round(&ctx.identity, &ctx.directory, window).await?;
        // What the leader has published stands, also if it was this validator, before it was interrupted.
        if !leads || record.is_some() {
            // The record names what was gathered here, but for what only one of the two could fetch.
            let here = Prefetched::default();
            gathered.accepted().for_each(|(_, _, payload, _)| here.add(payload.clone()));
            ctx.follow_to(window, &here).await?;
            if record.is_none() {
                record = node::fetch_round(&ctx.identity, &ctx.directory, window).await?;
            }
            return Ok(record.into_iter().flat_map(|r| r.accepted).map(|a| a.hotkey).collect());
        }
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
        let every = ctx.identity.manifest.parsed.checkpoint.every_windows;
        if (window + 1 - ctx.start.start_window).is_multiple_of(every) {
            node::publish_checkpoint(&ctx.identity, &ctx.replica).await?;
        }
        Ok(chosen)
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
