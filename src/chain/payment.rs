//! What a coldkey pays for: transfers, stake, new subnets. Each can be looked at in full before it is signed.

mod plan;
pub mod stakes;

pub use plan::{Exchange, PaymentPlan};
pub(in crate::chain) use plan::{affords, belongs};

use subxt::{
    ext::scale_value::{Composite, Value},
    tx::DynamicPayload,
};
use templar_metadata::api;

use crate::{
    chain::{
        arguments::{has, key, number},
        client::SubtensorClient,
        error::ChainError,
        rpc::{connection::AtBlock, storage::SUBNETS},
        types::Included,
    },
    wallet::{AccountId, Keypair},
    window::NetUid,
};

/// Something that a coldkey signs and pays for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payment {
    /// TAO to another account.
    Transfer {
        /// Whose it becomes.
        to: AccountId,
        /// How much, rao.
        rao: u64,
    },
    /// All TAO that there is, to another account; the coldkey's own is closed.
    TransferAll {
        /// Whose it becomes.
        to: AccountId,
    },
    /// TAO for a hotkey's alpha on a subnet; on the root it stays TAO.
    AddStake {
        /// The subnet; 0 is the root.
        netuid: NetUid,
        /// Whose stake it becomes.
        hotkey: AccountId,
        /// How much TAO, rao.
        rao: u64,
        /// The most that one alpha may cost at the end of the exchange, rao.
        worst_price: Option<u64>,
    },
    /// A hotkey's alpha on a subnet for TAO.
    RemoveStake {
        /// The subnet; 0 is the root.
        netuid: NetUid,
        /// Whose stake it is.
        hotkey: AccountId,
        /// How much alpha, in rao.
        alpha: u64,
        /// The least that one alpha may bring at the end of the exchange, rao.
        worst_price: Option<u64>,
    },
    /// A new subnet, of which the coldkey is the owner.
    NewSubnet {
        /// Its first neuron.
        hotkey: AccountId,
    },
    /// The beginning of a subnet's emission and of the trade in its alpha; for its owner alone.
    StartSubnet {
        /// The subnet.
        netuid: NetUid,
    },
}

impl Payment {
    /// The call, as messages name it.
    pub fn call(&self) -> &'static str {
        match self {
            Self::Transfer { .. } => "transfer_keep_alive",
            Self::TransferAll { .. } => "transfer_all",
            Self::AddStake { .. } => "add_stake",
            Self::RemoveStake { .. } => "remove_stake",
            Self::NewSubnet { .. } => "register_network",
            Self::StartSubnet { .. } => "start_call",
        }
    }

    /// The call. A limit on the price is kept by the chain itself where its runtime knows that.
    fn payload(&self, at: &AtBlock) -> DynamicPayload<Composite<()>> {
        match self {
            Self::Transfer { to, rao } => {
                call("Balances", self.call(), vec![("dest", address(to)), ("value", number(*rao))])
            }
            Self::TransferAll { to } => {
                call("Balances", self.call(), vec![("dest", address(to)), ("keep_alive", Value::bool(false))])
            }
            Self::AddStake { netuid, hotkey, rao, worst_price } => {
                let whose = [("hotkey", key(hotkey)), ("netuid", number(*netuid))];
                let arguments = [whose.as_slice(), &[("amount_staked", number(*rao))]].concat();
                self.limited(at, "add_stake_limit", *worst_price, arguments)
            }
            Self::RemoveStake { netuid, hotkey, alpha, worst_price } => {
                let whose = [("hotkey", key(hotkey)), ("netuid", number(*netuid))];
                let arguments = [whose.as_slice(), &[("amount_unstaked", number(*alpha))]].concat();
                self.limited(at, "remove_stake_limit", *worst_price, arguments)
            }
            Self::NewSubnet { hotkey } => call(SUBNETS, self.call(), vec![("hotkey", key(hotkey))]),
            Self::StartSubnet { netuid } => call(SUBNETS, self.call(), vec![("netuid", number(*netuid))]),
        }
    }

    fn limited(
        &self,
        at: &AtBlock,
        with_limit: &str,
        limit: Option<u64>,
        mut arguments: Vec<(&'static str, Value)>,
    ) -> DynamicPayload<Composite<()>> {
        let Some(limit) = limit.filter(|_| has(at, with_limit)) else {
            return call(SUBNETS, self.call(), arguments);
        };
        // All of it or nothing: a part would be a surprise.
        arguments.extend([("limit_price", number(limit)), ("allow_partial", Value::bool(false))]);
        call(SUBNETS, with_limit, arguments)
    }
}

fn call(pallet: &str, name: &str, arguments: Vec<(&'static str, Value)>) -> DynamicPayload<Composite<()>> {
    subxt::tx::dynamic(pallet, name, Composite::named(arguments))
}

fn address(account: &AccountId) -> Value {
    Value::unnamed_variant("Id", [key(account)])
}

impl SubtensorClient {
    /// Does it, as the coldkey; what is known to be refused is not sent.
    ///
    /// # Errors
    /// [`ChainError::WouldRefuse`], and as every method with a signer.
    pub async fn pay(&self, payment: &Payment, coldkey: &Keypair) -> Result<Included, ChainError> {
        self.settle(payment, coldkey).await.map(|settled| settled.0)
    }

    /// [`Self::pay`] for a new subnet; the subnet's number too.
    ///
    /// # Errors
    /// As [`Self::pay`].
    pub async fn create_subnet(
        &self,
        hotkey: &AccountId,
        coldkey: &Keypair,
    ) -> Result<(NetUid, Included), ChainError> {
        let (included, netuid) = self.settle(&Payment::NewSubnet { hotkey: hotkey.clone() }, coldkey).await?;
        let netuid = netuid.ok_or_else(|| ChainError::Decode {
            item: "SubtensorModule.NetworkAdded".to_owned(),
            reason: "the transaction succeeded without it".to_owned(),
        })?;
        Ok((netuid, included))
    }

    async fn settle(
        &self,
        payment: &Payment,
        coldkey: &Keypair,
    ) -> Result<(Included, Option<NetUid>), ChainError> {
        self.plan_payment(payment, &coldkey.account()).await?.refuse()?;
        let (_, at) = self.link().at_best().await?;
        let settled = self.submit(payment.call(), payment.payload(&at), coldkey).await?;
        let added = settled.find::<api::subtensor_module::events::NetworkAdded>();
        Ok((settled.included, added.ok().flatten().map(|event| event.0)))
    }
}
