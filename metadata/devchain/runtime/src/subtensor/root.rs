//! Places on root: for the hotkeys with the most root stake.

use super::*;
use frame_support::{ensure, pallet_prelude::DispatchResult};

impl<T: Config> Pallet<T> {
    pub(super) fn do_root_register(coldkey: &T::AccountId, hotkey: &T::AccountId) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(ROOT), Error::<T>::RootNetworkDoesNotExist);
        let in_block = RegistrationsThisBlock::<T>::get(ROOT);
        ensure!(
            in_block < MaxRegistrationsPerBlock::<T>::get(ROOT),
            Error::<T>::TooManyRegistrationsThisBlock
        );
        let in_interval = RegistrationsThisInterval::<T>::get(ROOT);
        let target = TargetRegistrationsPerInterval::<T>::get(ROOT).saturating_mul(3);
        ensure!(in_interval < target, Error::<T>::TooManyRegistrationsThisInterval);
        let registered = Uids::<T>::contains_key(ROOT, hotkey);
        ensure!(!registered, Error::<T>::HotKeyAlreadyRegisteredInSubNet);
        Self::ensure_owner(coldkey, hotkey)?;

        let n = SubnetworkN::<T>::get(ROOT);
        let uid = if n < MaxAllowedUids::<T>::get(ROOT) {
            Self::append_neuron(ROOT, hotkey);
            n
        } else {
            let stake = |uid| TotalHotkeyAlpha::<T>::get(Keys::<T>::get(ROOT, uid), ROOT);
            let lowest = (0..n).min_by_key(|uid| stake(*uid)).ok_or(Error::<T>::NoNeuronIdAvailable)?;
            let enough = TotalHotkeyAlpha::<T>::get(hotkey, ROOT) > stake(lowest);
            ensure!(enough, Error::<T>::StakeTooLowForRoot);
            Self::replace_neuron(ROOT, lowest, hotkey);
            lowest
        };
        Self::create_account_if_absent(coldkey, hotkey);
        if !Delegates::<T>::contains_key(hotkey) {
            let take = Delegates::<T>::get(hotkey);
            Delegates::<T>::insert(hotkey, take);
            Self::deposit_event(Event::DelegateAdded(coldkey.clone(), hotkey.clone(), take));
        }
        RegistrationsThisBlock::<T>::insert(ROOT, in_block.saturating_add(1));
        RegistrationsThisInterval::<T>::insert(ROOT, in_interval.saturating_add(1));
        Self::deposit_event(Event::NeuronRegistered(ROOT, uid, hotkey.clone()));
        Ok(())
    }

    /// Starts to count root registrations anew when an interval is over.
    pub(super) fn start_interval(now: u64) {
        let began = LastAdjustmentBlock::<T>::get(ROOT);
        if now.saturating_sub(began) >= u64::from(AdjustmentInterval::<T>::get(ROOT)) {
            LastAdjustmentBlock::<T>::insert(ROOT, now);
            RegistrationsThisInterval::<T>::remove(ROOT);
        }
    }
}
