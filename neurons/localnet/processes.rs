//! The processes of a localnet: started, watched, started again when one dies, stopped at the end.

use super::{
    chain::QUICK_BLOCK,
    chaos::FAULTS,
    keeper::{Fate, Keeper, Patience, Recipe},
    plan::{COLDKEY, Kind, Neuron, Plan},
};
use crate::cli::{Exit, Failure};
use crate::commands::node::{NODE, sibling};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{net::TcpStream, sync::watch};

/// The programs that a localnet starts.
///
/// They are looked up once, when it begins: after a rebuild the system no longer knows where this process's own program was, and a process
/// that died could not be started again.
#[derive(Debug)]
pub struct Programs {
    /// What needs no libtorch starts at once, and takes less memory, without it.
    light: PathBuf,
    node: PathBuf,
}

impl Programs {
    /// Looks beside this program.
    pub fn find() -> Result<Self, Failure> {
        Ok(Self { light: sibling("templar")?, node: sibling(NODE)? })
    }
}

/// Every process of a localnet.
pub struct Processes {
    logs: PathBuf,
    stop: watch::Sender<bool>,
    tasks: BTreeMap<String, (tokio::task::JoinHandle<()>, watch::Receiver<Fate>)>,
    programs: Programs,
    pids: Arc<Mutex<BTreeMap<String, u32>>>,
    pid_file: PathBuf,
}

impl Processes {
    /// Nothing runs yet.
    pub fn new(plan: &Plan, programs: Programs) -> Self {
        Self {
            logs: plan.dir.join("logs"),
            stop: watch::channel(false).0,
            tasks: BTreeMap::new(),
            programs,
            pids: Arc::default(),
            pid_file: plan.dir.join("processes.json"),
        }
    }

    /// Starts the chain and waits until it listens.
    pub async fn start_chain(&mut self, plan: &Plan) -> Result<(), Failure> {
        let arguments = [
            "devchain".to_owned(),
            format!("--port={}", plan.chain_port),
            format!("--block-time={}ms", QUICK_BLOCK.as_millis()),
            format!("--dir={}", plan.dir.join("chain").display()),
            format!("--finality-lag={}", plan.finality_lag),
            "--exit-with-parent".to_owned(),
        ];
        self.launch("chain", arguments.to_vec(), vec![])?;
        self.listening("chain", plan.chain_port).await
    }

    /// Starts the storage and waits until it listens.
    pub async fn start_storage(&mut self, plan: &Plan) -> Result<(), Failure> {
        let keys = plan.dir.join("storage-keys.json");
        plan.storage_keys().write(&keys)?;
        let arguments = [
            "storage".to_owned(),
            format!("--port={}", plan.storage_port),
            format!("--dir={}", plan.dir.join("storage").display()),
            format!("--keys={}", keys.display()),
            format!("--faults={}", plan.dir.join(FAULTS).display()),
            "--exit-with-parent".to_owned(),
        ];
        self.launch("storage", arguments.to_vec(), vec![])?;
        self.listening("storage", plan.storage_port).await
    }

    /// Starts every neuron that is there when so many windows are over, and does not run yet.
    pub fn start_neurons(&mut self, plan: &Plan, done: u64) -> Result<(), Failure> {
        let due = |neuron: &&Neuron| neuron.join.is_none_or(|join| join.after <= done);
        for neuron in plan.neurons.iter().filter(due) {
            if !self.tasks.contains_key(&neuron.name) {
                self.start_neuron(plan, neuron)?;
            }
        }
        Ok(())
    }

    /// Ends a process for good, without a word.
    pub fn end(&mut self, name: &str) {
        // The process is killed when its keeper is gone.
        if let Some((keeper, _)) = self.tasks.get(name) {
            keeper.abort();
        }
    }

