//! From measurements and penalties to ratings, proofs and scores.

use super::{Case, Gauntlet, PeerState};
use crate::{
    gauntlet::{
        Hotkey, declared,
        peer_score::{floor, peer_score, rating_factor},
        penalty::{self, PenaltyRule},
        proof::{self, MovingAverage},
        rating::{PlackettLuce, Rating},
        stage1::Stage1,
        sync::sync_score,
        work_share::{self, Belief, Strength},
    },
    manifest::Proof,
    window::Window,
};
use std::collections::BTreeMap;

impl Gauntlet {
    /// The window's match. Those who failed or do harm lose to all others and lift none of them.
    pub(super) fn rate(&mut self, cases: &BTreeMap<Hotkey, Case>) {
        let model = PlackettLuce::new(&self.config);
        let plays = |case: &&Case| case.judged.is_some() && !case.is_barred();
        let field: Vec<Rating> = cases.values().filter(plays).map(|case| case.before.rating).collect();
        let players: Vec<(Rating, f64)> = cases
            .values()
            .filter(plays)
            .filter_map(|case| Some((case.before.rating, case.judged.as_ref()?.random.score)))
            .collect();
        let mut rated = model.rate(&players).into_iter();
        for (hotkey, case) in cases {
            let Some(state) = self.peers.get_mut(hotkey) else { continue };
            if plays(&case) {
                state.rating = rated.next().unwrap_or(state.rating);
            } else if case.judged.is_some() || case.loses() {
                state.rating = model.lose_to(state.rating, &field);
            }
        }
    }

    /// Adds a window to what is known of one peer's work.
    ///
    /// But for the paper's rule a window without an object that can be used, and one with a copy, is a window
    /// without work: an observation of 0. The paper's rule has its penalties on the average instead.
    pub(super) fn prove(&mut self, window: Window, outer_step: f64, hotkey: &Hotkey, case: &mut Case) {
        let alpha = self.config.proof_alpha;
        let counts_as_idle = self.config.proof != Proof::Sign;
        let audited = self.config.proof == Proof::Audited;
        // Who has earned a name and rests on it is paid by what it did lately, and who works again after a rest by what it did in all.
        let recent_alpha = self.config.audit.map_or(alpha, |audit| audit.recent_alpha.max(alpha));
        let Some(state) = self.peers.get_mut(hotkey) else { return };
        let copied = case.is_copied();
        if let Some(judged) = &mut case.judged {
            if copied && counts_as_idle {
                judged.observation = judged.observation.min(0.0);
            }
            state.proof.add_with(judged.observation, judged.variance, alpha);
            if let Some(work) = judged.work {
                state.add_work(work, alpha, recent_alpha);
            }
            if let Some((benefit, usual)) = judged.benefit.zip(judged.usual_benefit) {
                state.usefulness.add(benefit, usual, outer_step, alpha);
            }
            state.last_judged = Some(window);
            state.last_harmful = case.penalties.iter().any(|p| p.rule == PenaltyRule::Harmful);
        }
        // Who never took part has nothing to lose, and a newcomer has the time it needs to set up.
        if let Some(factor) = case.failure_factor.filter(|_| case.before.is_known()) {
            let failed = penalty::stage1_penalty(&case.stage1, factor);
            if let Some(mut penalty) = failed {
                if counts_as_idle {
                    state.proof.add(0.0, alpha);
                    if audited {
                        state.add_work(0.0, alpha, recent_alpha);
                    }
                    penalty.proof_factor = 1.0;
                }
                case.penalties.push(penalty);
            }
        }
        for penalty in &case.penalties {
            state.proof.penalise(penalty.proof_factor);
            state.work.penalise(penalty.proof_factor);
            state.recent_work.penalise(penalty.proof_factor);
        }
    }

    /// The evidence of every peer of the roster of which there is any.
    pub(super) fn evidence(&self) -> Vec<work_share::Evidence> {
        let evidence = self.peers.values().map(|state| state.proof.evidence());
        evidence.filter(|evidence| evidence.windows > 0.0).collect()
    }

