//! A metagraph by the runtime's own interface: one call, taken apart by name.

use subxt::{
    ext::{scale_decode::DecodeAsType as _, scale_value::Value},
    utils::H256,
};
use templar_metadata::api;

use crate::{
    chain::{
        error::ChainError,
        ids::theirs,
        metagraph::{
            details::{MetagraphSource, NeuronDetails, SubnetDetails, moving_price},
            neuron::{Metagraph, Neuron, stake_weight},
            storage::axon,
        },
        rpc::{
            dynamic_value::{Fields, account, number, option, text},
            storage::Reader,
        },
        types::Head,
    },
    window::{NetUid, Uid},
};

const TRAIT: &str = "SubnetInfoRuntimeApi";

/// The metagraph of a subnet's mechanism.
///
/// # Errors
/// [`ChainError::Missing`] and [`ChainError::Decode`] if the runtime has no such call or answers otherwise.
pub(in crate::chain) async fn metagraph(
    reader: &Reader<'_>,
    netuid: NetUid,
    mechanism: u8,
) -> Result<Metagraph, ChainError> {
    let mut arguments = netuid.to_le_bytes().to_vec();
    let method = if mechanism == 0 {
        "get_metagraph"
    } else {
        arguments.push(mechanism);
        "get_mechagraph"
    };
    let item = format!("{TRAIT}.{method}");
    let metadata = reader.at.metadata_ref();
    let found = metadata.runtime_api_trait_by_name(TRAIT).and_then(|api| api.method_by_name(method));
    let found = found.ok_or_else(|| ChainError::Missing { item: item.clone() })?;
    let function = format!("{TRAIT}_{method}");
    let at = Some(H256(reader.head.hash));
    let link = reader.link;
    let answer = link.ask("state_call", || link.rpc.state_call(&function, Some(&arguments), at)).await;
    let answer = answer.map_err(|e| link.at_block(reader.head.number, e))?;
    let value = Value::<()>::decode_as_type(&mut answer.as_slice(), found.output_ty(), metadata.types())
        .map_err(|e| ChainError::Decode { item: item.clone(), reason: e.to_string() })?;
    let subnet = match option(&value) {
        Some(Some(subnet)) => subnet,
        Some(None) => return Err(ChainError::NoSuchSubnet { netuid }),
        None => &value,
    };
    let mut metagraph = read(&item, subnet, reader.head, mechanism)?;
    complete(reader, &mut metagraph).await?;
    Ok(metagraph)
}

/// The metagraph in a value, before [`complete`].
fn read(item: &str, value: &Value<()>, head: Head, mechanism: u8) -> Result<Metagraph, ChainError> {
    let fields = Fields::of(item, value)?;
    let numbers = |name: &str| fields.each(name, number::<u64>);
    let shares = |name: &str| fields.each(name, number::<u16>);
    let hotkeys = fields.each("hotkeys", account)?;
    let coldkeys = fields.each("coldkeys", account)?;
    let axons = fields.list("axons")?;
    let identities = fields.list("identities")?;
    let (active, permits) =
        (fields.each("active", Value::as_bool)?, fields.each("validator_permit", Value::as_bool)?);
    let (pruning, trust, rank) = (
        fields.find("pruning_score").map(|_| shares("pruning_score")).transpose()?.unwrap_or_default(),
        fields.find("trust").map(|_| shares("trust")).transpose()?.unwrap_or_default(),
        fields.find("rank").map(|_| shares("rank")).transpose()?.unwrap_or_default(),
    );
    let (updates, emission, registered) =
        (numbers("last_update")?, numbers("emission")?, numbers("block_at_registration")?);
    let (dividends, incentives, consensus) =
        (shares("dividends")?, shares("incentives")?, shares("consensus")?);
    let (alpha, tao, total) = (numbers("alpha_stake")?, numbers("tao_stake")?, numbers("total_stake")?);

    let mut neurons = Vec::with_capacity(hotkeys.len());
    for (uid, hotkey) in (0..=Uid::MAX).zip(hotkeys) {
        let i = usize::from(uid);
        let coldkey = coldkeys.get(i).cloned().ok_or_else(|| ChainError::Decode {
            item: item.to_owned(),
            reason: format!("UID {uid} has no coldkey"),
        })?;
        let share = |of: &[u16]| of.get(i).copied().unwrap_or(0);
        let amount = |of: &[u64]| of.get(i).copied().unwrap_or(0);
        neurons.push(Neuron {
            uid,
            hotkey,
            coldkey,
            stake: amount(&total),
            active: active.get(i).copied().unwrap_or(false),
            validator_permit: permits.get(i).copied().unwrap_or(false),
            consensus: share(&consensus),
            incentive: share(&incentives),
            dividends: share(&dividends),
            validator_trust: 0,
            emission: amount(&emission),
            last_update: amount(&updates),
            block_at_registration: amount(&registered),
            details: Some(NeuronDetails {
                total_stake: amount(&total),
                alpha_stake: amount(&alpha),
                tao_stake: amount(&tao),
                rank: share(&rank),
                trust: share(&trust),
                pruning_score: pruning.get(i).copied().unwrap_or(u16::MAX),
                axon: axons.get(i).and_then(|one| axon(one)),
                identity: identities.get(i).and_then(|identity| name(identity)),
            }),
        });
    }
    Ok(Metagraph {
        netuid: fields.number("netuid")?,
        block: head.number,
        hash: head.hash,
        tempo: fields.number("tempo")?,
        neurons,
        details: Some(subnet(&fields, mechanism)?),
    })
}

