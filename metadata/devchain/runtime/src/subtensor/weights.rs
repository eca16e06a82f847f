//! Weights: what a validator says of the subnet's neurons, and every check on the way to storage.

use super::*;
use frame_support::{ensure, pallet_prelude::DispatchResult};
use std::collections::BTreeSet;

impl<T: Config> Pallet<T> {
    /// Sets weights. `limited` is false for a reveal, whose rate was limited when it was committed.
    pub(super) fn do_set_weights(
        hotkey: &T::AccountId,
        netuid: u16,
        mechanism: u8,
        uids: Vec<u16>,
        values: Vec<u16>,
        version_key: u64,
        limited: bool,
    ) -> DispatchResult {
        ensure!(netuid != ROOT, Error::<T>::CanNotSetRootNetworkWeights);
        ensure!(uids.len() == values.len(), Error::<T>::WeightVecNotEqualSize);
        Self::ensure_mechanism(netuid, mechanism)?;
        let n = SubnetworkN::<T>::get(netuid);
        ensure!(uids.len() <= usize::from(n), Error::<T>::UidsLengthExceedUidsInSubNet);
        let uid = Uids::<T>::get(netuid, hotkey).ok_or(Error::<T>::HotKeyNotRegisteredInSubNet)?;
        ensure!(Self::has_stake_for_weights(hotkey, netuid), Error::<T>::NotEnoughStakeToSetWeights);
        let wanted = WeightsVersionKey::<T>::get(netuid);
        ensure!(wanted == 0 || version_key >= wanted, Error::<T>::IncorrectWeightVersionKey);
        let index = storage_index(netuid, mechanism);
        if limited {
            ensure!(Self::may_set_weights(netuid, index, uid), Error::<T>::SettingWeightsTooFast);
        }
        let on_itself = uids.len() == 1 && uids.first() == Some(&uid);
        let may_judge = on_itself
            || *hotkey == SubnetOwnerHotkey::<T>::get(netuid)
            || ValidatorPermit::<T>::get(netuid).get(usize::from(uid)) == Some(&true);
        ensure!(may_judge, Error::<T>::NeuronNoValidatorPermit);
        let distinct: BTreeSet<u16> = uids.iter().copied().collect();
        ensure!(distinct.len() == uids.len(), Error::<T>::DuplicateUids);
        ensure!(distinct.iter().all(|target| *target < n), Error::<T>::UidVecContainInvalidOne);
        let least = usize::from(MinAllowedWeights::<T>::get(netuid).min(n));
        ensure!(on_itself || uids.len() >= least, Error::<T>::WeightVecLengthIsLow);

        let row: Vec<(u16, u16)> = uids.into_iter().zip(max_upscaled(&values)).collect();
        Weights::<T>::insert(index, uid, row);
        if limited {
            Self::touch(index, uid);
        }
        Self::deposit_event(Event::WeightsSet(index, uid));
        Ok(())
    }

    /// Refuses a subnet or mechanism that does not exist.
    pub(super) fn ensure_mechanism(netuid: u16, mechanism: u8) -> DispatchResult {
        let exists = NetworksAdded::<T>::get(netuid) && mechanism < MechanismCountCurrent::<T>::get(netuid);
        ensure!(exists, Error::<T>::MechanismDoesNotExist);
        Ok(())
    }

    /// Whether enough blocks have passed since this UID last set or committed weights. Registration counts.
    pub(super) fn may_set_weights(netuid: u16, index: u16, uid: u16) -> bool {
        let last = LastUpdate::<T>::get(index).get(usize::from(uid)).copied().unwrap_or(0);
        last == 0 || Self::now().saturating_sub(last) >= WeightsSetRateLimit::<T>::get(netuid)
    }

    /// Notes that this UID set or committed weights now.
    pub(super) fn touch(index: u16, uid: u16) {
        let now = Self::now();
        LastUpdate::<T>::mutate(index, |blocks| {
            if let Some(block) = blocks.get_mut(usize::from(uid)) {
                *block = now;
            }
        });
    }
}

/// Weights scaled so that the largest is 65535. The factor of a largest above 32768 is rounded to 32
/// fractional bits first, as on Subtensor mainnet.
pub(super) fn max_upscaled(values: &[u16]) -> Vec<u16> {
    let Some(largest) = values.iter().copied().max().filter(|largest| *largest > 0) else {
        return values.to_vec();
    };
    let scale = |value: u16| {
        let (value, largest) = (u64::from(value), u64::from(largest));
        let scaled = if largest > 32_768 {
            let factor = (65_535u64 << 32) / largest;
            (value * factor + (1 << 31)) >> 32
        } else {
            (value * 65_535 + largest / 2) / largest
        };
        u16::try_from(scaled).unwrap_or(u16::MAX)
    };
    values.iter().copied().map(scale).collect()
}
