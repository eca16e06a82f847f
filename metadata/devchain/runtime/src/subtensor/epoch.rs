//! The epoch: reads the subnet's state for [`yuma`], and writes what it says.

use super::{coinbase::Share, *};
use templar_yuma as yuma;

impl<T: Config> Pallet<T> {
    /// Runs consensus on the subnet's first mechanism and stores its result. Returns what each neuron earns
    /// of `emission`.
    pub(super) fn epoch(netuid: u16, emission: u64) -> Vec<Share<T::AccountId>> {
        let hotkeys: Vec<T::AccountId> =
            (0..SubnetworkN::<T>::get(netuid)).map(|uid| Keys::<T>::get(netuid, uid)).collect();
        let result = yuma::epoch(&Self::epoch_input(netuid, &hotkeys, emission));
        let emissions: Vec<u64> = result.neurons.iter().map(|neuron| neuron.emission()).collect();
        let column = |value: fn(&yuma::Neuron) -> u16| result.neurons.iter().map(value).collect::<Vec<u16>>();
        let incentives: Vec<u64> = result.neurons.iter().map(|neuron| neuron.server).collect();
        Active::<T>::insert(netuid, result.neurons.iter().map(|neuron| neuron.active).collect::<Vec<_>>());
        ValidatorPermit::<T>::insert(
            netuid,
            result.neurons.iter().map(|neuron| neuron.permit).collect::<Vec<_>>(),
        );
        Consensus::<T>::insert(netuid, column(|neuron| neuron.consensus));
        Incentive::<T>::insert(netuid, column(|neuron| neuron.incentive));
        Dividends::<T>::insert(netuid, column(|neuron| neuron.dividends));
        ValidatorTrust::<T>::insert(netuid, column(|neuron| neuron.validator_trust));
        StakeWeight::<T>::insert(netuid, column(|neuron| neuron.stake_weight));
        Self::put_scores(netuid, &result.neurons);
        Emission::<T>::insert(netuid, emissions);
        for (uid, row) in (0u16..).zip(&result.bonds) {
            if row.is_empty() {
                Bonds::<T>::remove(netuid, uid);
            } else {
                Bonds::<T>::insert(netuid, uid, row);
            }
        }
        Self::deposit_event(Event::IncentiveAlphaEmittedToMiners { netuid, emissions: incentives });
        let shares = hotkeys.into_iter().zip(result.neurons);
        shares
            .map(|(hotkey, neuron)| Share { hotkey, server: neuron.server, validator: neuron.validator })
            .collect()
    }

    /// The block of a neuron's earliest commit that may still be revealed, of either kind.
    fn earliest(netuid: u16, hotkey: &T::AccountId) -> Option<u64> {
        let timelocked = Self::earliest_timelocked(netuid, netuid, hotkey);
        Self::earliest_commit(netuid, netuid, hotkey).into_iter().chain(timelocked).min()
    }

    /// What only older chains keep of an epoch: rank, trust and the score by which neurons are replaced.
    #[cfg(feature = "spec365")]
    fn put_scores(netuid: u16, neurons: &[yuma::Neuron]) {
        let most = neurons.iter().map(yuma::Neuron::emission).max().unwrap_or(0).max(1);
        let score = |neuron: &yuma::Neuron| {
            u16::try_from(u128::from(neuron.emission()) * 65_535 / u128::from(most)).unwrap_or(u16::MAX)
        };
        PruningScores::<T>::insert(netuid, neurons.iter().map(score).collect::<Vec<_>>());
        Rank::<T>::insert(netuid, neurons.iter().map(|neuron| neuron.incentive).collect::<Vec<_>>());
        Trust::<T>::insert(netuid, neurons.iter().map(|neuron| neuron.trust).collect::<Vec<_>>());
    }

    #[cfg(not(feature = "spec365"))]
    fn put_scores(_netuid: u16, _neurons: &[yuma::Neuron]) {}

    fn epoch_input(netuid: u16, hotkeys: &[T::AccountId], emission: u64) -> yuma::Input {
        let now = Self::now();
        let tempo = u64::from(Tempo::<T>::get(netuid));
        let last_step = LastMechansimStepBlock::<T>::get(netuid);
        let committed = CommitRevealWeightsEnabled::<T>::get(netuid);
        let owner = Uids::<T>::get(netuid, SubnetOwnerHotkey::<T>::get(netuid));
        let threshold = StakeThreshold::<T>::get() as f64;
        let permits = ValidatorPermit::<T>::get(netuid);
        let last_update = LastUpdate::<T>::get(netuid);
        let cutoff = Self::activity_cutoff(netuid);
        let neurons = (0u16..).zip(hotkeys).map(|(uid, hotkey)| {
            let at = usize::from(uid);
            let stake = Self::stake_weight(hotkey, netuid);
            let last_update = last_update.get(at).copied().unwrap_or(0);
            yuma::Member {
                stake: if owner == Some(uid) || stake >= threshold { stake } else { 0.0 },
                active: last_update.saturating_add(cutoff) >= now,
                permit: owner == Some(uid) || permits.get(at) == Some(&true),
                registered: BlockAtRegistration::<T>::get(netuid, uid),
                last_update,
                earliest_commit: committed.then(|| Self::earliest(netuid, hotkey)).flatten(),
                weights: Weights::<T>::get(netuid, uid),
                bonds: Bonds::<T>::get(netuid, uid),
            }
        });
        let (low, high) = AlphaValues::<T>::get(netuid);
        yuma::Input {
            members: neurons.collect(),
            owner,
            emission,
            kappa: f64::from(Kappa::<T>::get(netuid)) / 65_535.0,
            bonds_penalty: f64::from(BondsPenalty::<T>::get(netuid)) / 65_535.0,
            bonds_alpha: 1.0 - BondsMovingAverage::<T>::get(netuid) as f64 / 1e6,
            bonds: match (Yuma3On::<T>::get(netuid), LiquidAlphaOn::<T>::get(netuid)) {
                (false, _) => yuma::BondRule::Classic,
                (true, false) => yuma::BondRule::Yuma3,
                (true, true) => yuma::BondRule::Liquid {
                    low: f64::from(low) / 65_535.0,
                    high: f64::from(high) / 65_535.0,
                    steepness: f64::from(AlphaSigmoidSteepness::<T>::get(netuid)) / 100.0,
                },
            },
            last_tempo: if last_step == 0 { now.saturating_sub(tempo) } else { last_step.saturating_add(1) },
            max_validators: usize::from(MaxAllowedValidators::<T>::get(netuid)),
        }
    }
}
