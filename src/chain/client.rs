//! The way to a live node.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use subxt::{
    ext::scale_value::Composite,
    tx::{Payload, StaticPayload},
    utils::MultiAddress,
};
use templar_metadata::api;
use url::Url;

use super::{
    AdminCall, Chain, ChainError, Endpoints, Head, Heads, Hyperparameters, Included, Metagraph,
    MetagraphSource, Plan, RevealState, SaltedCommit, Search, WeightSetting, WeightsGiven, WeightsOrder,
    commitment, heads, history,
    link::Link,
    metagraph::{self, theirs},
    read::Reader,
    submit::{self, Settled, Turns},
};
use crate::{
    wallet::{AccountId, Keypair},
    window::{Block, NetUid, Uid},
};

/// Looks for a new runtime in force, and the pause between two of them.
const UPGRADE_BLOCKS: u32 = 120;
const LOOK: std::time::Duration = std::time::Duration::from_millis(250);

/// A Subtensor node, reached by its JSON-RPC. Cloning shares the connection, which is made again when it is lost.
#[derive(Debug, Clone)]
pub struct SubtensorClient {
    link: Arc<Link>,
    archive: Arc<Archive>,
    turns: Arc<Turns>,
}

/// The endpoints with old states; connected to when they are needed.
#[derive(Debug)]
struct Archive {
    endpoints: Vec<Url>,
    link: tokio::sync::OnceCell<Link>,
}

impl Archive {
    fn new(endpoints: Vec<Url>) -> Self {
        Self { endpoints, link: tokio::sync::OnceCell::new() }
    }

    /// The connection; none where there are no endpoints.
    async fn link(&self) -> Result<Option<&Link>, ChainError> {
        if self.endpoints.is_empty() {
            return Ok(None);
        }
        self.link.get_or_try_init(|| Link::connect(self.endpoints.clone())).await.map(Some)
    }
}

impl SubtensorClient {
    /// Connects to the endpoint of [`super::endpoint`].
    ///
    /// # Errors
    /// [`ChainError::Connect`] if nobody answers there within seconds. A connection that is lost later is made
    /// again for as long as it takes.
    pub async fn connect(endpoint: &Url) -> Result<Self, ChainError> {
        Self::connect_to(Endpoints { main: vec![endpoint.clone()], archive: Vec::new() }).await
    }

    /// Connects to the first of several endpoints that answers. When it breaks, the next one takes over; what none
    /// of them has the state for is asked of an archive.
    ///
    /// # Errors
    /// As [`Self::connect`], if none answers; [`ChainError::NotSubtensor`] if it is a chain of another kind.
    pub async fn connect_to(endpoints: Endpoints) -> Result<Self, ChainError> {
        let link = Arc::new(Link::connect(endpoints.main).await?);
        let runtime = link.at(link.head().await?).await?;
        if runtime.metadata_ref().pallet_by_name("SubtensorModule").is_none() {
            return Err(ChainError::NotSubtensor { endpoint: link.endpoint.clone() });
        }
        Ok(Self { link, archive: Arc::new(Archive::new(endpoints.archive)), turns: Arc::default() })
    }

    /// The endpoint, as it may be shown.
    pub fn endpoint(&self) -> &str {
        &self.link.endpoint
    }

    /// The hash of the chain's first block, which tells chains apart.
    pub fn genesis_hash(&self) -> [u8; 32] {
        self.link.client.genesis_hash().0
    }

    /// How many requests were made so far, subscriptions included.
    pub fn requests(&self) -> u64 {
        self.link.requests.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// The metagraph of one of a subnet's mechanisms, at a block or now: from where `source` says, or from
    /// storage where the runtime's interface does not answer.
    ///
    /// # Errors
    /// As [`Chain::metagraph`]; [`ChainError::Missing`] or [`ChainError::Decode`] if the source is the interface
    /// and the runtime has none like it.
    pub async fn metagraph_of(
        &self,
        netuid: NetUid,
        mechanism: u8,
        at: Option<Block>,
        source: Option<MetagraphSource>,
    ) -> Result<Metagraph, ChainError> {
        metagraph::metagraph(&self.reader(at).await?, netuid, mechanism, source).await
    }

    /// The connection, for what else asks through it.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    pub(super) async fn reader(&self, at: Option<Block>) -> Result<Reader<'_>, ChainError> {
        let head = self.link.locate(at).await?;
        match Reader::new(&self.link, head).await {
            Err(error @ ChainError::Pruned { .. }) => match self.archive.link().await? {
                Some(archive) => Reader::new(archive, head).await,
                None => Err(error),
            },
            reader => reader,
        }
    }

