//! Endpoints that neurons publish.

use super::*;
use frame_support::{ensure, pallet_prelude::DispatchResult};
use std::net::{Ipv4Addr, Ipv6Addr};

impl<T: Config> Pallet<T> {
    pub(super) fn do_serve_axon(hotkey: &T::AccountId, netuid: u16, axon: AxonInfo) -> DispatchResult {
        Self::check_axon(hotkey, netuid, &axon)?;
        Axons::<T>::insert(netuid, hotkey, axon);
        Self::deposit_event(Event::AxonServed(netuid, hotkey.clone()));
        Ok(())
    }

    /// Whether the endpoint may be published: by a registered hotkey, not too often, reachable by others.
    pub(super) fn check_axon(hotkey: &T::AccountId, netuid: u16, axon: &AxonInfo) -> Result<(), Error<T>> {
        ensure!(Uids::<T>::contains_key(netuid, hotkey), Error::<T>::HotKeyNotRegisteredInNetwork);
        ensure!(matches!(axon.ip_type, 4 | 6), Error::<T>::InvalidIpType);
        ensure!(is_reachable(axon.ip_type, axon.ip), Error::<T>::InvalidIpAddress);
        let recent = Axons::<T>::get(netuid, hotkey)
            .is_some_and(|old| Self::now().saturating_sub(old.block) < ServingRateLimit::<T>::get(netuid));
        ensure!(!recent, Error::<T>::ServingRateLimitExceeded);
        ensure!(axon.port != 0, Error::<T>::InvalidPort);
        Ok(())
    }
}

/// 0 is allowed: it withdraws an endpoint.
fn is_reachable(ip_type: u8, ip: u128) -> bool {
    if ip_type == 4 {
        ip < u128::from(u32::MAX) && ip != u128::from(u32::from(Ipv4Addr::LOCALHOST))
    } else {
        ip != u128::MAX && ip != u128::from(Ipv6Addr::LOCALHOST)
    }
}
