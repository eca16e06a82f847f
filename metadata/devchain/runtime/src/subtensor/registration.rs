//! Registration: a coldkey pays the subnet's price and its hotkey takes a UID.

use super::*;
use frame_support::{ensure, pallet_prelude::DispatchResult};

/// The most that a registration may cost, and the refusal if it costs more.
pub(super) type Limit<T> = Option<(u64, Error<T>)>;

impl<T: Config> Pallet<T> {
    pub(super) fn do_register(
        coldkey: &T::AccountId,
        netuid: u16,
        hotkey: &T::AccountId,
        limit: Limit<T>,
    ) -> DispatchResult {
        ensure!(netuid != ROOT, Error::<T>::RegistrationNotPermittedOnRootSubnet);
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(NetworkRegistrationAllowed::<T>::get(netuid), Error::<T>::SubNetRegistrationDisabled);
        Self::ensure_room(netuid)?;
        let registered = Uids::<T>::contains_key(netuid, hotkey);
        ensure!(!registered, Error::<T>::HotKeyAlreadyRegisteredInSubNet);
        let price = Burn::<T>::get(netuid);
        limit.map_or(Ok(()), |(limit, refusal)| if price <= limit { Ok(()) } else { Err(refusal) })?;
        ensure!(Self::spendable(coldkey) >= price, Error::<T>::NotEnoughBalanceToStake);
        Self::ensure_owner(coldkey, hotkey)?;
        ensure!(Self::uid_for_next(netuid).is_some(), Error::<T>::NoNeuronIdAvailable);

        Self::pay_subnet(netuid, coldkey, price)?;
        Self::create_account_if_absent(coldkey, hotkey);
        let uid = Self::allocate_uid(netuid, hotkey).ok_or(Error::<T>::NoNeuronIdAvailable)?;
        RAORecycledForRegistration::<T>::mutate(netuid, |rao| *rao = rao.saturating_add(price));
        RegistrationsThisBlock::<T>::mutate(netuid, |count| *count = count.saturating_add(1));
        Self::price_registration(netuid);
        Self::deposit_event(Event::NeuronRegistered(netuid, uid, hotkey.clone()));
        Ok(())
    }

    /// Refuses a hotkey that another coldkey owns.
    pub(super) fn ensure_owner(coldkey: &T::AccountId, hotkey: &T::AccountId) -> DispatchResult {
        let owned_by_other = Owner::<T>::contains_key(hotkey) && Owner::<T>::get(hotkey) != *coldkey;
        ensure!(!owned_by_other, Error::<T>::NonAssociatedColdKey);
        Ok(())
    }

    /// Gives a hotkey without an owner to this coldkey.
    pub(super) fn create_account_if_absent(coldkey: &T::AccountId, hotkey: &T::AccountId) {
        if Owner::<T>::contains_key(hotkey) {
            return;
        }
        Owner::<T>::insert(hotkey, coldkey);
        OwnedHotkeys::<T>::mutate(coldkey, |hotkeys| {
            if !hotkeys.contains(hotkey) {
                hotkeys.push(hotkey.clone());
            }
        });
    }
}
