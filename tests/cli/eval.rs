//! `templar eval` as a person uses it: tables, files, and what is said where something is wrong. The numbers are compared
//! with the harness's in `tests/model/eval.rs`.

use crate::model::model_in;
use serde_json::{Value, json};
use std::{fs, path::Path};
use tch::Device;
use templar::{manifest::ManifestFile, model::Llama};

fn write_tasks(folder: &Path) {
    let row = |n: u64| json!({ "goal": format!("goal {n}"), "sol1": "one", "sol2": "two é", "label": n % 2 });
    let lines: String = (0..20).map(|n| row(n).to_string() + "\n").collect();
    fs::create_dir_all(folder.join("piqa")).unwrap();
    fs::write(folder.join("piqa/validation.jsonl"), &lines).unwrap();
    fs::write(folder.join("piqa/train.jsonl"), &lines).unwrap();
    let words: String = (0..5).map(|n| format!("{}\n", json!({ "text": format!("a word {n}") }))).collect();
    fs::write(folder.join("lambada_openai.jsonl"), words).unwrap();
}

#[test]
fn a_checkpoint_is_evaluated_and_its_history_grows() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let checkpoint = Llama::new(&ManifestFile::preset("local").unwrap().parsed.model, 42, Device::Cpu);
    checkpoint.save(&place.join("model.safetensors"), &Default::default()).unwrap();
    write_tasks(&place.join("tasks"));
    fs::write(place.join("own.txt"), "A text of one's own, é.\n").unwrap();
    let run =
        |line: &str| model_in(place, "eval", &format!("--checkpoint model.safetensors --run local {line}"));

    let all = "--tasks piqa,lambada_openai --task-data tasks --text own.txt";
    let shown = run(&format!("{all} --history history.jsonl --samples samples"));
    assert_eq!(shown.code, 0, "{}", shown.err);
    let lines: Vec<&str> = shown.out.lines().collect();
    assert_eq!(lines.len(), 7, "{}", shown.out);
    assert!(lines[0].starts_with("task") && lines[1].starts_with("piqa") && lines[6].starts_with("own.txt"));
    let document = run(&format!("{all} --num-fewshot 2 --limit 4 --json --history history.jsonl")).json();
    assert_eq!(document["n-shot"]["piqa"], 2);
    assert_eq!(document["n-samples"]["piqa"], json!({ "original": 20, "effective": 4 }));
    assert_eq!(document["config"]["limit"], 4);
    let text = &document["texts"]["own.txt"];
    assert_eq!((&text["bytes"], &text["tokens"]), (&25.into(), &25.into()));
    // A model that learned nothing guesses among 256 bytes.
    assert!((text["bits_per_byte"].as_f64().unwrap() - 8.0).abs() < 0.5, "{text}");
    let history = fs::read_to_string(place.join("history.jsonl")).unwrap();
    assert_eq!(history.lines().count(), 2);
    assert!(fs::read_to_string(place.join("history.svg")).unwrap().starts_with("<svg"));
    assert!(fs::metadata(place.join("history.png")).unwrap().len() > 1000);
    let samples = fs::read_to_string(place.join("samples/samples_piqa.jsonl")).unwrap();
    let first: Value = serde_json::from_str(samples.lines().next().unwrap()).unwrap();
    assert_eq!(
        first["arguments"]["gen_args_1"],
        json!({ "arg_0": "Question: goal 0\nAnswer:", "arg_1": " two é" })
    );

    // The model card shows what was found.
    fs::write(place.join("evaluation.json"), document.to_string()).unwrap();
    let export =
        "export model.safetensors --run local --out out --evaluation evaluation.json --license mit --json";
    assert_eq!(model_in(place, "model", export).code, 0);
    let card = fs::read_to_string(place.join("out/README.md")).unwrap();
    assert!(
        card.starts_with("---\nlibrary_name: transformers\n") && card.contains("license: \"mit\""),
        "{card}"
    );
    assert!(card.contains("| piqa | 2 | acc_norm | ") && card.contains("| manifest | `"), "{card}");

    run("").fails_as_usage("--tasks <NAME,...>");
    run("--tasks piqa").fails(2, "nothing says where the tasks' files are");
    run("--tasks pika --task-data tasks").fails(7, "there is no task `pika`");
    run("--tasks sciq --task-data tasks").fails(7, "tasks has no test split of sciq");
    run("--tasks piqa --task-data tasks --num-fewshot 20").fails(7, "piqa has 20 examples to show");
    run("--text missing.txt").fails(7, "cannot measure missing.txt");
    fs::write(place.join("tasks/lambada_openai.jsonl"), "{\"text\": \"one two\"}\n{\"texts\": \"a\"}\n")
        .unwrap();
    run("--tasks piqa,lambada_openai --task-data tasks")
        .fails(7, "row 2 of lambada_openai is no question of it: it has no `text`");
    fs::write(place.join("tasks/lambada_openai.jsonl"), "{\"text\"").unwrap();
    run("--tasks lambada_openai --task-data tasks").fails(7, "cannot use tasks/lambada_openai.jsonl: line 1");
    model_in(place, "eval", "--text own.txt").fails(2, "there is no model to ask");
    model_in(place, "eval", "--text own.txt --follow --network ws://127.0.0.1:9").fails(4, "127.0.0.1:9");
}
