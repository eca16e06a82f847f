//! `templar eval`: what a model is worth, by the questions that the field asks.

use super::{
    Exit, Failure,
    model::{
        computing_on,
        source::{Asked, Opened},
    },
    output::{byte_bar, print, print_json, table},
};
use crate::context;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;
use templar::{
    eval::{
        self, EvalError, Folder, Group, Options, Outcome, Task, TextOutcome,
        history::{self, Point},
    },
    hub::{Hub, PREFIX, Repo},
    model::parameter_count,
    telemetry::files::{replace, write_atomic},
};

/// Which model, what to ask.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    pub questions: QuestionArgs,
    /// Add the results as a line to this file, and draw them beside it as .svg and .png
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Write each task's questions and answers here, as samples_TASK.jsonl
    #[arg(long, value_name = "DIR")]
    samples: Option<PathBuf>,
    /// Print one JSON document, in lm-evaluation-harness's form
    #[arg(long)]
    json: bool,
}

/// What is asked, of one model or of many.
#[derive(Debug, Clone, clap::Args)]
pub struct QuestionArgs {
    /// Tasks: hellaswag, piqa, arc_easy, arc_challenge, winogrande, openbookqa, sciq, lambada_openai, mmlu, mmlu_GROUP,
    /// mmlu_SUBJECT
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', required_unless_present = "text")]
    tasks: Vec<String>,
    /// The folder with the tasks' files: TASK/SPLIT.jsonl or .parquet, or a copy of each dataset's repository; `hf:` fetches
    /// them from the Hub
    #[arg(long, value_name = "DIR|hf:", env = "TEMPLAR_TASK_DATA")]
    task_data: Option<PathBuf>,
    /// Text of one's own, whose perplexity and bits per byte are measured; may be given several times
    #[arg(long, value_name = "FILE")]
    text: Vec<PathBuf>,
    /// Examples before each question
    #[arg(long, value_name = "N", default_value_t = 0)]
    num_fewshot: usize,
    /// Ask only the first questions of each task
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Tokens of one pass of the model; more need more memory
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    batch_tokens: Option<u64>,
    /// What computes: `auto`, `cpu` or `cuda:N`
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Threads of the tensor library; all cores unless given
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// Tokens of one pass, where nobody says: enough to keep a device busy.
const CPU_TOKENS: u64 = 768;
const CUDA_TOKENS: u64 = 16_384;
/// A text of one's own that is longer is cut into several files.
const MAX_TEXT: u64 = 1 << 30;

/// What came of a model.
pub struct Evaluated {
    pub outcomes: Vec<Outcome>,
    pub groups: Vec<Group>,
    pub texts: Vec<(String, TextOutcome)>,
    pub seconds: f64,
}

/// Runs the verb.
pub async fn run(args: Args) -> Result<(), Failure> {
    let questions = Questions::read(&args.questions).await?;
    let device = computing_on(&args.questions.device, args.questions.threads)?;
    let opened = args.asked.open(device).await?;
    context::blocking(move || {
        let evaluated = questions.ask(&opened)?;
        if let Some(folder) = &args.samples {
            write_samples(folder, &evaluated.outcomes)?;
        }
        if let Some(path) = &args.history {
            add_to_history(path, &opened, &evaluated)?;
        }
        if args.json { print_json(&evaluated.json(&opened)) } else { print(&evaluated.table()) }
    })
    .await
}

/// Questions, ready to be asked of any model.
pub struct Questions {
    tasks: Vec<Task>,
    groups: Vec<Group>,
    folder: Option<Folder>,
    /// Links to what was fetched from the Hub; gone with this.
    _fetched: Option<TempDir>,
    texts: Vec<(String, String)>,
    shots: usize,
    limit: Option<usize>,
    budget: Option<u64>,
}

impl Questions {
    /// Finds out what is asked, before a model is opened.
    pub async fn read(args: &QuestionArgs) -> Result<Self, Failure> {
        let (tasks, groups) = eval::expand(&args.tasks)?;
        if !tasks.is_empty() && args.task_data.is_none() {
            return Err(Failure::new(Exit::Usage, "nothing says where the tasks' files are")
                .hint("name their folder with --task-data"));
        }
        let texts = args.text.iter().map(|path| read_text(path)).collect::<Result<_, _>>()?;
        let (folder, fetched) = match &args.task_data {
            Some(from) if from.as_os_str() == PREFIX => {
                let fetched = fetch(&tasks, args.num_fewshot > 0).await?;
                (Some(Folder::new(fetched.path())), Some(fetched))
            }
            from => (from.clone().map(Folder::new), None),
        };
        Ok(Self {
            tasks,
            groups,
            folder,
            _fetched: fetched,
            texts,
            shots: args.num_fewshot,
            limit: args.limit.map(|limit| limit as usize),
            budget: args.batch_tokens,
        })
    }

