//! Registration: paid, with a limit on the price, or by proof of work.

mod plan;
pub mod pow;

pub use plan::RegistrationPlan;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use subxt::{
    ext::scale_value::{Composite, Value},
    tx::DynamicPayload,
};
use templar_metadata::api;

use crate::{
    chain::{
        arguments::{has, key, number},
        client::SubtensorClient,
        error::ChainError,
        extrinsic::Settled,
        ids::theirs,
        registration::pow::{Puzzle, Solution},
        rpc::{
            connection::AtBlock,
            storage::{Reader, SUBNETS},
        },
        types::{Head, Included},
    },
    wallet::{AccountId, Keypair},
    window::{Block, NetUid, Uid},
};

/// The difficulty of the faucet's puzzle.
const FAUCET_DIFFICULTY: u64 = 1_000_000;
/// Blocks for which a puzzle is worked on; the chain takes solutions for blocks that are a little older.
const FRESH: Block = 2;

/// How far the search for a proof of work is, shared with whatever shows it.
#[derive(Debug, Clone, Default)]
pub struct PowProgress {
    /// Nonces tried so far.
    pub tried: Arc<AtomicU64>,
    /// Tries that a solution takes on average; 0 until it is known.
    pub difficulty: Arc<AtomicU64>,
    /// Threads to use; 0 for all cores.
    pub threads: usize,
}

impl PowProgress {
    fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, Into::into),
            threads => threads,
        }
    }
}

/// The call that pays for a UID: with the limit where the runtime knows limits.
pub(in crate::chain) fn payment(
    reader: &Reader<'_>,
    netuid: NetUid,
    hotkey: &AccountId,
    limit: Option<u64>,
) -> DynamicPayload<Composite<()>> {
    let (netuid, hotkey) = (("netuid", number(netuid)), ("hotkey", key(hotkey)));
    match limit.filter(|_| has(&reader.at, "register_limit")) {
        Some(limit) => {
            let arguments = [netuid, hotkey, ("limit_price", number(limit))];
            subxt::tx::dynamic(SUBNETS, "register_limit", Composite::named(arguments))
        }
        None => subxt::tx::dynamic(SUBNETS, "burned_register", Composite::named([netuid, hotkey])),
    }
}

impl SubtensorClient {
    /// Registers a hotkey on a subnet, paid by the coldkey; returns its UID.
    pub async fn register(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        coldkey: &Keypair,
    ) -> Result<Uid, ChainError> {
        let call = "burned_register";
        let payload = api::tx().subtensor_module().burned_register(netuid, theirs(hotkey));
        let settled = self.submit(call, payload, coldkey).await?;
        slot(&settled)
    }

    /// [`Self::register`], for `limit` rao at most.
    ///
    /// # Errors
    /// [`ChainError::PriceAboveLimit`] if it costs more.
    pub async fn register_within(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        limit: u64,
        coldkey: &Keypair,
    ) -> Result<Uid, ChainError> {
        let reader = self.reader(None).await?;
        let burn = reader.read(api::storage().subtensor_module().burn(), (netuid,)).await?.unwrap_or(0);
        if burn > limit {
            return Err(ChainError::PriceAboveLimit { price: burn, limit });
        }
        let payload = payment(&reader, netuid, hotkey, Some(limit));
        slot(&self.submit("burned_register", payload, coldkey).await?)
    }

    /// Registers a hotkey by proof of work; `progress` shows how far that is.
    ///
    /// # Errors
    /// [`ChainError::Missing`] where the runtime has no such thing.
    pub async fn register_by_work(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        coldkey: &Keypair,
        progress: &PowProgress,
    ) -> Result<Uid, ChainError> {
        loop {
            let reader = self.newest_reader().await?;
            let newer = takes_work(&reader.at)?;
            let difficulty = difficulty(&reader, netuid).await?;
            let Head { number: block, hash } = reader.head;
            let puzzle = if newer {
                Puzzle::Registration {
                    netuid,
                    block: hash,
                    hotkey: hotkey.clone(),
                    coldkey: coldkey.account(),
                }
            } else {
                Puzzle::Key { block: hash, key: hotkey.clone() }
            };
            let Some(found) = self.solve(puzzle, difficulty, block, progress).await? else { continue };
            let call = if newer { "pow_register" } else { "register" };
            let payload = worked_slot(newer, netuid, hotkey, &coldkey.account(), block, &found);
            match self.submit(call, payload, coldkey).await {
                // The block was too old, or the difficulty rose, when it came in.
                Err(ChainError::Refused { name, .. }) if is_stale(&name) => {}
                settled => return slot(&settled?),
            }
        }
    }

    /// TAO from a development chain's faucet, by proof of work.
    ///
    /// # Errors
    /// [`ChainError::Missing`] on every other chain.
    pub async fn faucet(&self, coldkey: &Keypair, progress: &PowProgress) -> Result<Included, ChainError> {
        loop {
            let reader = self.newest_reader().await?;
            gives_tao(&reader.at)?;
            let Head { number: block, hash } = reader.head;
            let puzzle = Puzzle::Key { block: hash, key: coldkey.account() };
            let Some(found) = self.solve(puzzle, FAUCET_DIFFICULTY, block, progress).await? else { continue };
            match self.submit("faucet", worked_tao(block, &found), coldkey).await {
                Err(ChainError::Refused { name, .. }) if is_stale(&name) => {}
                settled => return Ok(settled?.included),
            }
        }
    }

