//! Salted commits: a validator publishes a hash, and an epoch or more later the weights behind it.

use super::*;
use frame_support::{ensure, pallet_prelude::DispatchResult};
use parity_scale_codec::Encode;
use sp_core::H256;
use sp_runtime::traits::{BlakeTwo256, Hash};
use std::collections::VecDeque;

/// How many commits of a hotkey may wait.
const MOST_PENDING: usize = 10;

/// A commit as it is stored; what the numbers mean depends on the spec version.
pub(super) type Commit = (H256, u64, u64, u64);
type Commits = VecDeque<Commit>;

impl<T: Config> Pallet<T> {
    pub(super) fn do_commit_weights(
        hotkey: &T::AccountId,
        netuid: u16,
        mechanism: u8,
        hash: H256,
    ) -> DispatchResult {
        Self::ensure_mechanism(netuid, mechanism)?;
        ensure!(CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealDisabled);
        let uid = Uids::<T>::get(netuid, hotkey).ok_or(Error::<T>::HotKeyNotRegisteredInSubNet)?;
        let index = storage_index(netuid, mechanism);
        ensure!(Self::may_set_weights(netuid, index, uid), Error::<T>::CommittingWeightsTooFast);
        let mut commits: Commits = WeightCommits::<T>::get(index, hotkey).unwrap_or_default();
        commits.retain(|commit| !Self::is_expired(netuid, commit));
        ensure!(commits.len() < MOST_PENDING, Error::<T>::TooManyUnrevealedCommits);
        commits.push_back(Self::new_commit(netuid, hash));
        WeightCommits::<T>::insert(index, hotkey, commits);
        Self::touch(index, uid);
        Self::deposit_event(Event::WeightsCommitted(hotkey.clone(), index, hash));
        Ok(())
    }

    #[allow(clippy::too_many_arguments)] // They are the call's.
    pub(super) fn do_reveal_weights(
        hotkey: &T::AccountId,
        netuid: u16,
        mechanism: u8,
        uids: Vec<u16>,
        values: Vec<u16>,
        salt: Vec<u16>,
        version_key: u64,
    ) -> DispatchResult {
        ensure!(CommitRevealWeightsEnabled::<T>::get(netuid), Error::<T>::CommitRevealDisabled);
        let index = storage_index(netuid, mechanism);
        let hash = commit_hash(hotkey, index, &uids, &values, &salt, version_key);
        let mut commits: Commits =
            WeightCommits::<T>::get(index, hotkey).ok_or(Error::<T>::NoWeightsCommitFound)?;
        let place = Self::find_commit(netuid, &commits, hash)?;
        commits.drain(..=place);
        if commits.is_empty() {
            WeightCommits::<T>::remove(index, hotkey);
        } else {
            WeightCommits::<T>::insert(index, hotkey, commits);
        }
        Self::do_set_weights(hotkey, netuid, mechanism, uids, values, version_key, false)?;
        Self::deposit_event(Event::WeightsRevealed(hotkey.clone(), index, hash));
        Ok(())
    }

    /// The place of a commit that may be revealed now.
    pub(super) fn find_commit(netuid: u16, commits: &Commits, hash: H256) -> Result<usize, Error<T>> {
        let found = commits.iter().enumerate().find(|(_, commit)| commit.0 == hash);
        let Some((place, commit)) = found else {
            let all_expired = commits.iter().all(|commit| Self::is_expired(netuid, commit));
            return Err(match (commits.is_empty(), all_expired) {
                (true, _) => Error::NoWeightsCommitFound,
                (_, true) => Error::ExpiredWeightCommit,
                _ => Error::InvalidRevealCommitHashNotMatch,
            });
        };
        ensure!(!Self::is_expired(netuid, commit), Error::<T>::ExpiredWeightCommit);
        let reveal = Self::commit_epoch(netuid, commit).saturating_add(RevealPeriodEpochs::<T>::get(netuid));
        ensure!(Self::current_epoch(netuid) == reveal, Error::<T>::RevealTooEarly);
        Ok(place)
    }

    /// Whether the epoch in which a commit could be revealed is over.
    pub(super) fn is_expired(netuid: u16, commit: &Commit) -> bool {
        let committed = Self::commit_epoch(netuid, commit);
        Self::current_epoch(netuid) > committed.saturating_add(RevealPeriodEpochs::<T>::get(netuid))
    }

    /// The block of a neuron's earliest commit that may still be revealed.
    pub(super) fn earliest_commit(netuid: u16, index: u16, hotkey: &T::AccountId) -> Option<u64> {
        let commits: Commits = WeightCommits::<T>::get(index, hotkey)?;
        let open = commits.iter().filter(|commit| !Self::is_expired(netuid, commit));
        open.map(Self::commit_block).min()
    }
}

/// What a validator commits to: BLAKE2b-256 of the SCALE tuple.
pub fn commit_hash<AccountId: Encode>(
    hotkey: &AccountId,
    storage_index: u16,
    uids: &[u16],
    values: &[u16],
    salt: &[u16],
    version_key: u64,
) -> H256 {
    BlakeTwo256::hash_of(&(hotkey, storage_index, uids, values, salt, version_key))
}
