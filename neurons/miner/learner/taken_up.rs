//! Makes a memory from disk one of now: the node's own bucket says what was sent since.

use super::{Kept, Learner};
use templar::{
    bucket::{BucketError, Store, keys::RunKeys},
    gradient::{self, Expected, Layout, PseudoGradient},
    node::NodeError,
    wallet::verify,
    window::Window,
};

/// Objects of one look at the bucket: more than a miner keeps there.
const PAGE: usize = 1000;
/// The newest object may be so many windows younger than the memory. More is no kill, but a disk that took nothing for long; objects of
/// between may be deleted already (after 100 windows, `retention.rs`), and nobody could tell what they held.
const MOST_BEHIND: u64 = 64;

impl Learner {
    /// Takes out of the memory what was sent after it was written, and says which of the windows from `now` on has been sent already. To
    /// be called until it goes well, before anything is learned; what was taken out by then is not taken out again.
    ///
    /// Of each object that the bucket has of a later window (and of the memory's own, where that was in flight), the coefficients that
    /// were sent become zero. An object that cannot be read is one of unknown content, and then only an empty memory is sure
    /// to send nothing twice.
    ///
    /// # Errors
    /// What the bucket says.
    pub async fn take_up(
        &mut self,
        bucket: &dyn Store,
        keys: &RunKeys,
        layout: &Layout,
        expected: &Expected,
        now: Window,
    ) -> Result<Option<Window>, NodeError> {
        let from = self.kept.map_or(now, Kept::first_unknown).min(now);
        let after = keys.before("gradient", from);
        let listed = bucket.list_after(&keys.prefix("gradient"), &after, PAGE).await?;
        let sent: Vec<Window> =
            listed.iter().filter_map(|key| keys.parse(key).and_then(|parsed| parsed.window())).collect();
        if let (Some(kept), Some(newest)) = (self.kept, sent.last())
            && *newest > kept.window + MOST_BEHIND
        {
            tracing::warn!(window = kept.window, "the saved momentum is too old; starting from zero");
            self.feedback.here().map_err(NodeError::from)?.clear();
            self.kept = None;
        }
        for window in sent.iter().copied() {
            let Some(kept) = self.kept.filter(|kept| kept.first_unknown() <= window) else { continue };
            let expected = Expected { window, ..expected.clone() };
            match fetch(bucket, &keys.gradient(window), layout, &expected).await? {
                Ok(object) => {
                    let later = window > kept.window;
                    let feedback = self.feedback.here().map_err(NodeError::from)?;
                    feedback.was_sent(&object.tensors, later)?;
                    self.kept = Some(Kept { window, settled: true });
                    tracing::info!(window, "what was sent since the momentum was saved is taken out of it");
                }
                Err(error) => {
                    tracing::warn!(window, %error, "what was sent cannot be read; the momentum starts from zero");
                    self.feedback.here().map_err(NodeError::from)?.clear();
                    self.kept = None;
                }
            }
        }
        self.kept = None;
        Ok(sent.last().copied().filter(|window| *window >= now))
    }
}

impl Kept {
    /// The first window of which the memory does not know what was sent.
    fn first_unknown(self) -> Window {
        if self.settled { self.window + 1 } else { self.window }
    }
}

