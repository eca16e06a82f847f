//! What each observation says by itself.

use super::{Case, Gauntlet};
use crate::{
    gauntlet::{
        Evidence, Hotkey, Observation,
        proof::{self, Claim},
        record::Judged,
        stage1::{Stage1, malformed},
    },
    manifest::Proof,
};
use std::collections::{BTreeMap, BTreeSet};

impl Gauntlet {
    /// Measures every observation on its own; from here on the order is that of the hotkeys.
    pub(super) fn cases(
        &self,
        observations: &[Observation],
        claims: &BTreeMap<Hotkey, Claim>,
    ) -> BTreeMap<Hotkey, Case> {
        let (mut cases, mut twice) = (BTreeMap::new(), BTreeSet::new());
        for Observation { hotkey, stage1, evidence, aggregated } in observations {
            let Some(before) = self.peers.get(hotkey) else { continue };
            let (stage1, judged) = self.measure(stage1, evidence.as_ref(), claims.get(hotkey));
            let case = Case {
                stage1,
                aggregated: *aggregated,
                judged,
                before: before.clone(),
                overlap: Vec::new(),
                penalties: Vec::new(),
                failure_factor: Some(self.config.penalty),
                excused: false,
                forget: false,
            };
            if cases.insert(hotkey.clone(), case).is_some() {
                twice.insert(hotkey);
            }
        }
        cases.retain(|hotkey, _| !twice.contains(hotkey));
        cases
    }

    pub(super) fn measure(
        &self,
        stage1: &Stage1,
        evidence: Option<&Evidence>,
        claim: Option<&Claim>,
    ) -> (Stage1, Option<Judged>) {
        let Some(evidence) = evidence.filter(|_| stage1.is_accepted()) else {
            return (stage1.clone(), None);
        };
        if let Err(reason) = evidence.check() {
            return (malformed(reason), None);
        }
        let (own, random) = (evidence.own(), evidence.random());
        let (t, sign) = (proof::counterfactual_t(evidence), proof::sign(&own, &random));
        let scale = claim
            .map_or(1.0, |claim| claim.scale(own.sequences, random.sequences, self.config.own_sequences));
        let (observation, variance) = match self.config.proof {
            Proof::Sign => (sign, 1.0),
            Proof::Counterfactual | Proof::Off => (proof::observation(t) * scale, scale * scale),
        };
        let benefit_t = proof::benefit_t(evidence);
        let (claimed, usual) = claim.map_or((0, 0), |claim| (claim.claimed, claim.usual));
        let judged = Judged { own, random, benefit_t, t, sign, observation, variance, claimed, usual };
        (stage1.clone(), Some(judged))
    }
}
