//! A transaction before it is signed: what it says, what it costs.

mod arguments;

use parity_scale_codec::{Compact, Decode as _, Encode as _};
use serde::Serialize;
use subxt::{
    config::DefaultExtrinsicParamsBuilder,
    tx::{Payload, Signer},
    utils::{AccountId32, H256, MultiSignature},
};

use crate::{
    chain::{
        client::SubtensorClient,
        error::ChainError,
        ids::theirs,
        interface::{self, Ability, Item, Kind},
        proxied,
        rpc::connection::Config,
        weights::{SaltedCommit, WeightsRequest, plan::Plan},
    },
    wallet::AccountId,
    window::{Block, NetUid},
};

/// What would be signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// Pallet and name.
    pub call: String,
    /// The arguments, decoded from the bytes with the live runtime's metadata: accounts as addresses, bytes in hex, of
    /// a long list the beginning.
    pub arguments: String,
    /// The call's bytes, in hex.
    pub bytes: String,
    /// Who would sign.
    pub signer: AccountId,
    /// The fee, rao.
    pub fee: u64,
    /// The newest block, at which this was found.
    pub block: Block,
    /// Specification version of its runtime.
    pub spec_version: u32,
}

/// How a runtime compares with what this program knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Interface {
    /// The block that was looked at.
    pub block: Block,
    /// Specification version of its runtime.
    pub spec_version: u32,
    /// Every item.
    pub items: Vec<Item>,
    /// What can be read, and what can be signed.
    pub abilities: Vec<Ability>,
}

/// Stands for a signer of whom only the account is known; the fee does not depend on the signature.
struct Nobody(AccountId32);

impl Signer<Config> for Nobody {
    fn account_id(&self) -> AccountId32 {
        self.0
    }

    fn sign(&self, _: &[u8]) -> MultiSignature {
        MultiSignature::Sr25519([0; 64])
    }
}

