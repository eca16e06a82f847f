//! What a simulated peer has, sees and sends.

use super::{
    bigram::{Bigram, Counts, Probabilities},
    blend,
    text::Text,
};
use crate::{
    codec::ErrorFeedback,
    data,
    gauntlet::Hotkey,
    gradient::{Layout, SparseTensor, sketch_seed},
    window::{PutWindow, Uid, Window},
};
use rand::{Rng, rngs::StdRng};
use std::{collections::BTreeMap, sync::Arc};
use templar_codec::sketch::Sums;

/// The model after a round.
#[derive(Debug)]
pub struct Snapshot {
    /// The weights.
    pub model: Bigram,
    /// The same as probabilities.
    pub table: Probabilities,
}

/// What everybody knows in a window.
#[derive(Debug)]
pub struct World<'a> {
    /// The window.
    pub window: Window,
    /// The run.
    pub run: [u8; 32],
    /// The text.
    pub text: &'a Text,
    /// How pseudo-gradients are laid out.
    pub layout: &'a Layout,
    /// Sequences that a peer is assigned.
    pub sequences: usize,
    /// Sequences of a micro-batch.
    pub micro_batch: usize,
    /// What the data of the last window was drawn from that everybody was judged on.
    pub last_seed: [u8; 32],
    /// The model of the last rounds, newest last.
    pub models: &'a [Arc<Snapshot>],
    /// When uploads count.
    pub put: PutWindow,
    /// What the chain paid last, by UID; no unit.
    pub incentive: &'a BTreeMap<Uid, f64>,
}

impl World<'_> {
    /// The model of `lag` rounds ago, or the oldest that is known.
    pub fn model(&self, lag: usize) -> &Snapshot {
        &self.models[self.models.len().saturating_sub(1 + lag)]
    }

    /// What a peer is to train on.
    pub fn assigned(&self, hotkey: &Hotkey) -> Vec<u64> {
        data::assigned(&self.run, hotkey.as_ref(), self.window, self.sequences, self.text.training())
    }

    /// Micro-batches that a peer is assigned.
    pub fn micro_batches(&self) -> usize {
        self.sequences.div_ceil(self.micro_batch)
    }

    /// The seed of the window's sketches.
    pub fn sketch_seed(&self) -> u64 {
        sketch_seed(&self.run, self.window)
    }

    /// The sketch of the gradient of some sequences, from the model of `lag` rounds ago.
    pub fn sketch(&self, sequences: &[u64], lag: usize) -> Sums {
        self.model(lag).table.sketch(&self.text.counts(sequences), self.sketch_seed())
    }

    /// The time at a share of the put window, in milliseconds.
    pub fn during(&self, share: f64) -> u64 {
        self.put.open_ms + ((self.put.close_ms - self.put.open_ms) as f64 * share) as u64
    }
}

/// A peer's own things: its key, its momentum, its luck.
#[derive(Debug)]
pub struct PeerState {
    /// Its hotkey.
    pub hotkey: Hotkey,
    /// Its UID.
    pub uid: Uid,
    /// What it is to train on in this window.
    pub assigned: Vec<u64>,
    /// Momentum and error feedback.
    pub feedback: ErrorFeedback,
    /// Its own random numbers.
    pub rng: StdRng,
}

impl PeerState {
    /// Trains on text from the model of `lag` rounds ago and takes out what is to be sent.
    pub fn train(&mut self, world: &World, counts: &Counts, lag: usize) -> Vec<SparseTensor> {
        let gradient = world.model(lag).table.gradient(counts);
        // A softmax gradient is finite, so that there is nothing to refuse.
        self.feedback.encode(&[gradient.as_slice()]).unwrap_or_else(|_| blend::nothing(world.layout))
    }

    /// Trains on the first `share` of the peer's assignment, in whole micro-batches.
    pub fn train_own(&mut self, world: &World, share: f64) -> Own {
        self.train_own_from(world, share, 0)
    }

    /// The same from the model of `lag` rounds ago.
    pub fn train_own_from(&mut self, world: &World, share: f64, lag: usize) -> Own {
        let done = self.done(world, share);
        let counts = world.text.counts(&done);
        let tensors = self.train(world, &counts, lag);
        let sketches = done.chunks(world.micro_batch).map(|part| world.sketch(part, lag)).collect();
        Own { tensors, sketches, work: done.len() as f64 / self.assigned.len().max(1) as f64 }
    }

    /// The first `share` of the peer's assignment, in whole micro-batches.
    pub fn done(&self, world: &World, share: f64) -> Vec<u64> {
        let micro_batches = (world.micro_batches() as f64 * share).round() as usize;
        self.assigned.iter().copied().take(micro_batches * world.micro_batch).collect()
    }

    /// The sketches of all of its assignment.
    pub fn honest_sketches(&self, world: &World) -> Vec<Sums> {
        self.assigned.chunks(world.micro_batch).map(|part| world.sketch(part, 0)).collect()
    }

