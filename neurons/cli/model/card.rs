//! The model card: what a run's model is, how it was made, what it is worth, how to load it.

use super::source::About;
use crate::cli::{Exit, Failure};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};
use templar::{
    manifest::ModelConfig,
    model::{hugging_face::Dtype, parameter_count},
    report::Report,
};

/// Facts that a card also tells, from files.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FactArgs {
    /// The run's report (`report.json`), whose loss curve the model card shows
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Results of `templar eval --json`, which the model card shows
    #[arg(long, value_name = "FILE")]
    evaluation: Option<PathBuf>,
    /// The licence that the model card names
    #[arg(long, value_name = "NAME")]
    license: Option<String>,
}

/// The facts themselves.
pub struct Facts {
    report: Option<Report>,
    evaluation: Option<Value>,
    license: Option<String>,
}

fn read_json<T: DeserializeOwned>(path: &Path, what: &str) -> Result<T, Failure> {
    let text = fs::read_to_string(path).map_err(|e| {
        Failure::new(Exit::Storage, format!("cannot read {}: {e}", path.display())).hint("check the path")
    })?;
    serde_json::from_str(&text).map_err(|e| {
        Failure::new(Exit::Data, format!("{} is not {what}: {e}", path.display())).hint("check the path")
    })
}

impl Facts {
    /// Reads them, before anything is computed.
    pub fn read(args: &FactArgs) -> Result<Self, Failure> {
        let report = args.report.as_deref().map(|path| read_json(path, "a run's report")).transpose()?;
        let evaluation = args
            .evaluation
            .as_deref()
            .map(|path| read_json(path, "what `templar eval --json` prints"))
            .transpose()?;
        Ok(Self { report, evaluation, license: args.license.clone() })
    }

    /// The card, in Markdown, with the Hub's fields in front.
    pub fn card(&self, about: &About, config: &ModelConfig, dtype: Dtype, hash: &str) -> String {
        let mut text = String::from("---\nlibrary_name: transformers\npipeline_tag: text-generation\n");
        if let Some(license) = &self.license {
            let _ = writeln!(text, "license: {}", Value::from(license.as_str()));
        }
        text.push_str("tags:\n- llama\n- templar\n- bittensor\n---\n\n");
        let name = about.origin.as_ref().map_or(about.name.as_str(), |origin| &origin.manifest.parsed.name);
        let _ = writeln!(text, "# {name}\n");
        let parameters = parameter_count(config);
        let shape = super::shape(config);
        let _ =
            writeln!(text, "A Llama of {parameters} weights: {shape}. Weights are {}.\n", dtype.torch_name());
        text.push_str(&self.origin(about));
        let _ = writeln!(text, "| | |\n|---|---|\n| hash of the model | `{}` |\n", hash);
        text.push_str(
            "## Loading it\n\n```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
             model = AutoModelForCausalLM.from_pretrained(\"PATH OR NAME\")\n",
        );
        if about.tokenizer.is_some() {
            text.push_str("tokenizer = AutoTokenizer.from_pretrained(\"PATH OR NAME\")\n");
        }
        text.push_str("```\n\n");
        if let Some(evaluation) = &self.evaluation {
            text.push_str(&evaluation_table(evaluation));
        }
        if let Some(report) = self.report.as_ref().filter(|report| !report.loss.is_empty()) {
            text.push_str(&loss_table(report));
        }
        text
    }

    fn origin(&self, about: &About) -> String {
        let Some(origin) = &about.origin else { return String::new() };
        let manifest = &origin.manifest.parsed;
        let mut text = String::from(
            "It was trained in the open, by strangers, paid on a Bittensor subnet for what their work was worth: in every \
             window miners publish pseudo-gradients, validators judge them, and everybody takes the same step.\n\n\
             ## The run\n\n| | |\n|---|---|\n",
        );
        let mut row = |name: &str, value: String| {
            let _ = writeln!(text, "| {name} | {value} |");
        };
        row("manifest", format!("`{}`", hex::encode(origin.manifest.hash())));
        if let Some(checkpoint) = &origin.checkpoint {
            row("last window", checkpoint.window.to_string());
            row("steps", checkpoint.round.to_string());
            if let Some(start) = &origin.start {
                row("windows", (checkpoint.window + 1).saturating_sub(start.start_window).to_string());
            }
        }
        let tokens = manifest.train.sequences() as i64 * manifest.model.sequence_length;
        row("usual tokens of one peer in a window", tokens.to_string());
        if let Some(accepted) = origin.accepted {
            row("pseudo-gradients aggregated", accepted.to_string());
            // A miner may do more or less than is usual; what each did is in the objects, not in the records.
            row("tokens at the usual work", (accepted as i64 * tokens).to_string());
        }
        if let Some(report) = &self.report {
            row("windows of the report", report.windows.to_string());
            let miners = report.peers.iter().filter(|peer| peer.role == "miner").count();
            row("miners", miners.to_string());
        }
        row("tokenizer", manifest.data.tokenizer.clone());
        if !manifest.data.hash.is_empty() {
            row("corpus", format!("`{}`", manifest.data.hash));
        }
        text + "\n"
    }
}

/// The results of the harness's form as a table.
fn evaluation_table(evaluation: &Value) -> String {
    let mut text = String::from(
        "## Evaluation\n\n| task | examples | metric | value | standard error |\n|---|---|---|---|---|\n",
    );
    for (task, values) in evaluation["results"].as_object().into_iter().flatten() {
        let shots = evaluation["n-shot"][task].as_u64().unwrap_or(0);
        for (key, value) in values.as_object().into_iter().flatten() {
            let Some((metric, "none")) = key.split_once(',') else { continue };
            let (Some(value), false) = (value.as_f64(), metric.ends_with("_stderr")) else { continue };
            let error = values[format!("{metric}_stderr,none")].as_f64();
            let error = error.map_or_else(|| "N/A".to_owned(), |error| format!("{error:.4}"));
            let _ = writeln!(text, "| {task} | {shots} | {metric} | {value:.4} | {error} |");
        }
    }
    text + "\nWith `templar eval`, whose numbers are those of lm-evaluation-harness.\n\n"
}

/// The loss curve, about twenty points of it.
fn loss_table(report: &Report) -> String {
    let mut text = String::from("## Held-out loss\n\n| window | loss (nats a token) |\n|---|---|\n");
    let every = report.loss.len().div_ceil(20);
    let last = report.loss.len() - 1;
    for (number, point) in report.loss.iter().enumerate() {
        if number % every == 0 || number == last {
            let _ = writeln!(text, "| {} | {:.4} |", point.window, point.loss);
        }
    }
    text + "\n"
}
