//! Reading a subnet: its neurons, settings and commitments as they stood at one block.

pub mod commitment;
pub mod details;
pub mod diff;
pub mod neuron;
mod runtime_api;
mod storage;

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
    rpc::storage::Reader,
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
async fn size(reader: &Reader<'_>, netuid: NetUid) -> Result<u16, ChainError> {
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
    let entries = api::storage().subtensor_module();
    let keys = hotkeys(reader, netuid, n).await?;

    let (tempo, tao_weight) =
        (reader.slot(entries.tempo(), (netuid,))?, reader.slot(entries.tao_weight(), ())?);
    let active = reader.slot(entries.active(), (netuid,))?;
    let permits = reader.slot(entries.validator_permit(), (netuid,))?;
    let consensus = reader.slot(entries.consensus(), (netuid,))?;
    let incentive = reader.slot(entries.incentive(), (index,))?;
    let dividends = reader.slot(entries.dividends(), (netuid,))?;
    let trust = reader.slot(entries.validator_trust(), (netuid,))?;
    let emission = reader.slot(entries.emission(), (netuid,))?;
    let updates = reader.slot(entries.last_update(), (index,))?;
    let registered = reader.slots(&entries.block_at_registration(), (0..n).map(|uid| (netuid, uid)))?;
    let owners = reader.slots(&entries.owner(), keys.iter().map(|key| (*key,)))?;
    let alpha = reader.slots(&entries.total_hotkey_alpha(), keys.iter().map(|key| (*key, netuid)))?;
    let root = reader.slots(&entries.total_hotkey_alpha(), keys.iter().map(|key| (*key, 0)))?;

    let subnet_wide = [
        tempo.key(),
        tao_weight.key(),
        active.key(),
        permits.key(),
        consensus.key(),
        incentive.key(),
        dividends.key(),
        trust.key(),
        emission.key(),
        updates.key(),
    ];
    let per_neuron = registered
        .iter()
        .map(|slot| slot.key())
        .chain(owners.iter().map(|slot| slot.key()))
        .chain(alpha.iter().chain(&root).map(|slot| slot.key()));
    let values = reader.fetch(subnet_wide.into_iter().chain(per_neuron)).await?;

    let tao_weight = reader.get(&values, &tao_weight)?.unwrap_or(0);
    let active = reader.get(&values, &active)?.unwrap_or_default();
    let permits = reader.get(&values, &permits)?.unwrap_or_default();
    let consensus = reader.get(&values, &consensus)?.unwrap_or_default();
    let incentive = reader.get(&values, &incentive)?.unwrap_or_default();
    let dividends = reader.get(&values, &dividends)?.unwrap_or_default();
    let trust = reader.get(&values, &trust)?.unwrap_or_default();
    let emission = reader.get(&values, &emission)?.unwrap_or_default();
    let updates = reader.get(&values, &updates)?.unwrap_or_default();

    let mut neurons = Vec::with_capacity(keys.len());
    let mut stakes = Vec::with_capacity(keys.len());
    for (uid, hotkey) in (0..n).zip(keys) {
        let i = usize::from(uid);
        let alpha = reader.get(&values, &alpha[i])?.unwrap_or(0);
        let root = reader.get(&values, &root[i])?.unwrap_or(0);
        stakes.push((alpha, root));
        neurons.push(Neuron {
            uid,
            hotkey: ours(hotkey),
            coldkey: ours(reader.get(&values, &owners[i])?.unwrap_or(AccountId32([0; 32]))),
            stake: stake_weight(alpha, root, tao_weight),
            active: active.get(i).copied().unwrap_or(false),
            validator_permit: permits.get(i).copied().unwrap_or(false),
            consensus: consensus.get(i).copied().unwrap_or(0),
            incentive: incentive.get(i).copied().unwrap_or(0),
            dividends: dividends.get(i).copied().unwrap_or(0),
            validator_trust: trust.get(i).copied().unwrap_or(0),
            emission: emission.get(i).copied().unwrap_or(0),
            last_update: updates.get(i).copied().unwrap_or(0),
            block_at_registration: reader.get(&values, &registered[i])?.unwrap_or(0),
            details: None,
        });
    }
    let Head { number: block, hash } = reader.head;
    let tempo = reader.get(&values, &tempo)?.unwrap_or(0);
    let mut metagraph = Metagraph { netuid, block, hash, tempo, neurons, details: None };
    storage::add_details(reader, &mut metagraph, mechanism, &stakes).await?;
    Ok(metagraph)
}

/// A subnet's settings.
pub(in crate::chain) async fn hyperparameters(
    reader: &Reader<'_>,
    netuid: NetUid,
) -> Result<Hyperparameters, ChainError> {
    size(reader, netuid).await?;
    let storage = api::storage().subtensor_module();
    let tempo = reader.slot(storage.tempo(), (netuid,))?;
    let rate = reader.slot(storage.weights_set_rate_limit(), (netuid,))?;
    let version = reader.slot(storage.weights_version_key(), (netuid,))?;
    let reveal = reader.slot(storage.commit_reveal_weights_enabled(), (netuid,))?;
    let min_weights = reader.slot(storage.min_allowed_weights(), (netuid,))?;
    let max_uids = reader.slot(storage.max_allowed_uids(), (netuid,))?;
    let max_validators = reader.slot(storage.max_allowed_validators(), (netuid,))?;
    let immunity = reader.slot(storage.immunity_period(), (netuid,))?;
    let open = reader.slot(storage.network_registration_allowed(), (netuid,))?;
    let burn = reader.slot(storage.burn(), (netuid,))?;
    let threshold = reader.slot(storage.stake_threshold(), ())?;
    let subtoken = reader.slot(storage.subtoken_enabled(), (netuid,))?;
    let owner = reader.slot(storage.subnet_owner(), (netuid,))?;
    let values = reader
        .fetch([
            tempo.key(),
            rate.key(),
            version.key(),
            reveal.key(),
            min_weights.key(),
            max_uids.key(),
            max_validators.key(),
            immunity.key(),
            open.key(),
            burn.key(),
            threshold.key(),
            subtoken.key(),
            owner.key(),
        ])
        .await?;
    Ok(Hyperparameters {
        tempo: reader.get(&values, &tempo)?.unwrap_or(0),
        weights_rate_limit: reader.get(&values, &rate)?.unwrap_or(0),
        weights_version: reader.get(&values, &version)?.unwrap_or(0),
        commit_reveal_weights_enabled: reader.get(&values, &reveal)?.unwrap_or(false),
        min_allowed_weights: reader.get(&values, &min_weights)?.unwrap_or(0),
        max_uids: reader.get(&values, &max_uids)?.unwrap_or(0),
        max_validators: reader.get(&values, &max_validators)?.unwrap_or(0),
        immunity_period: reader.get(&values, &immunity)?.unwrap_or(0),
        registration_allowed: reader.get(&values, &open)?.unwrap_or(false),
        burn: reader.get(&values, &burn)?.unwrap_or(0),
        stake_threshold: reader.get(&values, &threshold)?.unwrap_or(0),
        subtoken_enabled: reader.get(&values, &subtoken)?.unwrap_or(false),
        owner: ours(reader.get(&values, &owner)?.unwrap_or(AccountId32([0; 32]))),
    })
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
