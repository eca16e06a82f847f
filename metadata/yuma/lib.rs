//! Yuma consensus: what validators say of neurons becomes what neurons earn. A pure function.
//!
//! Rows are validators, columns the neurons they judge. Arithmetic is in `f64`; Subtensor mainnet computes in
//! fixed point with 32 fractional bits, so single units of the stored 65535ths may differ.

mod bonds;
mod matrix;

#[cfg(test)]
mod tests;

pub use bonds::BondRule;

use matrix::{Matrix, normalize, to_u16};

/// A neuron before an epoch.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// Its stake weight in rao; 0 if that is below the threshold.
    pub stake: f64,
    /// Whether it set weights of late.
    pub active: bool,
    /// Whether it may judge others. The caller grants it to the subnet's owner.
    pub permit: bool,
    /// The block at which it was registered.
    pub registered: u64,
    /// The block at which it last set weights.
    pub last_update: u64,
    /// The block of its earliest commit that waits to be revealed.
    pub earliest_commit: Option<u64>,
    /// Its weights as (UID, weight).
    pub weights: Vec<(u16, u16)>,
    /// Its bonds as (UID, bond).
    pub bonds: Vec<(u16, u16)>,
}

/// A subnet before an epoch.
#[derive(Clone, Debug)]
pub struct Input {
    /// The neurons by UID.
    pub members: Vec<Member>,
    /// The owner's UID.
    pub owner: Option<u16>,
    /// Alpha to share, in rao.
    pub emission: u64,
    /// The part of the stake that makes consensus.
    pub kappa: f64,
    /// How far bonds follow clipped weights: 0 not at all, 1 wholly.
    pub bonds_penalty: f64,
    /// The part that an epoch has in the moving average of bonds.
    pub bonds_alpha: f64,
    /// How bonds grow.
    pub bonds: BondRule,
    /// Bonds to neurons registered at this block or later are forgotten.
    pub last_tempo: u64,
    /// How many validators there may be, beside the owner.
    pub max_validators: usize,
}

/// A neuron after an epoch. Fractions are in 65535ths, truncated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Neuron {
    /// Whether it set weights of late.
    pub active: bool,
    /// Whether it may judge others from now on.
    pub permit: bool,
    /// The weight that enough stake supports.
    pub consensus: u16,
    /// Its part of what miners get.
    pub incentive: u16,
    /// Its part of what validators get.
    pub dividends: u16,
    /// How much of its weights consensus took.
    pub validator_trust: u16,
    /// How much of what it was judged consensus took.
    pub trust: u16,
    /// Its part of all stake weight.
    pub stake_weight: u16,
    /// Alpha for mining, in rao.
    pub server: u64,
    /// Alpha for validating, in rao.
    pub validator: u64,
}

impl Neuron {
    /// All its alpha.
    pub fn emission(&self) -> u64 {
        self.server.saturating_add(self.validator)
    }
}

/// A subnet after an epoch.
#[derive(Clone, Debug)]
pub struct Output {
    /// The neurons by UID.
    pub neurons: Vec<Neuron>,
    /// Each validator's bonds as (UID, bond); empty without a permit.
    pub bonds: Vec<Vec<(u16, u16)>>,
}

/// Runs an epoch.
pub fn epoch(input: &Input) -> Output {
    let members = &input.members;
    let stake = normalize(members.iter().map(|member| member.stake).collect());
    let heard = members.iter().zip(&stake);
    let active_stake =
        normalize(heard.map(|(m, stake)| if m.active && m.permit { *stake } else { 0.0 }).collect());

    let mut weights = judgements(input);
    weights.normalize_rows();
    let consensus = weights.consensus(&active_stake, input.kappa);
    let mut clipped = weights.clone();
    clipped.clip_columns(&consensus);
    let trust: Vec<f64> = clipped.rows().map(|row| row.iter().sum()).collect();
    let (rank, judged) = (clipped.column_sums(&active_stake), weights.column_sums(&active_stake));
    let incentive = normalize(rank.clone());

    let grown = bonds::grow(input, &weights, &clipped, &consensus, &active_stake);
    let dividends = normalize(grown.dividends(&active_stake, &incentive));

    let total: f64 = incentive.iter().chain(&dividends).sum();
    let of_emission = |part: f64| (part / total * input.emission as f64) as u64;
    // If nobody judged, stake alone earns.
    let by_stake = if active_stake.iter().sum::<f64>() > 0.0 { &active_stake } else { &stake };
    let permits = permits(&stake, input.owner, input.max_validators);
    let neurons = (0..members.len()).map(|at| Neuron {
        active: members[at].active,
        permit: permits[at],
        consensus: to_u16(consensus[at]),
        incentive: to_u16(incentive[at]),
        dividends: to_u16(dividends[at]),
        validator_trust: to_u16(trust[at]),
        trust: if judged[at] > 0.0 { to_u16(rank[at] / judged[at]) } else { 0 },
        stake_weight: to_u16(stake[at]),
        server: if total > 0.0 { of_emission(incentive[at]) } else { 0 },
        validator: if total > 0.0 {
            of_emission(dividends[at])
        } else {
            (by_stake[at] * input.emission as f64) as u64
        },
    });
    let neurons = neurons.collect();
    Output { neurons, bonds: grown.stored(&permits) }
}

/// The weights that count: of neurons with a permit, not on themselves (the owner may), not set before the
/// judged neuron was registered, and not committed before that either.
fn judgements(input: &Input) -> Matrix {
    let mut weights = Matrix::zero(input.members.len());
    for (i, judge) in input.members.iter().enumerate().filter(|(_, judge)| judge.permit) {
        for &(uid, weight) in &judge.weights {
            let j = usize::from(uid);
            let Some(judged) = input.members.get(j) else { continue };
            let on_itself = i == j && input.owner != Some(uid);
            let outdated = judge.last_update <= judged.registered;
            let committed_before = judge.earliest_commit.is_some_and(|block| block < judged.registered);
            if !on_itself && !outdated && !committed_before {
                weights.set(i, j, f64::from(weight));
            }
        }
    }
    weights
}

/// The neurons with the most stake, as many as there may be; among equals the higher UID. The owner always.
fn permits(stake: &[f64], owner: Option<u16>, most: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..stake.len()).collect();
    order.sort_by(|a, b| stake[*a].total_cmp(&stake[*b]));
    let mut permits = vec![false; stake.len()];
    for at in order.into_iter().rev().take(most) {
        permits[at] = stake[at] != 0.0;
    }
    if let Some(permit) = owner.and_then(|uid| permits.get_mut(usize::from(uid))) {
        *permit = true;
    }
    permits
}