    /// How strong the roster's peers are in general: a function of the rest of the state.
    pub(super) fn belief(&self) -> Belief {
        Belief::learned(&self.evidence(), self.reference)
    }

    /// Penalties and score of one peer, after the match and with everybody's evidence.
    pub(super) fn score(&mut self, window: Window, hotkey: &Hotkey, case: &mut Case, belief: &Belief) {
        let newcomer = self.newcomer(case.before.uid, case.before.registered_at_block);
        let (forget_after, sync_limit) = (self.config.forget_after, self.config.sync_limit);
        let Some(before) = self.peers.get(hotkey) else { return };
        let factors = (self.proof_factor(belief, before), self.rating_factor(before));
        let Some(state) = self.peers.get_mut(hotkey) else { return };
        if let Stage1::Accepted { steps_behind, .. } = case.stage1 {
            state.last_accepted = Some(window);
            state.missed = 0;
            state.score = peer_score(factors.0, factors.1, sync_score(steps_behind, sync_limit));
        } else if !case.excused {
            state.missed += 1;
        }
        for penalty in &case.penalties {
            state.score = floor(state.score * penalty.score_factor);
        }
        if forget_after > 0 && state.missed >= forget_after && case.before.is_known() {
            case.forget = true;
        }
        if case.forget {
            case.penalties.push(penalty::forgotten());
            let PeerState { missed, naughty_until, .. } = *state;
            *state = PeerState { missed, naughty_until, ..newcomer };
        }
    }

    pub(super) fn strength(&self, belief: &Belief, proof: &MovingAverage) -> Strength {
        belief.strength(proof.evidence(), self.reference)
    }

    pub(super) fn proof_factor(&self, belief: &Belief, state: &PeerState) -> f64 {
        let (threshold, warmup) = (self.config.proof_threshold, self.config.proof_warmup);
        match self.config.proof {
            Proof::Sign => proof::sign_factor(&state.proof, threshold, warmup),
            Proof::Counterfactual => {
                let strength = self.strength(belief, &state.proof);
                proof::strength_factor(&state.proof, strength.mean, warmup)
            }
            Proof::Audited => {
                let shown = self.strength(belief, &state.proof).mean;
                let work = state.work.corrected().min(state.recent_work.corrected());
                let factor = declared::factor(work * self.worth(state), shown, self.config.power);
                proof::strength_factor(&state.work, factor, warmup)
            }
            Proof::Off => 1.0,
        }
    }

    /// The part of the pay for its work that what a peer's updates did for the loss leaves.
    pub(super) fn worth(&self, state: &PeerState) -> f64 {
        self.config.audit.map_or(1.0, |audit| state.usefulness.worth(audit.benefit_errors))
    }

    pub(super) fn rating_factor(&self, state: &PeerState) -> f64 {
        rating_factor(self.config.rating, &state.rating, &PlackettLuce::new(&self.config))
    }
}

impl PeerState {
    /// Adds a window's audited work to both averages.
    fn add_work(&mut self, work: f64, alpha: f64, recent_alpha: f64) {
        self.work.add(work, alpha);
        self.recent_work.add(work, recent_alpha);
    }
}

impl Case {
    /// Whether all of the window's audits agreed with what it declared; `None` where it was not audited.
    pub(super) fn passed(&self) -> Option<bool> {
        Some(self.judged.as_ref()?.work? > 0.0)
    }

    /// Whether the object is taken for a copy that earns nothing.
    pub(super) fn is_copied(&self) -> bool {
        self.penalties.iter().any(|p| p.rule == PenaltyRule::Copied && p.score_factor == 0.0)
    }

    /// Whether the peer has no part in the match: it loses to everybody and lifts nobody.
    fn is_barred(&self) -> bool {
        self.penalties.iter().any(|p| p.score_factor == 0.0 || p.rule == PenaltyRule::Harmful)
    }

    /// Whether a peer that was not judged loses the match: it failed, and took part before.
    fn loses(&self) -> bool {
        self.before.is_known() && self.failure_factor.is_some() && penalty::loses_match(&self.stage1)
    }
}
