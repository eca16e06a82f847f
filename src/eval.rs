//! How good a model is: the questions that the field asks, with the same numbers as EleutherAI's lm-evaluation-harness.
//!
//! A [`Task`] makes each row of its dataset into a question: a context and the continuations whose likelihoods are compared.
//! Prompts, examples before a question (drawn by Python's random numbers), the boundary of context and continuation, the first
//! token, cutting, normalisation and standard errors are those of the harness, version 0.4.13.

mod data;
pub mod history;
mod python;
mod report;
mod statistics;
mod subjects;
mod task;
mod text;

pub use data::Folder;
pub use report::{harness_json, sample_lines, table_rows};
pub use statistics::{Estimate, pooled};
pub use task::{Dataset, Group, Metric, Task, expand};

use crate::{
    model::{
        Llama,
        likelihood::{self, Answer, Request},
    },
    tokenizer::{Tokenizer, TokenizerError},
};
use python::Random;
use serde_json::Value;
use std::{
    collections::{BTreeSet, HashMap},
    path::PathBuf,
};
use task::Item;

/// Of the draws of examples.
const SHOTS_SEED: u32 = 1234;

/// Why a model cannot be evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// No task has this name.
    #[error("there is no task `{0}`")]
    UnknownTask(String),
    /// The folder has nothing for a task.
    #[error("{folder} has no {split} split of {task}")]
    NoData {
        /// Where it was looked for.
        folder: PathBuf,
        /// The task.
        task: String,
        /// The split.
        split: &'static str,
    },
    /// The disk refused.
    #[error("cannot read {path}")]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file that is not what its name says.
    #[error("cannot use {path}: {problem}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A row of a task that is no question of it.
    #[error("row {row} of {task} is no question of it: {problem}")]
    Row {
        /// The task.
        task: String,
        /// Counted from 1.
        row: usize,
        /// What is wrong.
        problem: String,
    },
    /// There are fewer examples than were asked for.
    #[error("{task} has {have} examples to show, and {asked} were asked for")]
    TooFewExamples {
        /// The task.
        task: String,
        /// In its split of examples.
        have: usize,
        /// Before each question.
        asked: usize,
    },
    /// A question without context, and no token to put in its place.
    #[error("the tokenizer has no token that begins or ends a text, which a question without context needs")]
    NoPrefix,
    /// A text that the tokenizer cannot take.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
}

impl EvalError {
    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::UnknownTask(_) => "`templar eval --help` lists the tasks",
            Self::NoData { .. } => {
                "put the dataset's files there: TASK/SPLIT.jsonl or .parquet; docs/eval.md shows each task's columns"
            }
            Self::Disk { .. } => "check the path, and that the file can be read",
            Self::Format { .. } => "get the file again: JSON lines, a JSON list or Parquet",
            Self::Row { .. } => "mend the row; docs/eval.md shows each task's columns",
            Self::TooFewExamples { .. } => "ask for fewer with --num-fewshot",
            Self::NoPrefix => "name a tokenizer that has one with --tokenizer",
            Self::Tokenizer(error) => error.hint(),
        }
    }
}

/// A question as it was asked and answered.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The row that it was made of.
    pub row: Value,
    /// Context and continuation of each request.
    pub requests: Vec<(String, String)>,
    /// The model's answer to each.
    pub answers: Vec<Answer>,
    /// What the row says is right, as the harness writes it.
    pub target: String,
    /// One value for each metric of the task.
    pub values: Vec<f64>,
}

/// What came of a task.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The task.
    pub task: Task,
    /// Examples before each question.
    pub shots: usize,
    /// Rows of the split, of which the first were asked where there was a limit.
    pub rows: usize,
    /// The questions.
    pub samples: Vec<Sample>,
    /// The value of each metric, and its standard error.
    pub metrics: Vec<(Metric, Estimate)>,
}

/// How to ask.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Examples before each question.
    pub shots: usize,
    /// Only the first questions of each task.
    pub limit: Option<usize>,
    /// Tokens of one pass of the model.
    pub budget: usize,
}

/// A task with its questions, ready to be asked.
#[derive(Debug)]
pub struct Prepared {
    task: Task,
    shots: usize,
    rows: usize,
    questions: Vec<Question>,
    requests: Vec<Request>,
}

#[derive(Debug)]
struct Question {
    item: Item,
    requests: Vec<(String, String)>,
}

impl Prepared {
    /// How many likelihoods it asks for.
    pub fn requests(&self) -> usize {
        self.requests.len()
    }
}

/// Reads a task's rows and makes them into tokens.
///
/// # Errors
/// [`EvalError`] where rows are missing or are no questions.
pub fn prepare(
    task: &Task,
    folder: &Folder,
    tokenizer: &Tokenizer,
    options: &Options,
) -> Result<Prepared, EvalError> {
    let item = |(row, value): (usize, Value)| {
        let problem = |problem| EvalError::Row { task: task.name(), row: row + 1, problem };
        task.item(value).map_err(problem)
    };
    let items = |split| -> Result<Vec<Item>, EvalError> {
        folder.rows(task, split)?.into_iter().enumerate().map(item).collect()
    };
    let mut asked = items(task.split())?;
    let rows = asked.len();
    let examples = match options.shots {
        0 => Vec::new(),
        _ if task.example_split() == task.split() => asked.clone(),
        _ => items(task.example_split())?,
    };
    asked.truncate(options.limit.unwrap_or(rows));
    let mut random = Random::new(SHOTS_SEED);
    let mut questions = Vec::new();
    for item in asked {
        let before = task.description() + &shown(task, &item, &examples, options.shots, &mut random)?;
        let requests = item.requests(&before);
        questions.push(Question { item, requests });
    }
    let pairs: Vec<&(String, String)> = questions.iter().flat_map(|q| &q.requests).collect();
    let requests = tokens(tokenizer, &pairs)?;
    Ok(Prepared { task: task.clone(), shots: options.shots, rows, questions, requests })
}

