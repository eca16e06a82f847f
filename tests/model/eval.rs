//! Evaluation beside lm-evaluation-harness: the same requests, likelihoods, accuracies and errors for every task.

use crate::{support, tasks};
use serde_json::Value;
use std::{fs, path::Path, process::Command};
use tch::Device;
use templar::{
    eval::{self, Folder, Options, expand, harness_json},
    manifest::{ManifestFile, ModelConfig},
    model::{
        Llama,
        hugging_face::{self, ExportOptions},
    },
    tokenizer::Tokenizer,
};

pub fn harness() -> String {
    let packages = ["lm_eval==0.4.13", "transformers==5.17.0", "safetensors", "numpy", "sympy", "networkx"];
    support::python("harness", &packages)
}

fn ask_harness(folder: &Path, shots: usize, names: &[String]) -> Value {
    let libtorch = std::env::var("LIBTORCH").unwrap_or_else(|_| ".libtorch/torch".to_owned());
    let output = Command::new(harness())
        .arg(support::script("harness.py"))
        .arg(folder)
        .arg(std::path::absolute(libtorch).unwrap())
        .arg(shots.to_string())
        .args(names)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&fs::read_to_string(folder.join("harness.json")).unwrap()).unwrap()
}

/// A model of random weights with a tokenizer of `tokenizers_reference.py`, in a folder that transformers opens.
fn write_model(folder: &Path, tokenizer: &str) -> (Llama, Tokenizer) {
    let output = Command::new(crate::reference::transformers())
        .arg(support::script("tokenizers_reference.py"))
        .arg(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tokenizer = Tokenizer::open(&folder.join(tokenizer)).unwrap();
    let local = ManifestFile::preset("local").unwrap().parsed.model;
    let config = ModelConfig {
        vocab_size: tokenizer.len() as i64,
        sequence_length: 192,
        kv_heads: 2,
        initial_std: 0.1,
        ..local
    };
    let model = Llama::new(&config, 5, Device::Cpu);
    let options = ExportOptions { tokenizer: Some(&tokenizer), ..ExportOptions::default() };
    hugging_face::export(&model, &folder.join("model"), options, |_| ()).unwrap();
    (model, tokenizer)
}

fn close(name: &str, ours: &Value, theirs: &Value, most: f64) {
    match (ours.as_f64(), theirs.as_f64()) {
        (Some(ours), Some(theirs)) => {
            assert!((ours - theirs).abs() <= most, "{name}: {ours} here, {theirs} there");
        }
        _ => assert_eq!(ours, theirs, "{name}"),
    }
}

fn compare(pieces: &str, shots: usize, names: &[&str]) {
    tch::set_num_threads(1);
    let folder = tempfile::tempdir().unwrap();
    let (model, tokenizer) = write_model(folder.path(), pieces);
    // Pieces may hold the space after a word, so that one more space is no token more, which the harness does not take.
    tasks::write_tasks(&folder.path().join("tasks"), pieces != "sentence_pieces");
    let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let (listed, groups) = expand(&names).unwrap();
    for (number, task) in groups.iter().flat_map(eval::Group::all).enumerate() {
        let subject = task.name().trim_start_matches("mmlu_").to_owned();
        tasks::write_subject(&folder.path().join("tasks"), &subject, 2 + number % 3, number % 20);
    }
    let rolling = shots == 0;
    if rolling {
        names.push("own_text".to_owned());
    }
    let theirs = ask_harness(folder.path(), shots, &names);

    let options = Options { shots, limit: None, budget: 512 };
    let place = Folder::new(folder.path().join("tasks"));
    let outcomes: Vec<_> = listed
        .iter()
        .map(|task| {
            let prepared = eval::prepare(task, &place, &tokenizer, &options).unwrap();
            eval::ask(&model, prepared, &options, |_| ())
        })
        .collect();
    let mut farthest = 0f64;
    let mut requests = 0;
    for outcome in &outcomes {
        let name = outcome.task.name();
        let samples = theirs["samples"][&name].as_array().unwrap();
        assert_eq!(samples.len(), outcome.samples.len(), "{name}");
        for (number, (sample, expected)) in outcome.samples.iter().zip(samples).enumerate() {
            let at = format!("{name} {number}");
            assert_eq!(expected["answers"].as_array().unwrap().len(), sample.answers.len(), "{at}");
            for (place, (request, answer)) in sample.requests.iter().zip(&sample.answers).enumerate() {
                let asked = &expected["arguments"][place];
                assert_eq!(
                    (asked[0].as_str(), asked[1].as_str()),
                    (Some(&*request.0), Some(&*request.1)),
                    "{at}"
                );
                let found = &expected["answers"][place];
                let far = (found[0].as_f64().unwrap() - answer.log_likelihood).abs();
                farthest = farthest.max(far);
                assert!(far < 1e-3, "{at}: {} here, {} there", answer.log_likelihood, found[0]);
                assert_eq!(found[1].as_bool(), Some(answer.greedy), "{at}");
                requests += 1;
            }
            for (metric, value) in outcome.task.metrics().iter().zip(&sample.values) {
                close(
                    &format!("{at} {}", metric.name()),
                    &(*value).into(),
                    &expected["metrics"][metric.name()],
                    1e-3,
                );
            }
            assert_eq!(expected["target"], sample.target, "{at}");
        }
    }
    println!("{requests} requests, the farthest log-likelihood by {farthest:.1e}");
    let ours = harness_json(&outcomes, &groups);
    for part in ["results", "groups"] {
        let Some(expected) = theirs.get(part).and_then(Value::as_object) else {
            assert!(ours.get(part).is_none());
            continue;
        };
        assert_eq!(
            ours[part].as_object().unwrap().len() + usize::from(rolling && part == "results"),
            expected.len()
        );
        for (task, values) in expected.iter().filter(|(task, _)| *task != "own_text") {
            for (key, value) in values.as_object().unwrap() {
                // Accuracies are shares of the same questions; a perplexity follows from likelihoods.
                let most = if key.starts_with("perplexity") { 1e-3 * value.as_f64().unwrap() } else { 1e-12 };
                close(&format!("{part} {task} {key}"), &ours[part][task][key], value, most);
            }
        }
    }
    for part in ["group_subtasks", "versions", "n-shot", "higher_is_better", "n-samples"] {
        for (task, value) in theirs[part].as_object().unwrap().iter().filter(|(task, _)| *task != "own_text")
        {
            assert_eq!(&ours[part][task], value, "{part} {task}");
        }
    }
    if rolling {
        let rows = fs::read_to_string(folder.path().join("tasks/own_text/test.jsonl")).unwrap();
        for (line, expected) in rows.lines().zip(theirs["samples"]["own_text"].as_array().unwrap()) {
            let row: Value = serde_json::from_str(line).unwrap();
            let text = row["text"].as_str().unwrap();
            let found = eval::measure_text(&model, &tokenizer, text, 512, |_| ()).unwrap();
            let theirs = &expected["metrics"];
            for (name, parts) in [
                ("word_perplexity", found.words),
                ("byte_perplexity", found.bytes),
                ("bits_per_byte", found.bytes),
            ] {
                close("log-likelihood of a text", &found.log_likelihood.into(), &theirs[name][0], 5e-3);
                assert_eq!(theirs[name][1], parts, "{name} of {text:?}");
            }
        }
    }
}

const ALL: [&str; 8] =
    ["hellaswag", "piqa", "arc_easy", "arc_challenge", "winogrande", "openbookqa", "sciq", "lambada_openai"];

#[test]
fn every_task_is_answered_as_by_the_harness() {
    let subjects = tasks::SUBJECTS.map(|subject| format!("mmlu_{subject}"));
    let names: Vec<&str> = ALL.into_iter().chain(subjects.iter().map(String::as_str)).collect();
    compare("byte_level", 0, &names);
}

#[test]
fn examples_are_drawn_and_shown_as_by_the_harness() {
    let subjects = tasks::SUBJECTS.map(|subject| format!("mmlu_{subject}"));
    let names: Vec<&str> = ALL.into_iter().chain(subjects.iter().map(String::as_str)).collect();
    compare("sentence_pieces", 3, &names);
}

#[test]
fn all_of_mmlu_is_one_number_as_in_the_harness() {
    compare("gpt2", 1, &["mmlu"]);
}
