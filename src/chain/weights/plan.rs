//! Which path weights take, and what stands in their way: a function of the chain's state.

use std::collections::BTreeSet;

use serde::Serialize;
use subxt::{ext::scale_value::Composite, tx::DynamicPayload};

use crate::{
    chain::{
        check::Check,
        error::{ChainError, tao},
        timelock::{self, COMMIT_REVEAL_VERSION, MAX_COMMIT_BYTES, PUBLIC_KEY_BYTES, WeightCommit},
        weights::{
            request::{WeightsPath, WeightsRequest, new_salt},
            validator_state::ValidatorState,
        },
    },
    wallet::AccountId,
    window::Block,
};

/// What would be done with a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The block that this was found at.
    pub block: Block,
    /// The path.
    pub path: WeightsPath,
    /// The rules.
    pub checks: Vec<Check>,
    /// The first block in which weights may be set again, if that is not the next one.
    pub not_before: Option<Block>,
    /// A commit of the next few blocks may come into the epoch before or the one after: from this block on it is clear.
    #[serde(skip)]
    pub(in crate::chain) clear_from: Option<Block>,
    /// What a timelocked commit is sealed with.
    #[serde(skip)]
    pub(in crate::chain) lock: Option<Lock>,
}

/// A timelock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chain) struct Lock {
    pub(in crate::chain) round: u64,
    pub(in crate::chain) opens_at: Block,
    pub(in crate::chain) public_key: [u8; PUBLIC_KEY_BYTES],
}

/// Blocks that it may take until a transaction is in one.
const LANDING: u64 = 3;
/// Commits of one hotkey that the chain lets wait: salted ones that have not expired, timelocked ones of one epoch.
const MOST_COMMITS: usize = 10;
/// The call, for messages.
const CALL: &str = "set_weights";

/// What can be said of a request without a chain.
pub(in crate::chain) fn check_order(request: &WeightsRequest) -> Result<(), ChainError> {
    let invalid = |reason: String| Err(ChainError::Invalid { call: CALL, reason });
    let mut seen = BTreeSet::new();
    if let Some((uid, _)) = request.weights.iter().find(|(uid, _)| !seen.insert(*uid)) {
        return invalid(format!("UID {uid} has two weights"));
    }
    if request.weights.iter().all(|(_, weight)| *weight == 0) {
        return invalid("no UID has a weight above zero".to_owned());
    }
    if request.mechanism > 15 || request.netuid >= 4096 {
        return invalid(format!(
            "there is no mechanism {} of a subnet {}",
            request.mechanism, request.netuid
        ));
    }
    Ok(())
}

/// The path and the checks.
///
/// Without commit-reveal weights are set plainly. With it, by a timelock where the runtime takes version 4 of it,
/// else by a salt.
pub(in crate::chain) fn plan(
    request: &WeightsRequest,
    hotkey: &AccountId,
    state: &ValidatorState,
) -> Result<Plan, ChainError> {
    let netuid = request.netuid;
    if !state.exists {
        return Err(ChainError::NoSuchSubnet { netuid });
    }
    let Some(uid) = state.uid else {
        return Err(ChainError::NotRegistered { hotkey: hotkey.clone(), netuid });
    };
    let name = |first, others| if request.mechanism == 0 { first } else { others };
    let has = |call: &str| state.calls.contains(&call);
    let timelocked = name("commit_timelocked_weights", "commit_timelocked_mechanism_weights");
    let (path, call) = if !state.commit_reveal {
        (WeightsPath::Plain, name("set_weights", "set_mechanism_weights"))
    } else if state.commit_version == Some(COMMIT_REVEAL_VERSION) && has(timelocked) {
        (WeightsPath::Timelocked, timelocked)
    } else {
        (WeightsPath::Salted, name("commit_weights", "commit_mechanism_weights"))
    };
    if !has(call) {
        return Err(ChainError::Missing { item: format!("SubtensorModule.{call}") });
    }
    let reveal = state.reveal();
    if state.commit_reveal && reveal.is_none() {
        let reason = format!("subnet {netuid} has no epochs (tempo 0), and a commit would never be revealed");
        return Err(ChainError::Invalid { call: CALL, reason });
    }
    let lock = reveal.filter(|_| path == WeightsPath::Timelocked).map(|reveal| Lock {
        // The chain refuses a round that it has already.
        round: reveal.round(&state.beacon, state.block_ms, state.time_ms).max(state.newest_round + 1),
        opens_at: reveal.first_block,
        public_key: state.beacon.public_key,
    });
    // A transaction counts from the block that it is in: the next one at the earliest.
    let due = match state.last_update {
        0 => 0,
        last => last.saturating_add(state.rate_limit),
    };
    let not_before = Some(due).filter(|due| *due > state.block + 1);
    let checks = checks(request, uid, state, not_before, path);
    let clear_from = state.boundary(LANDING).filter(|_| path != WeightsPath::Plain);
    Ok(Plan { block: state.block, path, checks, not_before, clear_from, lock })
}