    /// The difficulty of a UID's work, and the call that would hand it in.
    pub(in crate::chain) async fn unworked_slot(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        coldkey: &AccountId,
    ) -> Result<(u64, DynamicPayload<Composite<()>>), ChainError> {
        let reader = self.reader(None).await?;
        let newer = takes_work(&reader.at)?;
        let difficulty = difficulty(&reader, netuid).await?;
        let payload = worked_slot(newer, netuid, hotkey, coldkey, reader.head.number, &Solution::default());
        Ok((difficulty, payload))
    }

    /// The difficulty of the faucet's work, and the call that would hand it in.
    pub(in crate::chain) async fn unworked_tao(
        &self,
    ) -> Result<(u64, DynamicPayload<Composite<()>>), ChainError> {
        let reader = self.reader(None).await?;
        gives_tao(&reader.at)?;
        Ok((FAUCET_DIFFICULTY, worked_tao(reader.head.number, &Solution::default())))
    }

    /// Searches on threads of its own; `None` when the block has become too old.
    async fn solve(
        &self,
        puzzle: Puzzle,
        difficulty: u64,
        block: Block,
        progress: &PowProgress,
    ) -> Result<Option<Solution>, ChainError> {
        progress.difficulty.store(difficulty, Ordering::Relaxed);
        let stop = Arc::new(AtomicBool::new(false));
        let (tried, threads, told) = (progress.tried.clone(), progress.threads(), stop.clone());
        let start = rand::random();
        let mut working =
            tokio::task::spawn_blocking(move || puzzle.solve(difficulty, start, threads, &tried, &told));
        // Dropped in the midst of it, as by Ctrl-C, the threads end as well.
        let _guard = StopOnDrop(stop.clone());
        loop {
            tokio::select! {
                found = &mut working => return Ok(found.ok().flatten()),
                () = tokio::time::sleep(std::time::Duration::from_millis(500)) => {}
            }
            if self.link().best().await?.number >= block + FRESH {
                stop.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Whether the runtime takes work by the newer call.
fn takes_work(at: &AtBlock) -> Result<bool, ChainError> {
    let newer = has(at, "pow_register");
    if !newer && (has(at, "register_limit") || !has(at, "register")) {
        return Err(ChainError::Missing { item: "registration by proof of work".to_owned() });
    }
    Ok(newer)
}

fn gives_tao(at: &AtBlock) -> Result<(), ChainError> {
    let missing = || ChainError::Missing { item: "faucet; only development chains have one".to_owned() };
    has(at, "faucet").then_some(()).ok_or_else(missing)
}

async fn difficulty(reader: &Reader<'_>, netuid: NetUid) -> Result<u64, ChainError> {
    let difficulty = subxt::storage::dynamic::<(u16,), u64>(SUBNETS, "Difficulty");
    Ok(reader.read(difficulty, (netuid,)).await?.unwrap_or(u64::MAX))
}

/// The call that hands in the work for a UID.
fn worked_slot(
    newer: bool,
    netuid: NetUid,
    hotkey: &AccountId,
    coldkey: &AccountId,
    block: Block,
    found: &Solution,
) -> DynamicPayload<Composite<()>> {
    let work = ("work", Value::from_bytes(found.seal));
    let (netuid, nonce) = (("netuid", number(netuid)), ("nonce", number(found.nonce)));
    let hotkey = ("hotkey", key(hotkey));
    if newer {
        let arguments = [netuid, ("work_block", number(block)), nonce, work, hotkey];
        subxt::tx::dynamic(SUBNETS, "pow_register", Composite::named(arguments))
    } else {
        let arguments =
            [netuid, ("block_number", number(block)), nonce, work, hotkey, ("coldkey", key(coldkey))];
        subxt::tx::dynamic(SUBNETS, "register", Composite::named(arguments))
    }
}

/// The call that hands in the work for the faucet.
fn worked_tao(block: Block, found: &Solution) -> DynamicPayload<Composite<()>> {
    let (nonce, work) = (("nonce", number(found.nonce)), ("work", Value::from_bytes(found.seal)));
    subxt::tx::dynamic(SUBNETS, "faucet", Composite::named([("block_number", number(block)), nonce, work]))
}

struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Refusals of a solution that came too late.
fn is_stale(name: &str) -> bool {
    matches!(name, "InvalidWorkBlock" | "InvalidDifficulty" | "InvalidSeal")
}

/// The UID that a registration gave.
fn slot(settled: &Settled) -> Result<Uid, ChainError> {
    let event = settled.find::<api::subtensor_module::events::NeuronRegistered>()?;
    event.map(|event| event.1).ok_or_else(|| ChainError::Decode {
        item: "SubtensorModule.NeuronRegistered".to_owned(),
        reason: "the transaction succeeded without it".to_owned(),
    })
}
