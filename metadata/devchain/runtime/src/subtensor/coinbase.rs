//! The start of every block: prices fall, alpha is issued, epochs that are due run.

use super::*;

/// Alpha that a subnet issues in a block before the first halving, in rao.
const FULL_EMISSION: u64 = 1_000_000_000;
/// The supply that emission tends to, in rao: each time issuance halves what is left, so does emission.
const SUPPLY: u64 = 21_000_000_000_000_000;

/// Alpha issued in a block, where `issuance` is there already: both in rao.
pub(super) fn block_emission(issuance: u64) -> u64 {
    let left = SUPPLY.saturating_sub(issuance);
    SUPPLY.checked_div(left).map_or(0, |part| FULL_EMISSION.checked_shr(part.ilog2()).unwrap_or(0))
}

impl<T: Config> Pallet<T> {
    /// The work of a block before its extrinsics.
    pub(super) fn start_block() {
        let now = Self::now();
        let netuids = Self::netuids();
        for &netuid in &netuids {
            Self::adjust_price(netuid, now);
            RegistrationsThisBlock::<T>::remove(netuid);
        }
        Self::start_interval(now);
        for &netuid in netuids.iter().filter(|netuid| **netuid != ROOT) {
            Self::issue(netuid);
            Self::reveal_timelocked(netuid);
        }
        Self::run_epochs(netuids.into_iter().filter(|netuid| *netuid != ROOT));
    }

    /// Issues the block's alpha and sets it aside: the owner's cut, then half for miners, half for validators.
    fn issue(netuid: u16) {
        let started = FirstEmissionBlockNumber::<T>::get(netuid).is_some_and(|first| Self::now() >= first);
        if !started || !SubtokenEnabled::<T>::get(netuid) || !NetworkRegistrationAllowed::<T>::get(netuid) {
            return;
        }
        let issuance = SubnetAlphaIn::<T>::get(netuid).saturating_add(SubnetAlphaOut::<T>::get(netuid));
        let emission = block_emission(issuance);
        let cut = u128::from(emission) * u128::from(SubnetOwnerCut::<T>::get()) / 65_535;
        let cut = u64::try_from(cut).unwrap_or(0).min(emission);
        let servers = (emission - cut) / 2;
        let validators = emission - cut - servers;
        SubnetAlphaOutEmission::<T>::insert(netuid, emission);
        SubnetAlphaOut::<T>::mutate(netuid, |alpha| *alpha = alpha.saturating_add(emission));
        PendingOwnerCut::<T>::mutate(netuid, |alpha| *alpha = alpha.saturating_add(cut));
        PendingServerEmission::<T>::mutate(netuid, |alpha| *alpha = alpha.saturating_add(servers));
        PendingValidatorEmission::<T>::mutate(netuid, |alpha| *alpha = alpha.saturating_add(validators));
    }

    /// Takes the epoch's slot, then pays out what is pending by the subnet's consensus.
    pub(super) fn run_epoch(netuid: u16, now: u64) {
        let servers = PendingServerEmission::<T>::take(netuid);
        let validators = PendingValidatorEmission::<T>::take(netuid);
        let cut = PendingOwnerCut::<T>::take(netuid);
        Self::take_slot(netuid, now);
        if Self::has_duplicate_keys(netuid) {
            // What was pending waits for an epoch that can pay it.
            PendingServerEmission::<T>::insert(netuid, servers);
            PendingValidatorEmission::<T>::insert(netuid, validators);
            PendingOwnerCut::<T>::insert(netuid, cut);
            Self::tell_skipped(netuid, now);
            return;
        }
        let shares = Self::epoch(netuid, servers.saturating_add(validators));
        LastMechansimStepBlock::<T>::insert(netuid, now);
        Self::pay(netuid, servers, validators, cut, &shares);
    }

    /// Credits an epoch's alpha as stake.
    fn pay(netuid: u16, servers: u64, validators: u64, cut: u64, shares: &[Share<T::AccountId>]) {
        let owner = SubnetOwner::<T>::get(netuid);
        let earned: u128 = shares.iter().map(|share| u128::from(share.server)).sum();
        for share in shares {
            if share.server > 0 {
                if Self::is_owner_hotkey(netuid, &owner, &share.hotkey) {
                    // An owner cannot mine its own subnet: that alpha is burned.
                    SubnetAlphaOut::<T>::mutate(netuid, |alpha| *alpha = alpha.saturating_sub(share.server));
                } else {
                    let coldkey = Owner::<T>::get(&share.hotkey);
                    Self::increase_stake(&share.hotkey, &coldkey, netuid, share.server);
                }
            }
        }
        // Without incentive, validators get what was meant for miners.
        let validators = if earned == 0 { validators.saturating_add(servers) } else { validators };
        let total: u128 = shares.iter().map(|share| u128::from(share.validator)).sum();
        for share in shares.iter().filter(|share| share.validator > 0) {
            let part = u128::from(validators) * u128::from(share.validator) / total.max(1);
            Self::pay_dividends(netuid, &share.hotkey, u64::try_from(part).unwrap_or(0));
        }
        let owner_hotkey = SubnetOwnerHotkey::<T>::get(netuid);
        if cut > 0 && Owner::<T>::contains_key(&owner_hotkey) {
            Self::increase_stake(&owner_hotkey, &owner, netuid, cut);
        }
    }

    /// A validator's owner takes its part of the dividends; the rest goes to everyone who staked on it.
    fn pay_dividends(netuid: u16, hotkey: &T::AccountId, alpha: u64) {
        let take = u128::from(alpha) * u128::from(Delegates::<T>::get(hotkey)) / 65_535;
        let take = u64::try_from(take).unwrap_or(0);
        let rest = alpha.saturating_sub(take);
        Self::increase_stake(hotkey, &Owner::<T>::get(hotkey), netuid, take);
        TotalHotkeyAlpha::<T>::mutate(hotkey, netuid, |stake| *stake = stake.saturating_add(rest));
        AlphaDividendsPerSubnet::<T>::insert(netuid, hotkey, rest);
    }

    /// Whether incentive of this hotkey would go to the subnet's owner.
    fn is_owner_hotkey(netuid: u16, owner: &T::AccountId, hotkey: &T::AccountId) -> bool {
        *hotkey == SubnetOwnerHotkey::<T>::get(netuid) || Owner::<T>::get(hotkey) == *owner
    }

    fn has_duplicate_keys(netuid: u16) -> bool {
        let mut seen = std::collections::BTreeSet::new();
        !Keys::<T>::iter_prefix_values(netuid).all(|hotkey| seen.insert(hotkey))
    }
}

/// What an epoch gives a neuron: alpha in rao, before anything is taken from it.
pub(super) struct Share<AccountId> {
    /// The neuron's hotkey.
    pub hotkey: AccountId,
    /// For mining.
    pub server: u64,
    /// For validating.
    pub validator: u64,
}
