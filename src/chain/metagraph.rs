//! Reading a subnet: its neurons, settings and commitments as they stood at one block.

pub mod commitment;
pub mod details;
pub mod diff;
pub mod neuron;
mod runtime_api;
mod storage;

pub(in crate::chain) use runtime_api::{Remembered, newest};

use std::collections::BTreeMap;

use subxt::{ext::scale_value::Value, utils::AccountId32};
use templar_metadata::api;

use self::{
    details::MetagraphSource,
    neuron::{Metagraph, Neuron, stake_weight},
};
use super::{
    error::ChainError,
    ids::{ours, storage_index, theirs},
    rpc::storage::{Reader, SUBNETS, Slot, Values},
    types::{Head, Hyperparameters},
};
use crate::{
    wallet::AccountId,
    window::{NetUid, Uid},
};

/// The most neurons in any subnet that the chain can have.
const MAX_NEURONS: u16 = 4096;
/// The most subnets that the chain can have.
const MAX_SUBNETS: u16 = 4096;

/// How many UIDs the subnet has in use.
pub(in crate::chain) async fn size(reader: &Reader<'_>, netuid: NetUid) -> Result<u16, ChainError> {
    let storage = api::storage().subtensor_module();
    let exists = reader.slot(storage.networks_added(), (netuid,))?;
    let n = reader.slot(storage.subnetwork_n(), (netuid,))?;
    let values = reader.fetch([exists.key(), n.key()]).await?;
    if reader.get(&values, &exists)? != Some(true) {
        return Err(ChainError::NoSuchSubnet { netuid });
    }
    match reader.get(&values, &n)?.unwrap_or(0) {
        n if n <= MAX_NEURONS => Ok(n),
        n => Err(ChainError::Decode {
            item: "SubtensorModule.SubnetworkN".to_owned(),
            reason: format!("{n} neurons are more than any subnet has"),
        }),
    }
}

async fn hotkeys(reader: &Reader<'_>, netuid: NetUid, n: u16) -> Result<Vec<AccountId32>, ChainError> {
    let keys = api::storage().subtensor_module().keys();
    let slots = reader.slots(&keys, (0..n).map(|uid| (netuid, uid)))?;
    let found = reader.read_all(&slots).await?;
    Ok(found.into_iter().map(|key| key.unwrap_or(AccountId32([0; 32]))).collect())
}

/// The neurons of a subnet's mechanism: by the runtime's interface, or from storage where that does not answer.
pub(in crate::chain) async fn metagraph(
    reader: &Reader<'_>,
    netuid: NetUid,
    mechanism: u8,
    source: Option<MetagraphSource>,
) -> Result<Metagraph, ChainError> {
    if source != Some(MetagraphSource::Storage) {
        let cannot = match runtime_api::metagraph(reader, netuid, mechanism).await {
            Err(e @ (ChainError::Missing { .. } | ChainError::Decode { .. } | ChainError::Node { .. })) => e,
            answer => return answer,
        };
        if source.is_some() {
            return Err(cannot);
        }
        tracing::debug!(error = %cannot, "the metagraph comes from storage");
    }
    from_storage(reader, netuid, mechanism).await
}

