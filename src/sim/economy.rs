//! The simulator's chain: validators with stake, their weights, and Yuma consensus once a window.

use super::scenario::{Conduct, ValidatorSpec};
use crate::window::{Uid, Window};
use std::collections::BTreeMap;
use templar_yuma::{self as yuma, BondRule, Input, Member};

/// One TAO in rao.
const RAO: f64 = 1e9;

/// What was paid, and what consensus was.
pub struct Economy {
    miners: usize,
    validators: Vec<Validator>,
    bonds: Vec<Vec<(u16, u16)>>,
    /// Consensus of the last epoch by UID, in 65535ths.
    consensus: Vec<u16>,
    /// Incentive of the last epoch by UID; the sum is 1.
    pub incentive: BTreeMap<Uid, f64>,
}

struct Validator {
    spec: ValidatorSpec,
    weights: Vec<(u16, u16)>,
    set_at: u64,
}

impl Economy {
    /// A chain with UIDs `0..miners` for miners and the validators behind them.
    pub fn new(miners: usize, specs: &[ValidatorSpec]) -> Self {
        let validator =
            |spec: &ValidatorSpec| Validator { spec: spec.clone(), weights: Vec::new(), set_at: 0 };
        let all = miners + specs.len();
        Self {
            miners,
            validators: specs.iter().map(validator).collect(),
            bonds: vec![Vec::new(); all],
            consensus: vec![0; all],
            incentive: BTreeMap::new(),
        }
    }

    /// Validators set what they found, each in its own way; `judged` are the weights of each honest judge,
    /// `friends` the UIDs that a validator favours.
    pub fn set_weights(&mut self, window: Window, judged: &[Vec<(Uid, u16)>], friends: &[Uid]) {
        for (validator, judged) in self.validators.iter_mut().zip(judged) {
            validator.set_at = 2 * window + 3;
            validator.weights = match validator.spec.conduct {
                Conduct::Honest | Conduct::Misleads => judged.clone(),
                Conduct::CopiesWeights => {
                    let slots = self.consensus.iter().take(self.miners).enumerate();
                    slots.filter(|(_, w)| **w > 0).map(|(uid, w)| (uid as u16, *w)).collect()
                }
                Conduct::Favours => {
                    let mut weights: BTreeMap<u16, u16> = judged.iter().copied().collect();
                    weights.extend(friends.iter().map(|friend| (*friend, u16::MAX)));
                    weights.into_iter().collect()
                }
            };
        }
    }

    /// One epoch; `registered` says when each UID was registered last.
    pub fn epoch(&mut self, window: Window, registered: &BTreeMap<Uid, Window>) {
        let miner = |uid: usize| Member {
            active: true,
            registered: registered.get(&(uid as Uid)).map_or(0, |at| 2 * at + 1),
            ..Member::default()
        };
        let mut members: Vec<Member> = (0..self.miners).map(miner).collect();
        members.extend(self.validators.iter().map(|validator| Member {
            stake: validator.spec.stake * RAO,
            active: true,
            permit: true,
            last_update: validator.set_at,
            weights: validator.weights.clone(),
            ..Member::default()
        }));
        for (member, bonds) in members.iter_mut().zip(&self.bonds) {
            member.bonds.clone_from(bonds);
        }
        let output = yuma::epoch(&Input {
            members,
            owner: None,
            emission: RAO as u64,
            kappa: 0.5,
            bonds_penalty: 1.0,
            bonds_alpha: 0.1,
            bonds: BondRule::Yuma3,
            last_tempo: 2 * window,
            max_validators: 64,
        });
        self.bonds = output.bonds;
        self.consensus = output.neurons.iter().map(|neuron| neuron.consensus).collect();
        let paid: f64 = output.neurons.iter().map(|neuron| neuron.server as f64).sum();
        let miners = output.neurons.iter().take(self.miners).enumerate();
        self.incentive = miners.map(|(uid, n)| (uid as Uid, n.server as f64 / paid.max(1.0))).collect();
    }
}
