//! The processes of a localnet: started, watched, started again when one dies, stopped at the end.

use super::{
    chain::QUICK_BLOCK,
    plan::{COLDKEY, Kind, Neuron, Plan},
};
use crate::cli::{Exit, Failure};
use crate::commands::node::{NODE, sibling};
use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    net::TcpStream,
    process::{Child, Command},
    sync::watch,
};

/// How often a neuron that dies is started again.
const RESTARTS: u32 = 5;

/// How a process fares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    Running,
    /// It ended by itself, without a complaint.
    Finished,
    /// It failed for good.
    Failed(String),
}

/// Every process of a localnet.
pub struct Processes {
    logs: PathBuf,
    stop: watch::Sender<bool>,
    tasks: BTreeMap<String, (tokio::task::JoinHandle<()>, watch::Receiver<Fate>)>,
    restarts: Arc<Mutex<BTreeMap<String, u32>>>,
    pids: Arc<Mutex<BTreeMap<String, u32>>>,
    pid_file: PathBuf,
}

/// What to start, as often as it takes.
#[derive(Clone)]
struct Recipe {
    name: String,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    log: PathBuf,
    /// Whether it takes only the time that the others leave.
    patient: bool,
}

impl Recipe {
    fn start(&self) -> std::io::Result<Child> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new(&self.program);
        if self.patient && cfg!(unix) {
            // `nice` becomes the program, so the process id is the program's.
            command = Command::new("nice");
            command.args(["-n", "19"]).arg(&self.program);
        }
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())))
            // Held open by this process: it ends when this process does, however that ends.
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        // Ctrl-C reaches the whole group of the terminal; this process passes it on in its own order.
        #[cfg(unix)]
        command.process_group(0);
        command.spawn()
    }
}

impl Processes {
    /// Nothing runs yet.
    pub fn new(plan: &Plan) -> Self {
        Self {
            logs: plan.dir.join("logs"),
            stop: watch::channel(false).0,
            tasks: BTreeMap::new(),
            restarts: Arc::default(),
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
            Kind::Validator => arguments.push(format!("--run={}", plan.dir.join("manifest.toml").display())),
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
        // What needs no libtorch starts at once, and takes less memory, without it.
        let light = matches!(name, "chain" | "storage");
        let program = sibling(if light { "templar" } else { NODE })?;
        // Miners train for as long as a window lasts; what everybody waits for goes first.
        let patient = !light && !name.starts_with(Kind::Validator.name());
        let recipe = Recipe { name: name.to_owned(), program, arguments, environment, log, patient };
        let child = recipe
            .start()
            .map_err(|e| Failure::new(Exit::Unexpected, format!("cannot start the process `{name}`: {e}")))?;
        let (tell, fate) = watch::channel(Fate::Running);
        let keeper = Keeper {
            recipe,
            tell,
            stop: self.stop.subscribe(),
            restarts: self.restarts.clone(),
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

/// Watches one process.
struct Keeper {
    recipe: Recipe,
    tell: watch::Sender<Fate>,
    stop: watch::Receiver<bool>,
    restarts: Arc<Mutex<BTreeMap<String, u32>>>,
    pids: Arc<Mutex<BTreeMap<String, u32>>>,
    pid_file: PathBuf,
}

impl Keeper {
    async fn keep(mut self, mut child: Child) {
        loop {
            // Taken out, because waiting for a child closes its standard input, and that is its word to
            // stop.
            let stdin = child.stdin.take();
            let ended = tokio::select! {
                ended = child.wait() => ended,
                () = told(&mut self.stop) => {
                    drop(stdin);
                    end(&mut child).await;
                    return;
                }
            };
            match self.after(ended) {
                Some(again) => child = again,
                None => return,
            }
        }
    }

    /// Starts a process that died once more; `None` where it ended for good.
    fn after(&self, ended: std::io::Result<ExitStatus>) -> Option<Child> {
        let how = match &ended {
            Ok(status) if status.success() => {
                let _ = self.tell.send(Fate::Finished);
                return None;
            }
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let name = &self.recipe.name;
        let again = self.restarts.lock().is_ok_and(|mut restarts| {
            let count = restarts.entry(name.clone()).or_default();
            *count += 1;
            *count <= RESTARTS
        });
        // A code of its own means that it said why it cannot go on; a signal came from outside.
        let said_why = ended.is_ok_and(|status| status.code().is_some());
        if again && !said_why {
            eprintln!("{name} ended ({how}); starting it again");
            if let Ok(child) = self.recipe.start() {
                self.note(&child);
                return Some(child);
            }
        }
        let _ = self.tell.send(Fate::Failed(how));
        None
    }

    /// Keeps the list of process ids on disk, for people who want to look at one, or kill it.
    fn note(&self, child: &Child) {
        let Ok(mut pids) = self.pids.lock() else { return };
        if let Some(pid) = child.id() {
            pids.insert(self.recipe.name.clone(), pid);
        }
        if let Ok(text) = serde_json::to_vec_pretty(&*pids) {
            let _ = templar::telemetry::files::write_atomic(Path::new(&self.pid_file), &text);
        }
    }
}

/// Returns when it is time to stop.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await.map(drop);
}

/// Waits for a process whose standard input was closed, and kills it after a while.
async fn end(child: &mut Child) {
    if tokio::time::timeout(Duration::from_secs(5), child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