fn subnet(fields: &Fields<'_>, mechanism: u8) -> Result<SubnetDetails, ChainError> {
    Ok(SubnetDetails {
        source: MetagraphSource::RuntimeApi,
        mechanism,
        name: Some(fields.text("name")?).filter(|name| !name.is_empty()),
        symbol: fields.text("symbol")?,
        owner_hotkey: Some(fields.account("owner_hotkey")?),
        owner_coldkey: Some(fields.account("owner_coldkey")?),
        registered_at: fields.number("network_registered_at")?,
        last_step: fields.number("last_step")?,
        blocks_since_last_step: fields.number("blocks_since_last_step")?,
        burn: fields.number("burn")?,
        difficulty: fields.number("difficulty")?,
        registration_allowed: fields.flag("registration_allowed")?,
        pow_registration_allowed: fields.flag("pow_registration_allowed")?,
        max_uids: fields.number("max_uids")?,
        max_validators: fields.number("max_validators")?,
        min_allowed_weights: fields.number("min_allowed_weights")?,
        max_weights_limit: fields.number("max_weights_limit")?,
        immunity_period: fields.number("immunity_period")?,
        activity_cutoff: fields.number("activity_cutoff")?,
        weights_rate_limit: fields.number("weights_rate_limit")?,
        weights_version: fields.number("weights_version")?,
        serving_rate_limit: fields.number("serving_rate_limit")?,
        commit_reveal_enabled: fields.flag("commit_reveal_weights_enabled")?,
        commit_reveal_period: fields.number("commit_reveal_period")?,
        tao_in: fields.number("tao_in")?,
        alpha_in: fields.number("alpha_in")?,
        alpha_out: fields.number("alpha_out")?,
        moving_price: moving_price(fields.number_or("moving_price", 0)?),
    })
}

/// The name in an identity, which the owner may have left empty.
fn name(identity: &Value<()>) -> Option<String> {
    let identity = option(identity)??;
    let name = Fields::of("ChainIdentity", identity).ok()?.find("name").and_then(text)?;
    Some(name).filter(|name| !name.is_empty())
}

/// Replaces what the interface says of stake by what [`Neuron::stake`] is: the interface has what children and
/// parents pass on in it, and the leader must not depend on which way a node took. And adds the validators'
/// trust, which the interface leaves out.
async fn complete(reader: &Reader<'_>, metagraph: &mut Metagraph) -> Result<(), ChainError> {
    let storage = api::storage().subtensor_module();
    let tao_weight = reader.slot(storage.tao_weight(), ())?;
    let trust = reader.slot(storage.validator_trust(), (metagraph.netuid,))?;
    let keys: Vec<_> = metagraph.neurons.iter().map(|neuron| theirs(&neuron.hotkey)).collect();
    let alpha = keys.iter().map(|key| (*key, metagraph.netuid));
    let alpha = reader.slots(&storage.total_hotkey_alpha(), alpha)?;
    let root = reader.slots(&storage.total_hotkey_alpha(), keys.iter().map(|key| (*key, 0)))?;
    let wanted = alpha.iter().chain(&root).map(|slot| slot.key());
    let values = reader.fetch(wanted.chain([tao_weight.key(), trust.key()])).await?;
    let tao_weight = reader.get(&values, &tao_weight)?.unwrap_or(0);
    let trust = reader.get(&values, &trust)?.unwrap_or_default();
    for ((neuron, alpha), root) in metagraph.neurons.iter_mut().zip(&alpha).zip(&root) {
        let alpha = reader.get(&values, alpha)?.unwrap_or(0);
        neuron.validator_trust = trust.get(usize::from(neuron.uid)).copied().unwrap_or(0);
        neuron.stake = stake_weight(alpha, reader.get(&values, root)?.unwrap_or(0), tao_weight);
    }
    Ok(())
}
