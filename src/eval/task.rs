//! The tasks: which rows they read, and how a row becomes a question. Prompts and rules are those of the harness's task files.

use super::{EvalError, python, subjects::SUBJECTS};
use crate::model::likelihood::Answer;
use serde_json::Value;

/// What is counted of a task's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// Share of questions whose right continuation is the likeliest (of a text's end: whose every token is).
    Accuracy,
    /// The same with each log-likelihood divided by the continuation's length in characters.
    NormalisedAccuracy,
    /// Exponential of the mean negative log-likelihood.
    Perplexity,
}

impl Metric {
    /// Its name in the harness.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "acc",
            Self::NormalisedAccuracy => "acc_norm",
            Self::Perplexity => "perplexity",
        }
    }

    /// Whether more is better.
    pub fn higher_is_better(self) -> bool {
        self != Self::Perplexity
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    HellaSwag,
    Piqa,
    ArcEasy,
    ArcChallenge,
    WinoGrande,
    OpenBookQa,
    SciQ,
    Lambada,
    Mmlu(&'static str),
}

/// A kind of questions, named as in the harness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task(Kind);

/// Tasks whose results are also shown as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name in the harness.
    pub name: String,
    /// What tables call it.
    pub alias: String,
    /// The groups in it.
    pub groups: Vec<Group>,
    /// The tasks in it that are in no group of its own.
    pub tasks: Vec<Task>,
}

impl Group {
    /// Every task in it.
    pub fn all(&self) -> Vec<Task> {
        self.groups.iter().flat_map(Self::all).chain(self.tasks.iter().cloned()).collect()
    }
}

/// Where a dataset comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dataset {
    /// Owner and name of its repository.
    pub path: &'static str,
    /// Its configuration; empty for the only one.
    pub config: String,
}

const PLAIN: [(&str, Kind); 8] = [
    ("hellaswag", Kind::HellaSwag),
    ("piqa", Kind::Piqa),
    ("arc_easy", Kind::ArcEasy),
    ("arc_challenge", Kind::ArcChallenge),
    ("winogrande", Kind::WinoGrande),
    ("openbookqa", Kind::OpenBookQa),
    ("sciq", Kind::SciQ),
    ("lambada_openai", Kind::Lambada),
];

/// The tasks and groups of a list of names: those of the harness, `mmlu` and its groups and subjects among them.
///
/// # Errors
/// [`EvalError::UnknownTask`].
pub fn expand(names: &[String]) -> Result<(Vec<Task>, Vec<Group>), EvalError> {
    let (mut tasks, mut groups) = (Vec::new(), Vec::new());
    for name in names {
        if let Some((_, kind)) = PLAIN.iter().find(|(known, _)| known == name) {
            tasks.push(Task(*kind));
            continue;
        }
        let unknown = || EvalError::UnknownTask(name.clone());
        let group = |(group, subjects): &(&str, &'static [&'static str])| Group {
            name: format!("mmlu_{group}"),
            alias: group.replace('_', " "),
            groups: Vec::new(),
            tasks: subjects.iter().map(|subject| Task(Kind::Mmlu(subject))).collect(),
        };
        if name == "mmlu" {
            let parts: Vec<Group> = SUBJECTS.iter().map(group).collect();
            groups.push(Group { name: name.clone(), alias: name.clone(), groups: parts, tasks: Vec::new() });
            continue;
        }
        let part = name.strip_prefix("mmlu_").ok_or_else(unknown)?;
        if let Some(found) = SUBJECTS.iter().find(|(group, _)| *group == part) {
            groups.push(group(found));
        } else {
            let subjects = SUBJECTS.iter().flat_map(|(_, subjects)| subjects.iter());
            let subject = subjects.copied().find(|subject| *subject == part).ok_or_else(unknown)?;
            tasks.push(Task(Kind::Mmlu(subject)));
        }
    }
    for task in groups.iter().flat_map(Group::all) {
        tasks.push(task);
    }
    let mut once: Vec<Task> = Vec::new();
    for task in tasks {
        if !once.contains(&task) {
            once.push(task);
        }
    }
    Ok((once, groups))
}

