//! What is taken away, and from whom: penalties that need everybody's observations.

use super::{Case, Gauntlet};
use crate::{
    gauntlet::{
        Hotkey, overlap,
        penalty::{self, PenaltyRule},
        record::OverlapRecord,
        slashing::{self, Copying},
        stage1::Stage1,
        work_share,
    },
    manifest::Proof,
    window::Window,
};
use std::{cmp::Ordering, collections::BTreeMap};

impl Gauntlet {
    /// Says what a bucket that did not answer means. Where most of those who took part before do not answer it is this validator's
    /// own trouble, and nothing happens to anybody; where most do, a peer's silence is tolerated for some windows in a row.
    pub(super) fn excuse(&mut self, cases: &mut BTreeMap<Hotkey, Case>) {
        let silent = |case: &Case| case.stage1 == Stage1::Unanswered;
        let known = cases.values().filter(|case| case.before.is_known());
        let (count, answered) = (known.clone().count(), known.filter(|case| !silent(case)).count());
        let most_answer = 2 * answered > count;
        for (hotkey, case) in cases {
            let Some(state) = self.peers.get_mut(hotkey) else { continue };
            if !silent(case) {
                state.unanswered = 0;
                continue;
            }
            state.unanswered += u64::from(most_answer);
            if state.unanswered <= self.config.unanswered_windows {
                (case.excused, case.failure_factor) = (true, None);
            }
        }
    }

    pub(super) fn penalise_harm(&self, cases: &mut BTreeMap<Hotkey, Case>) {
        if self.config.slashing.is_some() {
            return;
        }
        let benefits: Vec<f64> =
            cases.values().filter_map(|case| Some(case.judged.as_ref()?.benefit_t)).collect();
        let judged = cases.values_mut().filter(|case| case.judged.is_some());
        for (case, harms) in judged.zip(penalty::harmful(&benefits)) {
            if harms {
                case.penalties.push(penalty::harmful_penalty(self.config.penalty));
            }
        }
    }

    /// Of two objects that overlap too much, the copy is the one that its own data says less for ([`work_share::authorship`]);
    /// where that cannot be asked, the one of less strength; of equals the later one; of objects of the same second both.
    ///
    /// Where declared work is audited, the window's audits decide first, and who has passed them is never the copy
    /// ([`Self::may_be_a_copy`]). The reference blames the later upload. Whoever reads an object while it is still being sent has
    /// the earlier time stamp, but not the author's data.
    pub(super) fn penalise_copies(
        &mut self,
        window: Window,
        cases: &mut BTreeMap<Hotkey, Case>,
        overlapping: &[overlap::Pair],
    ) {
        if overlapping.is_empty() {
            return;
        }
        let belief = self.belief();
        let standing = |hotkey: &Hotkey| {
            let case = cases.get(hotkey)?;
            let Stage1::Accepted { seconds, .. } = case.stage1 else { return None };
            let before = self.strength(&belief, &case.before.proof).mean;
            let author = match &case.judged {
                Some(judged) if self.config.proof != Proof::Sign => {
                    work_share::authorship(before, judged.observation, judged.variance, self.reference)
                }
                Some(judged) => {
                    let mut proof = case.before.proof;
                    proof.add_with(judged.observation, judged.variance, self.config.proof_alpha);
                    self.strength(&belief, &proof).mean
                }
                None if self.config.proof != Proof::Sign => {
                    work_share::authorship(before, 0.0, f64::INFINITY, self.reference)
                }
                None => before,
            };
            Some((case.passed(), author, seconds, case.before.uid))
        };
        let mut found = Vec::new();
        for pair in overlapping {
            let [a, b] = &pair.hotkeys;
            let (Some(a_has), Some(b_has)) = (standing(a), standing(b)) else { continue };
            let by_audits = a_has.0.zip(b_has.0).map_or(Ordering::Equal, |(a, b)| a.cmp(&b));
            let order = by_audits.then(a_has.1.total_cmp(&b_has.1)).then(b_has.2.cmp(&a_has.2));
            let blamed = |of, copy| {
                copy && cases.get(of).is_some_and(|case| self.may_be_a_copy(case, pair.similarity))
            };
            found.push((a.clone(), b_has.3, pair.similarity, blamed(a, order.is_le())));
            found.push((b.clone(), a_has.3, pair.similarity, blamed(b, order.is_ge())));
        }
        for (hotkey, uid, similarity, copy) in found {
            let Some(case) = cases.get_mut(&hotkey) else { continue };
            case.overlap.push(OverlapRecord { uid, similarity, copy });
            if !copy {
                continue;
            }
            let (factor, forget, naughty) = self.cost_of_a_copy(similarity);
            case.forget |= forget;
            if let Some(state) = self.peers.get_mut(&hotkey).filter(|_| naughty.is_some()) {
                state.naughty_until = naughty.map(|windows| window + windows);
            }
            // Of several copies the worst counts.
            let known = case.penalties.iter_mut().find(|p| p.rule == PenaltyRule::Copied);
            match known {
                Some(penalty) if penalty.score_factor <= factor => {}
                Some(penalty) => *penalty = penalty::copied(),
                None if factor > 0.0 => case.penalties.push(penalty::copied_in_part(factor)),
                None => case.penalties.push(penalty::copied()),
            }
        }
    }

