//! `templar validator`: judge every peer, lead where the stake is highest, set weights.

use crate::{
    cli::Failure,
    context::{self, NodeArgs, Ready, Role},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};
use templar::{
    chain::{RevealState, WeightsOrder},
    gauntlet::{Evidence, overlap},
    node::{
        self, Followed, NodeError,
        gather::{self, Gathered},
        judge::Judge,
    },
    report::LossPoint,
    wallet::AccountId,
    window::{Block, PutWindow, Window},
};

pub mod publish;
mod state;

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
        let ready = context::prepare(&args.node, Role::Validator).await?;
        let mut validator = Validator::new(ready)?;
        validator.judge_windows().await.map_err(Failure::from)
    };
    tokio::select! {
        result = work => result,
        () = context::told_to_stop(args.node.exit_with_parent) => Ok(()),
    }
}

struct Validator {
    ready: Ready,
    state: State,
    judge: Judge,
}

impl Validator {
    fn new(ready: Ready) -> Result<Self, NodeError> {
        let state = State::open(&ready)?;
        let judge = Judge::new(&ready.identity, ready.device);
        Ok(Self { ready, state, judge })
    }

    async fn judge_windows(&mut self) -> Result<(), NodeError> {
        self.catch_up().await?;
        self.state.publish_newest(&self.ready).await?;
        let last = self.ready.last_window();
        loop {
            let window = self.ready.replica.window + 1;
            if last.is_some_and(|last| window > last) {
                break;
            }
            match self.window(window).await {
                Err(error) if error.is_transient() => {
                    context::pause(&error).await;
                    // What could not be published then is not lost.
                    if let Err(error) = self.state.publish_newest(&self.ready).await {
                        tracing::warn!(%error, "the newest scores are not published yet");
                    }
                }
                result => result?,
            }
        }
        tracing::info!(model = self.ready.replica.hash, "the run is over");
        Ok(())
    }

    /// Applies the rounds that were published while this validator was away, its own among them: what a
    /// leader has once said stands.
    async fn catch_up(&mut self) -> Result<(), NodeError> {
        while self.ready.replica.window < self.ready.clock.window() {
            let next = self.ready.replica.window + 1;
            let ready = &mut self.ready;
            match node::follow(&ready.identity, &ready.directory, &mut ready.replica, next).await? {
                Followed::Waiting(_) => break,
                Followed::Reached => self.note_loss(next)?,
            }
        }
        self.ready.publish_sync().await;
        Ok(())
    }

    /// One window: gather, let the round be known, take the step, judge, pay.
    async fn window(&mut self, window: Window) -> Result<(), NodeError> {
        let put = self.ready.clock.closed(window).await?;
        self.ready.refresh_now().await;
        let started = Instant::now();
        let gathered = gather::gather(&self.ready.view(), window, put).await;
        let seconds = started.elapsed().as_secs_f64();
        let accepted = gathered.accepted().count();
        tracing::info!(window, accepted, seconds, phase = "gather", "gathered");

        self.state.roster(&self.ready);
        self.judge.keep(&self.ready.replica);
        let step = self.ready.replica.next_step();
        // Decides ties and what is compared; the step cannot wait for another block.
        let opening = self.block_hash(self.ready.schedule.opening_block(window)).await?;
        let limit = self.ready.identity.manifest.manifest.gauntlet.overlap_limit();
        let alike =
            tokio::task::block_in_place(|| gathered.alike(self.ready.replica.layout(), &opening, limit));
        let chosen = self.take_step(window, &gathered, &alike, &opening).await?;
        self.note_loss(window)?;

        let seed = self.evaluation_seed(window, put).await?;
        let order = self.state.gauntlet.evaluation_order(&gathered.hotkeys(), window, &seed);
        let evidence = self.evaluate(window, &gathered, &chosen, order, &seed, step).await?;
        let observations = gathered.observations(&chosen, evidence);
        self.state.score(&self.ready, window, step, &observations, &alike).await?;
        self.reveal().await;
        self.pay(window).await;
        publish::progress(&self.ready, window, &self.state.losses, None).await;
        Ok(())
    }

