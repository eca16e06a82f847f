//! Subnets come into being: at genesis, by `register_network`, and alive by `start_call`.

use super::{
    types::{DefaultSymbol, ZeroAccount},
    *,
};
use frame_support::{ensure, pallet_prelude::DispatchResult, traits::Get};

impl<T: Config> Pallet<T> {
    /// The subnets that exist, in order.
    pub fn netuids() -> Vec<u16> {
        let mut netuids: Vec<u16> =
            NetworksAdded::<T>::iter().filter(|(_, added)| *added).map(|(netuid, _)| netuid).collect();
        netuids.sort_unstable();
        netuids
    }

    /// Whether the subnet's next epoch is so near that its hyperparameters are frozen.
    pub fn is_in_freeze_window(netuid: u16) -> bool {
        let window = u64::from(AdminFreezeWindow::<T>::get());
        Self::next_epoch_block(netuid).is_some_and(|next| next.saturating_sub(Self::now()) < window)
    }

    /// The price of a new subnet: twice the last one, falling to the least over an interval.
    pub fn network_lock_cost() -> u64 {
        let last_block = LastRateLimitedBlock::<T>::get(RateLimitKey::NetworkLastRegistered);
        let last = NetworkLastLockCost::<T>::get();
        let multiple = if last_block == 0 { 1 } else { 2 };
        let per_block = last / NetworkLockReductionInterval::<T>::get().max(1);
        let fallen = per_block.saturating_mul(Self::now().saturating_sub(last_block));
        last.saturating_mul(multiple).saturating_sub(fallen).max(NetworkMinLockCost::<T>::get())
    }

    /// Whether the last new subnet is long enough ago for another.
    pub(super) fn may_register_network() -> bool {
        let limit = NetworkRateLimit::<T>::get();
        let last = LastRateLimitedBlock::<T>::get(RateLimitKey::NetworkLastRegistered);
        limit == 0 || last == 0 || Self::now().saturating_sub(last) >= limit
    }

    pub(super) fn do_register_network(coldkey: &T::AccountId, hotkey: &T::AccountId) -> DispatchResult {
        Self::ensure_owner(coldkey, hotkey)?;
        ensure!(Self::may_register_network(), Error::<T>::NetworkTxRateLimitExceeded);
        let price = Self::network_lock_cost();
        ensure!(Self::spendable(coldkey) >= price, Error::<T>::CannotAffordLockCost);
        let limit = SubnetLimit::<T>::get();
        let netuid = (1..=limit)
            .find(|netuid| !NetworksAdded::<T>::get(netuid))
            .ok_or(Error::<T>::SubnetLimitReached)?;

        Self::create_subnet(netuid);
        Self::pay_subnet(netuid, coldkey, price)?;
        SubnetAlphaIn::<T>::insert(netuid, price);
        NetworkLastLockCost::<T>::put(price);
        LastRateLimitedBlock::<T>::insert(RateLimitKey::NetworkLastRegistered, Self::now());
        Self::create_account_if_absent(coldkey, hotkey);
        SubnetOwner::<T>::insert(netuid, coldkey);
        SubnetOwnerHotkey::<T>::insert(netuid, hotkey);
        Self::append_neuron(netuid, hotkey);
        Self::deposit_event(Event::NetworkAdded(netuid, SubnetMechanism::<T>::get(netuid)));
        Ok(())
    }

    /// A subnet with the hyperparameters of new ones.
    fn create_subnet(netuid: u16) {
        let now = Self::now();
        let tempo = Tempo::<T>::get(netuid);
        NetworksAdded::<T>::insert(netuid, true);
        TotalNetworks::<T>::mutate(|count| *count = count.saturating_add(1));
        NetworkRegisteredAt::<T>::insert(netuid, now);
        SubnetworkN::<T>::insert(netuid, 0);
        Tempo::<T>::insert(netuid, tempo);
        Self::begin_schedule(netuid);
        // One to one: this chain prices no alpha.
        SubnetMechanism::<T>::insert(netuid, 0);
        NetworkRegistrationAllowed::<T>::insert(netuid, true);
        MaxAllowedUids::<T>::insert(netuid, 256);
        MaxAllowedValidators::<T>::insert(netuid, 64);
        MinAllowedWeights::<T>::insert(netuid, 1);
        ImmunityPeriod::<T>::insert(netuid, 5_000);
        Burn::<T>::insert(netuid, 1_000_000_000);
        Yuma3On::<T>::insert(netuid, true);
        TokenSymbol::<T>::insert(netuid, DefaultSymbol::get());
    }

    pub(super) fn do_start_call(coldkey: &T::AccountId, netuid: u16) -> DispatchResult {
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        ensure!(SubnetOwner::<T>::get(netuid) == *coldkey, Error::<T>::NotSubnetOwner);
        let started = FirstEmissionBlockNumber::<T>::contains_key(netuid);
        ensure!(!started, Error::<T>::FirstEmissionBlockNumberAlreadySet);
        let first = Self::now().saturating_add(1);
        FirstEmissionBlockNumber::<T>::insert(netuid, first);
        SubtokenEnabled::<T>::insert(netuid, true);
        Self::deposit_event(Event::FirstEmissionBlockNumberSet(netuid, first));
        Ok(())
    }

    /// Root, and netuid 1, which nobody owns: as Subtensor mainnet's local network has them.
    pub(super) fn create_genesis_subnets(coldkey: &T::AccountId, hotkey: &T::AccountId) {
        NetworksAdded::<T>::insert(ROOT, true);
        TotalNetworks::<T>::put(1);
        Tempo::<T>::insert(ROOT, 100);
        MaxAllowedUids::<T>::insert(ROOT, 64);
        MaxAllowedValidators::<T>::insert(ROOT, 64);
        SubtokenEnabled::<T>::insert(ROOT, true);
        SubnetOwner::<T>::insert(ROOT, coldkey);
        SubnetOwnerHotkey::<T>::insert(ROOT, hotkey);
        Self::create_account_if_absent(coldkey, hotkey);
        // Anybody may make a subnet at any time.
        NetworkRateLimit::<T>::put(0);

        Tempo::<T>::insert(1, 100);
        Self::create_subnet(1);
        MinAllowedWeights::<T>::insert(1, 0);
        Self::append_neuron(1, &ZeroAccount::<T>::get());
    }
}
