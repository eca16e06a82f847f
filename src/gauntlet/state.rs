//! The state of Gauntlet and how a window changes it.

use super::{
    Evidence, GauntletError, Hotkey, Observation, Peer, ScoreRecord, overlap,
    peer_score::{floor, peer_score, rating_factor},
    penalty::{self, Penalty},
    proof::{self, MovingAverage},
    rating::{PlackettLuce, Rating},
    record::{Judged, OverlapRecord, ProofRecord},
    selection::{self, Standing},
    stage1::{Stage1, malformed},
    sync::sync_score,
    weights::{power_normalise, to_u16},
    work::{self, Belief, Strength},
};
use crate::{
    manifest::{GauntletConfig, Proof},
    window::{Block, Uid, Window},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Everything that is remembered, keyed by hotkey.
///
/// Written with serde and read again it is the same: nothing is kept anywhere else. It is a plain
/// value: clone it before an update to be able to go back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gauntlet {
    /// The rules, from the run's manifest.
    #[serde(with = "super::exact::config")]
    config: GauntletConfig,
    /// The last window that was scored.
    last_window: Option<Window>,
    /// The mean of `t` of a peer that does all its work, after that window.
    #[serde(with = "super::exact")]
    reference: f64,
    /// The peers of the roster.
    peers: BTreeMap<Hotkey, PeerState>,
}

/// What is remembered of one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerState {
    /// Its slot.
    pub uid: Uid,
    /// When it got the slot.
    pub registered_at_block: Block,
    /// Its OpenSkill rating.
    #[serde(with = "super::exact::rating")]
    pub rating: Rating,
    /// The average of its proofs of computation.
    pub proof: MovingAverage,
    /// Its peer score.
    #[serde(with = "super::exact")]
    pub score: f64,
    /// The last window in which its losses were measured.
    pub last_judged: Option<Window>,
    /// Whether the update of that window did harm.
    pub last_harmful: bool,
    /// The last window in which stage 1 accepted its object.
    pub last_accepted: Option<Window>,
    /// Scored windows in a row without an accepted object.
    pub missed: u64,
}

/// What one window brings of one peer, on its way through [`Gauntlet::update`].
struct Case {
    stage1: Stage1,
    aggregated: bool,
    judged: Option<Judged>,
    before: PeerState,
    overlap: Vec<OverlapRecord>,
    penalties: Vec<Penalty>,
}

impl Gauntlet {
    /// An empty state under a run's rules.
    pub fn new(config: &GauntletConfig) -> Self {
        let reference = config.proof_expected;
        Self { config: config.clone(), last_window: None, reference, peers: BTreeMap::new() }
    }

    /// The rules it was made with. A state that was read from disk is only good for the same manifest.
    pub fn config(&self) -> &GauntletConfig {
        &self.config
    }

    /// The last window that was scored.
    pub fn last_window(&self) -> Option<Window> {
        self.last_window
    }

    /// What is remembered of a peer.
    pub fn peer(&self, hotkey: &Hotkey) -> Option<&PeerState> {
        self.peers.get(hotkey)
    }

    /// Every peer of the roster, in the order of their hotkeys.
    pub fn peers(&self) -> impl Iterator<Item = (&Hotkey, &PeerState)> {
        self.peers.iter()
    }

    /// Says who is registered now. Who is gone is forgotten; who was registered again, even under the
    /// same hotkey, starts anew; who only changed its slot keeps what it has.
    pub fn roster(&mut self, peers: &[Peer]) {
        let mut before = std::mem::take(&mut self.peers);
        for peer in peers {
            let kept = before
                .remove(&peer.hotkey)
                .filter(|state| state.registered_at_block == peer.registered_at_block)
                .map(|state| PeerState { uid: peer.uid, ..state });
            let state = kept.unwrap_or_else(|| self.newcomer(peer.uid, peer.registered_at_block));
            self.peers.insert(peer.hotkey.clone(), state);
        }
    }