    /// Measures the model after a window's step, once.
    fn note_loss(&mut self, window: Window) -> Result<(), NodeError> {
        if self.state.losses.iter().all(|known| known.window != window) {
            let loss = tokio::task::block_in_place(|| self.judge.held_out(&self.ready.view()))?;
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
        gathered: &Gathered,
        alike: &[overlap::Pair],
        seed: &[u8; 32],
    ) -> Result<BTreeSet<AccountId>, NodeError> {
        let ready = &mut self.ready;
        let leads = ready.directory.leader().is_some_and(|n| n.hotkey == ready.identity.account());
        let mut record = node::fetch_round(&ready.identity, &ready.directory, window).await?;
        // What the leader has published stands, also if it was this validator, before it was interrupted.
        if !leads || record.is_some() {
            ready.follow_to(window).await?;
            if record.is_none() {
                record = node::fetch_round(&ready.identity, &ready.directory, window).await?;
            }
            return Ok(record.into_iter().flat_map(|r| r.accepted).map(|a| a.hotkey).collect());
        }
        let top_g = ready.identity.manifest.manifest.gauntlet.top_g;
        let chosen = self.state.gauntlet.aggregate_set_without(&gathered.hotkeys(), alike, top_g, seed);
        let chosen: BTreeSet<AccountId> = chosen.into_iter().collect();
        let (record, payloads) = publish::round(ready, window, gathered, &chosen).await?;
        let started = Instant::now();
        ready.replica.apply(&record, &payloads)?;
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(
            window,
            peers = payloads.len(),
            seconds,
            phase = "aggregate",
            "round published and applied"
        );
        ready.publish_sync().await;
        let every = ready.identity.manifest.manifest.checkpoint.every_windows;
        if (window + 1 - ready.start.start_window).is_multiple_of(every) {
            node::publish_checkpoint(&ready.identity, &ready.replica).await?;
        }
        Ok(chosen)
    }

    /// Measures peers in the order given, until the next window's uploads are due.
    async fn evaluate(
        &mut self,
        window: Window,
        gathered: &Gathered,
        chosen: &BTreeSet<AccountId>,
        order: Vec<AccountId>,
        seed: &[u8; 32],
        step: f64,
    ) -> Result<BTreeMap<AccountId, Evidence>, NodeError> {
        let started = Instant::now();
        let step = step * self.ready.identity.manifest.manifest.gauntlet.evaluation_step;
        let shared = tokio::task::block_in_place(|| {
            self.judge.share(&self.ready.view(), window, seed, gathered, chosen, step)
        })?;
        // Of the last window everybody is judged: nothing waits for its end.
        let last = self.ready.last_window() == Some(window);
        let mut evidence = BTreeMap::new();
        for hotkey in order {
            if !last && self.ready.clock.window() > window + 1 {
                tracing::warn!(
                    window,
                    judged = evidence.len(),
                    "time is up; the others come first next time"
                );
                break;
            }
            let uid = gathered.peers.get(&hotkey).map(|peer| peer.uid);
            publish::progress(&self.ready, window, &self.state.losses, uid).await;
            let measured = tokio::task::block_in_place(|| {
                self.judge.evidence(&self.ready.view(), window, &hotkey, gathered, &shared, step)
            })?;
            evidence.insert(hotkey, measured);
        }
        let seconds = started.elapsed().as_secs_f64();
        tracing::info!(window, peers = evidence.len(), seconds, phase = "evaluate", "judged");
        Ok(evidence)
    }

    /// Sets weights on chain where they are due. A refusal is logged and tried again when they are next
    /// due: judging goes on.
    async fn pay(&mut self, window: Window) {
        let every = self.ready.identity.manifest.manifest.gauntlet.windows_per_weights;
        let due = (window + 1 - self.ready.start.start_window).is_multiple_of(every);
        if !due && self.ready.last_window() != Some(window) {
            return;
        }
        let weights = self.state.gauntlet.weights();
        if weights.is_empty() {
            tracing::warn!(window, "nobody has a positive score; weights are not set");
            return;
        }
        let (identity, peers) = (&self.ready.identity, weights.len());
        let order =
            WeightsOrder { netuid: identity.netuid, mechanism: 0, weights, version_key: node::VERSION_KEY };
        match identity.chain.give_weights(&order, &identity.hotkey).await {
            Ok(given) => {
                let (block, way, opens_at) = (given.included.block, given.way, given.opens_at);
                tracing::info!(window, block, peers, ?way, opens_at, "weights set");
                if let Some(commit) = given.salted {
                    self.state.keep(commit);
                }
            }
            Err(error) => tracing::warn!(window, %error, "weights could not be set"),
        }
    }

    /// Reveals salted commits whose time has come; the chain opens all others by itself.
    async fn reveal(&mut self) {
        let identity = &self.ready.identity;
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

    /// The hash of the first block after the put window: it did not exist while uploads could change, so
    /// nobody can aim at the data that is drawn from it, and every validator draws the same.
    async fn evaluation_seed(&mut self, window: Window, put: PutWindow) -> Result<[u8; 32], NodeError> {
        let opening = self.ready.schedule.opening_block(window);
        let block = self.ready.clock.first_block_at(opening, put.last_accepted_ms() + 1).await?;
        self.block_hash(block).await
    }

    async fn block_hash(&self, block: Block) -> Result<[u8; 32], NodeError> {
        self.ready.identity.chain.block_hash(block).await?.ok_or(NodeError::NoBlock(block))
    }
}