    /// The connection that has the states from a block on: the node's, or an archive's where the node has thrown them
    /// away.
    pub(super) async fn with_states_from(&self, block: Block) -> Result<&Link, ChainError> {
        let head = self.link.locate(Some(block)).await?;
        match Reader::new(&self.link, head).await {
            Err(error @ ChainError::Pruned { .. }) => self.archive.link().await?.ok_or(error),
            reader => reader.map(|_| self.link()),
        }
    }

    /// A runtime's function, its arguments and its answer SCALE-encoded.
    pub(super) async fn call_runtime(&self, function: &str, arguments: &[u8]) -> Result<Vec<u8>, ChainError> {
        let link = &self.link;
        link.ask(function, || link.rpc.state_call(function, Some(arguments), None)).await
    }

    /// Replaces the chain's runtime, as the administrator of a development chain; returns when the new one is in force.
    ///
    /// # Errors
    /// As every method with a signer.
    pub async fn upgrade_runtime(&self, code: &[u8], signer: &Keypair) -> Result<Included, ChainError> {
        let code = subxt::ext::scale_value::Value::from_bytes(code);
        let inner = subxt::tx::dynamic("System", "set_code", Composite::named([("code", code)])).into_value();
        let payload = subxt::tx::dynamic("Sudo", "sudo", Composite::named([("call", inner)]));
        let before = self.link.at(self.link.head().await?).await?.spec_version();
        // The events of its own block may be of either runtime: that it is in force says that it went well.
        let sent = self.submit("set_code", payload, signer).await;
        for _ in 0..UPGRADE_BLOCKS {
            let head = self.link.head().await?;
            if self.link.at(head).await?.spec_version() != before {
                return Ok(Included { block: head.number, hash: head.hash });
            }
            sent.as_ref().map_err(Clone::clone)?;
            tokio::time::sleep(LOOK).await;
        }
        Err(ChainError::NotIncluded { call: "set_code", reason: "the runtime is the same".to_owned() })
    }

    pub(super) async fn link_head(&self) -> Result<Head, ChainError> {
        self.link.head().await
    }

    pub(super) async fn submit<C>(
        &self,
        call: &'static str,
        payload: StaticPayload<C>,
        signer: &Keypair,
    ) -> Result<Settled, ChainError>
    where
        StaticPayload<C>: Payload,
    {
        submit::submit(&self.link, &self.turns, call, payload, signer).await
    }
}

#[async_trait]
impl Chain for SubtensorClient {
    async fn head(&self) -> Result<Head, ChainError> {
        self.link.head().await
    }

    async fn heads(&self) -> Result<Heads, ChainError> {
        Ok(heads::follow(self.link.clone()))
    }

    async fn block_hash(&self, block: Block) -> Result<Option<[u8; 32]>, ChainError> {
        self.link.block_hash(block).await
    }

    async fn timestamp_ms(&self, block: Block) -> Result<u64, ChainError> {
        let reader = self.reader(Some(block)).await?;
        Ok(reader.read(api::storage().timestamp().now(), ()).await?.unwrap_or(0))
    }

    async fn subnets(&self) -> Result<Vec<NetUid>, ChainError> {
        metagraph::subnets(&self.reader(None).await?).await
    }

    async fn metagraph(&self, netuid: NetUid, at: Option<Block>) -> Result<Metagraph, ChainError> {
        metagraph::metagraph(&self.reader(at).await?, netuid, 0, None).await
    }

    async fn hyperparameters(&self, netuid: NetUid) -> Result<Hyperparameters, ChainError> {
        metagraph::hyperparameters(&self.reader(None).await?, netuid).await
    }

    async fn uid(&self, netuid: NetUid, hotkey: &AccountId) -> Result<Option<Uid>, ChainError> {
        metagraph::uid(&self.reader(None).await?, netuid, hotkey).await
    }

    async fn balance(&self, account: &AccountId) -> Result<u64, ChainError> {
        let reader = self.reader(None).await?;
        let found = reader.read(api::storage().system().account(), (theirs(account),)).await?;
        Ok(found.map_or(0, |account| account.data.free))
    }

    async fn commitments(
        &self,
        netuid: NetUid,
        at: Option<Block>,
    ) -> Result<BTreeMap<AccountId, Vec<Vec<u8>>>, ChainError> {
        metagraph::commitments(&self.reader(at).await?, netuid).await
    }

    async fn weights(
        &self,
        netuid: NetUid,
        validator: Uid,
        at: Option<Block>,
    ) -> Result<Vec<(Uid, u16)>, ChainError> {
        let reader = self.reader(at).await?;
        let row = reader.read(api::storage().subtensor_module().weights(), (netuid, validator));
        Ok(row.await?.unwrap_or_default())
    }

