//! What the chain says at one block about a hotkey that wants to set weights.

use subxt::{
    ext::scale_value::{At as _, Composite, Value, ValueDef},
    utils::{AccountId32, H256},
};

use crate::{
    chain::{
        error::ChainError,
        ids::theirs,
        rpc::storage::{Reader, SUBNETS, Slot, if_there},
        timelock::{Beacon, EpochState, FixedEpochs, PUBLIC_KEY_BYTES, QUICKNET, Reveal},
        weights::{
            inherited,
            request::{RevealState, SaltedCommit, WeightsRequest},
        },
    },
    wallet::AccountId,
    window::{Block, Uid},
};

/// Blocks over which the time of one is measured, where the runtime does not say it.
const MEASURED: Block = 20;
/// The time of a block of the main network, milliseconds.
const BLOCK_MS: u64 = 12_000;

/// A waiting salted commit: its hash and three numbers, whose meaning depends on the runtime.
type Waiting = (H256, u64, u64, u64);

/// A waiting timelocked commit: whose it is, its block, its bytes, its round.
type Timelocked = (AccountId32, u64, Vec<u8>, u64);

/// Calls whose presence decides what is possible.
const CALLS: [&str; 6] = [
    "set_weights",
    "set_mechanism_weights",
    "commit_weights",
    "commit_mechanism_weights",
    "commit_timelocked_weights",
    "commit_timelocked_mechanism_weights",
];

/// The state of one block.
#[derive(Debug, Clone)]
pub(in crate::chain) struct ValidatorState {
    pub(in crate::chain) block: Block,
    pub(in crate::chain) time_ms: u64,
    pub(in crate::chain) block_ms: u64,
    pub(in crate::chain) exists: bool,
    pub(in crate::chain) uid: Option<Uid>,
    pub(in crate::chain) neurons: u16,
    pub(in crate::chain) owns_subnet: bool,
    pub(in crate::chain) permit: bool,
    pub(in crate::chain) last_update: Block,
    pub(in crate::chain) rate_limit: u64,
    pub(in crate::chain) version_key: u64,
    pub(in crate::chain) min_weights: u16,
    pub(in crate::chain) commit_reveal: bool,
    pub(in crate::chain) commit_version: Option<u16>,
    pub(in crate::chain) reveal_period: u64,
    pub(in crate::chain) tempo: u16,
    pub(in crate::chain) netuid: u16,
    /// The newer runtimes' schedule; none on older ones.
    pub(in crate::chain) epochs: Option<EpochState>,
    pub(in crate::chain) beacon: Beacon,
    /// The newest round that the chain has.
    pub(in crate::chain) newest_round: u64,
    /// Those of [`CALLS`] that this runtime has.
    pub(in crate::chain) calls: Vec<&'static str>,
    pub(in crate::chain) waiting: Vec<Waiting>,
    /// Mechanisms of the subnet; 1 on runtimes that know no others.
    pub(in crate::chain) mechanisms: u8,
    /// The stake weight that weights need, rao.
    pub(in crate::chain) threshold: u64,
    /// The hotkey's stake weight, rao; not read where the threshold is 0.
    pub(in crate::chain) stake: u64,
    /// Timelocked commits of the hotkey in the epoch of a commit made now.
    pub(in crate::chain) timelocked: usize,
}

