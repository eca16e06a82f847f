//! The details of a metagraph from storage, where the runtime's interface does not give them.
//!
//! What a runtime does not have is left at its default: some entries came, some went.

use std::collections::BTreeMap;

use subxt::{
    ext::{scale_decode::DecodeAsType, scale_value::Value},
    utils::AccountId32,
};

use crate::{
    chain::{
        error::ChainError,
        ids::{ours, theirs},
        metagraph::{
            details::{Axon, MetagraphSource, NeuronDetails, SubnetDetails, moving_price},
            neuron::Metagraph,
        },
        rpc::{
            dynamic_value::{Fields, number},
            storage::{Reader, Slot, Values},
        },
    },
    window::NetUid,
};

/// Entries with a number for each subnet.
const NUMBERS: &[&str] = &[
    "NetworkRegisteredAt",
    "LastMechansimStepBlock",
    "Burn",
    "Difficulty",
    "MaxAllowedUids",
    "MaxAllowedValidators",
    "MinAllowedWeights",
    "MaxWeightsLimit",
    "ImmunityPeriod",
    "ActivityCutoff",
    "ActivityCutoffFactorMilli",
    "WeightsSetRateLimit",
    "WeightsVersionKey",
    "ServingRateLimit",
    "RevealPeriodEpochs",
    "SubnetTAO",
    "SubnetAlphaIn",
    "SubnetAlphaOut",
    "SubnetMovingPrice",
];
const FLAGS: &[&str] =
    &["NetworkRegistrationAllowed", "NetworkPowRegistrationAllowed", "CommitRevealWeightsEnabled"];
const ACCOUNTS: &[&str] = &["SubnetOwner", "SubnetOwnerHotkey"];
const SHARES: &[&str] = &["Rank", "Trust", "PruningScores"];

/// Those entries of the pallet that the runtime has.
fn slots<V: DecodeAsType>(
    reader: &Reader<'_>,
    names: &[&'static str],
    netuid: NetUid,
) -> BTreeMap<&'static str, Slot<V>> {
    names.iter().filter_map(|name| Some((*name, reader.find(name, (netuid,)).ok()??))).collect()
}

fn read<V: DecodeAsType>(
    reader: &Reader<'_>,
    values: &Values,
    slots: &BTreeMap<&'static str, Slot<V>>,
) -> Result<BTreeMap<&'static str, V>, ChainError> {
    let read = slots.iter().filter_map(|(name, slot)| match reader.get(values, slot) {
        Ok(value) => value.map(|value| Ok((*name, value))),
        Err(e) => Some(Err(e)),
    });
    read.collect()
}

