//! Weights on their way: planned, checked, signed and sent.

use std::time::Duration;

use templar_metadata::api;

use super::{
    book::CommitBook,
    plan::{self, Plan},
    request::{RevealState, SaltedCommit, SubmittedWeights, WeightsPath, WeightsRequest, new_salt},
    validator_state::ValidatorState,
};
use crate::{
    chain::{
        client::SubtensorClient,
        error::ChainError,
        ids::ours,
        proxied,
        rpc::{connection::REPLACED, storage::Reader},
        types::Included,
    },
    wallet::{AccountId, Keypair},
    window::{NetUid, Uid},
};

/// Blocks from the newest one on after which a commit that is sent now cannot come any more: how long it is valid, and what is lost
/// meanwhile.
const TOO_LATE: u64 = 96;
/// Times that a commit waits for the beginning of an epoch: an epoch that is put off can be announced again.
const POSTPONED: usize = 3;
/// The pause between two looks at the newest block.
const POLL: Duration = Duration::from_millis(500);

impl SubtensorClient {
    /// Sets the weights of the hotkey `signer` plainly, whatever the subnet's settings are:
    /// [`Chain::set_weights`](crate::chain::Chain::set_weights) looks at them. The chain scales the weights so that the
    /// largest is 65535.
    ///
    /// # Errors
    /// As every method with a signer.
    pub async fn set_weights_unchecked(
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
        Ok(self.submit_weights_call(call, payload, signer).await?.included)
    }

    /// What [`Chain::set_weights`](crate::chain::Chain::set_weights) would do now: the path, and each of the chain's
    /// rules with what was found. `signer` is the hotkey, or its proxy where this client is [`Self::acting_for`] one.
    ///
    /// # Errors
    /// Those of reading, and what is wrong with the request by itself.
    pub async fn plan_weights(
        &self,
        request: &WeightsRequest,
        signer: &AccountId,
    ) -> Result<Plan, ChainError> {
        plan::check_order(request)?;
        for _ in 0..REPLACED {
            match self.plan_on(&self.newest_reader().await?, request, signer).await {
                // Another block has taken its place, and the node has forgotten it.
                Err(ChainError::Node { .. } | ChainError::Pruned { .. }) => {}
                plan => return plan,
            }
        }
        self.plan_on(&self.reader(None).await?, request, signer).await
    }

    async fn plan_on(
        &self,
        reader: &Reader<'_>,
        request: &WeightsRequest,
        signer: &AccountId,
    ) -> Result<Plan, ChainError> {
        let hotkey = self.whose(signer);
        let state = ValidatorState::read(reader, request, hotkey).await?;
        let mut plan = plan::plan(request, hotkey, &state)?;
        if self.real().is_some() {
            plan.checks.insert(0, proxied::check(reader, hotkey, signer).await?);
        }
        Ok(plan)
    }