    /// Asks a model.
    pub fn ask(&self, opened: &Opened) -> Result<Evaluated, Failure> {
        let started = Instant::now();
        let tokenizer = opened.about.tokenizer()?;
        let usual = if opened.model.device().is_cuda() { CUDA_TOKENS } else { CPU_TOKENS };
        let budget = self.budget.unwrap_or(usual) as usize;
        let options = Options { shots: self.shots, limit: self.limit, budget };
        // All are read before the first is asked: a mistake in the last shows at once.
        let prepare = |task: &Task| match &self.folder {
            Some(folder) => eval::prepare(task, folder, tokenizer, &options),
            None => Err(EvalError::UnknownTask(task.name())),
        };
        let prepared = self.tasks.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
        let bar = ProgressBar::new(prepared.iter().map(|task| task.requests() as u64).sum());
        if let Ok(style) =
            ProgressStyle::with_template("{bar:32} {pos}/{len} requests, {per_sec}, {eta} left")
        {
            bar.set_style(style);
        }
        let ask = |task| eval::ask(&opened.model, task, &options, |answered| bar.inc(answered as u64));
        let outcomes = prepared.into_iter().map(ask).collect();
        let measure = |(name, text): &(String, String)| {
            let found = eval::measure_text(&opened.model, tokenizer, text, budget, |_| ())?;
            Ok::<_, Failure>((name.clone(), found))
        };
        let texts = self.texts.iter().map(measure).collect::<Result<_, _>>()?;
        bar.finish_and_clear();
        let seconds = started.elapsed().as_secs_f64();
        Ok(Evaluated { outcomes, groups: self.groups.clone(), texts, seconds })
    }
}

/// Fetches the tasks' rows from the Hub, in the form into which it converts every dataset. Returns a folder with a link to
/// each dataset, called as its repository.
async fn fetch(tasks: &[Task], examples: bool) -> Result<TempDir, Failure> {
    let place = tempfile::tempdir().map_err(|e| storage(Path::new("a folder for the tasks"), e))?;
    let hub = Hub::from_env(|name| std::env::var(name).ok())?;
    let mut datasets: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for task in tasks {
        let dataset = task.dataset();
        let config = if dataset.config.is_empty() { "default" } else { &dataset.config };
        let splits = [Some(task.split()), examples.then(|| task.example_split())];
        let wanted = splits.into_iter().flatten().map(|split| format!("{config}/{split}/"));
        datasets.entry(dataset.path).or_default().extend(wanted);
    }
    for (path, wanted) in datasets {
        let repo = Repo::dataset_as_parquet(path)?;
        let snapshot = hub.snapshot(&repo).await?;
        let is_wanted = |name: &str| wanted.iter().any(|folder| name.starts_with(folder.as_str()));
        let bar = byte_bar(snapshot.bytes(is_wanted));
        let folder = hub.fetch(&snapshot, is_wanted, |come| bar.inc(come)).await?;
        bar.finish_and_clear();
        let link = place.path().join(path.rsplit('/').next().unwrap_or(path));
        #[cfg(unix)]
        std::os::unix::fs::symlink(&folder, &link).map_err(|e| storage(&link, e))?;
        #[cfg(not(unix))]
        std::os::windows::fs::symlink_dir(&folder, &link).map_err(|e| storage(&link, e))?;
    }
    Ok(place)
}

fn read_text(path: &Path) -> Result<(String, String), Failure> {
    let bad = |problem: String| {
        Failure::new(Exit::Data, format!("cannot measure {}: {problem}", path.display()))
            .hint("name a text in UTF-8, of at most 1 GiB")
    };
    if fs::metadata(path).map_err(|e| bad(e.to_string()))?.len() > MAX_TEXT {
        return Err(bad("it is too long".to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|e| bad(e.to_string()))?;
    if text.is_empty() {
        return Err(bad("it is empty".to_owned()));
    }
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
    Ok((name, text))
}

impl Evaluated {
    /// The harness's document, and what it does not have.
    pub fn json(&self, opened: &Opened) -> Value {
        let mut document = eval::harness_json(&self.outcomes, &self.groups);
        let config = opened.model.config();
        let special = |token: Option<(i64, &str)>| token.map(|(id, text)| json!([text, id.to_string()]));
        let tokenizer = opened.about.tokenizer.as_ref();
        document["config"] = json!({
            "model": "templar", "model_args": opened.about.name, "model_num_parameters": parameter_count(config),
            "model_dtype": "torch.float32", "model_sha": hex::encode(opened.model.hash()), "window": opened.about.window(),
            "limit": self.outcomes.iter().find(|o| o.samples.len() < o.rows).map(|o| o.samples.len()),
            "bootstrap_iters": 100_000, "fewshot_seed": 1234,
        });
        document["model_source"] = "templar".into();
        document["model_name"] = opened.about.name.as_str().into();
        document["max_length"] = config.sequence_length.into();
        document["tokenizer_bos_token"] = special(tokenizer.and_then(|t| t.bos())).unwrap_or_default();
        document["tokenizer_eos_token"] = special(tokenizer.and_then(|t| t.eos())).unwrap_or_default();
        document["templar_version"] = env!("CARGO_PKG_VERSION").into();
        document["date"] = now().into();
        document["total_evaluation_time_seconds"] = self.seconds.to_string().into();
        if !self.texts.is_empty() {
            let texts: serde_json::Map<String, Value> =
                self.texts.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
            document["texts"] = texts.into();
        }
        document
    }

    /// The tables.
    pub fn table(&self) -> String {
        let mut text = String::new();
        if !self.outcomes.is_empty() {
            let heading = ["task", "version", "examples", "metric", "value", "error"];
            let rows: Vec<Vec<String>> =
                eval::table_rows(&self.outcomes, &self.groups).into_iter().map(Vec::from).collect();
            text.push_str(&table(&heading, &["task", "metric"], &rows));
        }
        if !self.texts.is_empty() {
            let heading = ["text", "bytes", "tokens", "loss", "bits per byte", "word perplexity"];
            let row = |(name, t): &(String, TextOutcome)| {
                let (loss, bits) = (format!("{:.4}", t.loss), format!("{:.4}", t.bits_per_byte));
                let perplexity = format!("{:.4}", t.word_perplexity);
                vec![name.clone(), t.bytes.to_string(), t.tokens.to_string(), loss, bits, perplexity]
            };
            let rows: Vec<Vec<String>> = self.texts.iter().map(row).collect();
            text.push_str(&table(&heading, &["text"], &rows));
        }
        text
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn storage(path: &Path, error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Storage, format!("cannot write {}: {error}", path.display()))
        .hint("see that the folder can be written and the disk has room")
}

/// Writes every question of every task.
pub fn write_samples(folder: &Path, outcomes: &[Outcome]) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|e| storage(folder, e))?;
    for outcome in outcomes {
        let path = folder.join(format!("samples_{}.jsonl", outcome.task.name()));
        let lines: String = eval::sample_lines(outcome).map(|line| line.to_string() + "\n").collect();
        write_atomic(&path, lines.as_bytes()).map_err(|e| storage(&path, e))?;
    }
    Ok(())
}

/// Adds results to a history and draws it.
pub fn add_to_history(path: &Path, opened: &Opened, evaluated: &Evaluated) -> Result<(), Failure> {
    let checkpoint = opened.about.origin.as_ref().and_then(|origin| origin.checkpoint.as_ref());
    let point = Point {
        window: opened.about.window(),
        round: checkpoint.map(|checkpoint| checkpoint.round),
        model: hex::encode(opened.model.hash()),
        time: now(),
        values: Point::values_of(&evaluated.outcomes, &evaluated.texts),
    };
    history::append(path, &point).map_err(|e| storage(path, e))?;
    let points = history::read(path).map_err(|e| storage(path, e))?;
    let chart = history::chart(&points);
    let svg = path.with_extension("svg");
    let drawn = chart.svg().map_err(|e| storage(&svg, e))?;
    write_atomic(&svg, drawn.as_bytes()).map_err(|e| storage(&svg, e))?;
    let png = path.with_extension("png");
    replace(&png, |beside| chart.write_png(beside).map_err(std::io::Error::other))
        .map_err(|e| storage(&png, e))
}
