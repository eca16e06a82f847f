//! What clients ask about stake and its price.

use crate::{
    AccountId, Runtime as R, SubtensorModule,
    subtensor::{self as S},
};
use parity_scale_codec::{Compact, Decode, Encode};
use scale_info::TypeInfo;

/// A coldkey's stake on a hotkey in a subnet.
#[allow(missing_docs)] // Each field is what its name says, in rao where it is an amount.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct StakeInfo<Account> {
    pub hotkey: Account,
    pub coldkey: Account,
    pub netuid: Compact<u16>,
    pub stake: Compact<u64>,
    pub locked: Compact<u64>,
    pub emission: Compact<u64>,
    pub tao_emission: Compact<u64>,
    pub drain: Compact<u64>,
    pub is_registered: bool,
}

/// What an exchange would give.
#[allow(missing_docs)] // Each field is an amount or a fee in rao.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct SimSwapResult {
    pub tao_amount: u64,
    pub alpha_amount: u64,
    pub tao_fee: u64,
    pub alpha_fee: u64,
}

sp_api::decl_runtime_apis! {
    /// Stake.
    pub trait StakeInfoRuntimeApi {
        /// All stake of a coldkey.
        fn get_stake_info_for_coldkey(coldkey_account: AccountId) -> Vec<StakeInfo<AccountId>>;
        /// All stake of some coldkeys.
        fn get_stake_info_for_coldkeys(
            coldkey_accounts: Vec<AccountId>,
        ) -> Vec<(AccountId, Vec<StakeInfo<AccountId>>)>;
        /// A coldkey's stake on a hotkey in a subnet.
        fn get_stake_info_for_hotkey_coldkey_netuid(
            hotkey_account: AccountId,
            coldkey_account: AccountId,
            netuid: u16,
        ) -> Option<StakeInfo<AccountId>>;
        /// What moving stake costs, in rao.
        fn get_stake_fee(
            origin: Option<(AccountId, u16)>,
            origin_coldkey_account: AccountId,
            destination: Option<(AccountId, u16)>,
            destination_coldkey_account: AccountId,
            amount: u64,
        ) -> u64;
    }

    /// The price of alpha.
    pub trait SwapRuntimeApi {
        /// What 10^9 of alpha cost, in rao.
        fn current_alpha_price(netuid: u16) -> u64;
        /// What TAO would buy.
        fn sim_swap_tao_for_alpha(netuid: u16, tao: u64) -> SimSwapResult;
        /// What alpha would sell for.
        fn sim_swap_alpha_for_tao(netuid: u16, alpha: u64) -> SimSwapResult;
    }
}

/// A coldkey's stake on a hotkey in a subnet.
pub fn stake(hotkey: &AccountId, coldkey: &AccountId, netuid: u16) -> Option<StakeInfo<AccountId>> {
    if !S::NetworksAdded::<R>::get(netuid) {
        return None;
    }
    let uid = S::Uids::<R>::get(netuid, hotkey);
    let emission = uid.and_then(|uid| S::Emission::<R>::get(netuid).get(usize::from(uid)).copied());
    Some(StakeInfo {
        hotkey: hotkey.clone(),
        coldkey: coldkey.clone(),
        netuid: netuid.into(),
        stake: SubtensorModule::stake_of(hotkey, coldkey, netuid).into(),
        locked: Compact(0),
        emission: emission.unwrap_or(0).into(),
        tao_emission: Compact(0),
        drain: Compact(0),
        is_registered: uid.is_some(),
    })
}

/// All stake of a coldkey.
pub fn stakes(coldkey: &AccountId) -> Vec<StakeInfo<AccountId>> {
    let netuids = SubtensorModule::netuids();
    let hotkeys = S::StakingHotkeys::<R>::get(coldkey);
    let pairs = hotkeys.iter().flat_map(|hotkey| netuids.iter().map(move |netuid| (hotkey, *netuid)));
    pairs
        .filter_map(|(hotkey, netuid)| stake(hotkey, coldkey, netuid))
        .filter(|info| info.stake.0 > 0)
        .collect()
}

/// One for one, without a fee.
pub fn swap(amount: u64) -> SimSwapResult {
    SimSwapResult { tao_amount: amount, alpha_amount: amount, tao_fee: 0, alpha_fee: 0 }
}
