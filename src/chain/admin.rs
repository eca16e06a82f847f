//! What a development chain's owner does: money, stake, subnets and their settings.

use std::time::Duration;

use subxt::{ext::scale_value::Composite, rpcs::rpc_params, utils::MultiAddress};
use templar_metadata::api;

use super::{client::SubtensorClient, error::ChainError, ids::theirs, types::Included};
use crate::{
    wallet::{AccountId, Keypair},
    window::NetUid,
};

/// How often it is looked whether a new runtime is in force, and the pause between two looks.
const UPGRADE_BLOCKS: u32 = 120;
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A setting that only the chain's administrator (on a development chain: `//Alice`) may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "every field is the subnet, or the new value of what the variant names")]
pub enum AdminCall {
    /// Blocks before an epoch in which nothing may be changed.
    AdminFreezeWindow { blocks: u16 },
    /// Blocks between two epochs.
    Tempo { netuid: NetUid, blocks: u16 },
    /// Blocks between two settings of weights.
    WeightsSetRateLimit { netuid: NetUid, blocks: u64 },
    /// The lowest version key that weights may carry.
    WeightsVersionKey { netuid: NetUid, key: u64 },
    /// Whether weights must be committed and revealed.
    CommitRevealWeightsEnabled { netuid: NetUid, enabled: bool },
    /// Blocks in which a new neuron is not replaced.
    ImmunityPeriod { netuid: NetUid, blocks: u16 },
    /// The fewest weights in one setting.
    MinAllowedWeights { netuid: NetUid, count: u16 },
    /// The most neurons.
    MaxAllowedUids { netuid: NetUid, count: u16 },
    /// The most validators.
    MaxAllowedValidators { netuid: NetUid, count: u16 },
    /// The stake weight needed to set weights, rao.
    StakeThreshold { rao: u64 },
    /// Whether neurons may register.
    NetworkRegistrationAllowed { netuid: NetUid, allowed: bool },
    /// The least that registering costs, rao.
    MinBurn { netuid: NetUid, rao: u64 },
    /// The most that registering costs, rao.
    MaxBurn { netuid: NetUid, rao: u64 },
    /// Whether alpha may be bought and sold.
    SubtokenEnabled { netuid: NetUid, enabled: bool },
    /// The kind of timelocked weight commit that the runtime takes; 4 is the newest.
    CommitRevealVersion { version: u16 },
    /// Epochs between a weight commit and its reveal.
    RevealPeriod { netuid: NetUid, epochs: u64 },
    /// Tries that a registration by proof of work takes on average.
    Difficulty { netuid: NetUid, difficulty: u64 },
    /// How many mechanisms the subnet has.
    MechanismCount { netuid: NetUid, count: u8 },
    /// The most registrations in one block.
    MaxRegistrationsPerBlock { netuid: NetUid, count: u16 },
    /// Registrations that are expected in one interval of their price; three times as many are taken.
    TargetRegistrations { netuid: NetUid, count: u16 },
}

impl SubtensorClient {
    /// Changes how many blocks the last final one of a development chain is behind the newest, from now on.
    ///
    /// # Errors
    /// [`ChainError::Node`] on every other chain, which has no such method.
    pub async fn set_finality_lag(&self, blocks: u32) -> Result<(), ChainError> {
        let (method, link) = ("dev_setFinalityLag", self.link());
        link.ask(method, || link.raw.request(method, rpc_params![blocks])).await
    }

    /// Changes the time between two blocks of a development chain, from the next one on.
    ///
    /// # Errors
    /// [`ChainError::Node`] on every other chain, which has no such method.
    pub async fn set_block_time(&self, time: Duration) -> Result<(), ChainError> {
        let (method, link) = ("dev_setBlockTime", self.link());
        let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        link.ask(method, || link.raw.request(method, rpc_params![milliseconds])).await
    }

