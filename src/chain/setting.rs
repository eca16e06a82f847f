//! Weights by every path: plainly, as a timelocked commit that the chain opens by itself, or as a salted commit that
//! the validator reveals later. Which one follows from the subnet's own settings.
//!
//! Everything that can be known before is checked before anything is signed: UIDs that are gone, the permit, the
//! rate limit, the version key.

mod facts;
mod plan;

use serde::{Deserialize, Serialize};
use subxt::{
    ext::scale_value::{Composite, Value},
    tx::DynamicPayload,
};

use templar_metadata::api;

use super::{
    ChainError, Included,
    client::SubtensorClient,
    metagraph::ours,
    timelock::{self, COMMIT_REVEAL_VERSION, MAX_COMMIT_BYTES, WeightCommit},
};
use crate::{
    wallet::{AccountId, Keypair},
    window::{Block, NetUid, Uid},
};
use facts::Facts;
pub use plan::{Check, Plan, Way};

/// Storage of a mechanism is under `mechanism * 4096 + netuid`.
const MECHANISM: u16 = 4096;
/// Numbers in a salt; eight are the custom.
const SALT: usize = 8;

/// What to set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsOrder {
    /// The subnet.
    pub netuid: NetUid,
    /// The mechanism of the subnet; the first is 0.
    #[serde(default)]
    pub mechanism: u8,
    /// UID and weight; the chain scales them so that the largest is 65535.
    pub weights: Vec<(Uid, u16)>,
    /// Version of the rules by which they were made; a subnet may ask for a lowest one.
    pub version_key: u64,
}

/// What was set, or committed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeightsGiven {
    /// Where the transaction is.
    pub included: Included,
    /// How they got there.
    pub way: Way,
    /// For a timelocked commit: the beacon's round that opens it.
    pub round: Option<u64>,
    /// For a timelocked commit: the first block in which the chain can open it.
    pub opens_at: Option<Block>,
    /// For a salted commit: what has to be revealed. Nobody else may see it before.
    #[serde(skip)]
    pub salted: Option<SaltedCommit>,
}

/// A salted commit and what is behind it, to be kept until it is revealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaltedCommit {
    /// What was committed to.
    pub order: WeightsOrder,
    /// Keeps others from guessing.
    pub salt: Vec<u16>,
    /// The hash that is on chain.
    #[serde(with = "super::types::hex_bytes")]
    pub hash: [u8; 32],
    /// The block that the commit is in.
    pub block: Block,
    /// Whose each UID was at the commit, in the order of the weights. Empty where that is not to be compared when
    /// it is revealed.
    #[serde(default)]
    pub hotkeys: Vec<AccountId>,
}

/// Where a salted commit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RevealState {
    /// Its time has not come.
    Early,
    /// It can be revealed now.
    Due,
    /// The chain does not have it (any more): it was revealed, or its time is over.
    Gone,
}

impl WeightsOrder {
    /// The index under which the chain keeps the mechanism's weights.
    pub fn storage_index(&self) -> u16 {
        u16::from(self.mechanism).saturating_mul(MECHANISM).saturating_add(self.netuid)
    }

    fn uids(&self) -> Vec<Uid> {
        self.weights.iter().map(|(uid, _)| *uid).collect()
    }

    fn values(&self) -> Vec<u16> {
        self.weights.iter().map(|(_, weight)| *weight).collect()
    }

    /// The commit's hash with this salt.
    fn hash(&self, hotkey: &AccountId, salt: &[u16]) -> [u8; 32] {
        let (uids, values) = (self.uids(), self.values());
        timelock::commit_hash(hotkey.as_ref(), self.storage_index(), &uids, &values, salt, self.version_key)
    }
}

fn new_salt() -> Vec<u16> {
    (0..SALT).map(|_| rand::random()).collect()
}

fn numbers(values: &[u16]) -> Value {
    Value::unnamed_composite(values.iter().map(|value| Value::u128(u128::from(*value))))
}

/// A call of the pallet of subnets, its arguments by name.
fn call<const N: usize>(name: &str, arguments: [(&str, Value); N]) -> DynamicPayload<Composite<()>> {
    subxt::tx::dynamic("SubtensorModule", name, Composite::named(arguments))
}