    async fn weights_history(
        &self,
        netuid: NetUid,
        from: Block,
        to: Block,
        validator: Option<Uid>,
    ) -> Result<Vec<WeightSetting>, ChainError> {
        history::weights(self, netuid, from, to, validator).await
    }

    async fn commit(
        &self,
        netuid: NetUid,
        fields: &[Vec<u8>],
        signer: &Keypair,
    ) -> Result<Included, ChainError> {
        let payload = commitment::call(netuid, fields)?;
        Ok(self.submit("set_commitment", payload, signer).await?.included)
    }

    async fn set_weights(
        &self,
        netuid: NetUid,
        uids: &[Uid],
        weights: &[u16],
        version_key: u64,
        signer: &Keypair,
    ) -> Result<Included, ChainError> {
        let call = "set_weights";
        if uids.len() != weights.len() {
            let reason = format!("{} UIDs have {} weights", uids.len(), weights.len());
            return Err(ChainError::Invalid { call, reason });
        }
        let payload =
            api::tx().subtensor_module().set_weights(netuid, uids.to_vec(), weights.to_vec(), version_key);
        Ok(self.submit(call, payload, signer).await?.included)
    }

    async fn plan_weights(&self, order: &WeightsOrder, hotkey: &AccountId) -> Result<Plan, ChainError> {
        self.plan(order, hotkey).await
    }

    async fn give_weights(&self, order: &WeightsOrder, signer: &Keypair) -> Result<WeightsGiven, ChainError> {
        self.give(order, signer).await
    }

    async fn reveal_state(
        &self,
        commit: &SaltedCommit,
        hotkey: &AccountId,
    ) -> Result<RevealState, ChainError> {
        self.stands(commit, hotkey).await
    }

    async fn reveal_weights(&self, commit: &SaltedCommit, signer: &Keypair) -> Result<Included, ChainError> {
        self.reveal(commit, signer).await
    }

    async fn register(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        coldkey: &Keypair,
    ) -> Result<Uid, ChainError> {
        let call = "burned_register";
        let payload = api::tx().subtensor_module().burned_register(netuid, theirs(hotkey));
        let settled = self.submit(call, payload, coldkey).await?;
        let event = settled.find::<api::subtensor_module::events::NeuronRegistered>()?;
        event.map(|event| event.1).ok_or_else(|| no_event("NeuronRegistered"))
    }

    async fn register_within(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        limit: u64,
        coldkey: &Keypair,
    ) -> Result<Uid, ChainError> {
        self.pay_for_slot(netuid, hotkey, limit, coldkey).await
    }

    async fn register_by_work(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        coldkey: &Keypair,
        search: &Search,
    ) -> Result<Uid, ChainError> {
        self.work_for_slot(netuid, hotkey, coldkey, search).await
    }

    async fn faucet(&self, coldkey: &Keypair, search: &Search) -> Result<Included, ChainError> {
        self.work_for_tao(coldkey, search).await
    }

    async fn add_stake(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        rao: u64,
        coldkey: &Keypair,
    ) -> Result<Included, ChainError> {
        let payload = api::tx().subtensor_module().add_stake(theirs(hotkey), netuid, rao);
        Ok(self.submit("add_stake", payload, coldkey).await?.included)
    }

    async fn transfer(&self, to: &AccountId, rao: u64, from: &Keypair) -> Result<Included, ChainError> {
        let payload = api::tx().balances().transfer_keep_alive(MultiAddress::Id(theirs(to)), rao);
        Ok(self.submit("transfer_keep_alive", payload, from).await?.included)
    }

    async fn register_network(&self, hotkey: &AccountId, coldkey: &Keypair) -> Result<NetUid, ChainError> {
        let payload = api::tx().subtensor_module().register_network(theirs(hotkey));
        let settled = self.submit("register_network", payload, coldkey).await?;
        let event = settled.find::<api::subtensor_module::events::NetworkAdded>()?;
        event.map(|event| event.0).ok_or_else(|| no_event("NetworkAdded"))
    }

    async fn start_call(&self, netuid: NetUid, owner: &Keypair) -> Result<Included, ChainError> {
        let payload = api::tx().subtensor_module().start_call(netuid);
        Ok(self.submit("start_call", payload, owner).await?.included)
    }

    async fn sudo(&self, call: AdminCall, signer: &Keypair) -> Result<Included, ChainError> {
        let (name, call) = admin(call);
        let settled = self.submit(name, api::tx().sudo().sudo(call), signer).await?;
        // The outer transaction succeeds whatever the inner call does.
        match settled.refusal("Sudo", "Sudid", "sudo_result")? {
            Some(reason) => Err(ChainError::Refused { call: name, name: reason }),
            None => Ok(settled.included),
        }
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
