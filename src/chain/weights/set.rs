//! Weights on their way: planned, checked, signed and sent.

use templar_metadata::api;

use super::{
    plan::{self, Plan},
    request::{RevealState, SaltedCommit, SubmittedWeights, WeightsPath, WeightsRequest, new_salt},
    validator_state::ValidatorState,
};
use crate::{
    chain::{client::SubtensorClient, error::ChainError, ids::ours, types::Included},
    wallet::{AccountId, Keypair},
    window::{NetUid, Uid},
};

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
        Ok(self.submit(call, payload, signer).await?.included)
    }

    /// What [`Chain::set_weights`](crate::chain::Chain::set_weights) would do now: the path, and each of the chain's
    /// rules with what was found.
    ///
    /// # Errors
    /// Those of reading, and what is wrong with the request by itself.
    pub async fn plan_weights(
        &self,
        request: &WeightsRequest,
        hotkey: &AccountId,
    ) -> Result<Plan, ChainError> {
        plan::check_order(request)?;
        let state = ValidatorState::read(&self.reader(None).await?, request, hotkey).await?;
        plan::plan(request, hotkey, &state)
    }

    pub(in crate::chain) async fn submit_weights(
        &self,
        request: &WeightsRequest,
        signer: &Keypair,
    ) -> Result<SubmittedWeights, ChainError> {
        let plan = self.plan_weights(request, &signer.account()).await?;
        plan.refuse()?;
        let given = |included, round, opens_at, salted| SubmittedWeights {
            included,
            path: plan.path,
            round,
            opens_at,
            salted,
        };
        match plan.path {
            WeightsPath::Plain => {
                let included = self.submit("set_weights", request.plain(), signer).await?.included;
                Ok(given(included, None, None, None))
            }
            WeightsPath::Timelocked => {
                let (sealed, round, opens_at) = plan.seal(request, &signer.account())?;
                let payload = request.timelocked(&sealed, round);
                let included = self.submit("commit_timelocked_weights", payload, signer).await?.included;
                Ok(given(included, Some(round), Some(opens_at), None))
            }
            WeightsPath::Salted => {
                let salt = new_salt();
                let keys = self.holders(request).await?;
                let gone = || ChainError::Refused {
                    call: "commit_weights",
                    name: "UidVecContainInvalidOne".to_owned(),
                };
                let hotkeys = keys.into_iter().collect::<Option<_>>().ok_or_else(gone)?;
                let hash = request.hash(&signer.account(), &salt);
                let included = self.submit("commit_weights", request.salted(hash), signer).await?.included;
                let salted =
                    SaltedCommit { request: request.clone(), salt, hash, block: included.block, hotkeys };
                Ok(given(included, None, None, Some(salted)))
            }
        }
    }

    pub(in crate::chain) async fn reveal_state_of(
        &self,
        commit: &SaltedCommit,
        hotkey: &AccountId,
    ) -> Result<RevealState, ChainError> {
        let state = ValidatorState::read(&self.reader(None).await?, &commit.request, hotkey).await?;
        Ok(state.reveal_state(&commit.hash))
    }

    pub(in crate::chain) async fn reveal(
        &self,
        commit: &SaltedCommit,
        signer: &Keypair,
    ) -> Result<Included, ChainError> {
        self.unmoved(commit).await?;
        Ok(self.submit("reveal_weights", commit.payload(), signer).await?.included)
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
