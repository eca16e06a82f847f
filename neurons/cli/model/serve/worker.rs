//! The thread that owns the model: texts of all requests are written side by side, and one whose client has gone is
//! forgotten.

use crate::cli::model::source::Opened;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use templar::model::{
    Llama,
    generate::{Engine, Finish, Sampling, Writing},
};
use tokio::sync::{mpsc, oneshot};

/// Texts that may wait for a slot.
const QUEUE: usize = 256;

/// A text to write.
pub struct Job {
    pub prompt: Vec<i64>,
    pub sampling: Sampling,
    /// The most tokens; 0 for none but the prompt's.
    pub most: usize,
    pub stops: Vec<String>,
    /// How many of the likeliest tokens are told of each token; None for no probabilities at all.
    pub likeliest: Option<usize>,
    /// Whether the prompt's tokens are told of as well.
    pub echo: bool,
    /// Where events go; closed once nobody listens.
    pub events: mpsc::UnboundedSender<Event>,
}

/// What a client hears of its text.
#[derive(Debug)]
pub enum Event {
    /// More text, and the tokens that came.
    Text { text: String, tokens: Vec<Chance> },
    /// The last that comes.
    End { finish: Finish, count: usize },
}

/// A token and its probability.
#[derive(Debug, Clone)]
pub struct Chance {
    pub token: i64,
    /// Natural logarithm of its probability; None for a text's first token.
    pub log: Option<f64>,
    /// The likeliest tokens in its place.
    pub likeliest: Vec<(i64, f64)>,
}

enum Command {
    Write(Job),
    Replace(Box<Opened>),
}

/// A handle of the thread.
pub struct Worker {
    commands: mpsc::Sender<Command>,
    /// Texts that are being written.
    writing: Arc<AtomicUsize>,
}

/// Why a text is not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Too many wait.
    Busy,
    /// The thread has ended.
    Gone,
}

impl Worker {
    /// Starts the thread. The receiver hears when it has ended.
    pub fn start(opened: Opened, slots: usize) -> (Self, oneshot::Receiver<()>) {
        let (commands, receiver) = mpsc::channel(QUEUE);
        let (tell, ended) = oneshot::channel();
        let writing = Arc::new(AtomicUsize::new(0));
        let counted = writing.clone();
        std::thread::spawn(move || {
            // Dropped, and so heard, also where the thread panics.
            let _tell: oneshot::Sender<()> = tell;
            work(opened, receiver, slots, &counted);
        });
        (Self { commands, writing }, ended)
    }

    /// Texts that are being written now.
    pub fn writing(&self) -> usize {
        self.writing.load(Ordering::Relaxed)
    }

    /// Puts a text into the queue.
    pub fn write(&self, job: Job) -> Result<(), Refused> {
        self.commands.try_send(Command::Write(job)).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Refused::Busy,
            mpsc::error::TrySendError::Closed(_) => Refused::Gone,
        })
    }

    /// Takes another model for the texts that come.
    pub async fn replace(&self, opened: Opened) -> Result<(), Refused> {
        self.commands.send(Command::Replace(Box::new(opened))).await.map_err(|_| Refused::Gone)
    }
}

fn work(mut opened: Opened, mut commands: mpsc::Receiver<Command>, slots: usize, count: &AtomicUsize) {
    let mut waiting = VecDeque::new();
    while let Some(next) = with_model(&opened, &mut commands, &mut waiting, slots, count) {
        opened = next;
    }
}

/// A text that is being written.
struct Row<'a> {
    id: u64,
    writing: Writing<'a>,
    job: Job,
}

