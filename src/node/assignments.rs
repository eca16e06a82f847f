//! Who trains on what, with what has to be known for it.

use super::{Identity, NodeError, window::block_hash};
use crate::{
    data::{self, Sequences, Shares},
    manifest::AssignmentRule,
    window::{Block, Schedule, Uid, Window},
};
use std::collections::BTreeMap;

/// Windows whose seeds are kept.
const KEPT: usize = 64;

/// The assignments of a run: a function of the manifest, the window where the run began, and, where its parts are
/// [disjoint](AssignmentRule::Disjoint), a block hash for each window.
#[derive(Debug, Clone)]
pub struct Assignments {
    start: Window,
    seeds: BTreeMap<Window, Seed>,
}

/// A hash that draws a window's parts.
#[derive(Debug, Clone, Copy)]
struct Seed {
    hash: [u8; 32],
    /// Of a block that is not final another may take the place.
    is_final: bool,
}

/// The block whose hash draws a window's parts: the first of the window before, so that data can be fetched a window ahead.
pub fn seed_block(schedule: &Schedule, window: Window) -> Block {
    schedule.first_block(window.saturating_sub(1))
}

impl Assignments {
    /// Those of a run that began with a window.
    pub fn new(start: Window) -> Self {
        Self { start, seeds: BTreeMap::new() }
    }

    /// Learns the seed of a window from the chain, if it needs one that is not known yet; waits until its block is final.
    ///
    /// # Errors
    /// Those of asking the chain, and [`NodeError::NoBlock`] where the block has not come.
    pub async fn learn(&mut self, identity: &Identity, window: Window) -> Result<(), NodeError> {
        let manifest = &identity.manifest.parsed;
        let known = self.seeds.get(&window).is_some_and(|seed| seed.is_final);
        if manifest.data.assignment != AssignmentRule::Disjoint || known {
            return Ok(());
        }
        let block = seed_block(&manifest.schedule(), window);
        let hash = block_hash(identity.chain.as_ref(), block).await?;
        self.keep(window, Seed { hash, is_final: true });
        Ok(())
    }

    /// Learns what the seed of a coming window is likely to be, without waiting: enough to fetch data ahead. [`Self::learn`] has the
    /// last word.
    ///
    /// # Errors
    /// Those of asking the chain, and [`NodeError::NoBlock`] where the block has not come.
    pub async fn foresee(&mut self, identity: &Identity, window: Window) -> Result<(), NodeError> {
        let manifest = &identity.manifest.parsed;
        if manifest.data.assignment != AssignmentRule::Disjoint || self.seeds.contains_key(&window) {
            return Ok(());
        }
        let block = seed_block(&manifest.schedule(), window);
        let hash = identity.chain.block_hash(block).await?.ok_or(NodeError::NoBlock(block))?;
        self.keep(window, Seed { hash, is_final: false });
        Ok(())
    }

    fn keep(&mut self, window: Window, seed: Seed) {
        self.seeds.insert(window, seed);
        while self.seeds.len() > KEPT {
            self.seeds.pop_first();
        }
    }