    /// Scores one window and returns a record for each peer that was observed, in the order of slots.
    ///
    /// `outer_step` is the step of the window's round; it is written down, no rule uses it. The order
    /// of the observations does not matter, to the last bit. Give one for each peer: one without an
    /// observation was not looked at and nothing happens to it, and of a peer with two, neither counts.
    /// Observations of hotkeys outside the roster are passed over. Evidence that holds anything but
    /// losses makes its own peer's object malformed, and touches no other peer.
    ///
    /// # Errors
    ///
    /// When the window is not later than the last one that was scored; the state is unchanged then.
    pub fn update(
        &mut self,
        window: Window,
        outer_step: f64,
        observations: &[Observation],
    ) -> Result<Vec<ScoreRecord>, GauntletError> {
        self.update_with(window, outer_step, observations, &[])
    }

    /// [`Self::update`] with the pairs of objects that are too much alike, as [`overlap::find`] tells them.
    ///
    /// # Errors
    ///
    /// As [`Self::update`].
    pub fn update_with(
        &mut self,
        window: Window,
        outer_step: f64,
        observations: &[Observation],
        alike: &[overlap::Pair],
    ) -> Result<Vec<ScoreRecord>, GauntletError> {
        if let Some(last) = self.last_window.filter(|last| window <= *last) {
            return Err(GauntletError::AlreadyScored { window, last });
        }
        let mut cases = self.cases(observations);
        self.punish_harm(&mut cases);
        self.punish_copies(&mut cases, alike);
        self.rate(&cases);
        for (hotkey, case) in &mut cases {
            self.prove(window, hotkey, case);
        }
        self.reference = work::reference(&self.evidence(), self.config.proof_expected);
        let belief = self.belief();
        for (hotkey, case) in &mut cases {
            self.score(window, hotkey, case, &belief);
        }
        self.last_window = Some(window);

        let shares = self.shares();
        let mut records: Vec<ScoreRecord> = cases
            .into_iter()
            .filter_map(|(hotkey, case)| {
                let (share, weight) = shares.get(&hotkey).copied().unwrap_or_default();
                self.record(window, outer_step, hotkey, case, &belief, (share, weight))
            })
            .collect();
        records.sort_by(|a, b| a.uid.cmp(&b.uid).then_with(|| a.hotkey.cmp(&b.hotkey)));
        Ok(records)
    }

    /// The peers to aggregate, at most `g` of the window's `candidates`, best first. Rules:
    /// [`selection::aggregate_set`]. Candidates outside the roster are left out.
    pub fn aggregate_set(&self, candidates: &[Hotkey], g: usize, seed: &[u8; 32]) -> Vec<Hotkey> {
        let standing = |state: &PeerState| {
            if state.last_harmful {
                Standing::Worthless(state.rating.ordinal())
            } else if state.score > 0.0 {
                Standing::Scored(state.score)
            } else if state.proof.count < self.config.proof_warmup.max(1) {
                Standing::Unproven
            } else {
                Standing::Worthless(state.rating.ordinal())
            }
        };
        let candidates: Vec<_> =
            self.known(candidates).map(|(hotkey, state)| (hotkey.clone(), standing(state))).collect();
        selection::aggregate_set(&candidates, g, seed)
    }

    /// [`Self::aggregate_set`] without those who, by what is known before the window is judged, are the copy in a
    /// pair that is too much alike; where nothing is known, without both.
    pub fn aggregate_set_without(
        &self,
        candidates: &[Hotkey],
        alike: &[overlap::Pair],
        g: usize,
        seed: &[u8; 32],
    ) -> Vec<Hotkey> {
        let belief = self.belief();
        let standing = |hotkey: &Hotkey| {
            self.peers.get(hotkey).map_or(0.0, |state| self.strength(&belief, &state.proof).mean)
        };
        let mut copies = BTreeSet::new();
        for overlap::Pair { hotkeys: [a, b], .. } in alike {
            let order = standing(a).total_cmp(&standing(b));
            copies.extend(order.is_le().then_some(a));
            copies.extend(order.is_ge().then_some(b));
        }
        let originals: Vec<Hotkey> = candidates.iter().filter(|c| !copies.contains(c)).cloned().collect();
        self.aggregate_set(&originals, g, seed)
    }

