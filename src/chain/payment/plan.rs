//! What a payment would cost and bring, and what stands in its way.

use serde::Serialize;
use subxt::{ext::scale_value::Value, utils::AccountId32};
use templar_metadata::api::storage;

use super::{Payment, stakes};
use crate::{
    chain::{
        arguments::has,
        check::Check,
        client::SubtensorClient,
        dry_run::Preview,
        error::{ChainError, tao},
        ids::{ours, theirs},
        rpc::{
            api,
            dynamic_value::{Fields, number},
            storage::Reader,
        },
    },
    wallet::AccountId,
    window::NetUid,
};

/// The least that may be staked at once, rao, by Subtensor's source.
const LEAST_STAKE: u64 = 2_000_000;

/// What would come of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentPlan {
    /// What the coldkey has to spend, rao.
    pub balance: u64,
    /// What the payment takes from it besides the fee, rao; none for a transfer of everything and for what costs nothing.
    pub price: Option<u64>,
    /// What an exchange of TAO and alpha would give now; none where there is none, or the runtime does not say.
    pub exchange: Option<Exchange>,
    /// Whether the chain itself keeps the limit on the price that was given.
    pub price_is_limited: bool,
    /// The rules.
    pub checks: Vec<Check>,
    /// What would be signed, and its fee.
    pub preview: Preview,
    #[serde(skip)]
    call: &'static str,
}

/// An exchange of TAO and alpha as the runtime foretells it; all in rao.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// What one alpha costs before it.
    pub price: u64,
    /// What comes out: alpha for TAO, or TAO for alpha.
    pub amount: u64,
    /// The pool's fee, in what goes in.
    pub fee: u64,
}

impl PaymentPlan {
    /// The first rule that is broken, if any is.
    ///
    /// # Errors
    /// [`ChainError::WouldRefuse`].
    pub fn refuse(&self) -> Result<(), ChainError> {
        Check::refuse(self.call, &self.checks)
    }
}

