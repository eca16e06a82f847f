//! A node that can be killed, stopped and started again, with its folder as the kernel would leave it.

use super::{
    NETUID, VALIDATORS, World,
    faulty::{FaultyChain, FaultyStore, Gate, Life},
};
use crate::{
    context::{self, Folder, Means, Role},
    miner, validator,
};
use std::{fs, io, path::Path, rc::Rc, sync::Arc, time::Duration};
use tch::Device;
use templar::{
    bucket::{ReadCredential, Store},
    data::Corpus,
    node::{BucketCache, Identity, NodeError},
};
use tokio::{
    sync::watch,
    task::{JoinHandle, spawn_local},
    time::sleep,
};
use tracing::Instrument as _;

/// What is to become of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    Run,
    /// It stands still until it is told to run.
    Stop,
    /// It is killed, and started again once it is told to run.
    Kill,
}

/// A node, whether it is alive or not.
pub struct Process {
    world: Rc<World>,
    who: usize,
}

impl Process {
    pub fn new(world: &Rc<World>, who: usize) -> Self {
        Self { world: world.clone(), who }
    }

    /// Runs the node until it is done with the run, as it is ordered.
    pub async fn keep(self, mut orders: watch::Receiver<Order>) {
        loop {
            if orders.wait_for(|order| *order == Order::Run).await.is_err() {
                return;
            }
            let (life, gate) = watch::channel(Life::Runs);
            let mut node = self.start(gate);
            let result = loop {
                tokio::select! {
                    biased;
                    result = &mut node => break Some(result.unwrap()),
                    told = orders.changed() => {
                        // Nobody gives orders any more.
                        if told.is_err() {
                            let _ = life.send(Life::Runs);
                            break Some((&mut node).await.unwrap());
                        }
                        match *orders.borrow_and_update() {
                            Order::Run => life.send_replace(Life::Runs),
                            Order::Stop => life.send_replace(Life::Stopped),
                            Order::Kill => break None,
                        };
                    }
                }
            };
            match result {
                Some(Ok(())) => return,
                // `templar localnet`, and every service manager, starts it again.
                Some(Err(error)) if error.is_transient() => {
                    self.world.count("ended for a passing reason");
                    sleep(Duration::from_secs(1)).await;
                }
                Some(Err(error)) => {
                    let (seed, window, name) = (self.world.seed, self.world.window(), World::name(self.who));
                    panic!("seed {seed}, window {window}: {name} ended: {error} ({error:?})");
                }
                None => {
                    life.send_replace(Life::Dead);
                    self.kill(node).await;
                }
            }
        }
    }

    /// Ends the node and leaves its folder as it was at this moment: nothing that is done on the way out counts.
    async fn kill(&self, node: JoinHandle<Result<(), NodeError>>) {
        let folder = self.world.folder(self.who);
        let then = folder.with_extension("killed");
        copy(&folder, &then);
        node.abort();
        let _ = node.await;
        fs::remove_dir_all(&folder).unwrap();
        fs::rename(then, folder).unwrap();
    }

    fn start(&self, life: watch::Receiver<Life>) -> JoinHandle<Result<(), NodeError>> {
        let (world, who) = (self.world.clone(), self.who);
        let gate = Gate { life, weather: world.weather.clone() };
        let span = tracing::info_span!("node", name = World::name(who));
        let node = async move {
            let store = {
                let (gate, buckets) = (gate.clone(), world.buckets.clone());
                move |owner: usize| -> Arc<dyn Store> {
                    let (memory, gate) = (buckets[owner].clone(), gate.clone());
                    Arc::new(FaultyStore { memory, owner, gate })
                }
            };
            let identity = Identity {
                chain: Arc::new(FaultyChain { memory: world.chain.clone(), gate }),
                netuid: NETUID,
                hotkey: world.keys[who].clone(),
                manifest: world.manifest.clone(),
                bucket: store(who),
            };
            let length = world.manifest.parsed.model.sequence_length as usize;
            let held_out = world.manifest.parsed.data.held_out_sequences;
            let corpus = Corpus::open(&world.dir.join("text")).unwrap().sequences(length, held_out).unwrap();
            let read = ReadCredential::new(&format!("{who:032}"), &"a".repeat(32), &"b".repeat(64)).unwrap();
            let means = Means {
                identity,
                buckets: BucketCache::with(move |credential| store(credential.account_id().parse().unwrap())),
                read,
                folder: Folder::take(world.folder(who)).unwrap(),
                corpus,
                // Every other node has two devices: what a node does must not depend on how many.
                devices: vec![Device::Cpu; 1 + who % 2],
                from_start: false,
            };
            match who < VALIDATORS {
                true => validator::judge(context::join(means, Role::Validator, true).await?).await,
                false => miner::mine(context::join(means, Role::Miner, false).await?, None).await,
            }
        };
        spawn_local(node.instrument(span))
    }
}

/// Copies a folder that may change meanwhile.
fn copy(from: &Path, to: &Path) {
    let gone = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    fs::create_dir_all(to).unwrap();
    let entries = match fs::read_dir(from) {
        Err(error) if gone(&error) => return,
        entries => entries.unwrap(),
    };
    for entry in entries {
        let entry = entry.unwrap();
        let (path, copied) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &copied);
        } else if let Err(error) = fs::copy(&path, &copied) {
            assert!(gone(&error), "{error}");
        }
    }
}
