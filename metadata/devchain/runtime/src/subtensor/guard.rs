//! What the pool refuses before a call is ever included.

use super::*;
use frame_support::ensure;

impl<T: Config> Pallet<T> {
    /// Refuses calls that cost nothing and are bound to fail.
    pub fn guard(who: &T::AccountId, call: &Call<T>) -> Result<(), Error<T>> {
        match call {
            Call::set_weights { netuid, .. } => Self::guard_weights(who, *netuid, 0),
            Call::set_mechanism_weights { netuid, mecid, .. } => Self::guard_weights(who, *netuid, *mecid),
            Call::commit_weights { netuid, .. } => Self::guard_commit(who, *netuid, 0),
            Call::commit_mechanism_weights { netuid, mecid, .. } => Self::guard_commit(who, *netuid, *mecid),
            Call::reveal_weights { netuid, uids, values, salt, version_key } => {
                let hash = commit_reveal::commit_hash(who, *netuid, uids, values, salt, *version_key);
                Self::guard_reveal(who, *netuid, 0, hash)
            }
            Call::reveal_mechanism_weights { netuid, mecid, uids, values, salt, version_key } => {
                let index = storage_index(*netuid, *mecid);
                let hash = commit_reveal::commit_hash(who, index, uids, values, salt, *version_key);
                Self::guard_reveal(who, *netuid, *mecid, hash)
            }
            Call::commit_timelocked_weights { netuid, reveal_round, .. }
            | Call::commit_timelocked_mechanism_weights { netuid, reveal_round, .. } => {
                Self::guard_timelocked(who, *netuid, *reveal_round)
            }
            Call::register_network { .. } => {
                ensure!(Self::may_register_network(), Error::<T>::NetworkTxRateLimitExceeded);
                Ok(())
            }
            Call::serve_axon { netuid, version, ip, port, ip_type, protocol, placeholder1, placeholder2 } => {
                let axon = AxonInfo {
                    block: Self::now(),
                    version: *version,
                    ip: *ip,
                    port: *port,
                    ip_type: *ip_type,
                    protocol: *protocol,
                    placeholder1: *placeholder1,
                    placeholder2: *placeholder2,
                };
                Self::check_axon(who, *netuid, &axon)
            }
            _ => Ok(()),
        }
    }

    fn guard_weights(who: &T::AccountId, netuid: u16, mechanism: u8) -> Result<(), Error<T>> {
        ensure!(Self::has_stake_for_weights(who, netuid), Error::<T>::NotEnoughStakeToSetWeights);
        // A hotkey without a UID learns on chain that it has none.
        let uid = Uids::<T>::get(netuid, who).filter(|_| !CommitRevealWeightsEnabled::<T>::get(netuid));
        let in_time = |uid| Self::may_set_weights(netuid, storage_index(netuid, mechanism), uid);
        ensure!(uid.is_none_or(in_time), Error::<T>::SettingWeightsTooFast);
        Ok(())
    }

    fn guard_commit(who: &T::AccountId, netuid: u16, mechanism: u8) -> Result<(), Error<T>> {
        ensure!(Self::has_stake_for_weights(who, netuid), Error::<T>::NotEnoughStakeToSetWeights);
        let in_time = |uid| Self::may_set_weights(netuid, storage_index(netuid, mechanism), uid);
        ensure!(Uids::<T>::get(netuid, who).is_none_or(in_time), Error::<T>::CommittingWeightsTooFast);
        Ok(())
    }

    /// The rate is limited on chain only.
    fn guard_timelocked(who: &T::AccountId, netuid: u16, round: u64) -> Result<(), Error<T>> {
        ensure!(Self::has_stake_for_weights(who, netuid), Error::<T>::NotEnoughStakeToSetWeights);
        // Older chains have no such refusal: there, the commit is just never opened in time.
        #[cfg(not(feature = "spec365"))]
        ensure!(round >= crate::drand::LastStoredRound::<T>::get(), Error::<T>::InvalidRevealRound);
        let _ = round;
        Ok(())
    }

    fn guard_reveal(
        who: &T::AccountId,
        netuid: u16,
        mechanism: u8,
        hash: sp_core::H256,
    ) -> Result<(), Error<T>> {
        ensure!(Self::has_stake_for_weights(who, netuid), Error::<T>::NotEnoughStakeToSetWeights);
        let commits = WeightCommits::<T>::get(storage_index(netuid, mechanism), who)
            .ok_or(Error::<T>::NoWeightsCommitFound)?;
        Self::find_commit(netuid, &commits, hash).map(|_| ())
    }
}