/// The examples before a question, as text.
fn shown(
    task: &Task,
    item: &Item,
    examples: &[Item],
    count: usize,
    random: &mut Random,
) -> Result<String, EvalError> {
    let too_few = |have: usize| EvalError::TooFewExamples { task: task.name(), have, asked: count };
    let draw = |random: &mut Random, from: &[usize], count: usize| {
        let drawn = random.sample(from.len(), count).ok_or_else(|| too_few(from.len()))?;
        Ok::<Vec<usize>, EvalError>(drawn.into_iter().map(|at| from[at]).collect())
    };
    let all: Vec<usize> = (0..examples.len()).collect();
    let chosen = if count == 0 {
        Vec::new()
    } else if task.shows_first() {
        all.get(..count).ok_or_else(|| too_few(examples.len()))?.to_vec()
    } else if task.may_show_itself() {
        draw(random, &all, count)?
    } else {
        // One more than is needed, for the question itself is not shown.
        let other = |at: &usize| examples[*at].row != item.row;
        let mut drawn = draw(random, &all, count + 1)?;
        drawn.retain(other);
        drawn.truncate(count);
        if drawn.len() < count {
            let others: Vec<usize> = all.into_iter().filter(other).collect();
            drawn = draw(random, &others, count)?;
        }
        drawn
    };
    Ok(chosen.into_iter().map(|at| examples[at].example()).collect())
}

/// A text, and whether the tokens that begin or end every text are added.
type Written = (String, bool);

/// Tokens of contexts and their continuations, by the harness's rules.
fn tokens(tokenizer: &Tokenizer, pairs: &[&(String, String)]) -> Result<Vec<Request>, EvalError> {
    let prefix = tokenizer.bos().or(tokenizer.eos()).map(|(id, _)| (id, tokenizer.decode(&[id], false)));
    // A text that begins with the first token as it is written does not get another.
    let written = |text: String| -> Written {
        let begun = prefix.as_ref().is_some_and(|(_, first)| text.starts_with(first.as_str()));
        (text, !begun)
    };
    // The context alone, and with its continuation, to which spaces at the context's end belong. Without context there is
    // the continuation alone.
    let texts: Vec<(Option<Written>, Written)> = pairs
        .iter()
        .map(|(context, continuation)| {
            if context.is_empty() {
                return (None, (continuation.clone(), false));
            }
            let before = python::rstrip(context).to_owned();
            (Some(written(before)), written(format!("{context}{continuation}")))
        })
        .collect();
    let encoded =
        encode_all(tokenizer, texts.iter().flat_map(|(before, whole)| before.iter().chain([whole])))?;
    let tokens = |text: &Written| encoded.get(text).cloned().unwrap_or_default();
    let request = |(before, whole): &(Option<Written>, Written)| {
        let whole = tokens(whole);
        if let Some(before) = before {
            let context = tokens(before);
            let continuation = whole.get(context.len()..).unwrap_or_default().to_vec();
            return Ok(Request { context, continuation });
        }
        let (prefix, _) = prefix.as_ref().ok_or(EvalError::NoPrefix)?;
        let continuation = whole.strip_prefix(&[*prefix]).unwrap_or(&whole).to_vec();
        Ok(Request { context: vec![*prefix], continuation })
    };
    texts.iter().map(request).collect()
}

/// Tokens of each text, every one made once.
fn encode_all<'a>(
    tokenizer: &Tokenizer,
    texts: impl Iterator<Item = &'a Written>,
) -> Result<HashMap<Written, Vec<i64>>, EvalError> {
    let (mut plain, mut special): (BTreeSet<&str>, BTreeSet<&str>) = Default::default();
    for (text, with) in texts {
        if *with {
            special.insert(text)
        } else {
            plain.insert(text)
        };
    }
    let mut encoded = HashMap::new();
    for (texts, with) in [(plain, false), (special, true)] {
        let texts: Vec<&str> = texts.into_iter().collect();
        let tokens = tokenizer.encode_batch(texts.clone(), with)?;
        encoded.extend(texts.into_iter().map(|text| (text.to_owned(), with)).zip(tokens));
    }
    Ok(encoded)
}

/// Asks the questions of a task; `told` hears how many requests were answered.
pub fn ask(model: &Llama, prepared: Prepared, options: &Options, told: impl FnMut(usize)) -> Outcome {
    let answers = likelihood::answer(model, &prepared.requests, options.budget, told);
    let task = prepared.task;
    let mut answers = answers.into_iter();
    let samples: Vec<Sample> = prepared
        .questions
        .into_iter()
        .map(|Question { item, requests }| {
            let answers: Vec<Answer> = answers.by_ref().take(requests.len()).collect();
            let values = task.metrics().iter().map(|metric| item.value(*metric, &answers)).collect();
            Sample { target: item.target(), row: item.row, requests, answers, values }
        })
        .collect();
    let estimate = |(at, metric): (usize, &Metric)| {
        let values: Vec<f64> = samples.iter().map(|sample| sample.values[at]).collect();
        (*metric, statistics::estimate(*metric, &values))
    };
    let metrics = task.metrics().iter().enumerate().map(estimate).collect();
    Outcome { task, shots: prepared.shots, rows: prepared.rows, samples, metrics }
}

pub use text::{TextOutcome, measure_text};

#[cfg(test)]
mod tests;
