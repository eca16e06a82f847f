//! What a coldkey has staked, and where.

use serde::Serialize;
use subxt::ext::scale_value::Value;

use crate::{
    chain::{
        client::SubtensorClient,
        error::ChainError,
        rpc::{
            api,
            dynamic_value::{Fields, elements, number},
            storage::Reader,
        },
    },
    wallet::AccountId,
    window::NetUid,
};

/// A coldkey's stake on one hotkey in one subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stake {
    /// The subnet; 0 is the root.
    pub netuid: NetUid,
    /// The hotkey.
    pub hotkey: AccountId,
    /// Alpha, in rao; on the root TAO.
    pub alpha: u64,
    /// Whether the hotkey is a neuron of the subnet.
    pub registered: bool,
    /// What one alpha costs now, rao; none where the runtime does not say.
    pub price: Option<u64>,
}

impl Stake {
    /// What it is worth at the price of now, rao: a sale moves the price.
    pub fn worth(&self) -> Option<u64> {
        let worth = u128::from(self.alpha) * u128::from(self.price?) / 1_000_000_000;
        u64::try_from(worth).ok()
    }
}

impl SubtensorClient {
    /// What one alpha of a subnet costs now, rao; none where the runtime does not say.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn alpha_price(&self, netuid: NetUid) -> Result<Option<u64>, ChainError> {
        price(&self.reader(None).await?, netuid).await
    }

    /// All that a coldkey has staked, by subnet and hotkey, with prices.
    ///
    /// # Errors
    /// Those of reading; [`ChainError::Missing`] where the runtime does not tell it.
    pub async fn stakes(&self, coldkey: &AccountId) -> Result<Vec<Stake>, ChainError> {
        let reader = self.reader(None).await?;
        let mut stakes = of(&reader, coldkey).await?;
        let mut netuids: Vec<NetUid> = stakes.iter().map(|stake| stake.netuid).collect();
        netuids.dedup();
        for netuid in netuids {
            let price = price(&reader, netuid).await?;
            stakes.iter_mut().filter(|stake| stake.netuid == netuid).for_each(|stake| stake.price = price);
        }
        Ok(stakes)
    }
}

/// A coldkey's stakes without prices.
pub(super) async fn of(reader: &Reader<'_>, coldkey: &AccountId) -> Result<Vec<Stake>, ChainError> {
    let (interface, method) = ("StakeInfoRuntimeApi", "get_stake_info_for_coldkey");
    let key: &[u8; 32] = coldkey.as_ref();
    let answer = api::call(reader, interface, method, key).await?;
    let item = format!("{interface}.{method}");
    let undecoded = || ChainError::Decode { item: item.clone(), reason: "it is not a list".to_owned() };
    let one = |value: &Value<()>| {
        let fields = Fields::of(&item, value)?;
        Ok(Stake {
            netuid: fields.number("netuid")?,
            hotkey: fields.account("hotkey")?,
            alpha: fields.number("stake")?,
            registered: fields.flag("is_registered")?,
            price: None,
        })
    };
    let mut stakes =
        elements(&answer).ok_or_else(undecoded)?.map(one).collect::<Result<Vec<_>, ChainError>>()?;
    stakes.retain(|stake| stake.alpha > 0);
    stakes.sort_by(|a, b| (a.netuid, &a.hotkey).cmp(&(b.netuid, &b.hotkey)));
    Ok(stakes)
}

/// What one alpha of a subnet costs, rao; none where the runtime does not say.
pub(super) async fn price(reader: &Reader<'_>, netuid: NetUid) -> Result<Option<u64>, ChainError> {
    let arguments = netuid.to_le_bytes();
    let answer = api::call_if_there(reader, "SwapRuntimeApi", "current_alpha_price", &arguments).await?;
    Ok(answer.as_ref().and_then(number::<u64>))
}
