//! The roster: which peers were registered, and which had to be aggregated.

use super::{AuditError, Auditor, Difference};
use crate::{
    chain::Metagraph,
    gauntlet::{Gauntlet, Hotkey, Peer, PeerState},
    node::{Directory, StateRecord, window::DecidingBlocks},
    round::RoundRecord,
    window::Window,
};
use std::collections::BTreeSet;

impl Auditor {
    /// Whether the state before the window is one, and under the run's rules.
    pub(super) fn rules(&self, before: &Gauntlet, after: &StateRecord) -> Option<Difference> {
        let difference = |field: &str, logged: String, recomputed: String| Difference {
            window: after.window,
            uid: None,
            hotkey: None,
            field: format!("state.{field}"),
            logged,
            recomputed,
        };
        let window = |window: Option<Window>| window.map_or("none".to_owned(), |window| window.to_string());
        if *before.config() != self.identity.manifest.parsed.gauntlet {
            return Some(difference("config", "other rules".to_owned(), "the manifest's".to_owned()));
        }
        let last = before.last_window();
        (last != after.previous).then(|| difference("previous", window(after.previous), window(last)))
    }

    /// Compares the roster, which the state names, with the chain's. Registrations while the validator read
    /// it may or may not be in it.
    pub(super) async fn roster(
        &self,
        directory: &Directory,
        after: &StateRecord,
        blocks: &DecidingBlocks,
        window: Window,
    ) -> Result<Option<Difference>, AuditError> {
        let (chain, netuid) = (&self.identity.chain, self.identity.netuid);
        let next = self.identity.manifest.parsed.schedule().opening_block(window + 1);
        let later = next.min(chain.head().await?.number).max(blocks.evaluation);
        let opening = chain.metagraph(netuid, Some(blocks.opening)).await?;
        let later = chain.metagraph(netuid, Some(later)).await?;
        let seen = [&opening, &directory.metagraph, &later];
        let difference = |uid, hotkey: &Hotkey, logged: &str, recomputed: &str| Difference {
            window,
            uid: Some(uid),
            hotkey: Some(hotkey.clone()),
            field: "roster".to_owned(),
            logged: logged.to_owned(),
            recomputed: recomputed.to_owned(),
        };
        for peer in peers(&after.gauntlet) {
            if !seen.iter().any(|metagraph| holds(metagraph, &peer)) {
                return Ok(Some(difference(peer.uid, &peer.hotkey, "registered", "not registered so")));
            }
        }
        for neuron in &directory.metagraph.neurons {
            let left_out =
                neuron.hotkey != self.audited.hotkey && after.gauntlet.peer(&neuron.hotkey).is_none();
            if left_out && seen.iter().all(|metagraph| metagraph.neuron(&neuron.hotkey).is_some()) {
                return Ok(Some(difference(neuron.uid, &neuron.hotkey, "left out", "registered")));
            }
        }
        Ok(None)
    }

    /// Where the validator decided: whether it aggregated those whom the rule names, `ours`.
    pub(super) fn round(
        &self,
        directory: &Directory,
        ours: &BTreeSet<Hotkey>,
        round: &RoundRecord,
    ) -> Option<Difference> {
        if round.by != self.audited.hotkey {
            return None;
        }
        let theirs: BTreeSet<Hotkey> = round.accepted.iter().map(|a| a.hotkey.clone()).collect();
        ours.symmetric_difference(&theirs).next().map(|hotkey| {
            let word = |set: &BTreeSet<Hotkey>| {
                if set.contains(hotkey) { "aggregated" } else { "not aggregated" }.to_owned()
            };
            Difference {
                window: round.window,
                uid: directory.metagraph.neuron(hotkey).map(|neuron| neuron.uid),
                hotkey: Some(hotkey.clone()),
                field: "round.accepted".to_owned(),
                logged: word(&theirs),
                recomputed: word(ours),
            }
        })
    }
}

/// The roster that a state names.
pub(super) fn peers(gauntlet: &Gauntlet) -> Vec<Peer> {
    let peer = |(hotkey, state): (&Hotkey, &PeerState)| Peer {
        hotkey: hotkey.clone(),
        uid: state.uid,
        registered_at_block: state.registered_at_block,
    };
    gauntlet.peers().map(peer).collect()
}

fn holds(metagraph: &Metagraph, peer: &Peer) -> bool {
    metagraph
        .neuron(&peer.hotkey)
        .is_some_and(|n| n.uid == peer.uid && n.block_at_registration == peer.registered_at_block)
}