impl ValidatorState {
    pub(in crate::chain) async fn read(
        reader: &Reader<'_>,
        request: &WeightsRequest,
        hotkey: &AccountId,
    ) -> Result<Self, ChainError> {
        let (netuid, index, key) = (request.netuid, request.storage_index(), theirs(hotkey));
        let exists = reader.named::<_, bool>(SUBNETS, "NetworksAdded", (netuid,))?;
        let uid = reader.named::<_, Uid>(SUBNETS, "Uids", (netuid, key))?;
        let neurons = reader.named::<_, u16>(SUBNETS, "SubnetworkN", (netuid,))?;
        let permits = reader.named::<_, Vec<bool>>(SUBNETS, "ValidatorPermit", (netuid,))?;
        let updates = reader.named::<_, Vec<u64>>(SUBNETS, "LastUpdate", (index,))?;
        let rate_limit = reader.named::<_, u64>(SUBNETS, "WeightsSetRateLimit", (netuid,))?;
        let version_key = reader.named::<_, u64>(SUBNETS, "WeightsVersionKey", (netuid,))?;
        let min_weights = reader.named::<_, u16>(SUBNETS, "MinAllowedWeights", (netuid,))?;
        let commit_reveal = reader.named::<_, bool>(SUBNETS, "CommitRevealWeightsEnabled", (netuid,))?;
        let tempo = reader.named::<_, u16>(SUBNETS, "Tempo", (netuid,))?;
        let time = reader.named::<_, u64>("Timestamp", "Now", ())?;
        // Not in every runtime.
        let owner = reader.find::<_, AccountId32>("SubnetOwnerHotkey", (netuid,))?;
        let commit_version = reader.find::<_, u16>("CommitRevealWeightsVersion", ())?;
        let waiting = reader.find::<_, Vec<Waiting>>("WeightCommits", (index, key))?;
        let mechanisms = reader.find::<_, u8>("MechanismCountCurrent", (netuid,))?;
        let threshold = reader.find::<_, u64>("StakeThreshold", ())?;
        let number = |name| reader.find::<_, u64>(name, (netuid,));
        let reveal_period = number("RevealPeriodEpochs")?;
        let last_epoch = number("LastEpochBlock")?;
        let pending = number("PendingEpochAt")?;
        let epoch_index = number("SubnetEpochIndex")?;
        let since_step = number("BlocksSinceLastStep")?;
        let round = if_there(reader.named::<_, u64>("Drand", "LastStoredRound", ()))?;
        let beacon = if_there(reader.named::<_, Value<()>>("Drand", "BeaconConfig", ()))?;

        let mut keys = vec![exists.key(), uid.key(), neurons.key(), permits.key(), updates.key()];
        keys.extend([rate_limit.key(), version_key.key(), min_weights.key(), commit_reveal.key()]);
        keys.extend([tempo.key(), time.key()]);
        let numbers = [&reveal_period, &last_epoch, &pending, &epoch_index, &since_step, &round];
        keys.extend(numbers.into_iter().flatten().map(Slot::key));
        keys.extend(owner.as_ref().map(Slot::key));
        keys.extend(commit_version.as_ref().map(Slot::key));
        keys.extend(waiting.as_ref().map(Slot::key));
        keys.extend(beacon.as_ref().map(Slot::key));
        keys.extend(mechanisms.as_ref().map(Slot::key));
        keys.extend(threshold.as_ref().map(Slot::key));
        let values = reader.fetch(keys).await?;

        let block = reader.head.number;
        let uid = reader.get(&values, &uid)?;
        let at = uid.map(usize::from);
        let permits = reader.get(&values, &permits)?.unwrap_or_default();
        let updates = reader.get(&values, &updates)?.unwrap_or_default();
        let tempo = reader.get(&values, &tempo)?.unwrap_or(0);
        let reveal_period = reader.get_if(&values, &reveal_period)?.unwrap_or(1);
        let epochs = match (&last_epoch, &epoch_index) {
            (Some(_), Some(_)) => Some(EpochState {
                tempo,
                reveal_period,
                last_epoch_block: reader.get_if(&values, &last_epoch)?.unwrap_or(0),
                pending_epoch_at: reader.get_if(&values, &pending)?.unwrap_or(0),
                epoch_index: reader.get_if(&values, &epoch_index)?.unwrap_or(0),
                blocks_since_last_step: reader.get_if(&values, &since_step)?.unwrap_or(0),
                block,
            }),
            _ => None,
        };
        let beacon = reader.get_if(&values, &beacon)?.as_ref().and_then(beacon_of).unwrap_or(QUICKNET);
        let time_ms = reader.get(&values, &time)?.unwrap_or(0);
        let pallet = reader.at.metadata_ref().pallet_by_name(SUBNETS);
        let has = |name: &&str| pallet.as_ref().is_some_and(|p| p.call_variant_by_name(name).is_some());
        let mut state = Self {
            block,
            time_ms,
            block_ms: block_time(reader, time_ms).await,
            exists: reader.get(&values, &exists)?.unwrap_or(false),
            uid,
            neurons: reader.get(&values, &neurons)?.unwrap_or(0),
            owns_subnet: reader.get_if(&values, &owner)?.is_some_and(|owner| owner == key),
            permit: at.is_some_and(|at| permits.get(at) == Some(&true)),
            last_update: at.and_then(|at| updates.get(at)).copied().unwrap_or(0),
            rate_limit: reader.get(&values, &rate_limit)?.unwrap_or(0),
            version_key: reader.get(&values, &version_key)?.unwrap_or(0),
            min_weights: reader.get(&values, &min_weights)?.unwrap_or(0),
            commit_reveal: reader.get(&values, &commit_reveal)?.unwrap_or(false),
            commit_version: reader.get_if(&values, &commit_version)?,
            reveal_period,
            tempo,
            netuid,
            epochs,
            beacon,
            newest_round: reader.get_if(&values, &round)?.unwrap_or(0),
            calls: CALLS.into_iter().filter(has).collect(),
            waiting: reader.get_if(&values, &waiting)?.unwrap_or_default(),
            mechanisms: reader.get_if(&values, &mechanisms)?.unwrap_or(1),
            threshold: reader.get_if(&values, &threshold)?.unwrap_or(0),
            stake: 0,
            timelocked: 0,
        };
        if state.threshold > 0 && !state.owns_subnet {
            state.stake = inherited::stake_weight(reader, netuid, hotkey).await?;
        }
        if let Some(reveal) = state.reveal().filter(|_| state.commit_reveal) {
            let keys = (index, reveal.commit_epoch);
            if let Some(slot) = reader.find::<_, Vec<Timelocked>>("TimelockedWeightCommits", keys)? {
                let values = reader.fetch([slot.key()]).await?;
                let commits = reader.get(&values, &slot)?.unwrap_or_default();
                state.timelocked = commits.iter().filter(|commit| commit.0 == key).count();
            }
        }
        Ok(state)
    }