impl WeightsOrder {
    fn mechanism_argument(&self) -> (&'static str, Value) {
        ("mecid", Value::u128(u128::from(self.mechanism)))
    }

    fn plain(&self) -> DynamicPayload<Composite<()>> {
        let netuid = ("netuid", Value::u128(u128::from(self.netuid)));
        let dests = ("dests", numbers(&self.uids()));
        let weights = ("weights", numbers(&self.values()));
        let version = ("version_key", Value::u128(u128::from(self.version_key)));
        match self.mechanism {
            0 => call("set_weights", [netuid, dests, weights, version]),
            _ => call("set_mechanism_weights", [netuid, self.mechanism_argument(), dests, weights, version]),
        }
    }

    fn salted(&self, hash: [u8; 32]) -> DynamicPayload<Composite<()>> {
        let netuid = ("netuid", Value::u128(u128::from(self.netuid)));
        let hash = ("commit_hash", Value::from_bytes(hash));
        match self.mechanism {
            0 => call("commit_weights", [netuid, hash]),
            _ => call("commit_mechanism_weights", [netuid, self.mechanism_argument(), hash]),
        }
    }

    fn timelocked(&self, sealed: &[u8], round: u64) -> DynamicPayload<Composite<()>> {
        let netuid = ("netuid", Value::u128(u128::from(self.netuid)));
        let commit = ("commit", Value::from_bytes(sealed));
        let round = ("reveal_round", Value::u128(u128::from(round)));
        let version = ("commit_reveal_version", Value::u128(u128::from(COMMIT_REVEAL_VERSION)));
        match self.mechanism {
            0 => call("commit_timelocked_weights", [netuid, commit, round, version]),
            _ => call(
                "commit_timelocked_mechanism_weights",
                [netuid, self.mechanism_argument(), commit, round, version],
            ),
        }
    }

    fn reveal(&self, salt: &[u16]) -> DynamicPayload<Composite<()>> {
        let netuid = ("netuid", Value::u128(u128::from(self.netuid)));
        let uids = ("uids", numbers(&self.uids()));
        let values = ("values", numbers(&self.values()));
        let salt = ("salt", numbers(salt));
        let version = ("version_key", Value::u128(u128::from(self.version_key)));
        match self.mechanism {
            0 => call("reveal_weights", [netuid, uids, values, salt, version]),
            _ => call(
                "reveal_mechanism_weights",
                [netuid, self.mechanism_argument(), uids, values, salt, version],
            ),
        }
    }
}

impl SubtensorClient {
    /// What would be done with an order now: the path, and every check with its outcome.
    pub(super) async fn plan(&self, order: &WeightsOrder, hotkey: &AccountId) -> Result<Plan, ChainError> {
        plan::check_order(order)?;
        let facts = Facts::read(&self.reader(None).await?, order, hotkey).await?;
        plan::plan(order, hotkey, &facts)
    }

    pub(super) async fn give(
        &self,
        order: &WeightsOrder,
        signer: &Keypair,
    ) -> Result<WeightsGiven, ChainError> {
        let plan = self.plan(order, &signer.account()).await?;
        plan.refuse()?;
        let given = |included, round, opens_at, salted| WeightsGiven {
            included,
            way: plan.way,
            round,
            opens_at,
            salted,
        };
        match plan.way {
            Way::Plain => {
                let included = self.submit("set_weights", order.plain(), signer).await?.included;
                Ok(given(included, None, None, None))
            }
            Way::Timelocked => {
                let (sealed, round, opens_at) = plan.seal(order, &signer.account())?;
                let payload = order.timelocked(&sealed, round);
                let included = self.submit("commit_timelocked_weights", payload, signer).await?.included;
                Ok(given(included, Some(round), Some(opens_at), None))
            }
            Way::Salted => {
                let salt = new_salt();
                let keys = self.holders(order).await?;
                let gone = || ChainError::Refused {
                    call: "commit_weights",
                    name: "UidVecContainInvalidOne".to_owned(),
                };
                let hotkeys = keys.into_iter().collect::<Option<_>>().ok_or_else(gone)?;
                let hash = order.hash(&signer.account(), &salt);
                let included = self.submit("commit_weights", order.salted(hash), signer).await?.included;
                let salted =
                    SaltedCommit { order: order.clone(), salt, hash, block: included.block, hotkeys };
                Ok(given(included, None, None, Some(salted)))
            }
        }
    }