fn checks(
    request: &WeightsRequest,
    uid: u16,
    state: &ValidatorState,
    not_before: Option<Block>,
    path: WeightsPath,
) -> Vec<Check> {
    let check = Check::new;
    let alone = matches!(request.weights.as_slice(), [(only, _)] if *only == uid);
    let gone = request.weights.iter().find(|(uid, _)| *uid >= state.neurons);
    let neurons = state.neurons;
    let uids = gone.map_or_else(
        || format!("{neurons} neurons"),
        |(uid, _)| format!("UID {uid} is not; there are {neurons} neurons"),
    );
    let may = match (state.permit, state.owns_subnet, alone) {
        (true, ..) => format!("UID {uid} has a validator permit"),
        (_, true, _) => "it is the subnet owner's hotkey".to_owned(),
        (_, _, true) => "it sets its own weight alone".to_owned(),
        _ => format!("UID {uid} has no validator permit"),
    };
    let allowed = state.permit || state.owns_subnet || alone;
    let version = format!("{}, the subnet asks for {}", request.version_key, state.version_key);
    let new_enough = state.version_key == 0 || request.version_key >= state.version_key;
    let count = request.weights.len();
    // The chain caps what the owner asks for by the neurons that there are.
    let least = state.min_weights.min(neurons);
    let length = format!("{count} weights, the subnet asks for {least}");
    let enough = alone || count >= usize::from(least);
    let stake = match state.owns_subnet {
        true => "the subnet owner's hotkey needs none".to_owned(),
        false => {
            format!("a stake weight of {} TAO, the chain asks for {}", tao(state.stake), tao(state.threshold))
        }
    };
    let staked = state.owns_subnet || state.stake >= state.threshold;
    let mechanisms = match state.mechanisms {
        1 => format!("the subnet has 1 mechanism, and this is number {}", request.mechanism),
        count => format!("the subnet has {count} mechanisms, and this is number {}", request.mechanism),
    };
    let rate = not_before.map_or_else(
        || format!("last set at block {}, {} blocks apart", state.last_update, state.rate_limit),
        |due| format!("not before block {due}, in {} blocks", due - state.block),
    );
    let too_fast =
        if path == WeightsPath::Plain { "SettingWeightsTooFast" } else { "CommittingWeightsTooFast" };
    let mut checks = vec![
        check(
            "the mechanism exists",
            request.mechanism < state.mechanisms,
            "MechanismDoesNotExist",
            mechanisms,
        ),
        check("every UID is in use", gone.is_none(), "UidVecContainInvalidOne", uids),
        check("the version key is new enough", new_enough, "IncorrectWeightVersionKey", version),
        check("the stake is enough", staked, "NotEnoughStakeToSetWeights", stake),
        check("the hotkey may validate", allowed, "NeuronNoValidatorPermit", may),
        check("there are enough weights", enough, "WeightVecLengthIsLow", length),
        check("the rate limit has passed", not_before.is_none(), too_fast, rate),
    ];
    let waiting = match path {
        WeightsPath::Plain => return checks,
        WeightsPath::Timelocked => state.timelocked,
        WeightsPath::Salted => state.unexpired(),
    };
    let found = format!("{waiting} commits of the hotkey wait, and the chain keeps {MOST_COMMITS}");
    let rule = "another commit may wait";
    checks.push(check(rule, waiting < MOST_COMMITS, "TooManyUnrevealedCommits", found));
    checks
}

impl Plan {
    /// The first rule that is broken, if any is.
    ///
    /// # Errors
    /// [`ChainError::TooSoon`], [`ChainError::WouldRefuse`].
    pub fn refuse(&self) -> Result<(), ChainError> {
        let refused = Check::refuse(CALL, &self.checks);
        match (&refused, self.not_before) {
            (Err(ChainError::WouldRefuse { name, .. }), Some(block)) if name.ends_with("TooFast") => {
                Err(ChainError::TooSoon { call: CALL, blocks: block - self.block, block })
            }
            _ => refused,
        }
    }
}

impl Plan {
    /// What would be signed. Of a salted commit the salt is thrown away: this is to be looked at, not sent.
    pub(in crate::chain) fn payload(
        &self,
        request: &WeightsRequest,
        hotkey: &AccountId,
    ) -> Result<DynamicPayload<Composite<()>>, ChainError> {
        Ok(match self.path {
            WeightsPath::Plain => request.plain(),
            WeightsPath::Timelocked => {
                let (sealed, round, _) = self.seal(request, hotkey)?;
                request.timelocked(&sealed, round)
            }
            WeightsPath::Salted => request.salted(request.hash(hotkey, &new_salt())),
        })
    }

    /// The request, sealed until the subnet's reveal; the round that opens it, and the first block that can.
    pub(in crate::chain) fn seal(
        &self,
        request: &WeightsRequest,
        hotkey: &AccountId,
    ) -> Result<(Vec<u8>, u64, Block), ChainError> {
        let call = "commit_timelocked_weights";
        let invalid = |reason: String| ChainError::Invalid { call, reason };
        let Some(lock) = &self.lock else { return Err(invalid("the subnet has no epochs".to_owned())) };
        let hotkey: [u8; 32] = hotkey.clone().into();
        let commit = WeightCommit {
            hotkey: Some(hotkey),
            uids: request.uids(),
            values: request.values(),
            version_key: request.version_key,
        };
        let sealed = timelock::encrypt(&commit.encode(), lock.round, &lock.public_key, &mut rand::rng());
        let sealed = sealed.map_err(|e| invalid(e.to_string()))?;
        if sealed.len() > MAX_COMMIT_BYTES {
            return Err(invalid(format!("{} weights are too many for one commit", request.weights.len())));
        }
        Ok((sealed, lock.round, lock.opens_at))
    }
}
