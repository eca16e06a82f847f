//! Timelocked commits: weights encrypted to a round of the beacon, which the chain opens by itself.

use super::*;
use crate::{beacon, drand};
use frame_support::{BoundedVec, ensure, pallet_prelude::DispatchResult, traits::ConstU32};
use parity_scale_codec::{Decode, DecodeAll, Encode};
use sp_runtime::traits::{BlakeTwo256, Hash};
use std::collections::VecDeque;

/// Commits of a hotkey that one epoch takes.
const MOST_IN_EPOCH: usize = 10;

/// A commit's ciphertext.
pub type Ciphertext = BoundedVec<u8, ConstU32<5_000>>;

/// What a validator encrypts.
#[derive(Decode)]
struct Plaintext {
    hotkey: Vec<u8>,
    uids: Vec<u16>,
    values: Vec<u16>,
    version_key: u64,
}

impl Plaintext {
    /// Reads the plaintext; before the hotkey was part of it, anybody could copy a commit, and the chain
    /// still takes that form.
    fn read(bytes: &[u8], hotkey: &[u8]) -> Option<Self> {
        if let Ok(plaintext) = Self::decode_all(&mut &bytes[..]) {
            return (plaintext.hotkey == hotkey).then_some(plaintext);
        }
        let (uids, values, version_key) = DecodeAll::decode_all(&mut &bytes[..]).ok()?;
        Some(Self { hotkey: hotkey.to_vec(), uids, values, version_key })
    }
}

impl<T: Config> Pallet<T> {
    pub(super) fn do_commit_timelocked(
        hotkey: &T::AccountId,
        netuid: u16,
        mechanism: u8,
        commit: Ciphertext,
        round: u64,
        version: u16,
    ) -> DispatchResult {
        Self::ensure_mechanism(netuid, mechanism)?;
        ensure!(CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealDisabled);
        let right = version == CommitRevealWeightsVersion::<T>::get();
        ensure!(right, Error::<T>::IncorrectCommitRevealVersion);
        let uid = Uids::<T>::get(netuid, hotkey).ok_or(Error::<T>::HotKeyNotRegisteredInSubNet)?;
        let index = storage_index(netuid, mechanism);
        ensure!(Self::may_set_weights(netuid, index, uid), Error::<T>::CommittingWeightsTooFast);
        let hash = BlakeTwo256::hash(&commit);
        TimelockedWeightCommits::<T>::try_mutate(index, Self::current_epoch(netuid), |commits| {
            let own = commits.iter().filter(|(who, ..)| who == hotkey).count();
            ensure!(own < MOST_IN_EPOCH, Error::<T>::TooManyUnrevealedCommits);
            commits.push_back((hotkey.clone(), Self::now(), commit, round));
            Ok::<(), Error<T>>(())
        })?;
        Self::touch(index, uid);
        Self::deposit_event(Event::TimelockedWeightsCommitted(hotkey.clone(), index, hash, round));
        Ok(())
    }

    /// Opens what is due in this epoch and sets its weights. A commit whose pulse is missing waits as long as
    /// the epoch lasts; one that cannot be opened, or whose weights are refused, is dropped without a trace.
    pub(super) fn reveal_timelocked(netuid: u16) {
        let period = RevealPeriodEpochs::<T>::get(netuid);
        let Some(due) = Self::current_epoch(netuid).checked_sub(period) else { return };
        for mechanism in 0..MechanismCountCurrent::<T>::get(netuid) {
            let index = storage_index(netuid, mechanism);
            let old = TimelockedWeightCommits::<T>::iter_key_prefix(index).filter(|epoch| *epoch < due);
            for epoch in old.collect::<Vec<_>>() {
                TimelockedWeightCommits::<T>::remove(index, epoch);
            }
            let commits = TimelockedWeightCommits::<T>::take(index, due);
            let mut waiting = VecDeque::new();
            for (hotkey, block, commit, round) in commits {
                let Some(pulse) = drand::Pulses::<T>::get(round) else {
                    waiting.push_back((hotkey, block, commit, round));
                    continue;
                };
                match Self::open_timelocked(&hotkey, netuid, mechanism, &commit, &pulse.signature) {
                    Some(Ok(())) => Self::deposit_event(Event::TimelockedWeightsRevealed(index, hotkey)),
                    _ => log(netuid, round),
                }
            }
            if !waiting.is_empty() {
                TimelockedWeightCommits::<T>::insert(index, due, waiting);
            }
        }
    }

    fn open_timelocked(
        hotkey: &T::AccountId,
        netuid: u16,
        mechanism: u8,
        commit: &[u8],
        signature: &[u8],
    ) -> Option<DispatchResult> {
        let bytes = (beacon::installed()?.open)(commit, signature)?;
        let Plaintext { uids, values, version_key, .. } =
            hotkey.using_encoded(|hotkey| Plaintext::read(&bytes, hotkey))?;
        // All or nothing, as a call of the hotkey's would be.
        Some(frame_support::storage::with_storage_layer(|| {
            Self::do_set_weights(hotkey, netuid, mechanism, uids, values, version_key, false)
        }))
    }

    /// The block of a neuron's earliest timelocked commit that may still be opened.
    pub(super) fn earliest_timelocked(netuid: u16, index: u16, hotkey: &T::AccountId) -> Option<u64> {
        let period = RevealPeriodEpochs::<T>::get(netuid);
        let oldest = Self::current_epoch(netuid).saturating_sub(period);
        TimelockedWeightCommits::<T>::iter_prefix(index)
            .filter(|(epoch, _)| *epoch >= oldest)
            .flat_map(|(_, commits)| commits)
            .filter_map(|(who, block, ..)| (who == *hotkey).then_some(block))
            .min()
    }
}

fn log(netuid: u16, round: u64) {
    frame_support::__private::log::debug!("a commit of subnet {netuid} to round {round} does not reveal");
}