    /// Stakes `rao` of the coldkey's TAO to a hotkey on a subnet; 0 is the root.
    pub async fn add_stake(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        rao: u64,
        coldkey: &Keypair,
    ) -> Result<Included, ChainError> {
        let payload = api::tx().subtensor_module().add_stake(theirs(hotkey), netuid, rao);
        Ok(self.submit("add_stake", payload, coldkey).await?.included)
    }

    /// Sends `rao` to another account, and keeps the sender's alive.
    pub async fn transfer(&self, to: &AccountId, rao: u64, from: &Keypair) -> Result<Included, ChainError> {
        let payload = api::tx().balances().transfer_keep_alive(MultiAddress::Id(theirs(to)), rao);
        Ok(self.submit("transfer_keep_alive", payload, from).await?.included)
    }

    /// Makes a new subnet owned by `coldkey`, with `hotkey` as its first neuron; returns its number.
    pub async fn register_network(
        &self,
        hotkey: &AccountId,
        coldkey: &Keypair,
    ) -> Result<NetUid, ChainError> {
        let payload = api::tx().subtensor_module().register_network(theirs(hotkey));
        let settled = self.submit("register_network", payload, coldkey).await?;
        let event = settled.find::<api::subtensor_module::events::NetworkAdded>()?;
        event.map(|event| event.0).ok_or_else(|| no_event("NetworkAdded"))
    }

    /// Starts a subnet's emission and the trade in its alpha, as its owner.
    pub async fn start_call(&self, netuid: NetUid, owner: &Keypair) -> Result<Included, ChainError> {
        let payload = api::tx().subtensor_module().start_call(netuid);
        Ok(self.submit("start_call", payload, owner).await?.included)
    }

    /// Changes a setting, as the chain's administrator.
    pub async fn sudo(&self, call: AdminCall, signer: &Keypair) -> Result<Included, ChainError> {
        let (name, call) = admin(call);
        let settled = self.submit(name, api::tx().sudo().sudo(call), signer).await?;
        // The outer transaction succeeds whatever the inner call does.
        match settled.refusal("Sudo", "Sudid", "sudo_result")? {
            Some(reason) => Err(ChainError::Refused { call: name, name: reason }),
            None => Ok(settled.included),
        }
    }

    /// Replaces the chain's runtime, as the administrator of a development chain; returns when the new one is in force.
    ///
    /// # Errors
    /// As every method with a signer.
    pub async fn upgrade_runtime(&self, code: &[u8], signer: &Keypair) -> Result<Included, ChainError> {
        let code = subxt::ext::scale_value::Value::from_bytes(code);
        let inner = subxt::tx::dynamic("System", "set_code", Composite::named([("code", code)])).into_value();
        let payload = subxt::tx::dynamic("Sudo", "sudo", Composite::named([("call", inner)]));
        let before = self.link().at(self.link().head().await?).await?.spec_version();
        // The events of its own block may be of either runtime: that it is in force says that it went well.
        let sent = self.submit("set_code", payload, signer).await;
        for _ in 0..UPGRADE_BLOCKS {
            let head = self.link().head().await?;
            if self.link().at(head).await?.spec_version() != before {
                return Ok(Included { block: head.number, hash: head.hash });
            }
            sent.as_ref().map_err(Clone::clone)?;
            tokio::time::sleep(POLL_INTERVAL).await;
        }
        Err(ChainError::NotIncluded { call: "set_code", reason: "the runtime is the same".to_owned() })
    }
}

fn no_event(name: &str) -> ChainError {
    ChainError::Decode {
        item: format!("SubtensorModule.{name}"),
        reason: "the transaction succeeded without it".to_owned(),
    }
}