impl SubtensorClient {
    /// What a new subnet costs now, rao; none where the runtime does not say.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn subnet_cost(&self) -> Result<Option<u64>, ChainError> {
        subnet_cost(&self.reader(None).await?).await
    }

    /// What a payment costs and brings now, and every rule that can be looked at beforehand.
    ///
    /// # Errors
    /// Those of reading; [`ChainError::NoSuchSubnet`].
    pub async fn plan_payment(
        &self,
        payment: &Payment,
        coldkey: &AccountId,
    ) -> Result<PaymentPlan, ChainError> {
        let (head, at) = self.link().at_best().await?;
        let reader = Reader::of(self.link(), at, head);
        let preview = self.preview(payment.payload(&reader.at), coldkey).await?;
        let balance = self.balance(coldkey).await?;
        let mut plan = PaymentPlan {
            balance,
            price: None,
            exchange: None,
            price_is_limited: false,
            checks: Vec::new(),
            call: payment.call(),
            preview,
        };
        let fee = plan.preview.fee;
        match payment {
            Payment::Transfer { to, rao } => {
                let least = reader.constant("Balances", "ExistentialDeposit")?.unwrap_or(0);
                let left = balance.saturating_sub(rao.saturating_add(fee));
                plan.price = Some(*rao);
                plan.checks.push(affords(balance, *rao, fee, "FundsUnavailable"));
                plan.checks.push(Check::new(
                    "the account stays open",
                    left >= least,
                    "NotExpendable",
                    format!("{} TAO would be left, and an account keeps {}", tao(left), tao(least)),
                ));
                let theirs = self.balance(to).await?;
                plan.checks.push(Check::new(
                    "the amount opens the other account, or it is open",
                    theirs > 0 || *rao >= least,
                    "BelowMinimum",
                    format!("{to} has {} TAO", tao(theirs)),
                ));
            }
            Payment::TransferAll { .. } => plan.checks.push(affords(balance, 0, fee, "FundsUnavailable")),
            Payment::AddStake { netuid, hotkey, rao, worst_price } => {
                plan.price = Some(*rao);
                plan.checks.push(affords(balance, *rao, fee, "NotEnoughBalanceToStake"));
                plan.checks.push(Check::new(
                    "the amount is not too small",
                    *rao >= LEAST_STAKE,
                    "AmountTooLow",
                    format!("{} TAO, the chain asks for {}", tao(*rao), tao(LEAST_STAKE)),
                ));
                plan.checks.extend(trade(&reader, *netuid).await?);
                let known = owner_of(&reader, hotkey).await?;
                plan.checks.push(Check::new(
                    "the chain knows the hotkey",
                    known.is_some(),
                    "HotKeyAccountNotExists",
                    known.map_or_else(
                        || format!("{hotkey} was never registered"),
                        |owner| format!("its coldkey is {owner}"),
                    ),
                ));
                plan.exchange = exchange(&reader, *netuid, "sim_swap_tao_for_alpha", *rao, true).await?;
                plan.price_is_limited = worst_price.is_some() && has(&reader.at, "add_stake_limit");
                let price = plan.exchange.map(|exchange| exchange.price);
                plan.checks.extend(limit(*worst_price, price, |now, worst| now <= worst));
            }
            Payment::RemoveStake { netuid, hotkey, alpha, worst_price } => {
                let stakes = stakes::of(&reader, coldkey).await?;
                let own = stakes.iter().find(|stake| (stake.netuid, &stake.hotkey) == (*netuid, hotkey));
                let own = own.map_or(0, |stake| stake.alpha);
                plan.checks.push(affords(balance, 0, fee, "Payment"));
                plan.checks.push(Check::new(
                    "there is so much stake",
                    *alpha > 0 && own >= *alpha,
                    if *alpha == 0 { "AmountTooLow" } else { "NotEnoughStakeToWithdraw" },
                    format!("{} of {} alpha", tao(*alpha), tao(own)),
                ));
                plan.checks.extend(trade(&reader, *netuid).await?);
                plan.exchange = exchange(&reader, *netuid, "sim_swap_alpha_for_tao", *alpha, false).await?;
                plan.price_is_limited = worst_price.is_some() && has(&reader.at, "remove_stake_limit");
                let price = plan.exchange.map(|exchange| exchange.price);
                plan.checks.extend(limit(*worst_price, price, |now, worst| now >= worst));
            }
            Payment::NewSubnet { hotkey } => {
                let cost = subnet_cost(&reader).await?;
                plan.price = cost;
                plan.checks.push(affords(balance, cost.unwrap_or(0), fee, "CannotAffordLockCost"));
                plan.checks.push(belongs(&reader, hotkey, coldkey).await?);
            }
            Payment::StartSubnet { netuid } => {
                exists(&reader, *netuid).await?;
                let owner = reader.read(storage().subtensor_module().subnet_owner(), (*netuid,)).await?;
                let owner = owner.map(ours);
                plan.checks.push(affords(balance, 0, fee, "Payment"));
                plan.checks.push(Check::new(
                    "the coldkey owns the subnet",
                    owner.as_ref() == Some(coldkey),
                    "NotSubnetOwner",
                    owner.map_or_else(|| "nobody owns it".to_owned(), |owner| format!("{owner} owns it")),
                ));
            }
        }
        Ok(plan)
    }
}

/// What a new subnet costs, rao; none where the runtime does not say.
async fn subnet_cost(reader: &Reader<'_>) -> Result<Option<u64>, ChainError> {
    let (interface, method) = ("SubnetRegistrationRuntimeApi", "get_network_registration_cost");
    let answer = api::call_if_there(reader, interface, method, &[]).await?;
    Ok(answer.as_ref().and_then(number::<u64>))
}

/// Whether a balance covers a price and its fee.
pub(in crate::chain) fn affords(balance: u64, price: u64, fee: u64, refusal: &'static str) -> Check {
    let enough = balance >= price.saturating_add(fee);
    let found = match price {
        0 => format!("the coldkey has {} TAO, and the fee is {}", tao(balance), tao(fee)),
        _ => {
            format!("the coldkey has {} TAO; it takes {} and a fee of {}", tao(balance), tao(price), tao(fee))
        }
    };
    Check::new("the coldkey can pay", enough, refusal, found)
}