    /// The sequences that a window assigns to a peer, in their order: it trains on the first so many of them.
    ///
    /// # Errors
    /// [`NodeError::NoSeed`] for a window whose seed was not [learned](Self::learn).
    pub fn of(
        &self,
        identity: &Identity,
        text: &Sequences,
        uid: Uid,
        hotkey: &[u8; 32],
        window: Window,
    ) -> Result<Vec<u64>, NodeError> {
        let manifest = &identity.manifest.parsed;
        let (count, population) = (manifest.train.most_sequences(), text.training());
        let run = identity.manifest.hash();
        match manifest.data.assignment {
            AssignmentRule::Drawn => Ok(data::assigned(&run, hotkey, window, count, population)),
            AssignmentRule::Reference => {
                let count = usize::try_from(population).map_or(count, |population| count.min(population));
                Ok(data::numpy::miner_pool(uid, window, population, count).unwrap_or_default())
            }
            AssignmentRule::Disjoint => {
                let Seed { hash: drawn, .. } = self.seeds.get(&window).ok_or(NodeError::NoSeed { window })?;
                let shares = Shares { peers: manifest.data.peers, sequences: count as u64 };
                let since = window.saturating_sub(self.start);
                Ok(shares.of(&run, since, drawn, uid.into(), population))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bucket::{MemoryStore, system_clock},
        chain::MemoryChain,
        data::Corpus,
        manifest::ManifestFile,
        wallet::Keypair,
    };
    use std::{collections::HashSet, sync::Arc};

    const START: Window = 5;

    /// The local run with another rule, on a chain that has come to a block.
    fn identity(rule: AssignmentRule, blocks: Block) -> Identity {
        let mut manifest = ManifestFile::preset("local").unwrap().parsed;
        manifest.data.assignment = rule;
        (manifest.data.peers, manifest.train.micro_batch, manifest.train.batches) = (4, 2, 2);
        let manifest = Arc::new(ManifestFile::parse(&toml::to_string(&manifest).unwrap()).unwrap());
        let chain = MemoryChain::new(3, 0);
        chain.advance(blocks);
        let bucket = Arc::new(MemoryStore::new("own", system_clock()));
        let hotkey = Keypair::from_uri("//Validator").unwrap();
        Identity { chain: Arc::new(chain), netuid: 3, hotkey, manifest, bucket }
    }

    fn text(folder: &std::path::Path) -> Sequences {
        let source = folder.join("text.txt");
        std::fs::write(&source, "what all of them train on. ".repeat(200)).unwrap();
        Corpus::prepare(&[source], &folder.join("data"), 1 << 20).unwrap();
        Corpus::open(&folder.join("data")).unwrap().sequences(16, 2).unwrap()
    }

    #[tokio::test]
    async fn parts_are_known_a_window_ahead_and_not_before() {
        let folder = tempfile::tempdir().unwrap();
        let text = text(folder.path());
        let schedule = identity(AssignmentRule::Disjoint, 0).manifest.parsed.schedule();
        // The last block of window 6: the first of 7, which draws window 8, has not come.
        let identity = identity(AssignmentRule::Disjoint, schedule.first_block(7) - 1);
        let mut ours = Assignments::new(START);
        let of =
            |assignments: &Assignments, uid, window| assignments.of(&identity, &text, uid, &[0; 32], window);
        assert!(matches!(of(&ours, 0, 6), Err(NodeError::NoSeed { window: 6 })));
        for window in 5..=7 {
            ours.learn(&identity, window).await.unwrap();
        }
        assert!(matches!(ours.learn(&identity, 8).await, Err(NodeError::NoBlock(_))));
        assert!(matches!(of(&ours, 0, 8), Err(NodeError::NoSeed { window: 8 })));
        let mut all = HashSet::new();
        for window in 5..=7 {
            for uid in 0..4 {
                let part = of(&ours, uid, window).unwrap();
                assert_eq!(part.len(), 4);
                assert!(part.iter().all(|index| *index < text.training() && all.insert(*index)));
            }
        }
        // Who learns it later learns the same.
        let mut theirs = Assignments::new(START);
        theirs.learn(&identity, 7).await.unwrap();
        assert_eq!(of(&theirs, 3, 7).unwrap(), of(&ours, 3, 7).unwrap());
    }

    #[tokio::test]
    async fn what_was_foreseen_gives_way_to_the_final_block() {
        let folder = tempfile::tempdir().unwrap();
        let text = text(folder.path());
        let mut identity = identity(AssignmentRule::Disjoint, 0);
        let chain = MemoryChain::new(3, 2);
        chain.advance(identity.manifest.parsed.schedule().first_block(7));
        identity.chain = Arc::new(chain.clone());
        let mut ours = Assignments::new(START);
        ours.foresee(&identity, 8).await.unwrap();
        let foreseen = ours.of(&identity, &text, 0, &[0; 32], 8).unwrap();
        chain.reorganise(1, 0);
        chain.advance(2);
        ours.foresee(&identity, 8).await.unwrap();
        assert_eq!(ours.of(&identity, &text, 0, &[0; 32], 8).unwrap(), foreseen);
        ours.learn(&identity, 8).await.unwrap();
        let (learned, mut theirs) =
            (ours.of(&identity, &text, 0, &[0; 32], 8).unwrap(), Assignments::new(START));
        assert_ne!(learned, foreseen);
        theirs.learn(&identity, 8).await.unwrap();
        assert_eq!(theirs.of(&identity, &text, 0, &[0; 32], 8).unwrap(), learned);
    }

    #[tokio::test]
    async fn the_reference_draws_as_python_does() {
        let folder = tempfile::tempdir().unwrap();
        let text = text(folder.path());
        let identity = identity(AssignmentRule::Reference, 0);
        let part = Assignments::new(START).of(&identity, &text, 7, &[0; 32], 62_834).unwrap();
        assert_eq!(Some(part), data::numpy::miner_pool(7, 62_834, text.training(), 4));
    }
}