async fn from_storage(reader: &Reader<'_>, netuid: NetUid, mechanism: u8) -> Result<Metagraph, ChainError> {
    let index = storage_index(netuid, mechanism);
    let n = size(reader, netuid).await?;
    let keys = hotkeys(reader, netuid, n).await?;

    let tempo = reader.find::<_, u16>("Tempo", (netuid,))?;
    let flags = |name| reader.find::<_, Vec<bool>>(name, (netuid,));
    let (active, permits) = (flags("Active")?, flags("ValidatorPermit")?);
    let shares = |name, index| reader.find::<_, Vec<u16>>(name, (index,));
    let (consensus, incentive) = (shares("Consensus", netuid)?, shares("Incentive", index)?);
    let (dividends, trust) = (shares("Dividends", netuid)?, shares("ValidatorTrust", netuid)?);
    let numbers = |name, index| reader.find::<_, Vec<u64>>(name, (index,));
    let (emission, updates) = (numbers("Emission", netuid)?, numbers("LastUpdate", index)?);
    let registered: Vec<Slot<u64>> =
        reader.find_each("BlockAtRegistration", (0..n).map(|uid| (netuid, uid)))?;
    let owners: Vec<Slot<AccountId32>> = reader.find_each("Owner", keys.iter().map(|key| (*key,)))?;
    let stakes = Stakes::new(reader, netuid, &keys)?;

    let mut wanted: Vec<&[u8]> = stakes.keys();
    wanted.extend(tempo.iter().map(Slot::key));
    wanted.extend([&active, &permits].into_iter().flatten().map(Slot::key));
    wanted.extend([&consensus, &incentive, &dividends, &trust].into_iter().flatten().map(Slot::key));
    wanted.extend([&emission, &updates].into_iter().flatten().map(Slot::key));
    wanted.extend(registered.iter().map(Slot::key));
    wanted.extend(owners.iter().map(Slot::key));
    let values = reader.fetch(wanted).await?;

    let active = reader.get_if(&values, &active)?.unwrap_or_default();
    let permits = reader.get_if(&values, &permits)?.unwrap_or_default();
    let consensus = reader.get_if(&values, &consensus)?.unwrap_or_default();
    let incentive = reader.get_if(&values, &incentive)?.unwrap_or_default();
    let dividends = reader.get_if(&values, &dividends)?.unwrap_or_default();
    let trust = reader.get_if(&values, &trust)?.unwrap_or_default();
    let emission = reader.get_if(&values, &emission)?.unwrap_or_default();
    let updates = reader.get_if(&values, &updates)?.unwrap_or_default();
    let stakes = stakes.read(reader, &values)?;

    let mut neurons = Vec::with_capacity(keys.len());
    for (uid, hotkey) in (0..n).zip(keys) {
        let i = usize::from(uid);
        let owner = owners.get(i).map(|slot| reader.get(&values, slot)).transpose()?.flatten();
        let registered = registered.get(i).map(|slot| reader.get(&values, slot)).transpose()?.flatten();
        neurons.push(Neuron {
            uid,
            hotkey: ours(hotkey),
            coldkey: ours(owner.unwrap_or(AccountId32([0; 32]))),
            stake: stakes.get(i).map_or(0, |stake| stake.weight),
            active: active.get(i).copied().unwrap_or(false),
            validator_permit: permits.get(i).copied().unwrap_or(false),
            consensus: consensus.get(i).copied().unwrap_or(0),
            incentive: incentive.get(i).copied().unwrap_or(0),
            dividends: dividends.get(i).copied().unwrap_or(0),
            validator_trust: trust.get(i).copied().unwrap_or(0),
            emission: emission.get(i).copied().unwrap_or(0),
            last_update: updates.get(i).copied().unwrap_or(0),
            block_at_registration: registered.unwrap_or(0),
            details: None,
        });
    }
    let Head { number: block, hash } = reader.head;
    let tempo = reader.get_if(&values, &tempo)?.unwrap_or(0);
    let mut metagraph = Metagraph { netuid, block, hash, tempo, neurons, details: None };
    let parts: Vec<(u64, u64)> = stakes.iter().map(|stake| (stake.alpha, stake.root)).collect();
    storage::add_details(reader, &mut metagraph, mechanism, &parts).await?;
    Ok(metagraph)
}

/// Where the stakes of hotkeys are. What stands in where a runtime has no alpha or another TAO weight is in
/// `docs/chain-interface.md`.
struct Stakes {
    tao_weight: Option<Slot<u64>>,
    alpha: Vec<Slot<u64>>,
    root: Vec<Slot<u64>>,
}

/// What one hotkey has staked, rao.
struct Stake {
    alpha: u64,
    root: u64,
    weight: u64,
}