    pub(super) async fn stands(
        &self,
        commit: &SaltedCommit,
        hotkey: &AccountId,
    ) -> Result<RevealState, ChainError> {
        let facts = Facts::read(&self.reader(None).await?, &commit.order, hotkey).await?;
        Ok(facts.reveal_state(&commit.hash))
    }

    pub(super) async fn reveal(
        &self,
        commit: &SaltedCommit,
        signer: &Keypair,
    ) -> Result<Included, ChainError> {
        self.unmoved(commit).await?;
        Ok(self.submit("reveal_weights", commit.payload(), signer).await?.included)
    }

    /// Whose the UIDs of an order are now.
    async fn holders(&self, order: &WeightsOrder) -> Result<Vec<Option<AccountId>>, ChainError> {
        let reader = self.reader(None).await?;
        let address = api::storage().subtensor_module().keys();
        let slots = reader.slots(&address, order.weights.iter().map(|(uid, _)| (order.netuid, *uid)))?;
        let values = reader.fetch(slots.iter().map(|slot| slot.key())).await?;
        // The default of a slot that nobody has is an account too.
        let held = slots.iter().map(|slot| match values.bytes(slot.key()) {
            Some(_) => Ok(reader.get(&values, slot)?.map(ours)),
            None => Ok(None),
        });
        held.collect()
    }

    /// That every UID still is whose it was when it was committed to.
    pub(super) async fn unmoved(&self, commit: &SaltedCommit) -> Result<(), ChainError> {
        if commit.hotkeys.is_empty() {
            return Ok(());
        }
        let held = self.holders(&commit.order).await?.into_iter().zip(&commit.hotkeys);
        let uids =
            commit.order.weights.iter().zip(held).filter(|(_, (now, then))| now.as_ref() != Some(*then));
        let uids: Vec<_> = uids.map(|((uid, _), (now, then))| (*uid, then.clone(), now)).collect();
        if uids.is_empty() { Ok(()) } else { Err(ChainError::UidsChanged { uids }) }
    }
}

impl SaltedCommit {
    /// What reveals it.
    pub(super) fn payload(&self) -> DynamicPayload<Composite<()>> {
        self.order.reveal(&self.salt)
    }
}

impl Plan {
    /// What would be signed. Of a salted commit the salt is thrown away: this is to be looked at, not sent.
    pub(super) fn payload(
        &self,
        order: &WeightsOrder,
        hotkey: &AccountId,
    ) -> Result<DynamicPayload<Composite<()>>, ChainError> {
        Ok(match self.way {
            Way::Plain => order.plain(),
            Way::Timelocked => {
                let (sealed, round, _) = self.seal(order, hotkey)?;
                order.timelocked(&sealed, round)
            }
            Way::Salted => order.salted(order.hash(hotkey, &new_salt())),
        })
    }

    /// The order, sealed until the subnet's reveal; the round that opens it, and the first block that can.
    fn seal(&self, order: &WeightsOrder, hotkey: &AccountId) -> Result<(Vec<u8>, u64, Block), ChainError> {
        let call = "commit_timelocked_weights";
        let invalid = |reason: String| ChainError::Invalid { call, reason };
        let Some(lock) = &self.lock else { return Err(invalid("the subnet has no epochs".to_owned())) };
        let hotkey: [u8; 32] = hotkey.clone().into();
        let commit = WeightCommit {
            hotkey: Some(hotkey),
            uids: order.uids(),
            values: order.values(),
            version_key: order.version_key,
        };
        let sealed = timelock::encrypt(&commit.encode(), lock.round, &lock.public_key, &mut rand::rng());
        let sealed = sealed.map_err(|e| invalid(e.to_string()))?;
        if sealed.len() > MAX_COMMIT_BYTES {
            return Err(invalid(format!("{} weights are too many for one commit", order.weights.len())));
        }
        Ok((sealed, lock.round, lock.opens_at))
    }
}

#[cfg(test)]
mod tests;
