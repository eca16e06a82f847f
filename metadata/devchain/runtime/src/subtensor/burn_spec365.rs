//! The price of a registration before spec 425: at the end of an interval it moves towards what would have
//! brought the registrations that the subnet wants. So does the difficulty of proofs of work.

use super::*;
use frame_support::ensure;

/// A price after an interval with so many registrations where `target` were wanted; `keep` is the part of it
/// that stays, of `u64::MAX`.
pub fn adjusted(price: u64, registrations: u16, target: u16, keep: u64) -> u64 {
    let (registrations, target) = (u128::from(registrations), u128::from(target.max(1)));
    let wanted = u128::from(price) * (registrations + target) / (2 * target);
    let keep = u128::from(keep);
    let all = u128::from(u64::MAX);
    let wanted = wanted.min(all);
    let mixed = (keep * u128::from(price) / all) + ((all - keep) * wanted / all);
    u64::try_from(mixed).unwrap_or(u64::MAX)
}

impl<T: Config> Pallet<T> {
    /// Ends the subnet's interval if it is over.
    pub(super) fn adjust_price(netuid: u16, now: u64) {
        let began = LastAdjustmentBlock::<T>::get(netuid);
        if netuid == ROOT || now.saturating_sub(began) < u64::from(AdjustmentInterval::<T>::get(netuid)) {
            return;
        }
        let burned = BurnRegistrationsThisInterval::<T>::take(netuid);
        let worked = POWRegistrationsThisInterval::<T>::take(netuid);
        let all = RegistrationsThisInterval::<T>::take(netuid);
        let target = TargetRegistrationsPerInterval::<T>::get(netuid);
        let keep = AdjustmentAlpha::<T>::get(netuid);
        // Too many registrations make dearer the way that most took; too few make cheaper the other one.
        let dearer = all > target;
        if burned == worked || (burned > worked) == dearer {
            let price = adjusted(Burn::<T>::get(netuid), all, target, keep);
            let highest = MaxBurn::<T>::get(netuid);
            Burn::<T>::insert(netuid, price.max(MinBurn::<T>::get(netuid).min(highest)).min(highest));
        }
        if burned == worked || (worked > burned) == dearer {
            let difficulty = adjusted(Difficulty::<T>::get(netuid), all, target, keep);
            let highest = MaxDifficulty::<T>::get(netuid);
            let lowest = MinDifficulty::<T>::get(netuid).min(highest);
            Difficulty::<T>::insert(netuid, difficulty.max(lowest).min(highest));
        }
        LastAdjustmentBlock::<T>::insert(netuid, now);
    }

    /// Counts a registration that was paid for.
    pub(super) fn price_registration(netuid: u16) {
        BurnRegistrationsThisInterval::<T>::mutate(netuid, |count| *count = count.saturating_add(1));
        RegistrationsThisInterval::<T>::mutate(netuid, |count| *count = count.saturating_add(1));
    }

    /// Refuses a registration for which the block or the interval has no room.
    pub(super) fn ensure_room(netuid: u16) -> Result<(), Error<T>> {
        let in_block = RegistrationsThisBlock::<T>::get(netuid);
        let most = MaxRegistrationsPerBlock::<T>::get(netuid);
        ensure!(in_block < most, Error::<T>::TooManyRegistrationsThisBlock);
        let most = TargetRegistrationsPerInterval::<T>::get(netuid).saturating_mul(3);
        let in_interval = RegistrationsThisInterval::<T>::get(netuid);
        ensure!(in_interval < most, Error::<T>::TooManyRegistrationsThisInterval);
        Ok(())
    }
}
