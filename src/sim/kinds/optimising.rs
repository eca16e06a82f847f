//! A peer that looks for the object that shows its work best.

use super::Mix;
use crate::{
    codec::{ErrorFeedback, Norms},
    data,
    gradient::SparseTensor,
    sim::{
        blend,
        judge::step_of,
        peer::{Behaviour, Own, PeerState, Seen, Sent, World},
    },
};
use rand::Rng as _;

/// Objects of others that it knows the mean of.
const OTHERS: usize = 20;

/// Tries mixes of its own gradient with what is public, and sends the one that fits its own data best beside other data.
pub struct Optimiser {
    work: f64,
    mixes: Vec<Mix>,
    own: Own,
    plain: Vec<SparseTensor>,
}

impl Optimiser {
    /// Does `work` of its assignment and tries these mixes.
    pub fn new(work: f64, mixes: Vec<Mix>) -> Self {
        Self { work, mixes, own: Own::default(), plain: Vec::new() }
    }

    /// How much better a step of these tensors is on the peer's own data than on other data, nats a token.
    fn shows(&self, tensors: &[SparseTensor], own: &[u64], other: &[u64], world: &World) -> f64 {
        let Some(signs) = step_of(&[tensors], world, Norms::Equal) else { return 0.0 };
        let slope = |sequences: &[u64]| {
            let gradient = world.model(0).table.gradient(&world.text.counts(sequences));
            gradient.iter().zip(&signs).map(|(g, s)| f64::from(*g) * f64::from(*s)).sum::<f64>()
        };
        slope(own) - slope(other)
    }
}

impl Behaviour for Optimiser {
    fn looks(&self) -> bool {
        true
    }

    fn work(&mut self, peer_state: &mut PeerState, world: &World) -> Sent {
        self.own = peer_state.train_own(world, self.work);
        let done = peer_state.done(world, self.work);
        let gradient = world.model(0).table.gradient(&world.text.counts(&done));
        // An encoder that remembers nothing.
        let plain = ErrorFeedback::new(world.layout.codec()).encode(&[gradient.as_slice()]);
        self.plain = plain.unwrap_or_else(|_| blend::nothing(world.layout));
        Sent::default()
    }

    fn act(&mut self, peer_state: &mut PeerState, world: &World, seen: &Seen) -> Sent {
        let at = world.during(0.95);
        let found = seen.draw(peer_state, world, OTHERS, at);
        let parts: Vec<_> = found.iter().map(|one| (1.0, one.tensors.as_slice())).collect();
        let mean = blend::blend(&parts, world.layout);
        let done = peer_state.done(world, self.work);
        let other =
            data::random(&peer_state.rng.random(), world.window, world.sequences, world.text.training());
        let mixed = self.mixes.iter().map(|mix| {
            let own = if mix.momentum { &self.own.tensors } else { &self.plain };
            blend::blend(&[(1.0, own.as_slice()), (-mix.less, mean.as_slice())], world.layout)
        });
        let best = mixed
            .map(|tensors| (self.shows(&tensors, &done, &other, world), tensors))
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let own = std::mem::take(&mut self.own);
        match best {
            Some((_, tensors)) => own.behind(tensors, at),
            None => own.sent(at),
        }
    }
}