/// The setter of AdminUtils, by name and as a call.
fn admin(call: AdminCall) -> (&'static str, api::Call) {
    use api::admin_utils::Call as Setter;
    let (name, setter) = match call {
        AdminCall::AdminFreezeWindow { blocks: window } => {
            ("sudo_set_admin_freeze_window", Setter::sudo_set_admin_freeze_window { window })
        }
        AdminCall::Tempo { netuid, blocks: tempo } => {
            ("sudo_set_tempo", Setter::sudo_set_tempo { netuid, tempo })
        }
        AdminCall::WeightsSetRateLimit { netuid, blocks: weights_set_rate_limit } => (
            "sudo_set_weights_set_rate_limit",
            Setter::sudo_set_weights_set_rate_limit { netuid, weights_set_rate_limit },
        ),
        AdminCall::WeightsVersionKey { netuid, key: weights_version_key } => (
            "sudo_set_weights_version_key",
            Setter::sudo_set_weights_version_key { netuid, weights_version_key },
        ),
        AdminCall::CommitRevealWeightsEnabled { netuid, enabled } => (
            "sudo_set_commit_reveal_weights_enabled",
            Setter::sudo_set_commit_reveal_weights_enabled { netuid, enabled },
        ),
        AdminCall::ImmunityPeriod { netuid, blocks: immunity_period } => {
            ("sudo_set_immunity_period", Setter::sudo_set_immunity_period { netuid, immunity_period })
        }
        AdminCall::MinAllowedWeights { netuid, count: min_allowed_weights } => (
            "sudo_set_min_allowed_weights",
            Setter::sudo_set_min_allowed_weights { netuid, min_allowed_weights },
        ),
        AdminCall::MaxAllowedUids { netuid, count: max_allowed_uids } => {
            ("sudo_set_max_allowed_uids", Setter::sudo_set_max_allowed_uids { netuid, max_allowed_uids })
        }
        AdminCall::MaxAllowedValidators { netuid, count: max_allowed_validators } => (
            "sudo_set_max_allowed_validators",
            Setter::sudo_set_max_allowed_validators { netuid, max_allowed_validators },
        ),
        AdminCall::StakeThreshold { rao: min_stake } => {
            ("sudo_set_stake_threshold", Setter::sudo_set_stake_threshold { min_stake })
        }
        AdminCall::NetworkRegistrationAllowed { netuid, allowed: registration_allowed } => (
            "sudo_set_network_registration_allowed",
            Setter::sudo_set_network_registration_allowed { netuid, registration_allowed },
        ),
        AdminCall::MinBurn { netuid, rao: min_burn } => {
            ("sudo_set_min_burn", Setter::sudo_set_min_burn { netuid, min_burn })
        }
        AdminCall::MaxBurn { netuid, rao: max_burn } => {
            ("sudo_set_max_burn", Setter::sudo_set_max_burn { netuid, max_burn })
        }
        AdminCall::SubtokenEnabled { netuid, enabled: subtoken_enabled } => {
            ("sudo_set_subtoken_enabled", Setter::sudo_set_subtoken_enabled { netuid, subtoken_enabled })
        }
        AdminCall::CommitRevealVersion { version } => {
            ("sudo_set_commit_reveal_version", Setter::sudo_set_commit_reveal_version { version })
        }
        AdminCall::RevealPeriod { netuid, epochs: interval } => (
            "sudo_set_commit_reveal_weights_interval",
            Setter::sudo_set_commit_reveal_weights_interval { netuid, interval },
        ),
        AdminCall::Difficulty { netuid, difficulty } => {
            ("sudo_set_difficulty", Setter::sudo_set_difficulty { netuid, difficulty })
        }
        AdminCall::MechanismCount { netuid, count: mechanism_count } => {
            ("sudo_set_mechanism_count", Setter::sudo_set_mechanism_count { netuid, mechanism_count })
        }
        AdminCall::MaxRegistrationsPerBlock { netuid, count: max_registrations_per_block } => (
            "sudo_set_max_registrations_per_block",
            Setter::sudo_set_max_registrations_per_block { netuid, max_registrations_per_block },
        ),
        AdminCall::TargetRegistrations { netuid, count: target_registrations_per_interval } => (
            "sudo_set_target_registrations_per_interval",
            Setter::sudo_set_target_registrations_per_interval { netuid, target_registrations_per_interval },
        ),
    };
    (name, api::Call::AdminUtils(setter))
}
