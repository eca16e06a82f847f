//! Registration: paid, with a limit on the price, or by proof of work.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use subxt::{
    ext::scale_value::{Composite, Value},
    tx::DynamicPayload,
};
use templar_metadata::api;

use super::{
    ChainError, Head,
    client::SubtensorClient,
    link::AtBlock,
    read::Reader,
    submit::Settled,
    work::{Puzzle, Solution},
};
use crate::{
    wallet::{AccountId, Keypair},
    window::{Block, NetUid, Uid},
};

/// The name of the pallet of subnets.
const PALLET: &str = "SubtensorModule";
/// The difficulty of the faucet's puzzle.
const FAUCET_DIFFICULTY: u64 = 1_000_000;
/// Blocks for which a puzzle is worked on; the chain takes solutions for blocks that are a little older.
const FRESH: Block = 2;

/// Who may follow the search for a proof of work, and end it.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Nonces tried so far.
    pub tried: Arc<AtomicU64>,
    /// Tries that a solution takes on average; 0 until it is known.
    pub difficulty: Arc<AtomicU64>,
    /// Threads to use; 0 for all cores.
    pub threads: usize,
}

impl Search {
    fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, Into::into),
            threads => threads,
        }
    }
}

fn has(at: &AtBlock, call: &str) -> bool {
    let pallet = at.metadata_ref().pallet_by_name(PALLET);
    pallet.is_some_and(|pallet| pallet.call_variant_by_name(call).is_some())
}

fn number(value: impl Into<u128>) -> Value {
    Value::u128(value.into())
}

fn key(account: &AccountId) -> Value {
    let bytes: &[u8; 32] = account.as_ref();
    Value::from_bytes(bytes)
}

/// The call that pays for a slot: with the limit where the runtime knows limits.
pub(super) fn payment(
    reader: &Reader<'_>,
    netuid: NetUid,
    hotkey: &AccountId,
    limit: Option<u64>,
) -> DynamicPayload<Composite<()>> {
    let (netuid, hotkey) = (("netuid", number(netuid)), ("hotkey", key(hotkey)));
    match limit.filter(|_| has(&reader.at, "register_limit")) {
        Some(limit) => {
            let arguments = [netuid, hotkey, ("limit_price", number(limit))];
            subxt::tx::dynamic(PALLET, "register_limit", Composite::named(arguments))
        }
        None => subxt::tx::dynamic(PALLET, "burned_register", Composite::named([netuid, hotkey])),
    }
}

impl SubtensorClient {
    /// Pays for a slot, but not more than `limit` rao. Where the runtime knows limits it keeps this one itself;
    /// elsewhere the price of the newest block is compared, and may have risen by a little when it is paid.
    pub(super) async fn pay_for_slot(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        limit: u64,
        coldkey: &Keypair,
    ) -> Result<Uid, ChainError> {
        let reader = self.reader(None).await?;
        let burn = reader.read(api::storage().subtensor_module().burn(), (netuid,)).await?.unwrap_or(0);
        if burn > limit {
            return Err(ChainError::TooDear { price: burn, limit });
        }
        let payload = payment(&reader, netuid, hotkey, Some(limit));
        slot(&self.submit("burned_register", payload, coldkey).await?)
    }

    /// Works for a slot. Older runtimes take the work from anybody, newer ones where the subnet's owner allows it;
    /// those in between have no such thing, although a call by the old name is still there and costs money.
    pub(super) async fn work_for_slot(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        coldkey: &Keypair,
        search: &Search,
    ) -> Result<Uid, ChainError> {
        loop {
            let reader = self.reader(None).await?;
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
            let Some(found) = self.solve(puzzle, difficulty, block, search).await? else { continue };
            let call = if newer { "pow_register" } else { "register" };
            let payload = worked_slot(newer, netuid, hotkey, &coldkey.account(), block, &found);
            match self.submit(call, payload, coldkey).await {
                // The block was too old, or the difficulty rose, when it came in.
                Err(ChainError::Refused { name, .. }) if is_stale(&name) => {}
                settled => return slot(&settled?),
            }
        }
    }

    /// TAO from a development chain's faucet, for work.
    pub(super) async fn work_for_tao(
        &self,
        coldkey: &Keypair,
        search: &Search,
    ) -> Result<super::Included, ChainError> {
        loop {
            let reader = self.reader(None).await?;
            gives_tao(&reader.at)?;
            let Head { number: block, hash } = reader.head;
            let puzzle = Puzzle::Key { block: hash, key: coldkey.account() };
            let Some(found) = self.solve(puzzle, FAUCET_DIFFICULTY, block, search).await? else { continue };
            match self.submit("faucet", worked_tao(block, &found), coldkey).await {
                Err(ChainError::Refused { name, .. }) if is_stale(&name) => {}
                settled => return Ok(settled?.included),
            }
        }
    }

    /// The difficulty of a slot's work, and the call that would hand it in.
    pub(super) async fn unworked_slot(
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
    pub(super) async fn unworked_tao(&self) -> Result<(u64, DynamicPayload<Composite<()>>), ChainError> {
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
        search: &Search,
    ) -> Result<Option<Solution>, ChainError> {
        search.difficulty.store(difficulty, Ordering::Relaxed);
        let stop = Arc::new(AtomicBool::new(false));
        let (tried, threads, told) = (search.tried.clone(), search.threads(), stop.clone());
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
            if self.link_head().await?.number >= block + FRESH {
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
    let difficulty = subxt::storage::dynamic::<(u16,), u64>(PALLET, "Difficulty");
    Ok(reader.read(difficulty, (netuid,)).await?.unwrap_or(u64::MAX))
}

/// The call that hands in the work for a slot.
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
        subxt::tx::dynamic(PALLET, "pow_register", Composite::named(arguments))
    } else {
        let arguments =
            [netuid, ("block_number", number(block)), nonce, work, hotkey, ("coldkey", key(coldkey))];
        subxt::tx::dynamic(PALLET, "register", Composite::named(arguments))
    }
}

/// The call that hands in the work for the faucet.
fn worked_tao(block: Block, found: &Solution) -> DynamicPayload<Composite<()>> {
    let (nonce, work) = (("nonce", number(found.nonce)), ("work", Value::from_bytes(found.seal)));
    subxt::tx::dynamic(PALLET, "faucet", Composite::named([("block_number", number(block)), nonce, work]))
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

/// The slot that a registration gave.
fn slot(settled: &Settled) -> Result<Uid, ChainError> {
    let event = settled.find::<api::subtensor_module::events::NeuronRegistered>()?;
    event.map(|event| event.1).ok_or_else(|| ChainError::Decode {
        item: "SubtensorModule.NeuronRegistered".to_owned(),
        reason: "the transaction succeeded without it".to_owned(),
    })
}
