//! Bonds: a validator's claim on the neurons that it recognised early.

use super::{
    Input,
    matrix::{Matrix, to_u16},
};

/// How bonds grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BondRule {
    /// By stake times weight; the column is shared out.
    Classic,
    /// By weight alone, stake counts when dividends are shared out: the rule of new subnets.
    Yuma3,
    /// As [`BondRule::Yuma3`], and faster the further a weight is from consensus.
    Liquid {
        /// The least part that an epoch has in the moving average.
        low: f64,
        /// The largest.
        high: f64,
        /// How sharply it goes from one to the other.
        steepness: f64,
    },
}

/// Bonds after an epoch.
pub(super) struct Grown {
    rule: BondRule,
    bonds: Matrix,
}

/// The moving average of what validators were bonded with and what they judge now.
pub(super) fn grow(
    input: &Input,
    weights: &Matrix,
    clipped: &Matrix,
    consensus: &[f64],
    stake: &[f64],
) -> Grown {
    let n = input.members.len();
    let mut before = Matrix::zero(n);
    for (i, member) in input.members.iter().enumerate() {
        for &(uid, bond) in &member.bonds {
            let j = usize::from(uid);
            let known = input.members.get(j).is_some_and(|member| input.last_tempo > member.registered);
            if known {
                before.set(i, j, f64::from(bond) / 65_535.0);
            }
        }
    }
    let penalised = |i, j| {
        let weight = weights.get(i, j);
        weight + input.bonds_penalty * (clipped.get(i, j) - weight)
    };
    let rule = input.bonds;
    if rule == BondRule::Classic {
        before.normalize_columns();
        let mut gained = Matrix::from_fn(n, |i, j| stake[i] * penalised(i, j));
        gained.normalize_columns();
        let mut bonds =
            Matrix::from_fn(n, |i, j| average(input.bonds_alpha, gained.get(i, j), before.get(i, j)));
        bonds.normalize_columns();
        return Grown { rule, bonds };
    }
    let bonds = Matrix::from_fn(n, |i, j| {
        let (weight, bond) = (penalised(i, j), before.get(i, j));
        let alpha = match rule {
            BondRule::Liquid { low, high, steepness } => {
                let difference = if weight >= bond { weight - consensus[j] } else { bond - weight };
                let slope = (-steepness * (difference.clamp(0.0, 1.0) - 0.5)).exp();
                (low + (high - low) / (1.0 + slope)).clamp(low.min(high), high.max(low))
            }
            _ => input.bonds_alpha,
        };
        average(alpha, weight, bond)
    });
    Grown { rule, bonds }
}

fn average(alpha: f64, new: f64, old: f64) -> f64 {
    alpha * new + (1.0 - alpha) * old
}

impl Grown {
    /// What each validator's bonds earn of the neurons' incentive, before it is normalised.
    pub fn dividends(&self, stake: &[f64], incentive: &[f64]) -> Vec<f64> {
        let mut shares = self.bonds.clone();
        shares.normalize_columns();
        let earned = |row: &[f64]| row.iter().zip(incentive).map(|(bond, part)| bond * part).sum::<f64>();
        let rows = shares.rows().map(earned);
        match self.rule {
            BondRule::Classic => rows.collect(),
            _ => rows.zip(stake).map(|(earned, stake)| earned * stake).collect(),
        }
    }

    /// The bonds as they are stored, of neurons with a permit.
    pub fn stored(mut self, permits: &[bool]) -> Vec<Vec<(u16, u16)>> {
        if self.rule == BondRule::Classic {
            self.bonds.upscale_columns();
        }
        let row = |(row, permit): (&[f64], &bool)| {
            let bonds = (0u16..).zip(row).map(|(uid, bond)| (uid, to_u16(*bond)));
            bonds.filter(|(_, bond)| *permit && *bond > 0).collect()
        };
        self.bonds.rows().zip(permits).map(row).collect()
    }
}