    /// Sketches for `count` micro-batches that were never computed: what the gradient of any text looks like.
    pub fn invent(&mut self, world: &World, count: usize) -> Vec<Sums> {
        let any = data::random(&self.rng.random(), world.window, world.micro_batch, world.text.training());
        vec![world.sketch(&any, 0); count]
    }

    /// A time for an upload by somebody who is neither early nor late: the first two thirds of the put window.
    pub fn in_time(&mut self, world: &World) -> u64 {
        world.during(self.rng.random_range(0.02..0.66))
    }
}

/// What is uploaded.
#[derive(Debug)]
pub enum Content {
    /// A pseudo-gradient, said to be of the model of `lag` rounds ago.
    Gradient {
        /// Its coefficients.
        tensors: Vec<SparseTensor>,
        /// Rounds by which the model is old that the peer shows.
        lag: usize,
    },
    /// Bytes that are made of a pseudo-gradient's object by spoiling it.
    Spoilt {
        /// What it would have been.
        tensors: Vec<SparseTensor>,
        /// How it is spoilt.
        how: u64,
    },
}

/// What a peer did of its own work in a window.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// What came of it.
    pub tensors: Vec<SparseTensor>,
    /// The sketches of its micro-batches' gradients.
    pub sketches: Vec<Sums>,
    /// Its share of all that was assigned.
    pub work: f64,
}

impl Own {
    /// Uploaded as it is.
    pub fn sent(self, at_ms: u64) -> Sent {
        let Self { tensors, sketches, work } = self;
        Sent::new(tensors, at_ms, work).declaring(sketches)
    }

    /// Declared as it is, with another object.
    pub fn behind(self, tensors: Vec<SparseTensor>, at_ms: u64) -> Sent {
        Self { tensors, ..self }.sent(at_ms)
    }
}

/// One peer's window.
#[derive(Debug, Default)]
pub struct Sent {
    /// What it uploads and when, in milliseconds.
    pub upload: Option<(Content, u64)>,
    /// Own assigned sequences that went into it, as a share of all assigned.
    pub work: f64,
    /// The sketches of the micro-batches that it says to have done; all of its assignment, and invented, where there are none.
    pub declared: Vec<Sums>,
    /// What it shows its accomplices.
    pub shared: Option<Vec<SparseTensor>>,
}

impl Sent {
    /// A pseudo-gradient of the current model.
    pub fn new(tensors: Vec<SparseTensor>, at_ms: u64, work: f64) -> Self {
        Self { upload: Some((Content::Gradient { tensors, lag: 0 }, at_ms)), work, ..Self::default() }
    }

    /// The same with sketches.
    pub fn declaring(self, declared: Vec<Sums>) -> Self {
        Self { declared, ..self }
    }
}

/// An upload of this window that others can read.
#[derive(Debug)]
pub struct Visible {
    /// Whose.
    pub uid: Uid,
    /// When, in milliseconds.
    pub at_ms: u64,
    /// What.
    pub tensors: Arc<Vec<SparseTensor>>,
    /// Its sketches.
    pub declared: Arc<Vec<Sums>>,
}

/// What a peer that looks first can see.
#[derive(Debug)]
pub struct Seen<'a> {
    /// Uploads of those who did not look, in the order of UIDs.
    pub uploads: &'a [Visible],
    /// What accomplices show each other, by group.
    pub shared: &'a BTreeMap<usize, Vec<(Uid, Vec<SparseTensor>)>>,
}

impl Seen<'_> {
    /// `count` uploads that were there at `at_ms`: drawn, those that are paid most twice as often.
    pub fn draw(&self, peer_state: &mut PeerState, world: &World, count: usize, at_ms: u64) -> Vec<&Visible> {
        let mut there: Vec<&Visible> =
            self.uploads.iter().filter(|v| v.at_ms <= at_ms && v.uid != peer_state.uid).collect();
        let pay = |v: &&Visible| world.incentive.get(&v.uid).copied().unwrap_or(0.0);
        there.sort_by(|a, b| pay(b).total_cmp(&pay(a)).then(a.uid.cmp(&b.uid)));
        let best = there.len().div_ceil(2);
        let mut drawn = Vec::new();
        while drawn.len() < count && !there.is_empty() {
            let end = if drawn.len().is_multiple_of(3) { there.len() } else { best.min(there.len()) };
            drawn.push(there.remove(peer_state.rng.random_range(0..end.max(1))));
        }
        drawn
    }
}

/// What a peer does with its windows. One small type for each kind, in [`super::kinds`].
pub trait Behaviour: Send {
    /// Whether it waits to see what others upload.
    fn looks(&self) -> bool {
        false
    }

    /// Its window before anybody uploaded. What a peer that looks returns here is only shown to accomplices.
    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent;

    /// Its window after the others uploaded.
    fn act(&mut self, _body: &mut PeerState, _world: &World, _seen: &Seen) -> Sent {
        Sent::default()
    }
}