    pub(in crate::chain) async fn submit_weights(
        &self,
        request: &WeightsRequest,
        signer: &Keypair,
        book: &dyn CommitBook,
    ) -> Result<SubmittedWeights, ChainError> {
        // Until something is sent, a question that fails leaves no doubt.
        let not_sent = |error: ChainError| error.before_sending("set_weights");
        let account = signer.account();
        let mut plan = self.plan_weights(request, &account).await.map_err(not_sent)?;
        plan.refuse()?;
        let hotkey = self.whose(&account);
        for _ in 0..POSTPONED {
            let Some(clear_from) = plan.clear_from else { break };
            tracing::info!(block = clear_from, "an epoch is about to begin: the commit waits for it");
            while self.link().best().await.map_err(not_sent)?.number < clear_from {
                tokio::time::sleep(POLL).await;
            }
            plan = self.plan_weights(request, &account).await.map_err(not_sent)?;
            plan.refuse()?;
        }
        let given = |included, round, opens_at, salted| SubmittedWeights {
            included,
            path: plan.path,
            round,
            opens_at,
            salted,
        };
        match plan.path {
            WeightsPath::Plain => {
                let included =
                    self.submit_weights_call("set_weights", request.plain(), signer).await?.included;
                Ok(given(included, None, None, None))
            }
            WeightsPath::Timelocked => {
                let (sealed, round, opens_at) = plan.seal(request, hotkey)?;
                let payload = request.timelocked(&sealed, round);
                let included =
                    self.submit_weights_call("commit_timelocked_weights", payload, signer).await?.included;
                Ok(given(included, Some(round), Some(opens_at), None))
            }
            WeightsPath::Salted => {
                let (call, salt) = ("commit_weights", new_salt());
                let keys = self.holders(request).await.map_err(not_sent)?;
                let gone = || ChainError::WouldRefuse {
                    call,
                    name: "UidVecContainInvalidOne".to_owned(),
                    found: "a UID with a weight is not in use any more".to_owned(),
                };
                let hotkeys = keys.into_iter().collect::<Option<_>>().ok_or_else(gone)?;
                let hash = request.hash(hotkey, &salt);
                let until = self.link().best().await.map_err(not_sent)?.number + TOO_LATE;
                let mut commit = SaltedCommit {
                    request: request.clone(),
                    salt,
                    hash,
                    hotkey: Some(hotkey.clone()),
                    genesis: Some(self.genesis_hash()),
                    block: None,
                    until: Some(until),
                    hotkeys,
                };
                book.intend(&commit).map_err(|reason| ChainError::NotKept { call, reason })?;
                let sent = self.submit_weights_call(call, request.salted(hash), signer).await;
                let included = match sent {
                    Ok(settled) => settled.included,
                    Err(error) => {
                        if error.is_certain()
                            && let Err(reason) = book.forget(&hash)
                        {
                            tracing::warn!(reason, "a commit that was not made stays written down");
                        }
                        return Err(error);
                    }
                };
                commit.block = Some(included.block);
                if let Err(reason) = book.confirm(&hash, included.block) {
                    tracing::warn!(reason, "the block of a commit could not be written down");
                }
                Ok(given(included, None, None, Some(commit)))
            }
        }
    }

    pub(in crate::chain) async fn reveal_state_of(
        &self,
        commit: &SaltedCommit,
        hotkey: &AccountId,
    ) -> Result<RevealState, ChainError> {
        let state = ValidatorState::read(&self.reader(None).await?, &commit.request, hotkey).await?;
        Ok(state.reveal_state_of(commit))
    }

    pub(in crate::chain) async fn reveal(
        &self,
        commit: &SaltedCommit,
        signer: &Keypair,
    ) -> Result<Included, ChainError> {
        self.unmoved(commit).await?;
        Ok(self.submit_weights_call("reveal_weights", commit.payload(), signer).await?.included)
    }

    /// Whose the UIDs of an request are now.
    async fn holders(&self, request: &WeightsRequest) -> Result<Vec<Option<AccountId>>, ChainError> {
        let reader = self.reader(None).await?;
        let address = api::storage().subtensor_module().keys();
        let slots = reader.slots(&address, request.weights.iter().map(|(uid, _)| (request.netuid, *uid)))?;
        let values = reader.fetch(slots.iter().map(|slot| slot.key())).await?;
        // The default of a UID that nobody has is an account too.
        let held = slots.iter().map(|slot| match values.bytes(slot.key()) {
            Some(_) => Ok(reader.get(&values, slot)?.map(ours)),
            None => Ok(None),
        });
        held.collect()
    }

    /// That every UID still is whose it was when it was committed to.
    pub(in crate::chain) async fn unmoved(&self, commit: &SaltedCommit) -> Result<(), ChainError> {
        if commit.hotkeys.is_empty() {
            return Ok(());
        }
        let held = self.holders(&commit.request).await?.into_iter().zip(&commit.hotkeys);
        let uids =
            commit.request.weights.iter().zip(held).filter(|(_, (now, then))| now.as_ref() != Some(*then));
        let uids: Vec<_> = uids.map(|((uid, _), (now, then))| (*uid, then.clone(), now)).collect();
        if uids.is_empty() { Ok(()) } else { Err(ChainError::UidsChanged { uids }) }
    }
}