impl Task {
    /// Its name in the harness.
    pub fn name(&self) -> String {
        match self.0 {
            Kind::Mmlu(subject) => format!("mmlu_{subject}"),
            kind => PLAIN.iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| name).to_owned(),
        }
    }

    /// What tables call it.
    pub fn alias(&self) -> String {
        match self.0 {
            Kind::Mmlu(subject) => subject.to_owned(),
            _ => self.name(),
        }
    }

    /// What is counted.
    pub fn metrics(&self) -> &'static [Metric] {
        match self.0 {
            Kind::Lambada => &[Metric::Perplexity, Metric::Accuracy],
            Kind::WinoGrande | Kind::Mmlu(_) => &[Metric::Accuracy],
            _ => &[Metric::Accuracy, Metric::NormalisedAccuracy],
        }
    }

    /// The harness's kind of task.
    pub(super) fn output_type(&self) -> &'static str {
        if self.0 == Kind::Lambada { "loglikelihood" } else { "multiple_choice" }
    }

    /// Where its rows come from.
    pub fn dataset(&self) -> Dataset {
        let (path, config) = match self.0 {
            Kind::HellaSwag => ("Rowan/hellaswag", ""),
            Kind::Piqa => ("baber/piqa", ""),
            Kind::ArcEasy => ("allenai/ai2_arc", "ARC-Easy"),
            Kind::ArcChallenge => ("allenai/ai2_arc", "ARC-Challenge"),
            Kind::WinoGrande => ("allenai/winogrande", "winogrande_xl"),
            Kind::OpenBookQa => ("allenai/openbookqa", "main"),
            Kind::SciQ => ("allenai/sciq", ""),
            Kind::Lambada => ("EleutherAI/lambada_openai", "default"),
            Kind::Mmlu(subject) => ("cais/mmlu", subject),
        };
        Dataset { path, config: config.to_owned() }
    }

    /// The split whose rows are asked.
    pub fn split(&self) -> &'static str {
        match self.0 {
            Kind::HellaSwag | Kind::Piqa | Kind::WinoGrande => "validation",
            _ => "test",
        }
    }

    /// The split whose rows are shown as examples.
    pub fn example_split(&self) -> &'static str {
        match self.0 {
            Kind::Lambada => "test",
            Kind::Mmlu(_) => "dev",
            _ => "train",
        }
    }

    /// Whether the first rows are the examples, and not drawn ones.
    pub(super) fn shows_first(&self) -> bool {
        matches!(self.0, Kind::Mmlu(_))
    }

    /// Whether a row may be its own example. The harness keeps a question from its examples only where a task has no `test`
    /// split.
    pub(super) fn may_show_itself(&self) -> bool {
        self.split() == "test"
    }

    /// What stands before all examples.
    pub(super) fn description(&self) -> String {
        match self.0 {
            Kind::Mmlu(subject) => {
                let subject = subject.replace('_', " ");
                format!("The following are multiple choice questions (with answers) about {subject}.\n\n")
            }
            _ => String::new(),
        }
    }

    /// The question of a row, or one clause that says why it is none.
    pub(super) fn item(&self, row: Value) -> Result<Item, String> {
        let form = form(self.0, &row)?;
        Ok(Item { row, form })
    }
}

/// A row's question.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub row: Value,
    form: Form,
}

#[derive(Debug, Clone)]
enum Form {
    /// Which of several continuations follows.
    Choice { context: String, choices: Vec<String>, right: usize },
    /// After which of several contexts an end follows; the end stands after a space.
    Contexts { contexts: Vec<String>, end: String, right: usize },
    /// How likely a text's end is, which begins with its own space.
    End { context: String, end: String },
}