/// An object of the node's own; inside, why it is of no use.
async fn fetch(
    bucket: &dyn Store,
    key: &str,
    layout: &Layout,
    expected: &Expected,
) -> Result<Result<PseudoGradient, String>, BucketError> {
    match bucket.get(key, layout.max_object_bytes() as u64).await {
        Ok(object) => {
            Ok(gradient::decode(&object.bytes, layout, expected, verify).map_err(|error| error.to_string()))
        }
        Err(error @ (BucketError::TooLarge { .. } | BucketError::NotFound { .. })) => {
            Ok(Err(error.to_string()))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng, rngs::StdRng};
    use std::collections::{BTreeMap, BTreeSet};
    use tch::{Device, Tensor};
    use templar::{
        bucket::{MemoryStore, system_clock},
        compress::ErrorFeedback,
        gradient::{Header, SparseTensor},
        manifest::{ManifestFile, TrainConfig},
        model::{Llama, parameter_shapes},
        wallet::Keypair,
    };

    struct World {
        dir: tempfile::TempDir,
        train: TrainConfig,
        model: Llama,
        layout: Layout,
        bucket: MemoryStore,
        keys: RunKeys,
        hotkey: Keypair,
        samples: usize,
    }

    impl World {
        fn new(preset: &str) -> Self {
            let mut manifest = ManifestFile::preset(preset).unwrap().parsed;
            let config = &mut manifest.model;
            (config.hidden_size, config.intermediate_size, config.layers) = (64, 64, 1);
            let layout = Layout::new(&parameter_shapes(&manifest.model), &manifest.compress, 2).unwrap();
            Self {
                dir: tempfile::tempdir().unwrap(),
                model: Llama::new(&manifest.model, 1, Device::Cpu),
                samples: layout.model_samples(),
                layout,
                train: manifest.train,
                bucket: MemoryStore::new("own", system_clock()),
                keys: RunKeys::new("0123456789abcdef"),
                hotkey: Keypair::from_uri("//Alice").unwrap(),
            }
        }

        fn open(&self) -> Learner {
            Learner::open(self.dir.path(), &self.train, &self.model, &self.layout)
        }

        /// About normal numbers, from a generator of their own: libtorch's is everybody's, and other tests draw from it meanwhile.
        fn gradient(&self, seed: u64) -> Vec<Tensor> {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut normal = || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
            let mut tensor = |layout: &templar::codec::TensorLayout| {
                let shape: Vec<i64> = layout.shape.iter().map(|d| *d as i64).collect();
                let values: Vec<f32> = (0..layout.len()).map(|_| 1e-3 * normal()).collect();
                Tensor::from_slice(&values).reshape(shape)
            };
            self.layout.tensors().iter().map(&mut tensor).collect()
        }

        fn nothing(&self) -> Vec<Tensor> {
            self.gradient(1).iter().map(Tensor::zeros_like).collect()
        }

        fn expected(&self, window: Window) -> Expected {
            Expected { run: [1; 32], netuid: 3, window, uid: 7, hotkey: self.hotkey.account() }
        }

        async fn publish(&self, window: Window, sent: &[SparseTensor]) {
            let Expected { run, netuid, uid, hotkey, .. } = self.expected(window);
            let header = Header {
                run,
                netuid,
                window,
                uid,
                hotkey,
                sample_digest: "0".repeat(gradient::SAMPLE_DIGEST_CHARS),
                sample_count: 1,
                model_hash: [2; 32],
                model_samples: vec![0.0; self.samples],
            };
            let sign = |message: &[u8]| self.hotkey.sign(message);
            let (object, _) = gradient::encode(&header, sent, &self.layout, sign).unwrap();
            self.bucket.put(&self.keys.gradient(window), object.into()).await.unwrap();
        }

        /// A learner of after a restart.
        async fn again(&self, now: Window) -> (Learner, Option<Window>) {
            let mut learner = self.open();
            let sent =
                learner.take_up(&self.bucket, &self.keys, &self.layout, &self.expected(now), now).await;
            (learner, sent.unwrap())
        }

        /// Window 1 is published and saved.
        async fn one_window(&self) -> Learner {
            let mut learner = self.open();
            let sent = learner.encode(1, &self.gradient(1)).unwrap();
            self.publish(1, &sent).await;
            learner.settle(true).unwrap();
            learner
        }

        /// How many of the places that were sent are sent again, of tensors where there is more to choose from.
        fn repeated(&self, sent: &[SparseTensor], again: &[SparseTensor]) -> (usize, usize) {
            let (mut both, mut all) = (0, 0);
            for ((layout, sent), again) in self.layout.tensors().iter().zip(sent).zip(again) {
                if layout.kept * 3 > layout.chunk_len() {
                    continue;
                }
                for (one, other) in
                    sent.positions.chunks(layout.kept).zip(again.positions.chunks(layout.kept))
                {
                    let one: BTreeSet<_> = one.iter().collect();
                    all += one.len();
                    both += other.iter().filter(|position| one.contains(position)).count();
                }
            }
            assert!(all > 100);
            (both, all)
        }
    }

    /// As `kill -9` does, once the thread that writes is through.
    fn kill(mut learner: Learner) {
        let _ = learner.feedback.here();
        let _ = learner.inner.as_mut().map(super::super::Saving::here);
        std::mem::forget(learner);
    }

    const PRESETS: [&str; 2] = ["local", "local-sparseloco"];

    #[tokio::test]
    async fn killed_between_encoding_and_upload_nothing_of_the_window_counts() {
        for preset in PRESETS {
            let world = World::new(preset);
            let mut learner = world.one_window().await;
            learner.encode(2, &world.gradient(2)).unwrap();
            kill(learner);
            let (mut learner, sent) = world.again(2).await;
            assert_eq!(sent, None);
            let other = World::new(preset);
            let mut control = other.one_window().await;
            let next = world.gradient(3);
            assert_eq!(learner.encode(3, &next).unwrap(), control.encode(3, &next).unwrap(), "{preset}");
        }
    }

    #[tokio::test]
    async fn killed_between_upload_and_saving_nothing_is_sent_twice() {
        for preset in PRESETS {
            let world = World::new(preset);
            let mut learner = world.one_window().await;
            let sent = learner.encode(2, &world.nothing()).unwrap();
            world.publish(2, &sent).await;
            kill(learner);
            // Taken up as if it were of now, it would be sent once more.
            let mut wrong = world.open();
            let (both, all) = world.repeated(&sent, &wrong.encode(3, &world.nothing()).unwrap());
            assert_eq!(both, all, "{preset}");
            kill(wrong);
            let (mut learner, newest) = world.again(2).await;
            assert_eq!(newest, Some(2), "window 2 must not be worked on again");
            let next = learner.encode(3, &world.nothing()).unwrap();
            assert_eq!(world.repeated(&sent, &next).0, 0, "{preset}");
        }
    }

    #[tokio::test]
    async fn stopped_in_order_with_something_in_flight_it_counts_once() {
        for preset in PRESETS {
            for published in [false, true] {
                let world = World::new(preset);
                let mut learner = world.one_window().await;
                let sent = learner.encode(2, &world.nothing()).unwrap();
                drop(learner);
                if published {
                    world.publish(2, &sent).await;
                }
                let (mut learner, _) = world.again(3).await;
                let (both, all) = world.repeated(&sent, &learner.encode(3, &world.nothing()).unwrap());
                assert_eq!(both, if published { 0 } else { all }, "{preset}");
            }
        }
    }

    #[tokio::test]
    async fn what_could_not_be_uploaded_is_sent_in_the_next_window() {
        let world = World::new("local");
        let mut learner = world.one_window().await;
        let sent = learner.encode(2, &world.nothing()).unwrap();
        learner.settle(false).unwrap();
        let (both, all) = world.repeated(&sent, &learner.encode(3, &world.nothing()).unwrap());
        assert_eq!(both, all);
    }

    #[tokio::test]
    async fn what_nobody_can_read_or_know_begins_from_zero() {
        for (window, bytes) in [(2, "no gradient"), (MOST_BEHIND + 2, "of a time too long after")] {
            let world = World::new("local");
            kill(world.one_window().await);
            world.bucket.put(&world.keys.gradient(window), bytes.into()).await.unwrap();
            let (mut learner, _) = world.again(window + 1).await;
            let next = world.gradient(3);
            let fresh = ErrorFeedback::new(&world.layout).encode(&next).unwrap();
            assert_eq!(learner.encode(window + 1, &next).unwrap(), fresh);
        }
    }

    #[tokio::test]
    async fn the_memory_is_written_now_and_then_and_says_its_window() {
        let world = World::new("local");
        let on_disk = |learner: &mut Learner| {
            let _ = learner.feedback.here();
            let path = world.dir.path().join(super::super::FEEDBACK);
            Kept::of(&ErrorFeedback::load(&world.layout, &path).unwrap().1).unwrap()
        };
        let mut learner = world.one_window().await;
        let mut seen = BTreeMap::new();
        for window in 2..=20 {
            learner.encode(window, &world.nothing()).unwrap();
            learner.settle(true).unwrap();
            seen.insert(window, on_disk(&mut learner));
        }
        assert_eq!((seen[&2].window, seen[&16].window, seen[&17].window, seen[&20].window), (1, 1, 17, 17));
        drop(learner);
        assert_eq!(on_disk(&mut world.open()), Kept { window: 20, settled: true });
    }
}