    /// Salted commits that wait and may still be revealed.
    pub(in crate::chain) fn unexpired(&self) -> usize {
        self.waiting.iter().filter(|commit| self.reveal_state(&commit.0.0) != RevealState::Gone).count()
    }

    /// When a commit made now is revealed; none where there are no epochs.
    pub(in crate::chain) fn reveal(&self) -> Option<Reveal> {
        let (tempo, reveal_period, netuid, block) = (self.tempo, self.reveal_period, self.netuid, self.block);
        match &self.epochs {
            Some(epochs) => epochs.reveal().ok(),
            None => FixedEpochs { tempo, reveal_period, netuid, block }.reveal().ok(),
        }
    }

    /// The first block within so many whose commits come into another epoch than those of the next one; none where epochs are so short
    /// that there is always one.
    pub(in crate::chain) fn boundary(&self, blocks: u64) -> Option<Block> {
        if u64::from(self.tempo) <= blocks * 2 {
            return None;
        }
        let epoch_at = |later: u64| {
            let mut then = self.clone();
            then.block += later;
            if let Some(epochs) = &mut then.epochs {
                epochs.block += later;
                epochs.blocks_since_last_step += later;
            }
            then.reveal().map(|reveal| reveal.commit_epoch)
        };
        let now = epoch_at(0);
        (1..=blocks).find(|later| epoch_at(*later) != now).map(|later| self.block + later)
    }

    /// Where a salted commit with this hash stands, for a transaction in the next block.
    ///
    /// Newer runtimes keep the epoch of the commit, and take the reveal in exactly the one that is the reveal period
    /// later; older ones keep the first and the last block for it.
    pub(in crate::chain) fn reveal_state_of(&self, commit: &SaltedCommit) -> RevealState {
        let known = self.waiting.iter().any(|waiting| waiting.0.0 == commit.hash);
        if !known && commit.may_come_after(self.block) {
            return RevealState::Unknown;
        }
        self.reveal_state(&commit.hash)
    }

    fn reveal_state(&self, hash: &[u8; 32]) -> RevealState {
        let Some((_, first, second, third)) = self.waiting.iter().find(|commit| commit.0.0 == *hash) else {
            return RevealState::Gone;
        };
        let (now, from, to) = match &self.epochs {
            Some(_) => {
                let now = self.reveal().map_or(0, |reveal| reveal.commit_epoch);
                let due = first.saturating_add(self.reveal_period);
                (now, due, due)
            }
            None => (self.block + 1, *second, *third),
        };
        if now < from {
            RevealState::Early
        } else if now <= to {
            RevealState::Due
        } else {
            RevealState::Gone
        }
    }
}

/// What one block takes, milliseconds: as the runtime says (`Aura.SlotDuration`), else as the last blocks took.
async fn block_time(reader: &Reader<'_>, now_ms: u64) -> u64 {
    if let Ok(Some(duration)) = reader.constant("Aura", "SlotDuration") {
        return duration;
    }
    let blocks = MEASURED.min(reader.head.number.saturating_sub(1));
    let measured = async {
        let then = reader.at_block(reader.head.number - blocks).await.ok()?;
        let then_ms = then.read(subxt::storage::dynamic::<(), u64>("Timestamp", "Now"), ()).await.ok()??;
        now_ms.saturating_sub(then_ms).checked_div(blocks)
    };
    measured.await.filter(|ms| *ms > 0).unwrap_or(BLOCK_MS)
}

/// The beacon that the chain listens to, from its `Drand.BeaconConfig`.
fn beacon_of(config: &Value<()>) -> Option<Beacon> {
    let seconds = |name: &str| u64::try_from(config.at(name)?.as_u128()?).ok();
    let public_key: [u8; PUBLIC_KEY_BYTES] = bytes(config.at("public_key")?)?.try_into().ok()?;
    let (genesis_ms, period_ms) = (seconds("genesis_time")? * 1000, seconds("period")? * 1000);
    Some(Beacon { public_key, genesis_ms, period_ms })
}

/// A vector of bytes, however many newtypes it is wrapped in.
fn bytes(value: &Value<()>) -> Option<Vec<u8>> {
    let ValueDef::Composite(fields) = &value.value else { return None };
    let fields: Vec<&Value<()>> = match fields {
        Composite::Named(fields) => fields.iter().map(|(_, field)| field).collect(),
        Composite::Unnamed(fields) => fields.iter().collect(),
    };
    match fields.as_slice() {
        [only] if only.as_u128().is_none() => bytes(only),
        fields => fields.iter().map(|field| u8::try_from(field.as_u128()?).ok()).collect(),
    }
}
