//! Stake: alpha on hotkeys, held by coldkeys as shares of a pool for each hotkey and subnet.

use super::{types::ZeroAccount, *};
use frame_support::{
    ensure,
    pallet_prelude::DispatchResult,
    traits::{
        Get,
        fungible::{Inspect, Mutate},
        tokens::{Fortitude, Preservation},
    },
};
use parity_scale_codec::{Decode, Encode};
use sp_core::U256;
use sp_runtime::{DispatchError, traits::TrailingZeroInput};

/// The least that may be staked at once, in rao.
const LEAST_STAKE: u64 = 2_000_000;

fn mul_div(a: u128, b: u128, c: u128) -> u128 {
    if c == 0 {
        return 0;
    }
    u128::try_from(U256::from(a) * U256::from(b) / U256::from(c)).unwrap_or(u128::MAX)
}

impl<T: Config> Pallet<T> {
    /// The account that keeps a subnet's TAO.
    pub fn subnet_account(netuid: u16) -> T::AccountId {
        let bytes = (*b"modlsubtensr/net", netuid).encode();
        T::AccountId::decode(&mut TrailingZeroInput::new(&bytes)).unwrap_or_else(|_| ZeroAccount::<T>::get())
    }

    /// What a coldkey can spend.
    pub(super) fn spendable(coldkey: &T::AccountId) -> u64 {
        T::Currency::reducible_balance(coldkey, Preservation::Expendable, Fortitude::Polite)
    }

    /// Moves TAO of a coldkey to the subnet's account.
    pub(super) fn pay_subnet(netuid: u16, coldkey: &T::AccountId, rao: u64) -> DispatchResult {
        let account = Self::subnet_account(netuid);
        T::Currency::transfer(coldkey, &account, rao, Preservation::Expendable)
            .map_err(|_| Error::<T>::NotEnoughBalanceToStake)?;
        SubnetTAO::<T>::mutate(netuid, |tao| *tao = tao.saturating_add(rao));
        Ok(())
    }

    /// Alpha that a coldkey has on a hotkey in a subnet.
    pub fn stake_of(hotkey: &T::AccountId, coldkey: &T::AccountId, netuid: u16) -> u64 {
        let shares = Alpha::<T>::get((hotkey, coldkey, netuid)).bits;
        let all = TotalHotkeyShares::<T>::get(hotkey, netuid).bits;
        let alpha = u128::from(TotalHotkeyAlpha::<T>::get(hotkey, netuid));
        u64::try_from(mul_div(alpha, shares, all)).unwrap_or(u64::MAX)
    }

    /// Adds alpha to a coldkey's stake on a hotkey: it gets shares at their present value.
    pub(super) fn increase_stake(hotkey: &T::AccountId, coldkey: &T::AccountId, netuid: u16, alpha: u64) {
        if alpha == 0 {
            return;
        }
        let total = TotalHotkeyAlpha::<T>::get(hotkey, netuid);
        let all = TotalHotkeyShares::<T>::get(hotkey, netuid).bits;
        let amount = FixedU128::from_int(alpha).bits;
        // The first shares are worth one rao each, as are those of a pool that was emptied by rounding.
        let issued =
            if total == 0 || all == 0 { amount } else { mul_div(u128::from(alpha), all, u128::from(total)) };
        TotalHotkeyAlpha::<T>::insert(hotkey, netuid, total.saturating_add(alpha));
        TotalHotkeyShares::<T>::insert(hotkey, netuid, FixedU128 { bits: all.saturating_add(issued) });
        Alpha::<T>::mutate((hotkey, coldkey, netuid), |shares| {
            shares.bits = shares.bits.saturating_add(issued);
        });
        StakingHotkeys::<T>::mutate(coldkey, |hotkeys| {
            if !hotkeys.contains(hotkey) {
                hotkeys.push(hotkey.clone());
            }
        });
    }