    /// Whether an object of this similarity to another can be taken for a copy of it.
    ///
    /// Who passed the window's audits computed what it declares, whatever that resembles: honest gradients of one model are alike, and
    /// of many pairs some are more alike than any bound. Where declared work is audited and this peer was not, only an object that all
    /// but equals the other is a copy: such a window adds nothing to its pay, and nobody knows beforehand who will be audited.
    fn may_be_a_copy(&self, case: &Case, similarity: f64) -> bool {
        match case.passed() {
            Some(passed) => !passed,
            None => self.config.proof != Proof::Audited || similarity >= overlap::ALL_BUT_EQUAL,
        }
    }

    /// What is left of the score of a copy, whether its record is forgotten, and for how many windows it is naughty.
    fn cost_of_a_copy(&self, similarity: f64) -> (f64, bool, Option<u64>) {
        let Some(rules) = &self.config.slashing else { return (0.0, false, None) };
        match slashing::copying(rules, self.config.overlap_max, similarity) {
            None => (1.0, false, None),
            Some(Copying::High) => (rules.overlap_factor, false, None),
            Some(Copying::Max) => (0.0, true, None),
            Some(Copying::Mega) => (0.0, true, Some(rules.naughty_windows)),
        }
    }

    /// The penalties that depend on the windows before: [`slashing`]. None where the manifest has no such table.
    pub(super) fn slash(&mut self, window: Window, cases: &mut BTreeMap<Hotkey, Case>) {
        let Some(rules) = self.config.slashing.clone() else { return };
        let missed = |case: &Case| {
            matches!(
                case.stage1,
                Stage1::Absent | Stage1::Unanswered | Stage1::Early { .. } | Stage1::Late { .. }
            )
        };
        let known = cases.values().filter(|case| case.before.is_known() && !case.excused);
        let in_time = known.clone().filter(|case| !missed(case)).count();
        let network_failed = slashing::network_failed(&rules, in_time, known.count());
        let scores: Vec<f64> =
            cases.values().filter_map(|case| Some(case.judged.as_ref()?.random.score)).collect();
        let everybody_is_bad = slashing::everybody_is_bad(&rules, &scores);
        for (hotkey, case) in cases {
            let Some(state) = self.peers.get_mut(hotkey).filter(|_| !case.excused) else { continue };
            let excused = network_failed && missed(case);
            if case.before.is_known() || !missed(case) {
                state.misses.push(missed(case) && !excused);
            }
            if missed(case) {
                let factor = slashing::miss_factor(&rules, case.before.missed + 1);
                case.failure_factor = (!excused).then_some(factor);
            }
            if let Some(judged) = &case.judged {
                let negative = judged.random.score < 0.0;
                state.negatives.push(negative);
                state.negative_in_a_row = if negative { state.negative_in_a_row + 1 } else { 0 };
            }
            if slashing::often_harmful(&rules, &state.negatives) && !everybody_is_bad {
                case.penalties.push(penalty::often_harmful(rules.negative_factor));
            }
            if slashing::misses_too_often(&rules, &state.misses) && !state.is_naughty(window) {
                state.naughty_until = Some(window + rules.naughty_windows);
            }
            if state.is_naughty(window) {
                case.penalties.push(penalty::naughty());
                case.forget = true;
            }
        }
    }
}