impl Stakes {
    fn new(reader: &Reader<'_>, netuid: NetUid, keys: &[AccountId32]) -> Result<Self, ChainError> {
        // Once each subnet had a weight of its own.
        let tao_weight = match reader.find("TaoWeight", ()) {
            Err(ChainError::Decode { .. }) => reader.find("TaoWeight", (netuid,))?,
            found => found?,
        };
        let mut alpha = reader.find_each("TotalHotkeyAlpha", keys.iter().map(|key| (*key, netuid)))?;
        let root = reader.find_each("TotalHotkeyAlpha", keys.iter().map(|key| (*key, 0u16)))?;
        if alpha.is_empty() {
            // Before subnets had alpha, a hotkey's stake was TAO, and the same on every subnet.
            alpha = reader.find_each("TotalHotkeyStake", keys.iter().map(|key| (*key,)))?;
        }
        Ok(Self { tao_weight, alpha, root })
    }

    fn keys(&self) -> Vec<&[u8]> {
        let mut keys: Vec<&[u8]> = self.tao_weight.iter().map(Slot::key).collect();
        keys.extend(self.alpha.iter().map(Slot::key));
        keys.extend(self.root.iter().map(Slot::key));
        keys
    }

    fn read(&self, reader: &Reader<'_>, values: &Values) -> Result<Vec<Stake>, ChainError> {
        let tao_weight = reader.get_if(values, &self.tao_weight)?.unwrap_or(0);
        let mut stakes = Vec::with_capacity(self.alpha.len());
        for (i, slot) in self.alpha.iter().enumerate() {
            let alpha = reader.get(values, slot)?.unwrap_or(0);
            let root = self.root.get(i).map(|slot| reader.get(values, slot)).transpose()?.flatten();
            let root = root.unwrap_or(0);
            stakes.push(Stake { alpha, root, weight: stake_weight(alpha, root, tao_weight) });
        }
        Ok(stakes)
    }
}

/// A subnet's settings. What an older runtime lacks is as that runtime behaved: `docs/chain-interface.md`.
pub(in crate::chain) async fn hyperparameters(
    reader: &Reader<'_>,
    netuid: NetUid,
) -> Result<Hyperparameters, ChainError> {
    size(reader, netuid).await?;
    let short = |name| reader.find::<_, u16>(name, (netuid,));
    let long = |name| reader.find::<_, u64>(name, (netuid,));
    let flag = |name| reader.find::<_, bool>(name, (netuid,));
    let (tempo, immunity) = (short("Tempo")?, short("ImmunityPeriod")?);
    let (min_weights, max_uids) = (short("MinAllowedWeights")?, short("MaxAllowedUids")?);
    let max_validators = short("MaxAllowedValidators")?;
    let (rate, version, burn) = (long("WeightsSetRateLimit")?, long("WeightsVersionKey")?, long("Burn")?);
    let (reveal, open) = (flag("CommitRevealWeightsEnabled")?, flag("NetworkRegistrationAllowed")?);
    let subtoken = flag("SubtokenEnabled")?;
    let threshold = match reader.find::<_, u64>("StakeThreshold", ())? {
        Some(slot) => Some(slot),
        None => reader.find("WeightsMinStake", ())?,
    };
    let owner = reader.find::<_, AccountId32>("SubnetOwner", (netuid,))?;
    let mut keys: Vec<&[u8]> = Vec::new();
    let shorts = [&tempo, &immunity, &min_weights, &max_uids, &max_validators];
    keys.extend(shorts.into_iter().flatten().map(Slot::key));
    keys.extend([&rate, &version, &burn, &threshold].into_iter().flatten().map(Slot::key));
    keys.extend([&reveal, &open, &subtoken].into_iter().flatten().map(Slot::key));
    keys.extend(owner.iter().map(Slot::key));
    let values = reader.fetch(keys).await?;
    Ok(Hyperparameters {
        tempo: reader.get_if(&values, &tempo)?.unwrap_or(0),
        weights_rate_limit: reader.get_if(&values, &rate)?.unwrap_or(0),
        weights_version: reader.get_if(&values, &version)?.unwrap_or(0),
        commit_reveal_weights_enabled: reader.get_if(&values, &reveal)?.unwrap_or(false),
        min_allowed_weights: reader.get_if(&values, &min_weights)?.unwrap_or(0),
        max_uids: reader.get_if(&values, &max_uids)?.unwrap_or(0),
        max_validators: reader.get_if(&values, &max_validators)?.unwrap_or(0),
        immunity_period: reader.get_if(&values, &immunity)?.unwrap_or(0),
        registration_allowed: reader.get_if(&values, &open)?.unwrap_or(false),
        burn: reader.get_if(&values, &burn)?.unwrap_or(0),
        stake_threshold: reader.get_if(&values, &threshold)?.unwrap_or(0),
        // Without the switch there is nothing to wait for.
        subtoken_enabled: match subtoken {
            Some(_) => reader.get_if(&values, &subtoken)?.unwrap_or(false),
            None => true,
        },
        owner: ours(reader.get_if(&values, &owner)?.unwrap_or(AccountId32([0; 32]))),
    })
}

