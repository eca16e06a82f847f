//! The state of Gauntlet and how a window changes it.

mod measure;
mod penalties;
mod record;
mod score;

use super::{
    GauntletError, Hotkey, Observation, Peer, ScoreRecord,
    declared::{self, Usefulness},
    overlap,
    penalty::Penalty,
    proof::{Claim, MovingAverage},
    rating::{PlackettLuce, Rating},
    record::{Judged, OverlapRecord},
    selection::{self, Standing},
    slashing::{self, History},
    stage1::Stage1,
    work_share,
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
    #[serde(with = "super::serde_exact_f64::config")]
    config: GauntletConfig,
    /// The last window that was scored.
    last_window: Option<Window>,
    /// The mean of `t` of a peer that does all its work, after that window.
    #[serde(with = "super::serde_exact_f64")]
    reference: f64,
    /// The peers of the roster.
    peers: BTreeMap<Hotkey, PeerState>,
}

/// What is remembered of one peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerState {
    /// Its UID.
    pub uid: Uid,
    /// When it got the UID.
    pub registered_at_block: Block,
    /// Its OpenSkill rating.
    #[serde(with = "super::serde_exact_f64::rating")]
    pub rating: Rating,
    /// The average of its proofs of computation.
    pub proof: MovingAverage,
    /// The average of the work that it declared and that agreed with its audits, in units of what is usual.
    #[serde(default, skip_serializing_if = "MovingAverage::is_new")]
    pub work: MovingAverage,
    /// The same over the last few windows.
    #[serde(default, skip_serializing_if = "MovingAverage::is_new")]
    pub recent_work: MovingAverage,
    /// What its updates did for the loss on random data, for the work in them, beside what is usual.
    #[serde(default, skip_serializing_if = "Usefulness::is_new")]
    pub usefulness: Usefulness,
    /// Its peer score.
    #[serde(with = "super::serde_exact_f64")]
    pub score: f64,
    /// The last window in which its losses were measured.
    pub last_judged: Option<Window>,
    /// Whether the update of that window did harm.
    pub last_harmful: bool,
    /// The last window in which stage 1 accepted its object.
    pub last_accepted: Option<Window>,
    /// Scored windows in a row without an accepted object.
    pub missed: u64,
    /// Of the last scored windows, those in a row in which its bucket did not answer while most others did.
    #[serde(default)]
    pub unanswered: u64,
    /// Whether its last windows were missed (`slashing`).
    #[serde(default)]
    pub misses: History,
    /// Whether its last judged updates raised the loss on random data (`slashing`).
    #[serde(default)]
    pub negatives: History,
    /// Judged windows in a row in which they did (`slashing`).
    #[serde(default)]
    pub negative_in_a_row: u64,
    /// The last window in which it is naughty (`slashing`).
    #[serde(default)]
    pub naughty_until: Option<Window>,
}

/// What one window brings of one peer, on its way through [`Gauntlet::update`].
struct Case {
    stage1: Stage1,
    aggregated: bool,
    judged: Option<Judged>,
    audits: Vec<f64>,
    before: PeerState,
    overlap: Vec<OverlapRecord>,
    penalties: Vec<Penalty>,
    /// Factor on score and proof if stage 1 failed; `None` where that is nobody's fault.
    failure_factor: Option<f64>,
    /// Whether nothing is known of this window, so that nothing happens to the peer.
    excused: bool,
    /// Whether the peer's record is forgotten.
    forget: bool,
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

    /// Says who is registered now. A peer that left is forgotten; one that registered again, even under the
    /// same hotkey, starts anew; who only changed its UID keeps what it has.
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