    /// Takes alpha from a coldkey's stake on a hotkey; the caller knows that it is there.
    fn decrease_stake(hotkey: &T::AccountId, coldkey: &T::AccountId, netuid: u16, alpha: u64) {
        let stake = Self::stake_of(hotkey, coldkey, netuid);
        let total = TotalHotkeyAlpha::<T>::get(hotkey, netuid);
        let all = TotalHotkeyShares::<T>::get(hotkey, netuid).bits;
        let held = Alpha::<T>::get((hotkey, coldkey, netuid)).bits;
        let redeemed =
            if alpha >= stake { held } else { mul_div(u128::from(alpha), all, u128::from(total)).min(held) };
        TotalHotkeyAlpha::<T>::insert(hotkey, netuid, total.saturating_sub(alpha));
        TotalHotkeyShares::<T>::insert(hotkey, netuid, FixedU128 { bits: all.saturating_sub(redeemed) });
        if redeemed >= held {
            Alpha::<T>::remove((hotkey, coldkey, netuid));
        } else {
            Alpha::<T>::insert((hotkey, coldkey, netuid), FixedU128 { bits: held - redeemed });
        }
    }

    pub(super) fn do_add_stake(
        coldkey: &T::AccountId,
        hotkey: &T::AccountId,
        netuid: u16,
        rao: u64,
    ) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(SubtokenEnabled::<T>::get(netuid), Error::<T>::SubtokenDisabled);
        ensure!(rao >= LEAST_STAKE, Error::<T>::AmountTooLow);
        ensure!(Self::spendable(coldkey) >= rao, Error::<T>::NotEnoughBalanceToStake);
        ensure!(Owner::<T>::contains_key(hotkey), Error::<T>::HotKeyAccountNotExists);
        Self::pay_subnet(netuid, coldkey, rao)?;
        SubnetAlphaOut::<T>::mutate(netuid, |alpha| *alpha = alpha.saturating_add(rao));
        TotalStake::<T>::mutate(|stake| *stake = stake.saturating_add(rao));
        Self::increase_stake(hotkey, coldkey, netuid, rao);
        Self::deposit_event(Event::StakeAdded(coldkey.clone(), hotkey.clone(), rao, rao, netuid, 0));
        Ok(())
    }

    pub(super) fn do_remove_stake(
        coldkey: &T::AccountId,
        hotkey: &T::AccountId,
        netuid: u16,
        alpha: u64,
    ) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(SubtokenEnabled::<T>::get(netuid), Error::<T>::SubtokenDisabled);
        ensure!(Owner::<T>::contains_key(hotkey), Error::<T>::HotKeyAccountNotExists);
        let stake = Self::stake_of(hotkey, coldkey, netuid);
        ensure!(stake >= alpha, Error::<T>::NotEnoughStakeToWithdraw);
        ensure!(alpha >= LEAST_STAKE || (alpha > 0 && alpha == stake), Error::<T>::AmountTooLow);
        let account = Self::subnet_account(netuid);
        T::Currency::transfer(&account, coldkey, alpha, Preservation::Expendable)
            .map_err(|_| DispatchError::from(Error::<T>::InsufficientLiquidity))?;
        Self::decrease_stake(hotkey, coldkey, netuid, alpha);
        SubnetTAO::<T>::mutate(netuid, |tao| *tao = tao.saturating_sub(alpha));
        SubnetAlphaOut::<T>::mutate(netuid, |out| *out = out.saturating_sub(alpha));
        TotalStake::<T>::mutate(|total| *total = total.saturating_sub(alpha));
        Self::deposit_event(Event::StakeRemoved(coldkey.clone(), hotkey.clone(), alpha, alpha, netuid, 0));
        Ok(())
    }

    /// A hotkey's stake weight in a subnet, in rao: its alpha there, and a part of its stake on root.
    pub fn stake_weight(hotkey: &T::AccountId, netuid: u16) -> f64 {
        let alpha = TotalHotkeyAlpha::<T>::get(hotkey, netuid) as f64;
        let root = TotalHotkeyAlpha::<T>::get(hotkey, ROOT) as f64;
        if netuid == ROOT { root } else { alpha + root * (TaoWeight::<T>::get() as f64 / u64::MAX as f64) }
    }

    /// Whether the hotkey's stake weight allows it to set weights.
    pub(super) fn has_stake_for_weights(hotkey: &T::AccountId, netuid: u16) -> bool {
        *hotkey == SubnetOwnerHotkey::<T>::get(netuid)
            || Self::stake_weight(hotkey, netuid) >= StakeThreshold::<T>::get() as f64
    }
}