impl SubtensorClient {
    /// Compares everything that this program asks of a chain with the live runtime's metadata.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn interface(&self) -> Result<Interface, ChainError> {
        let reader = self.reader(None).await?;
        let items = interface::compare(&interface::found(reader.at.metadata_ref()));
        let abilities = interface::abilities(&items);
        Ok(Interface { block: reader.head.number, spec_version: reader.at.spec_version(), items, abilities })
    }

    /// What [`Chain::set_weights`](crate::chain::Chain::set_weights) would sign now, and every check before it.
    ///
    /// # Errors
    /// Those of reading, and what is wrong with the order by itself.
    pub async fn preview_weights(
        &self,
        order: &WeightsRequest,
        signer: &AccountId,
    ) -> Result<(Plan, Preview), ChainError> {
        let plan = self.plan_weights(order, signer).await?;
        let payload = plan.payload(order, self.whose(signer))?;
        Ok((plan, self.preview_of_weights(payload, signer).await?))
    }

    /// What [`Self::register_within`] would sign now.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn preview_register(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        limit: Option<u64>,
        coldkey: &AccountId,
    ) -> Result<Preview, ChainError> {
        let reader = self.reader(None).await?;
        self.preview(crate::chain::registration::payment(&reader, netuid, hotkey, limit), coldkey).await
    }

    /// What a registration by proof of work would sign: the call with work of zeros, and how many tries the real
    /// work takes on average.
    ///
    /// # Errors
    /// [`ChainError::Missing`] where the runtime has no such thing.
    pub async fn preview_register_by_work(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        coldkey: &AccountId,
    ) -> Result<(u64, Preview), ChainError> {
        let (difficulty, payload) = self.unworked_slot(netuid, hotkey, coldkey).await?;
        Ok((difficulty, self.preview(payload, coldkey).await?))
    }

    /// What [`Self::faucet`] would sign, with work of zeros, and the tries that the real work
    /// takes on average.
    ///
    /// # Errors
    /// [`ChainError::Missing`] where the runtime has no such thing.
    pub async fn preview_faucet(&self, coldkey: &AccountId) -> Result<(u64, Preview), ChainError> {
        let (difficulty, payload) = self.unworked_tao().await?;
        Ok((difficulty, self.preview(payload, coldkey).await?))
    }

    /// What [`Chain::commit`](crate::chain::Chain::commit) would sign.
    ///
    /// # Errors
    /// Those of reading, and [`ChainError::Invalid`] for fields that are no commitment.
    pub async fn preview_commit(
        &self,
        netuid: NetUid,
        fields: &[Vec<u8>],
        hotkey: &AccountId,
    ) -> Result<Preview, ChainError> {
        self.preview(crate::chain::metagraph::commitment::call(netuid, fields)?, hotkey).await
    }

    /// What [`Chain::reveal_weights`](crate::chain::Chain::reveal_weights) would sign.
    ///
    /// # Errors
    /// Those of reading, and [`ChainError::UidsChanged`].
    pub async fn preview_reveal(
        &self,
        commit: &SaltedCommit,
        signer: &AccountId,
    ) -> Result<Preview, ChainError> {
        self.unmoved(commit).await?;
        self.preview_of_weights(commit.payload(), signer).await
    }

    /// [`Self::preview`] of what is about weights, for the account of [`Self::acting_for`] if there is one.
    async fn preview_of_weights<P: Payload>(
        &self,
        payload: P,
        signer: &AccountId,
    ) -> Result<Preview, ChainError> {
        let Some(real) = self.real() else { return self.preview(payload, signer).await };
        let reader = self.reader(None).await?;
        let wrapped = proxied::wrap(reader.link, &reader.at, reader.head, (real, signer), &payload).await?;
        self.preview(wrapped, signer).await
    }

    pub(in crate::chain) async fn preview<P: Payload>(
        &self,
        payload: P,
        signer: &AccountId,
    ) -> Result<Preview, ChainError> {
        let reader = self.reader(None).await?;
        let at = &reader.at;
        interface::listed(Kind::Call, payload.pallet_name(), payload.call_name())?;
        let call = format!("{}.{}", payload.pallet_name(), payload.call_name());
        let undecoded = |reason: String| ChainError::Decode { item: call.clone(), reason };
        if at.metadata_ref().pallet_by_name(payload.pallet_name()).is_none() {
            return Err(ChainError::Missing { item: call });
        }
        let bytes = at.tx().call_data(&payload).map_err(|e| undecoded(e.to_string()))?;
        let types = at.metadata_ref().types();
        let outer = at.metadata_ref().outer_enums().call_enum_ty();
        let decoded = subxt::ext::scale_value::scale::decode_as_type(&mut bytes.as_slice(), outer, types);
        let decoded = decoded.map_err(|e| undecoded(e.to_string()))?;
        let params = DefaultExtrinsicParamsBuilder::<Config>::new()
            .nonce(0)
            .mortal_from_unchecked(128, reader.head.number, H256(reader.head.hash))
            .build();
        let signed = at
            .tx()
            .create_signable_offline(&payload, params)
            .and_then(|mut signable| signable.sign(&Nobody(theirs(signer))))
            .map_err(|e| undecoded(e.to_string()))?
            .into_encoded();
        Ok(Preview {
            arguments: arguments::shown(&decoded, types),
            bytes: format!("0x{}", hex::encode(&bytes)),
            signer: signer.clone(),
            fee: self.fee(&signed).await?,
            block: reader.head.number,
            spec_version: at.spec_version(),
            call,
        })
    }

    /// The fee of a signed transaction, rao.
    async fn fee(&self, extrinsic: &[u8]) -> Result<u64, ChainError> {
        let item = || "TransactionPaymentApi.query_info".to_owned();
        let length = u32::try_from(extrinsic.len()).unwrap_or(u32::MAX);
        let arguments = [extrinsic, &length.encode()].concat();
        let answer = self.call_runtime("TransactionPaymentApi_query_info", &arguments).await?;
        let fields = <(Compact<u64>, Compact<u64>, u8, u64)>::decode(&mut answer.as_slice());
        let fields = fields.map_err(|e| ChainError::Decode { item: item(), reason: e.to_string() })?;
        Ok(fields.3)
    }
}