    /// Scores one window and returns a record for each peer that was observed, in the order of UIDs.
    ///
    /// `outer_step` is the step of the window's round: what updates do for the loss is compared over windows as if they were of one. The order
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
        self.update_with(window, outer_step, observations, &[], &BTreeMap::new())
    }

    /// [`Self::update`] with the pairs of objects that overlap too much, as [`overlap::find`] tells them, and what peers
    /// claim to have done; who is not among them claims what is usual.
    ///
    /// # Errors
    ///
    /// As [`Self::update`].
    pub fn update_with(
        &mut self,
        window: Window,
        outer_step: f64,
        observations: &[Observation],
        overlapping: &[overlap::Pair],
        claims: &BTreeMap<Hotkey, Claim>,
    ) -> Result<Vec<ScoreRecord>, GauntletError> {
        if let Some(last) = self.last_window.filter(|last| window <= *last) {
            return Err(GauntletError::AlreadyScored { window, last });
        }
        let mut cases = self.cases(observations, claims);
        self.excuse(&mut cases);
        self.penalise_harm(&mut cases);
        self.penalise_copies(window, &mut cases, overlapping);
        self.slash(window, &mut cases);
        self.weigh(&mut cases);
        self.rate(&cases);
        for (hotkey, case) in &mut cases {
            self.prove(window, outer_step, hotkey, case);
        }
        self.reference = work_share::reference(&self.evidence(), self.config.proof_expected);
        let belief = self.belief();
        for (hotkey, case) in &mut cases {
            self.score(window, hotkey, case, &belief);
        }
        self.last_window = Some(window);

        let shares = self.shares();
        let mut records: Vec<ScoreRecord> = cases
            .into_iter()
            .filter_map(|(hotkey, case)| {
                let (share, weight) = shares.peers.get(&hotkey).copied().unwrap_or_default();
                self.record(window, outer_step, hotkey, case, &belief, (share, weight))
            })
            .collect();
        records.sort_by(|a, b| a.uid.cmp(&b.uid).then_with(|| a.hotkey.cmp(&b.hotkey)));
        Ok(records)
    }

    /// The peers to aggregate, at most `g` of the window's `candidates`, best first. Rules:
    /// [`selection::aggregate_set`]. Candidates outside the roster are left out.
    pub fn aggregate_set(&self, candidates: &[Hotkey], g: usize, seed: &[u8; 32]) -> Vec<Hotkey> {
        let next = self.last_window.map_or(0, |last| last + 1);
        let barred = |state: &PeerState| match &self.config.slashing {
            Some(rules) => state.is_naughty(next) || slashing::excluded(rules, state.negative_in_a_row),
            None => state.last_harmful,
        };
        // A score is never quite 0 where all evidence is a guess: next to the best it says who has shown any work.
        let best = self.known(candidates).map(|(_, state)| state.score).fold(0.0, f64::max);
        let belief = self.belief();
        // One lucky window is no evidence: what counts is the least that is likely.
        let shown = |state: &PeerState| match self.config.proof {
            Proof::Sign | Proof::Off => true,
            Proof::Counterfactual | Proof::Audited => {
                let strength = self.strength(&belief, &state.proof);
                strength.mean - strength.deviation > declared::NOTHING_SHOWN
            }
        };
        let standing = |state: &PeerState| {
            let scored = state.score > selection::SHOWN * best;
            let is_new = state.proof.count < self.config.proof_warmup.max(1);
            if barred(state) {
                Standing::Worthless(state.rating.ordinal())
            } else if scored && shown(state) {
                Standing::Scored(state.score)
            } else if state.proof.count == 0 || scored && is_new {
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
    /// pair that overlaps too much; where nothing is known, without both.
    pub fn aggregate_set_without(
        &self,
        candidates: &[Hotkey],
        overlapping: &[overlap::Pair],
        g: usize,
        seed: &[u8; 32],
    ) -> Vec<Hotkey> {
        let belief = self.belief();
        let standing = |hotkey: &Hotkey| {
            self.peers.get(hotkey).map_or(0.0, |state| self.strength(&belief, &state.proof).mean)
        };
        let mut copies = BTreeSet::new();
        for overlap::Pair { hotkeys: [a, b], similarity } in overlapping {
            if *similarity < self.config.overlap_max {
                continue;
            }
            let order = standing(a).total_cmp(&standing(b));
            copies.extend(order.is_le().then_some(a));
            copies.extend(order.is_ge().then_some(b));
        }
        let originals: Vec<Hotkey> = candidates.iter().filter(|c| !copies.contains(c)).cloned().collect();
        self.aggregate_set(&originals, g, seed)
    }

    /// The order in which to judge the window's `candidates`. Rules: [`selection::evaluation_order`], or where the
    /// manifest has bins [`selection::one_bin`], which leaves most of them out. Candidates outside the roster are left
    /// out, and those who are naughty.
    pub fn evaluation_order(&self, candidates: &[Hotkey], window: Window, seed: &[u8; 32]) -> Vec<Hotkey> {
        let known = self.known(candidates).filter(|(_, state)| !state.is_naughty(window));
        if let Some(bins) = &self.config.bins {
            let candidates: Vec<_> = known
                .map(|(hotkey, state)| (hotkey.clone(), state.rating.ordinal(), state.last_judged))
                .collect();
            return selection::one_bin(&candidates, bins, window, seed);
        }
        let candidates: Vec<_> = known.map(|(hotkey, state)| (hotkey.clone(), state.last_judged)).collect();
        selection::evaluation_order(&candidates, window, seed)
    }

    /// The weights to set on chain, in the order of UIDs; who earns nothing is left out. Empty where
    /// nobody has a positive score and nothing burns: then there is nothing to set.
    pub fn weights(&self) -> Vec<(Uid, u16)> {
        let shares = self.shares();
        let mut weights = BTreeMap::new();
        let peers = shares.peers.iter();
        let peers = peers.filter_map(|(hotkey, (_, weight))| Some((self.peers.get(hotkey)?.uid, *weight)));
        for (uid, weight) in peers.chain(shares.burnt).filter(|(_, weight)| *weight > 0) {
            // The peer whose UID burns has both.
            let known: &mut u16 = weights.entry(uid).or_default();
            *known = known.saturating_add(weight);
        }
        weights.into_iter().collect()
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
            work: MovingAverage::default(),
            recent_work: MovingAverage::default(),
            usefulness: Usefulness::default(),
            score: 0.0,
            last_judged: None,
            last_harmful: false,
            last_accepted: None,
            missed: 0,
            unanswered: 0,
            misses: History::default(),
            negatives: History::default(),
            negative_in_a_row: 0,
            naughty_until: None,
        }
    }
}

impl PeerState {
    /// Whether stage 1 ever accepted an object of this peer.
    pub fn is_known(&self) -> bool {
        self.last_accepted.is_some()
    }

    /// Whether it is nobody in a window, for what it did before it.
    pub fn is_naughty(&self, window: Window) -> bool {
        self.naughty_until.is_some_and(|last| window <= last)
    }
}