    /// Sends a process a signal, by the name that `kill` has for it.
    ///
    /// # Errors
    /// Where there is no such process.
    pub fn signal(&self, name: &str, signal: &str) -> Result<(), Failure> {
        let pid = self.pids.lock().ok().and_then(|pids| pids.get(name).copied());
        let sent = pid.is_some_and(|pid| {
            let status = std::process::Command::new("kill").args([signal, &pid.to_string()]).status();
            status.is_ok_and(|status| status.success())
        });
        match sent {
            true => Ok(()),
            false => {
                Err(Failure::new(Exit::Unexpected, format!("cannot send {signal} to the process `{name}`")))
            }
        }
    }

    fn start_neuron(&mut self, plan: &Plan, neuron: &Neuron) -> Result<(), Failure> {
        let verb = if neuron.kind == Kind::Validator { "validator" } else { "miner" };
        let mut arguments = vec![
            verb.to_owned(),
            format!("--wallet={COLDKEY}/{}", neuron.name),
            format!("--wallet.path={}", plan.dir.join("wallets").display()),
            format!("--network={}", plan.chain_url()),
            format!("--netuid={}", plan.netuid),
            format!("--data-cache={}", plan.data_cache),
            format!("--dir={}", plan.dir.join("state").join(&neuron.name).display()),
            "--device=cpu".to_owned(),
            "--exit-with-parent".to_owned(),
        ];
        // Without it they ask the mirrors of the manifest.
        if !plan.fetched {
            arguments.push(format!("--data={}", plan.data.display()));
        }
        match neuron.kind {
            Kind::Validator => {
                arguments.push(format!("--run={}", plan.dir.join("manifest.toml").display()));
                arguments.push("--new-run".to_owned());
            }
            Kind::Saboteur(_) => arguments.push(format!("--sabotage={}", neuron.kind.name())),
            Kind::Honest if neuron.join.is_some_and(|join| join.from_start) => {
                arguments.push("--from-start".to_owned());
            }
            Kind::Honest => {}
        }
        let environment = plan.own_bucket(neuron)?.to_env().to_vec();
        self.launch(&neuron.name, arguments, environment)
    }

    fn launch(
        &mut self,
        name: &str,
        arguments: Vec<String>,
        environment: Vec<(&'static str, String)>,
    ) -> Result<(), Failure> {
        let log = self.logs.join(format!("{name}.log"));
        let light = matches!(name, "chain" | "storage");
        let program = if light { &self.programs.light } else { &self.programs.node }.clone();
        // Miners train for as long as a window lasts; what everybody waits for goes first.
        let patient = !light && !name.starts_with(Kind::Validator.name());
        let recipe = Recipe { name: name.to_owned(), program, arguments, environment, log, patient };
        let child = recipe
            .start()
            .map_err(|e| Failure::new(Exit::Unexpected, format!("cannot start the process `{name}`: {e}")))?;
        let (tell, fate) = watch::channel(Fate::Running);
        let keeper = Keeper {
            recipe,
            patience: Patience::default(),
            tell,
            stop: self.stop.subscribe(),
            pids: self.pids.clone(),
            pid_file: self.pid_file.clone(),
        };
        keeper.note(&child);
        self.tasks.insert(name.to_owned(), (tokio::spawn(keeper.keep(child)), fate));
        Ok(())
    }

    async fn listening(&self, name: &str, port: u16) -> Result<(), Failure> {
        for _ in 0..300 {
            if TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(Failure::new(Exit::Network, format!("the {name} did not start to listen within 30 seconds"))
            .hint(format!("its log is {}", self.logs.join(format!("{name}.log")).display())))
    }

    /// How a process fares.
    pub fn fate(&self, name: &str) -> Fate {
        let Some((keeper, fate)) = self.tasks.get(name) else { return Fate::Finished };
        let fate = fate.borrow().clone();
        // One whose keeper is gone was ended.
        if fate == Fate::Running && keeper.is_finished() { Fate::Finished } else { fate }
    }

    /// The log of a process.
    pub fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }

    /// Ends every process, politely first.
    pub async fn stop(&mut self) {
        let _ = self.stop.send(true);
        for (_, (task, _)) in std::mem::take(&mut self.tasks) {
            let _ = task.await;
        }
    }
}