/// What neurons hold of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// The weights that they set.
    Weights,
    /// The bonds that they have built by them.
    Bonds,
}

/// A row for each UID: other UIDs, and shares of 65535.
pub(in crate::chain) async fn rows(
    reader: &Reader<'_>,
    netuid: NetUid,
    mechanism: u8,
    what: Rows,
) -> Result<Vec<Vec<(Uid, u16)>>, ChainError> {
    let (n, index) = (size(reader, netuid).await?, storage_index(netuid, mechanism));
    let name = match what {
        Rows::Weights => "Weights",
        Rows::Bonds => "Bonds",
    };
    let slot = |uid| reader.named::<_, Vec<(Uid, u16)>>(SUBNETS, name, (index, uid));
    let slots = (0..n).map(slot).collect::<Result<Vec<_>, _>>()?;
    let found = reader.read_all(&slots).await?;
    Ok(found.into_iter().map(Option::unwrap_or_default).collect())
}

/// The raw commitments of a subnet's neurons.
pub(in crate::chain) async fn commitments(
    reader: &Reader<'_>,
    netuid: NetUid,
) -> Result<BTreeMap<AccountId, Vec<Vec<u8>>>, ChainError> {
    let n = size(reader, netuid).await?;
    let keys = hotkeys(reader, netuid, n).await?;
    let address = api::storage().commitments().commitment_of();
    let slots = reader.slots(&address, keys.iter().map(|key| (netuid, *key)))?;
    let values = reader.fetch(slots.iter().map(|slot| slot.key())).await?;
    let mut found = BTreeMap::new();
    for (key, slot) in keys.into_iter().zip(&slots) {
        // What one hotkey committed must not keep the others from being read.
        match reader.get_as::<_, Value<()>>(&values, slot) {
            Ok(Some(registration)) => {
                if let Some(fields) = commitment::fields(&registration) {
                    found.insert(ours(key), fields);
                }
            }
            Ok(None) => {}
            Err(e) => tracing::debug!(hotkey = %ours(key), error = %e, "commitment not understood"),
        }
    }
    Ok(found)
}

/// A hotkey's UID.
pub(in crate::chain) async fn uid(
    reader: &Reader<'_>,
    netuid: NetUid,
    hotkey: &AccountId,
) -> Result<Option<Uid>, ChainError> {
    reader.read(api::storage().subtensor_module().uids(), (netuid, theirs(hotkey))).await
}

/// The subnets that exist. Their numbers have no gaps beyond those that dissolved ones left.
pub(in crate::chain) async fn subnets(reader: &Reader<'_>) -> Result<Vec<NetUid>, ChainError> {
    let address = api::storage().subtensor_module().networks_added();
    let slots = reader.slots(&address, (0..MAX_SUBNETS).map(|netuid| (netuid,)))?;
    let found = reader.read_all(&slots).await?;
    Ok((0..MAX_SUBNETS)
        .zip(found)
        .filter(|(_, added)| *added == Some(true))
        .map(|(netuid, _)| netuid)
        .collect())
}