/// Adds the details to a metagraph that was read from storage. `stakes` are the alpha here and on the root.
pub(in crate::chain) async fn add_details(
    reader: &Reader<'_>,
    metagraph: &mut Metagraph,
    mechanism: u8,
    stakes: &[(u64, u64)],
) -> Result<(), ChainError> {
    let netuid = metagraph.netuid;
    let numbers = slots::<Value<()>>(reader, NUMBERS, netuid);
    let flags = slots::<bool>(reader, FLAGS, netuid);
    let accounts = slots::<AccountId32>(reader, ACCOUNTS, netuid);
    let shares = slots::<Vec<u16>>(reader, SHARES, netuid);
    let symbol = reader.find::<_, Vec<u8>>("TokenSymbol", (netuid,))?;
    let keys = metagraph.neurons.iter().map(|neuron| (netuid, theirs(&neuron.hotkey)));
    let axons: Vec<Slot<Value<()>>> = reader.find_each("Axons", keys)?;
    let keys = numbers.values().map(|slot| slot.key()).chain(flags.values().map(|slot| slot.key()));
    let keys = keys.chain(accounts.values().map(|slot| slot.key()));
    let keys = keys.chain(shares.values().map(|slot| slot.key())).chain(symbol.iter().map(|slot| slot.key()));
    let values = reader.fetch(keys.chain(axons.iter().map(|slot| slot.key()))).await?;

    let numbers = read(reader, &values, &numbers)?;
    let wide = |name: &str| numbers.get(name).and_then(number::<u128>).unwrap_or(0);
    let long = |name: &str| u64::try_from(wide(name)).unwrap_or(u64::MAX);
    let short = |name: &str| u16::try_from(wide(name)).unwrap_or(u16::MAX);
    let flags = read(reader, &values, &flags)?;
    let flag = |name: &str| flags.get(name).copied().unwrap_or(false);
    let accounts = read(reader, &values, &accounts)?;
    let account = |name: &str| accounts.get(name).copied().map(ours);
    let symbol = reader.get_if(&values, &symbol)?.unwrap_or_default();
    // Once a number of blocks, now a multiple of the tempo.
    let activity_cutoff = match numbers.contains_key("ActivityCutoffFactorMilli") {
        true => (long("ActivityCutoffFactorMilli").saturating_mul(u64::from(metagraph.tempo)) / 1000).max(1),
        false => long("ActivityCutoff"),
    };
    metagraph.details = Some(SubnetDetails {
        source: MetagraphSource::Storage,
        mechanism,
        name: None,
        symbol: String::from_utf8_lossy(&symbol).into_owned(),
        owner_hotkey: account("SubnetOwnerHotkey"),
        owner_coldkey: account("SubnetOwner"),
        registered_at: long("NetworkRegisteredAt"),
        last_step: long("LastMechansimStepBlock"),
        blocks_since_last_step: metagraph.block.saturating_sub(long("LastMechansimStepBlock")),
        burn: long("Burn"),
        difficulty: long("Difficulty"),
        registration_allowed: flag("NetworkRegistrationAllowed"),
        pow_registration_allowed: flag("NetworkPowRegistrationAllowed"),
        max_uids: short("MaxAllowedUids"),
        max_validators: short("MaxAllowedValidators"),
        min_allowed_weights: short("MinAllowedWeights"),
        max_weights_limit: short("MaxWeightsLimit"),
        immunity_period: long("ImmunityPeriod"),
        activity_cutoff,
        weights_rate_limit: long("WeightsSetRateLimit"),
        weights_version: long("WeightsVersionKey"),
        serving_rate_limit: long("ServingRateLimit"),
        commit_reveal_enabled: flag("CommitRevealWeightsEnabled"),
        commit_reveal_period: long("RevealPeriodEpochs"),
        tao_in: long("SubnetTAO"),
        alpha_in: long("SubnetAlphaIn"),
        alpha_out: long("SubnetAlphaOut"),
        moving_price: moving_price(wide("SubnetMovingPrice")),
    });
    let shares = read(reader, &values, &shares)?;
    for (i, (neuron, (alpha, root))) in metagraph.neurons.iter_mut().zip(stakes).enumerate() {
        let share = |name: &str| shares.get(name).and_then(|all| all.get(usize::from(neuron.uid)).copied());
        let axon = axons.get(i).map(|slot| reader.get(&values, slot)).transpose()?.flatten();
        neuron.details = Some(NeuronDetails {
            total_stake: neuron.stake,
            alpha_stake: *alpha,
            tao_stake: *root,
            rank: share("Rank").unwrap_or(0),
            trust: share("Trust").unwrap_or(0),
            pruning_score: share("PruningScores").unwrap_or(u16::MAX),
            axon: axon.as_ref().and_then(self::axon),
            identity: None,
        });
    }
    Ok(())
}

/// Where a neuron serves; none also for what is not understood.
pub(in crate::chain) fn axon(value: &Value<()>) -> Option<Axon> {
    let fields = Fields::of("AxonInfo", value).ok()?;
    Axon::new(
        fields.number("block").ok()?,
        fields.number("ip").ok()?,
        fields.number("ip_type").ok()?,
        fields.number("port").ok()?,
        fields.number("version").ok()?,
        fields.number("protocol").ok()?,
    )
}