    /// The order in which to judge the window's `candidates`. Rules: [`selection::evaluation_order`].
    /// Candidates outside the roster are left out.
    pub fn evaluation_order(&self, candidates: &[Hotkey], window: Window, seed: &[u8; 32]) -> Vec<Hotkey> {
        let candidates: Vec<_> =
            self.known(candidates).map(|(hotkey, state)| (hotkey.clone(), state.last_judged)).collect();
        selection::evaluation_order(&candidates, window, seed)
    }

    /// The weights to set on chain, in the order of slots; who earns nothing is left out. Empty where
    /// nobody has a positive score: then there is nothing to set.
    pub fn weights(&self) -> Vec<(Uid, u16)> {
        let mut weights: Vec<_> = self
            .shares()
            .into_iter()
            .filter(|(_, (_, weight))| *weight > 0)
            .filter_map(|(hotkey, (_, weight))| Some((self.peers.get(&hotkey)?.uid, weight)))
            .collect();
        weights.sort_unstable();
        weights
    }

    fn known<'a>(&'a self, hotkeys: &'a [Hotkey]) -> impl Iterator<Item = (&'a Hotkey, &'a PeerState)> {
        hotkeys.iter().filter_map(|hotkey| self.peers.get_key_value(hotkey))
    }

    fn newcomer(&self, uid: Uid, registered_at_block: Block) -> PeerState {
        PeerState {
            uid,
            registered_at_block,
            rating: PlackettLuce::new(&self.config).fresh(),
            proof: MovingAverage::default(),
            score: 0.0,
            last_judged: None,
            last_harmful: false,
            last_accepted: None,
            missed: 0,
        }
    }

    /// Measures every observation on its own; from here on the order is that of the hotkeys.
    fn cases(&self, observations: &[Observation]) -> BTreeMap<Hotkey, Case> {
        let (mut cases, mut twice) = (BTreeMap::new(), BTreeSet::new());
        for Observation { hotkey, stage1, evidence, aggregated } in observations {
            let Some(before) = self.peers.get(hotkey) else { continue };
            let (stage1, judged) = self.measure(stage1, evidence.as_ref());
            let case = Case {
                stage1,
                aggregated: *aggregated,
                judged,
                before: before.clone(),
                overlap: Vec::new(),
                penalties: Vec::new(),
            };
            if cases.insert(hotkey.clone(), case).is_some() {
                twice.insert(hotkey);
            }
        }
        cases.retain(|hotkey, _| !twice.contains(hotkey));
        cases
    }

    fn measure(&self, stage1: &Stage1, evidence: Option<&Evidence>) -> (Stage1, Option<Judged>) {
        let Some(evidence) = evidence.filter(|_| stage1.is_accepted()) else {
            return (stage1.clone(), None);
        };
        if let Err(reason) = evidence.check() {
            return (malformed(reason), None);
        }
        let (own, random) = (evidence.own(), evidence.random());
        let (t, sign) = (proof::counterfactual_t(evidence), proof::sign(&own, &random));
        let observation = match self.config.proof {
            Proof::Sign => sign,
            Proof::Counterfactual | Proof::Off => proof::observation(t),
        };
        let benefit_t = proof::benefit_t(evidence);
        (stage1.clone(), Some(Judged { own, random, benefit_t, t, sign, observation }))
    }

    fn punish_harm(&self, cases: &mut BTreeMap<Hotkey, Case>) {
        let benefits: Vec<f64> =
            cases.values().filter_map(|case| Some(case.judged.as_ref()?.benefit_t)).collect();
        let judged = cases.values_mut().filter(|case| case.judged.is_some());
        for (case, harms) in judged.zip(penalty::harmful(&benefits)) {
            if harms {
                case.penalties.push(penalty::harmful_penalty(self.config.penalty));
            }
        }
    }

    /// Of two objects that are too much alike, the copy is the one with less evidence of own work, this
    /// window's included; of equals the later one; of objects of the same second both.
    ///
    /// The reference blames the later upload. Whoever reads an object while it is still being sent has the
    /// earlier time stamp, but not the author's data.
    fn punish_copies(&self, cases: &mut BTreeMap<Hotkey, Case>, alike: &[overlap::Pair]) {
        if alike.is_empty() {
            return;
        }
        let belief = self.belief();
        let standing = |hotkey: &Hotkey| {
            let case = cases.get(hotkey)?;
            let Stage1::Accepted { seconds, .. } = case.stage1 else { return None };
            let mut proof = case.before.proof;
            if let Some(judged) = &case.judged {
                proof.add(judged.observation, self.config.proof_alpha);
            }
            Some((self.strength(&belief, &proof).mean, seconds, case.before.uid))
        };
        let mut found = Vec::new();
        for pair in alike {
            let [a, b] = &pair.hotkeys;
            let (Some(a_has), Some(b_has)) = (standing(a), standing(b)) else { continue };
            let order = a_has.0.total_cmp(&b_has.0).then(b_has.1.cmp(&a_has.1));
            found.push((a.clone(), b_has.2, pair.likeness, order.is_le()));
            found.push((b.clone(), a_has.2, pair.likeness, order.is_ge()));
        }
        for (hotkey, uid, likeness, copy) in found {
            let Some(case) = cases.get_mut(&hotkey) else { continue };
            case.overlap.push(OverlapRecord { uid, likeness, copy });
            if copy && case.penalties.iter().all(|p| p.rule != penalty::PenaltyRule::Copied) {
                case.penalties.push(penalty::copied());
            }
        }
    }

    /// The window's match. Those who failed or do harm lose to all others and lift none of them.
    fn rate(&mut self, cases: &BTreeMap<Hotkey, Case>) {
        let model = PlackettLuce::new(&self.config);
        let plays = |case: &&Case| case.judged.is_some() && case.penalties.is_empty();
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
            } else if case.judged.is_some() || (case.before.is_known() && penalty::loses_match(&case.stage1))
            {
                state.rating = model.lose_to(state.rating, &field);
            }
        }
    }

    /// Adds a window to what is known of one peer's work.
    ///
    /// Under the counterfactual rule a window without an object that can be used, and one with a copy, is a window
    /// without work: an observation of 0. The paper's rule has its penalties on the average instead.
    fn prove(&mut self, window: Window, hotkey: &Hotkey, case: &mut Case) {
        let (alpha, factor) = (self.config.proof_alpha, self.config.penalty);
        let counts_as_idle = self.config.proof != Proof::Sign;
        let Some(state) = self.peers.get_mut(hotkey) else { return };
        let copied = case.penalties.iter().any(|p| p.rule == penalty::PenaltyRule::Copied);
        if let Some(judged) = &mut case.judged {
            if copied && counts_as_idle {
                judged.observation = judged.observation.min(0.0);
            }
            state.proof.add(judged.observation, alpha);
            state.last_judged = Some(window);
            state.last_harmful = case.penalties.iter().any(|p| p.rule == penalty::PenaltyRule::Harmful);
        }
        // Who never took part has nothing to lose, and a newcomer has the time it needs to set up.
        if case.before.is_known() {
            let failed = penalty::stage1_penalty(&case.stage1, factor);
            if let Some(mut penalty) = failed {
                if counts_as_idle {
                    state.proof.add(0.0, alpha);
                    penalty.proof_factor = 1.0;
                }
                case.penalties.push(penalty);
            }
        }
        for penalty in &case.penalties {
            state.proof.penalise(penalty.proof_factor);
        }
    }

    /// The evidence of every peer of the roster of which there is any.
    fn evidence(&self) -> Vec<work::Evidence> {
        let evidence = self.peers.values().map(|state| state.proof.evidence());
        evidence.filter(|evidence| evidence.windows > 0.0).collect()
    }

    /// How strong the roster's peers are in general: a function of the rest of the state.
    fn belief(&self) -> Belief {
        Belief::learned(&self.evidence(), self.reference)
    }

    /// Penalties and score of one peer, after the match and with everybody's evidence.
    fn score(&mut self, window: Window, hotkey: &Hotkey, case: &mut Case, belief: &Belief) {
        let newcomer = self.newcomer(case.before.uid, case.before.registered_at_block);
        let (forget_after, sync_limit) = (self.config.forget_after, self.config.sync_limit);
        let Some(before) = self.peers.get(hotkey) else { return };
        let factors = (self.proof_factor(belief, before), self.rating_factor(before));
        let Some(state) = self.peers.get_mut(hotkey) else { return };
        if let Stage1::Accepted { steps_behind, .. } = case.stage1 {
            state.last_accepted = Some(window);
            state.missed = 0;
            state.score = peer_score(factors.0, factors.1, sync_score(steps_behind, sync_limit));
        } else {
            state.missed += 1;
        }
        for penalty in &case.penalties {
            state.score = floor(state.score * penalty.score_factor);
        }
        if forget_after > 0 && state.missed >= forget_after && case.before.is_known() {
            case.penalties.push(penalty::forgotten());
            *state = PeerState { missed: state.missed, ..newcomer };
        }
    }

    fn strength(&self, belief: &Belief, proof: &MovingAverage) -> Strength {
        belief.strength(proof.evidence(), self.reference)
    }

    fn proof_factor(&self, belief: &Belief, state: &PeerState) -> f64 {
        let (threshold, warmup) = (self.config.proof_threshold, self.config.proof_warmup);
        match self.config.proof {
            Proof::Sign => proof::sign_factor(&state.proof, threshold, warmup),
            Proof::Counterfactual => {
                let strength = self.strength(belief, &state.proof);
                proof::strength_factor(&state.proof, strength.mean, warmup)
            }
            Proof::Off => 1.0,
        }
    }

    fn rating_factor(&self, state: &PeerState) -> f64 {
        rating_factor(self.config.rating, &state.rating, &PlackettLuce::new(&self.config))
    }

    /// Share of pay and weight of every peer.
    fn shares(&self) -> BTreeMap<Hotkey, (f64, u16)> {
        let scores: Vec<f64> = self.peers.values().map(|state| state.score).collect();
        let shares = power_normalise(&scores, self.config.power);
        let weights = to_u16(&shares);
        self.peers.keys().cloned().zip(shares.into_iter().zip(weights)).collect()
    }

    fn record(
        &self,
        window: Window,
        outer_step: f64,
        hotkey: Hotkey,
        case: Case,
        belief: &Belief,
        (share, weight): (f64, u16),
    ) -> Option<ScoreRecord> {
        let state = self.peers.get(&hotkey)?;
        let (limit, strength) = (self.config.sync_limit, self.strength(belief, &state.proof));
        let average = match self.config.proof {
            Proof::Sign => state.proof.sum,
            Proof::Counterfactual | Proof::Off => state.proof.corrected(),
        };
        Some(ScoreRecord {
            window,
            outer_step,
            uid: state.uid,
            hotkey,
            sync_score: case.stage1.steps_behind().map(|steps| sync_score(steps, limit)),
            stage1: case.stage1,
            aggregated: case.aggregated,
            judged: case.judged,
            overlap: case.overlap,
            proof: ProofRecord {
                average,
                observations: state.proof.count,
                windows: state.proof.windows(),
                reference: self.reference,
                strength: strength.mean,
                deviation: strength.deviation,
                factor: self.proof_factor(belief, state),
            },
            rating_before: case.before.rating.into(),
            rating: state.rating.into(),
            rating_factor: self.rating_factor(state),
            penalties: case.penalties,
            score_before: case.before.score,
            score: state.score,
            share,
            weight,
        })
    }
}

impl PeerState {
    /// Whether stage 1 ever accepted an object of this peer.
    pub fn is_known(&self) -> bool {
        self.last_accepted.is_some()
    }
}
