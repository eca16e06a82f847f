//! A metagraph by the runtime's own interface: one call, taken apart by name.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Mutex,
};

use subxt::ext::scale_value::Value;

use crate::{
    chain::{
        error::ChainError,
        ids::theirs,
        metagraph::{
            Stakes,
            details::{MetagraphSource, NeuronDetails, SubnetDetails, moving_price},
            neuron::{Metagraph, Neuron},
            storage::axon,
        },
        rpc::{
            api,
            connection::Connection,
            dynamic_value::{Fields, account, number, option, text},
            storage::{self, Reader, Slot, Values},
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
    let (method, arguments) = function(netuid, mechanism);
    let value = api::call(reader, TRAIT, method, &arguments).await?;
    let mut metagraph = of_value(method, &value, netuid, reader.head, mechanism)?;
    complete(reader, &mut metagraph, Known::default()).await?;
    Ok(metagraph)
}

/// What was asked for the last metagraph of each subnet beside the runtime's own answer: the next one will need nearly the same.
#[derive(Debug, Default)]
pub(in crate::chain) struct Remembered(Mutex<BTreeMap<NetUid, Vec<Vec<u8>>>>);

/// The newest final metagraph, with all questions asked at once as soon as that block's hash is known: what does not depend on anybody's
/// answer, and the stakes of those who were there the last time. None where the answers do not fit together, and one question has to
/// follow on the other.
pub(in crate::chain) async fn newest(
    link: &Connection,
    netuid: NetUid,
    mechanism: u8,
    remembered: &Remembered,
) -> Result<Option<Metagraph>, ChainError> {
    let hash = link.final_hash().await?;
    let (method, arguments) = function(netuid, mechanism);
    let keys = remembered.lock().get(&netuid).cloned().unwrap_or_default();
    let answers = tokio::join!(
        link.numbered(hash),
        // For its metadata alone, which does not depend on the number that is not known yet.
        link.at(Head { number: 0, hash }),
        api::ask(link, hash, TRAIT, method, &arguments),
        storage::fetch(link, hash, keys.clone()),
    );
    let (Ok(head), Ok(at), Ok(answer), Ok(values)) = answers else { return Ok(None) };
    let Ok(value) = api::read(&at, TRAIT, method, &answer) else { return Ok(None) };
    let mut metagraph = of_value(method, &value, netuid, head, mechanism)?;
    let reader = Reader::of(link, at, head);
    let asked =
        complete(&reader, &mut metagraph, Known { asked: keys.into_iter().collect(), values }).await?;
    remembered.lock().insert(netuid, asked);
    Ok(Some(metagraph))
}

impl Remembered {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<NetUid, Vec<Vec<u8>>>> {
        // A poisoned map is whole: nothing panics while it is held.
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The runtime's function and its arguments.
fn function(netuid: NetUid, mechanism: u8) -> (&'static str, Vec<u8>) {
    let mut arguments = netuid.to_le_bytes().to_vec();
    if mechanism == 0 {
        return ("get_metagraph", arguments);
    }
    arguments.push(mechanism);
    ("get_mechagraph", arguments)
}

/// The metagraph in the function's answer, before [`complete`].
fn of_value(
    method: &str,
    value: &Value<()>,
    netuid: NetUid,
    head: Head,
    mechanism: u8,
) -> Result<Metagraph, ChainError> {
    let subnet = match option(value) {
        Some(Some(subnet)) => subnet,
        Some(None) => return Err(ChainError::NoSuchSubnet { netuid }),
        None => value,
    };
    read(&format!("{TRAIT}.{method}"), subnet, head, mechanism)
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
///
/// Returns the keys that it takes; what is known of them already is not asked for again.
async fn complete(
    reader: &Reader<'_>,
    metagraph: &mut Metagraph,
    known: Known,
) -> Result<Vec<Vec<u8>>, ChainError> {
    let trust = reader.find::<_, Vec<u16>>("ValidatorTrust", (metagraph.netuid,))?;
    let keys: Vec<_> = metagraph.neurons.iter().map(|neuron| theirs(&neuron.hotkey)).collect();
    let stakes = Stakes::new(reader, metagraph.netuid, &keys)?;
    let mut wanted = stakes.keys();
    wanted.extend(trust.iter().map(Slot::key));
    let Known { asked, mut values } = known;
    let missing: Vec<&[u8]> = wanted.iter().copied().filter(|key| !asked.contains(*key)).collect();
    if !missing.is_empty() {
        values.extend(reader.fetch(missing).await?);
    }
    let trust = reader.get_if(&values, &trust)?.unwrap_or_default();
    let stakes = stakes.read(reader, &values)?;
    for (neuron, stake) in metagraph.neurons.iter_mut().zip(stakes) {
        neuron.validator_trust = trust.get(usize::from(neuron.uid)).copied().unwrap_or(0);
        neuron.stake = stake.weight;
    }
    Ok(wanted.into_iter().map(<[u8]>::to_vec).collect())
}

/// Keys that were asked for at a metagraph's block, and what is there.
#[derive(Default)]
struct Known {
    asked: HashSet<Vec<u8>>,
    values: Values,
}