/// Whether a hotkey is the coldkey's, or nobody's yet.
pub(in crate::chain) async fn belongs(
    reader: &Reader<'_>,
    hotkey: &AccountId,
    coldkey: &AccountId,
) -> Result<Check, ChainError> {
    let owner = owner_of(reader, hotkey).await?;
    let free = owner.as_ref().is_none_or(|owner| owner == coldkey);
    let found = match owner {
        None => "it is nobody's yet".to_owned(),
        Some(_) if free => "it is".to_owned(),
        Some(owner) => format!("it belongs to {owner}"),
    };
    Ok(Check::new("the hotkey is the coldkey's", free, "NonAssociatedColdKey", found))
}

/// A hotkey's coldkey, if it has one.
async fn owner_of(reader: &Reader<'_>, hotkey: &AccountId) -> Result<Option<AccountId>, ChainError> {
    let slot = reader.slot(storage().subtensor_module().owner(), (theirs(hotkey),))?;
    let values = reader.fetch([slot.key()]).await?;
    // The default is an account too.
    let owner: Option<AccountId32> = match values.bytes(slot.key()) {
        Some(_) => reader.get(&values, &slot)?,
        None => None,
    };
    Ok(owner.map(ours))
}

async fn exists(reader: &Reader<'_>, netuid: NetUid) -> Result<(), ChainError> {
    let added = reader.read(storage().subtensor_module().networks_added(), (netuid,)).await?;
    if added == Some(true) { Ok(()) } else { Err(ChainError::NoSuchSubnet { netuid }) }
}

/// Whether a subnet's alpha may be bought and sold.
async fn trade(reader: &Reader<'_>, netuid: NetUid) -> Result<Option<Check>, ChainError> {
    exists(reader, netuid).await?;
    // Older runtimes had no such switch.
    let Some(slot) = reader.find::<_, bool>("SubtokenEnabled", (netuid,))? else { return Ok(None) };
    let values = reader.fetch([slot.key()]).await?;
    let started = reader.get(&values, &slot)?.unwrap_or(false);
    let found = if started { "it has" } else { "its owner has not" }.to_owned();
    Ok(Some(Check::new("the subnet has been started", started, "SubtokenDisabled", found)))
}

/// Whether the price now is within the limit that was given.
fn limit(worst: Option<u64>, now: Option<u64>, within: impl Fn(u64, u64) -> bool) -> Option<Check> {
    let (worst, now) = (worst?, now?);
    let found = format!("one alpha is {} TAO, the limit is {}", tao(now), tao(worst));
    Some(Check::new("the price is within the limit", within(now, worst), "SlippageTooHigh", found))
}

/// What an exchange would bring; none where the runtime does not foretell it.
async fn exchange(
    reader: &Reader<'_>,
    netuid: NetUid,
    method: &str,
    amount: u64,
    for_alpha: bool,
) -> Result<Option<Exchange>, ChainError> {
    let Some(price) = stakes::price(reader, netuid).await? else { return Ok(None) };
    let arguments = [netuid.to_le_bytes().as_slice(), &amount.to_le_bytes()].concat();
    let answer = match api::call_if_there(reader, "SwapRuntimeApi", method, &arguments).await {
        // A pool that cannot give so much has no answer.
        Err(ChainError::Node { .. }) => None,
        answer => answer?,
    };
    let read = |value: &Value<()>| {
        let fields = Fields::of("SimSwapResult", value).ok()?;
        let (amount, fee) = if for_alpha { ("alpha_amount", "tao_fee") } else { ("tao_amount", "alpha_fee") };
        Some(Exchange { price, amount: fields.number(amount).ok()?, fee: fields.number(fee).ok()? })
    };
    Ok(answer.as_ref().and_then(read))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_beyond_its_limit_is_named() {
        let dear = limit(Some(90), Some(100), |now, worst| now <= worst).unwrap();
        assert_eq!(dear.refusal, Some("SlippageTooHigh"));
        assert_eq!(limit(Some(100), Some(100), |now, worst| now <= worst).unwrap().refusal, None);
        assert!(limit(None, Some(1), |_, _| false).is_none() && limit(Some(1), None, |_, _| false).is_none());
    }

    #[test]
    fn the_fee_counts() {
        assert_eq!(affords(10, 8, 2, "Payment").refusal, None);
        assert_eq!(affords(10, 9, 2, "Payment").refusal, Some("Payment"));
        assert_eq!(affords(10, u64::MAX, 2, "Payment").refusal, Some("Payment"));
    }
}