fn form(kind: Kind, row: &Value) -> Result<Form, String> {
    let text = |name: &str| field(row, name).and_then(|value| as_text(value, name));
    let answer = |choices: &Value, key: &str| -> Result<(Vec<String>, usize), String> {
        let list = |name: &str| as_texts(field(choices, name)?, &format!("choices.{name}"));
        let (texts, labels) = (list("text")?, list("label")?);
        let right = labels.iter().position(|label| label == key);
        let right = right.ok_or_else(|| format!("no label is its answerKey `{key}`"))?;
        bounded(texts, right, "answerKey")
    };
    let (context, (choices, right)) = match kind {
        Kind::HellaSwag => {
            let ends = as_texts(field(row, "endings")?, "endings")?;
            let begin = format!("{} {}", text("ctx_a")?, python::capitalize(&text("ctx_b")?));
            let label = as_number(field(row, "label")?, "label")?;
            let context = activity(&format!("{}: {begin}", text("activity_label")?));
            (context, bounded(ends.iter().map(|end| activity(end)).collect(), label, "label")?)
        }
        Kind::Piqa => {
            let label = as_number(field(row, "label")?, "label")?;
            let choices = vec![text("sol1")?, text("sol2")?];
            (format!("Question: {}\nAnswer:", text("goal")?), bounded(choices, label, "label")?)
        }
        Kind::ArcEasy | Kind::ArcChallenge => {
            let found = answer(field(row, "choices")?, &text("answerKey")?)?;
            (format!("Question: {}\nAnswer:", text("question")?), found)
        }
        Kind::OpenBookQa => {
            let found = answer(field(row, "choices")?, python::lstrip(&text("answerKey")?))?;
            (text("question_stem")?, found)
        }
        Kind::SciQ => {
            let wrong = ["distractor1", "distractor2", "distractor3"].map(text);
            let mut choices = wrong.into_iter().collect::<Result<Vec<_>, _>>()?;
            choices.push(text("correct_answer")?);
            let support = text("support")?;
            let context = format!("{}\nQuestion: {}\nAnswer:", python::lstrip(&support), text("question")?);
            (context, (choices, 3))
        }
        Kind::Mmlu(_) => {
            let answers = as_texts(field(row, "choices")?, "choices")?;
            let [a, b, c, d] = answers.as_slice() else {
                return Err(format!("it has {} choices, and four are asked for", answers.len()));
            };
            let question = text("question")?;
            let right = as_number(field(row, "answer")?, "answer")?;
            let context = format!("{}\nA. {a}\nB. {b}\nC. {c}\nD. {d}\nAnswer:", python::strip(&question));
            (context, bounded(["A", "B", "C", "D"].map(str::to_owned).into(), right, "answer")?)
        }
        Kind::WinoGrande => {
            let sentence = text("sentence")?;
            let (before, after) = sentence.split_once('_').ok_or("its sentence has no `_`")?;
            let right = match text("answer")?.as_str() {
                "1" => 0,
                "2" => 1,
                other => return Err(format!("its answer is `{other}`, neither `1` nor `2`")),
            };
            let contexts =
                vec![format!("{before}{}", text("option1")?), format!("{before}{}", text("option2")?)];
            return Ok(Form::Contexts { contexts, end: python::strip(after).to_owned(), right });
        }
        Kind::Lambada => {
            let whole = text("text")?;
            let (context, word) = whole.rsplit_once(' ').unwrap_or(("", &whole));
            return Ok(Form::End { context: context.to_owned(), end: format!(" {word}") });
        }
    };
    Ok(Form::Choice { context, choices, right })
}

/// HellaSwag's texts without the marks of their source.
fn activity(text: &str) -> String {
    python::without_brackets(&python::strip(text).replace(" [title]", ". ")).replace("  ", " ")
}

fn bounded(choices: Vec<String>, right: usize, name: &str) -> Result<(Vec<String>, usize), String> {
    if right >= choices.len() {
        return Err(format!("its {name} names choice {} of {}", right + 1, choices.len()));
    }
    Ok((choices, right))
}

