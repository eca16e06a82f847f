//! Which path weights take, and what stands in their way: a function of the chain's state.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{WeightsOrder, facts::Facts};
use crate::{
    chain::{
        ChainError,
        timelock::{COMMIT_REVEAL_VERSION, PUBLIC_KEY_BYTES},
    },
    wallet::AccountId,
    window::Block,
};

/// How weights get on chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// `set_weights`: for all to see, at once.
    Plain,
    /// `commit_timelocked_weights`: the chain opens them by itself.
    Timelocked,
    /// `commit_weights`, and `reveal_weights` one reveal period later.
    Salted,
}

/// One rule of the chain, looked at beforehand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The rule, in words.
    pub rule: &'static str,
    /// What was found.
    pub found: String,
    /// The name that the chain would refuse with; none if the rule is kept.
    pub refusal: Option<&'static str>,
}

/// What would be done with an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The block that this was found at.
    pub block: Block,
    /// The path.
    pub way: Way,
    /// The rules.
    pub checks: Vec<Check>,
    /// The first block in which weights may be set again, if that is not the next one.
    pub not_before: Option<Block>,
    /// What a timelocked commit is sealed with.
    #[serde(skip)]
    pub(super) lock: Option<Lock>,
}

/// A timelock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lock {
    pub(super) round: u64,
    pub(super) opens_at: Block,
    pub(super) public_key: [u8; PUBLIC_KEY_BYTES],
}

/// The call, for messages.
const CALL: &str = "set_weights";

/// What can be said of an order without a chain.
pub(super) fn check_order(order: &WeightsOrder) -> Result<(), ChainError> {
    let invalid = |reason: String| Err(ChainError::Invalid { call: CALL, reason });
    let mut seen = BTreeSet::new();
    if let Some((uid, _)) = order.weights.iter().find(|(uid, _)| !seen.insert(*uid)) {
        return invalid(format!("UID {uid} has two weights"));
    }
    if order.weights.iter().all(|(_, weight)| *weight == 0) {
        return invalid("no UID has a weight above zero".to_owned());
    }
    if order.mechanism > 15 || order.netuid >= 4096 {
        return invalid(format!("there is no mechanism {} of a subnet {}", order.mechanism, order.netuid));
    }
    Ok(())
}

/// The path and the checks.
///
/// Without commit-reveal weights are set plainly. With it, by a timelock where the runtime takes version 4 of it,
/// else by a salt.
pub(super) fn plan(order: &WeightsOrder, hotkey: &AccountId, facts: &Facts) -> Result<Plan, ChainError> {
    let netuid = order.netuid;
    if !facts.exists {
        return Err(ChainError::NoSuchSubnet { netuid });
    }
    let Some(uid) = facts.uid else {
        return Err(ChainError::NotRegistered { hotkey: hotkey.clone(), netuid });
    };
    let name = |first, others| if order.mechanism == 0 { first } else { others };
    let has = |call: &str| facts.calls.contains(&call);
    let timelocked = name("commit_timelocked_weights", "commit_timelocked_mechanism_weights");
    let (way, call) = if !facts.commit_reveal {
        (Way::Plain, name("set_weights", "set_mechanism_weights"))
    } else if facts.commit_version == Some(COMMIT_REVEAL_VERSION) && has(timelocked) {
        (Way::Timelocked, timelocked)
    } else {
        (Way::Salted, name("commit_weights", "commit_mechanism_weights"))
    };
    if !has(call) {
        return Err(ChainError::Missing { item: format!("SubtensorModule.{call}") });
    }
    let reveal = facts.reveal();
    if facts.commit_reveal && reveal.is_none() {
        let reason = format!("subnet {netuid} has no epochs (tempo 0), and a commit would never be revealed");
        return Err(ChainError::Invalid { call: CALL, reason });
    }
    let lock = reveal.filter(|_| way == Way::Timelocked).map(|reveal| Lock {
        // The chain refuses a round that it has already.
        round: reveal.round(&facts.beacon, facts.block_ms, facts.time_ms).max(facts.newest_round + 1),
        opens_at: reveal.first_block,
        public_key: facts.beacon.public_key,
    });
    // A transaction counts from the block that it is in: the next one at the earliest.
    let due = match facts.last_update {
        0 => 0,
        last => last.saturating_add(facts.rate_limit),
    };
    let not_before = Some(due).filter(|due| *due > facts.block + 1);
    let checks = checks(order, uid, facts, not_before, way);
    Ok(Plan { block: facts.block, way, checks, not_before, lock })
}

fn checks(order: &WeightsOrder, uid: u16, facts: &Facts, not_before: Option<Block>, way: Way) -> Vec<Check> {
    let check =
        |rule, kept: bool, refusal, found: String| Check { rule, found, refusal: (!kept).then_some(refusal) };
    let alone = matches!(order.weights.as_slice(), [(only, _)] if *only == uid);
    let gone = order.weights.iter().find(|(uid, _)| *uid >= facts.neurons);
    let neurons = facts.neurons;
    let uids = gone.map_or_else(
        || format!("{neurons} neurons"),
        |(uid, _)| format!("UID {uid} is not; there are {neurons} neurons"),
    );
    let may = match (facts.permit, facts.owns_subnet, alone) {
        (true, ..) => format!("UID {uid} has a validator permit"),
        (_, true, _) => "it is the subnet owner's hotkey".to_owned(),
        (_, _, true) => "it sets its own weight alone".to_owned(),
        _ => format!("UID {uid} has no validator permit"),
    };
    let allowed = facts.permit || facts.owns_subnet || alone;
    let version = format!("{}, the subnet asks for {}", order.version_key, facts.version_key);
    let new_enough = facts.version_key == 0 || order.version_key >= facts.version_key;
    let count = order.weights.len();
    let length = format!("{count}, the subnet asks for {}", facts.min_weights);
    let enough = alone || count >= usize::from(facts.min_weights);
    let rate = not_before.map_or_else(
        || format!("last set at block {}, {} blocks apart", facts.last_update, facts.rate_limit),
        |due| format!("not before block {due}, in {} blocks", due - facts.block),
    );
    let too_fast = if way == Way::Plain { "SettingWeightsTooFast" } else { "CommittingWeightsTooFast" };
    vec![
        check("every UID is in use", gone.is_none(), "UidVecContainInvalidOne", uids),
        check("the version key is new enough", new_enough, "IncorrectWeightVersionKey", version),
        check("the hotkey may validate", allowed, "NeuronNoValidatorPermit", may),
        check("there are enough weights", enough, "WeightVecLengthIsLow", length),
        check("the rate limit has passed", not_before.is_none(), too_fast, rate),
    ]
}

impl Plan {
    /// The first rule that is broken, as the chain would say it.
    pub(super) fn refuse(&self) -> Result<(), ChainError> {
        match (self.checks.iter().find_map(|check| check.refusal), self.not_before) {
            (None, _) => Ok(()),
            (Some(name), Some(block)) if name.ends_with("TooFast") => {
                Err(ChainError::TooSoon { call: CALL, blocks: block - self.block, block })
            }
            (Some(name), _) => Err(ChainError::Refused { call: CALL, name: name.to_owned() }),
        }
    }
}
