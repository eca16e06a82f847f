//! What each observation says by itself.

use super::{Case, Gauntlet};
use crate::{
    gauntlet::{
        Evidence, Hotkey, Observation,
        declared::{self, Benefits},
        proof::{self, Claim},
        record::Judged,
        stage1::{Stage1, malformed},
    },
    manifest::Proof,
};
use std::collections::{BTreeMap, BTreeSet};

impl Gauntlet {
    /// What everybody's audited work is worth: nothing in a copy, and else what the update does for the loss beside those of others.
    pub(super) fn weigh(&self, cases: &mut BTreeMap<Hotkey, Case>) {
        if self.config.proof != Proof::Audited {
            return;
        }
        for case in cases.values_mut() {
            let copied = case.is_copied();
            if let Some(judged) = case.judged.as_mut().filter(|_| copied) {
                judged.work = judged.work.map(|_| 0.0);
            }
        }
        let judged: Vec<&mut Judged> = cases.values_mut().filter_map(|case| case.judged.as_mut()).collect();
        let drop = |judged: &Judged| judged.random.before - judged.random.after;
        let worked: Vec<(f64, f64)> =
            judged.iter().map(|judged| (judged.work.unwrap_or(0.0), drop(judged))).collect();
        let Benefits { usual, peers } = Benefits::of(&worked);
        for (judged, benefit) in judged.into_iter().zip(peers) {
            (judged.benefit, judged.usual_benefit) = (benefit, usual.filter(|_| benefit.is_some()));
        }
    }

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
            let audits = evidence.as_ref().map(|evidence| evidence.audits.clone()).unwrap_or_default();
            let case = Case {
                stage1,
                aggregated: *aggregated,
                judged,
                audits,
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
            Proof::Counterfactual | Proof::Audited | Proof::Off => {
                (proof::observation(t) * scale, scale * scale)
            }
        };
        let benefit_t = proof::benefit_t(evidence);
        let (claimed, usual) = claim.map_or((0, 0), |claim| (claim.claimed, claim.usual));
        let work = self.config.audit.filter(|_| self.config.proof == Proof::Audited).map(|audit| {
            // Who is not among the claims claims what is usual.
            let (claimed, usual) = if usual == 0 { (1, 1) } else { (claimed, usual) };
            declared::work(claimed, usual, &evidence.audits, audit.tolerance)
        });
        let judged = Judged {
            own,
            random,
            benefit_t,
            t,
            sign,
            observation,
            variance,
            claimed,
            usual,
            work,
            benefit: None,
            usual_benefit: None,
        };
        (stage1.clone(), Some(judged))
    }
}