fn field<'a>(row: &'a Value, name: &str) -> Result<&'a Value, String> {
    row.get(name).filter(|value| !value.is_null()).ok_or_else(|| format!("it has no `{name}`"))
}

fn as_text(value: &Value, name: &str) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| format!("its `{name}` is no text"))
}

fn as_texts(value: &Value, name: &str) -> Result<Vec<String>, String> {
    let list = value.as_array().filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| format!("its `{name}` is no list of texts"))?;
    list.iter().map(|value| as_text(value, name)).collect()
}

/// A whole number, or one that is written as text.
fn as_number(value: &Value, name: &str) -> Result<usize, String> {
    let written = value.as_str().and_then(|text| text.parse().ok());
    let number = value.as_u64().or(written).ok_or_else(|| format!("its `{name}` is no number from 0 on"))?;
    usize::try_from(number).map_err(|_| format!("its `{name}` is too large"))
}

/// Between a context and its continuation.
const DELIMITER: &str = " ";

impl Item {
    /// Context and continuation of each request, after what stands before the question.
    pub(super) fn requests(&self, before: &str) -> Vec<(String, String)> {
        match &self.form {
            Form::Choice { context, choices, .. } => {
                let request =
                    |choice: &String| (format!("{before}{context}"), format!("{DELIMITER}{choice}"));
                choices.iter().map(request).collect()
            }
            Form::Contexts { contexts, end, .. } => {
                let request = |context: &String| (format!("{before}{context}"), format!("{DELIMITER}{end}"));
                contexts.iter().map(request).collect()
            }
            Form::End { context, end } => vec![(format!("{before}{context}"), end.clone())],
        }
    }

    /// The question with its answer, as an example before another.
    pub(super) fn example(&self) -> String {
        let (question, answer) = match &self.form {
            Form::Choice { context, choices, right } => (context, &choices[*right]),
            // Without an answer there is nothing between the question and the next.
            Form::Contexts { contexts, end, right } if end.is_empty() => return contexts[*right].clone(),
            Form::Contexts { contexts, end, right } => (&contexts[*right], end),
            Form::End { context, end } => (context, end),
        };
        format!("{question}{DELIMITER}{answer}\n\n")
    }

    /// What is right, as the harness writes it.
    pub(super) fn target(&self) -> String {
        match &self.form {
            Form::Choice { right, .. } => right.to_string(),
            Form::Contexts { end, .. } | Form::End { end, .. } => end.clone(),
        }
    }

    /// The value of a metric for the answers to the question's requests.
    pub(super) fn value(&self, metric: Metric, answers: &[Answer]) -> f64 {
        let logs = answers.iter().map(|answer| answer.log_likelihood);
        let (choices, right) = match &self.form {
            Form::Choice { choices, right, .. } => (choices, *right),
            Form::Contexts { contexts, right, .. } => (contexts, *right),
            Form::End { .. } => {
                let answer =
                    answers.first().copied().unwrap_or(Answer { log_likelihood: 0.0, greedy: false });
                return match metric {
                    Metric::Perplexity => answer.log_likelihood,
                    _ => f64::from(answer.greedy),
                };
            }
        };
        let length = |choice: &String| match metric {
            Metric::NormalisedAccuracy => choice.chars().count() as f64,
            _ => 1.0,
        };
        let scores: Vec<f64> = logs.zip(choices).map(|(log, choice)| log / length(choice)).collect();
        f64::from(largest(&scores) == right)
    }
}

/// Index of the largest value, the first of equal ones, as numpy finds it: what is not a number counts as the largest.
fn largest(values: &[f64]) -> usize {
    if let Some(place) = values.iter().position(|value| value.is_nan()) {
        return place;
    }
    let mut best = 0;
    for (place, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = place;
        }
    }
    best
}
