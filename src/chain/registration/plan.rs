//! What a registration would cost, and what stands in its way.

use serde::Serialize;

use crate::{
    chain::{
        Chain as _,
        check::Check,
        client::SubtensorClient,
        dry_run::Preview,
        error::{ChainError, tao},
        payment::{affords, belongs},
    },
    wallet::AccountId,
    window::{NetUid, Uid},
};

/// What would come of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RegistrationPlan {
    /// What a UID costs now, rao.
    #[serde(rename = "price_rao")]
    pub price: u64,
    /// The most that it may cost, rao.
    #[serde(rename = "limit_rao")]
    pub limit: Option<u64>,
    /// What the coldkey has, rao.
    #[serde(rename = "balance_rao")]
    pub balance: u64,
    /// The UID that the hotkey has already.
    pub registered_as: Option<Uid>,
    /// Whether the subnet takes registrations.
    pub registration_allowed: bool,
    /// For proof of work: the tries that it takes on average.
    pub expected_tries: Option<u64>,
    /// The rules.
    pub checks: Vec<Check>,
    /// What would be signed, and its fee.
    pub preview: Preview,
}

impl RegistrationPlan {
    /// The first rule that is broken; none if the hotkey is registered already, for then there is nothing to do.
    ///
    /// # Errors
    /// [`ChainError::PriceAboveLimit`], [`ChainError::WouldRefuse`].
    pub fn refuse(&self) -> Result<(), ChainError> {
        if self.registered_as.is_some() {
            return Ok(());
        }
        match (self.expected_tries, self.limit) {
            (None, Some(limit)) if self.price > limit => {
                Err(ChainError::PriceAboveLimit { price: self.price, limit })
            }
            _ => Check::refuse("the registration", &self.checks),
        }
    }
}

impl SubtensorClient {
    /// What a registration would cost now and every rule that can be looked at beforehand: paid, for `limit` rao at most, or
    /// by proof of work.
    ///
    /// # Errors
    /// Those of reading; [`ChainError::NoSuchSubnet`]; [`ChainError::Missing`] where the runtime takes no proof of work.
    pub async fn plan_registration(
        &self,
        netuid: NetUid,
        hotkey: &AccountId,
        coldkey: &AccountId,
        limit: Option<u64>,
        by_work: bool,
    ) -> Result<RegistrationPlan, ChainError> {
        let settings = self.hyperparameters(netuid).await?;
        let (expected_tries, preview) = match by_work {
            true => {
                let (tries, preview) = self.preview_register_by_work(netuid, hotkey, coldkey).await?;
                (Some(tries), preview)
            }
            false => (None, self.preview_register(netuid, hotkey, limit, coldkey).await?),
        };
        let (price, balance) = (settings.burn, self.balance(coldkey).await?);
        let owned = belongs(&self.reader(None).await?, hotkey, coldkey).await?;
        let mut checks = vec![
            Check::new(
                "it is a subnet to register on",
                netuid != 0,
                "RegistrationNotPermittedOnRootSubnet",
                format!("subnet {netuid}"),
            ),
            Check::new(
                "the subnet takes registrations",
                settings.registration_allowed && settings.max_uids > 0,
                "SubNetRegistrationDisabled",
                if settings.registration_allowed { "it does" } else { "its owner has closed it" }.to_owned(),
            ),
            owned,
        ];
        if !by_work {
            checks.push(affords(balance, price, preview.fee, "NotEnoughBalanceToStake"));
        }
        if let Some(limit) = limit {
            let found = format!("{} TAO, and {} at most", tao(price), tao(limit));
            checks.push(Check::new(
                "the price is within the limit",
                price <= limit,
                "RegistrationPriceLimitExceeded",
                found,
            ));
        }
        Ok(RegistrationPlan {
            price,
            limit,
            balance,
            registered_as: self.uid(netuid, hotkey).await?,
            registration_allowed: settings.registration_allowed,
            expected_tries,
            checks,
            preview,
        })
    }
}
