//! Places in a subnet: who gets one, and who loses it when all are taken.

use super::*;

impl<T: Config> Pallet<T> {
    /// Gives the hotkey a UID: the next one, or that of the neuron which is pruned. `None` if nobody can be.
    pub(super) fn allocate_uid(netuid: u16, hotkey: &T::AccountId) -> Option<u16> {
        let uid = Self::uid_for_next(netuid)?;
        if uid < SubnetworkN::<T>::get(netuid) {
            Self::replace_neuron(netuid, uid, hotkey);
        } else {
            Self::append_neuron(netuid, hotkey);
        }
        Some(uid)
    }

    /// The UID that the next registration would take.
    pub(super) fn uid_for_next(netuid: u16) -> Option<u16> {
        let n = SubnetworkN::<T>::get(netuid);
        match MaxAllowedUids::<T>::get(netuid) {
            0 => None,
            most if n < most => Some(n),
            _ => Self::neuron_to_prune(netuid),
        }
    }

    /// The neuron with the least emission, then the oldest, then the lowest UID. Immune ones are spared
    /// while enough others remain; the owner's are spared always.
    pub(super) fn neuron_to_prune(netuid: u16) -> Option<u16> {
        let now = Self::now();
        let period = u64::from(ImmunityPeriod::<T>::get(netuid));
        let emission = Emission::<T>::get(netuid);
        let immortal = Self::immortal_uids(netuid);
        let candidates: Vec<(u64, u64, u16, bool)> = (0..SubnetworkN::<T>::get(netuid))
            .filter(|uid| !immortal.contains(uid))
            .map(|uid| {
                let registered = BlockAtRegistration::<T>::get(netuid, uid);
                let earned = emission.get(usize::from(uid)).copied().unwrap_or(0);
                (earned, registered, uid, now.saturating_sub(registered) < period)
            })
            .collect();
        let exposed = candidates.iter().filter(|candidate| !candidate.3).count();
        let spare_immune = exposed > usize::from(MinNonImmuneUids::<T>::get(netuid));
        let best = |immune: bool| candidates.iter().filter(|c| c.3 == immune).min().map(|c| c.2);
        if spare_immune { best(false) } else { best(true) }
    }

    /// The owner's hotkey, and the oldest of its owner's other hotkeys as far as the limit goes.
    fn immortal_uids(netuid: u16) -> Vec<u16> {
        let owner_hotkey = SubnetOwnerHotkey::<T>::get(netuid);
        let mut others: Vec<(u64, u16)> = OwnedHotkeys::<T>::get(SubnetOwner::<T>::get(netuid))
            .into_iter()
            .filter(|hotkey| *hotkey != owner_hotkey)
            .filter_map(|hotkey| Uids::<T>::get(netuid, hotkey))
            .map(|uid| (BlockAtRegistration::<T>::get(netuid, uid), uid))
            .collect();
        others.sort_unstable();
        let limit = usize::from(ImmuneOwnerUidsLimit::<T>::get(netuid));
        let oldest = others.into_iter().take(limit).map(|(_, uid)| uid);
        Uids::<T>::get(netuid, owner_hotkey).into_iter().chain(oldest).collect()
    }

    /// Adds a neuron at the end.
    pub(super) fn append_neuron(netuid: u16, hotkey: &T::AccountId) {
        let now = Self::now();
        let uid = SubnetworkN::<T>::get(netuid);
        SubnetworkN::<T>::insert(netuid, uid.saturating_add(1));
        Active::<T>::append(netuid, true);
        Emission::<T>::append(netuid, 0u64);
        Consensus::<T>::append(netuid, 0u16);
        Dividends::<T>::append(netuid, 0u16);
        StakeWeight::<T>::append(netuid, 0u16);
        ValidatorTrust::<T>::append(netuid, 0u16);
        ValidatorPermit::<T>::append(netuid, false);
        for index in Self::mechanisms(netuid) {
            Incentive::<T>::append(index, 0u16);
            LastUpdate::<T>::append(index, now);
        }
        Self::put_hotkey(netuid, uid, hotkey, now);
    }

    /// Gives a UID to another hotkey: nothing of the old one stays, neither its own rows nor weights on it.
    pub(super) fn replace_neuron(netuid: u16, uid: u16, hotkey: &T::AccountId) {
        let now = Self::now();
        let old = Keys::<T>::get(netuid, uid);
        Uids::<T>::remove(netuid, &old);
        IsNetworkMember::<T>::remove(&old, netuid);
        Axons::<T>::remove(netuid, &old);
        fn put<V>(values: &mut [V], uid: u16, value: V) {
            if let Some(place) = values.get_mut(usize::from(uid)) {
                *place = value;
            }
        }
        Active::<T>::mutate(netuid, |values| put(values, uid, true));
        Emission::<T>::mutate(netuid, |values| put(values, uid, 0));
        Consensus::<T>::mutate(netuid, |values| put(values, uid, 0));
        Dividends::<T>::mutate(netuid, |values| put(values, uid, 0));
        StakeWeight::<T>::mutate(netuid, |values| put(values, uid, 0));
        ValidatorTrust::<T>::mutate(netuid, |values| put(values, uid, 0));
        ValidatorPermit::<T>::mutate(netuid, |values| put(values, uid, false));
        for index in Self::mechanisms(netuid) {
            Incentive::<T>::mutate(index, |values| put(values, uid, 0));
            LastUpdate::<T>::mutate(index, |values| put(values, uid, now));
            Weights::<T>::remove(index, uid);
            Bonds::<T>::remove(index, uid);
            for other in 0..SubnetworkN::<T>::get(netuid) {
                let mut row = Weights::<T>::get(index, other);
                if row.iter().any(|(target, weight)| *target == uid && *weight != 0) {
                    row.iter_mut().filter(|(target, _)| *target == uid).for_each(|entry| entry.1 = 0);
                    Weights::<T>::insert(index, other, row);
                }
            }
        }
        Self::put_hotkey(netuid, uid, hotkey, now);
    }

    fn put_hotkey(netuid: u16, uid: u16, hotkey: &T::AccountId, now: u64) {
        Keys::<T>::insert(netuid, uid, hotkey);
        Uids::<T>::insert(netuid, hotkey, uid);
        IsNetworkMember::<T>::insert(hotkey, netuid, true);
        BlockAtRegistration::<T>::insert(netuid, uid, now);
    }

    /// Gives a subnet so many mechanisms; every neuron gets its place in what they keep for each.
    pub(crate) fn set_mechanism_count(netuid: u16, count: u8) {
        MechanismCountCurrent::<T>::insert(netuid, count);
        let neurons = usize::from(SubnetworkN::<T>::get(netuid));
        for index in Self::mechanisms(netuid) {
            LastUpdate::<T>::mutate(index, |blocks| blocks.resize(neurons, 0));
            Incentive::<T>::mutate(index, |shares| shares.resize(neurons, 0));
        }
    }

    /// The storage indices of a subnet's mechanisms.
    pub(super) fn mechanisms(netuid: u16) -> impl Iterator<Item = u16> {
        (0..MechanismCountCurrent::<T>::get(netuid)).map(move |mechanism| storage_index(netuid, mechanism))
    }
}
