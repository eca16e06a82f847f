//! The price of a registration: it decays by half in a half-life and rises with each registration.

use super::{Burn, BurnHalfLife, BurnIncreaseMult, Config, Error, MaxBurn, MinBurn, Pallet};

/// One in Q32.
const ONE: u64 = 1 << 32;

/// The factor by which the price falls in a block, in Q32: the largest q with q^half_life ≤ ½, by repeated
/// squaring with truncation. A half-life of 0 keeps the price.
pub fn decay_factor(half_life: u16) -> u64 {
    if half_life == 0 {
        return ONE;
    }
    let (mut low, mut high) = (0, ONE);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if power(middle, half_life) <= ONE / 2 { low = middle } else { high = middle }
    }
    low
}

fn power(base: u64, mut exponent: u16) -> u64 {
    let multiply = |a: u64, b: u64| ((u128::from(a) * u128::from(b)) >> 32) as u64;
    let (mut base, mut result) = (base, ONE);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = multiply(result, base);
        }
        base = multiply(base, base);
        exponent >>= 1;
    }
    result
}

/// The price a block later.
pub fn decayed(price: u64, half_life: u16) -> u64 {
    ((u128::from(price) * u128::from(decay_factor(half_life))) >> 32) as u64
}

/// The price after a registration; `multiplier` has 64 fractional bits, and one below 1 counts as 1.
pub fn raised(price: u64, multiplier: u128) -> u64 {
    let multiplier = multiplier.max(1 << 64);
    let whole = u128::from(price).saturating_mul(multiplier >> 64);
    let part = (u128::from(price) * u128::from(multiplier as u64)) >> 64;
    u64::try_from(whole.saturating_add(part)).unwrap_or(u64::MAX)
}

impl<T: Config> Pallet<T> {
    /// Lets the subnet's price fall for this block.
    pub(super) fn adjust_price(netuid: u16, now: u64) {
        if now <= 1 {
            return;
        }
        let price = Burn::<T>::get(netuid);
        Self::put_burn(netuid, price, decayed(price, BurnHalfLife::<T>::get(netuid)));
    }

    /// Raises the subnet's price for a registration.
    pub(super) fn price_registration(netuid: u16) {
        let price = Burn::<T>::get(netuid);
        Self::put_burn(netuid, price, raised(price, BurnIncreaseMult::<T>::get(netuid).bits));
    }

    /// Registrations of a subnet are limited by their price alone.
    pub(super) fn ensure_room(_netuid: u16) -> Result<(), Error<T>> {
        Ok(())
    }

    fn put_burn(netuid: u16, old: u64, new: u64) {
        let highest = MaxBurn::<T>::get(netuid);
        let new = new.max(MinBurn::<T>::get(netuid).min(highest)).min(highest);
        if new != old {
            Burn::<T>::insert(netuid, new);
        }
    }
}