/// Writes with one model, until another comes; None once nobody can ask any more.
fn with_model(
    opened: &Opened,
    commands: &mut mpsc::Receiver<Command>,
    waiting: &mut VecDeque<Job>,
    slots: usize,
    count: &AtomicUsize,
) -> Option<Opened> {
    let tokenizer = opened.about.tokenizer.as_ref()?;
    let mut engine = Engine::new(&opened.model);
    let mut rows: Vec<Row<'_>> = Vec::new();
    let mut next: Option<Opened> = None;
    loop {
        count.store(rows.len(), Ordering::Relaxed);
        // Asleep while there is nothing to do; else only what has come already is looked at.
        loop {
            let idle = rows.is_empty() && waiting.is_empty() && next.is_none();
            let command = if idle { commands.blocking_recv() } else { commands.try_recv().ok() };
            match command {
                Some(Command::Write(job)) => waiting.push_back(job),
                Some(Command::Replace(opened)) => next = Some(*opened),
                None if idle => return None,
                None => break,
            }
            // What waits here no longer fills the queue, so it is bounded here too.
            if waiting.len() >= QUEUE {
                break;
            }
        }
        // The next model answers those that wait, once the texts of this one have ended.
        if next.is_some() && rows.is_empty() {
            return next;
        }
        while next.is_none() && rows.len() < slots {
            let Some(job) = waiting.pop_front() else { break };
            if job.events.is_closed() {
                continue;
            }
            if job.echo {
                echo(&opened.model, tokenizer, &job);
            }
            if job.most == 0 {
                let _ = job.events.send(Event::End { finish: Finish::Length, count: 0 });
                continue;
            }
            let ends = opened.about.ends.clone();
            let writing = Writing::new(tokenizer, &job.prompt, job.most, ends, job.stops.iter().cloned());
            let id = engine.add(&job.prompt, job.sampling);
            rows.push(Row { id, writing, job });
        }
        rows.retain(|row| {
            let gone = row.job.events.is_closed();
            if gone {
                tracing::debug!("a client has gone; its text is not written on");
                engine.remove(row.id);
            }
            !gone
        });
        if rows.is_empty() {
            continue;
        }
        let mut chances: Vec<(u64, Chance)> = Vec::new();
        let step = engine.step_with(|id, logits, token| {
            let likeliest = rows.iter().find(|row| row.id == id).and_then(|row| row.job.likeliest);
            if let Some(likeliest) = likeliest {
                chances.push((id, chance(logits, token, likeliest)));
            }
        });
        for (id, token) in step {
            let Some(place) = rows.iter().position(|row| row.id == id) else { continue };
            let row = &mut rows[place];
            let (text, finish) = row.writing.push(token);
            let tokens =
                chances.iter().filter(|(of, _)| *of == id).map(|(_, chance)| chance.clone()).collect();
            // Whether anybody listens is seen before the next step.
            let _ = row.job.events.send(Event::Text { text, tokens });
            if let Some(finish) = finish {
                let _ = row.job.events.send(Event::End { finish, count: row.writing.count() });
                engine.remove(id);
                rows.swap_remove(place);
            }
        }
    }
}

/// Tells of the prompt, with probabilities where they were asked for.
fn echo(model: &Llama, tokenizer: &templar::tokenizer::Tokenizer, job: &Job) {
    let text = tokenizer.decode(&job.prompt, true);
    let tokens = match (job.likeliest, job.prompt.split_first()) {
        (Some(likeliest), Some((first, rest))) => {
            let first = Chance { token: *first, log: None, likeliest: Vec::new() };
            let logits = if rest.is_empty() { Vec::new() } else { model.next_logits(&job.prompt) };
            let of = |(token, logits): (&i64, &Vec<f32>)| chance(logits, *token, likeliest);
            std::iter::once(first).chain(rest.iter().zip(&logits).map(of)).collect()
        }
        _ => Vec::new(),
    };
    let _ = job.events.send(Event::Text { text, tokens });
}

fn chance(logits: &[f32], token: i64, likeliest: usize) -> Chance {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    let log = |index: usize| f64::from(logits[index] - largest) - sum.ln();
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let likelier = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then_with(|| a.cmp(b));
    if (1..order.len()).contains(&likeliest) {
        order.select_nth_unstable_by(likeliest - 1, likelier);
    }
    order.truncate(likeliest);
    order.sort_unstable_by(likelier);
    let likeliest = order.into_iter().map(|index| (index as i64, log(index))).collect();
    let place = usize::try_from(token).unwrap_or(0).min(logits.len().saturating_sub(1));
    Chance { token, log: Some(log(place)), likeliest }
}
