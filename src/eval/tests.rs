use super::*;
use crate::manifest::{ManifestFile, ModelConfig};
use serde_json::json;
use tch::Device;

fn item(name: &str, row: Value) -> Result<Item, String> {
    expand(&[name.to_owned()]).unwrap().0[0].item(row)
}

#[test]
fn names_become_tasks_and_groups() {
    let names = |list: &[&str]| expand(&list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>());
    let (tasks, groups) = names(&["piqa", "mmlu", "mmlu_anatomy", "piqa"]).unwrap();
    assert_eq!((tasks.len(), groups.len(), groups[0].groups.len()), (58, 1, 4));
    assert_eq!(groups[0].all().len(), 57);
    assert_eq!(names(&["mmlu_stem"]).unwrap().0.len(), 19);
    for unknown in ["", "arc", "mmlu_", "mmlu_cooking"] {
        assert!(matches!(names(&[unknown]), Err(EvalError::UnknownTask(name)) if name == unknown));
    }
}

#[test]
fn rows_that_are_no_questions_are_named() {
    let choices = json!({ "text": ["a", "b"], "label": ["A", "B"] });
    for (task, row, words) in [
        ("piqa", json!({ "goal": "g", "sol1": "a", "label": 0 }), "no `sol2`"),
        ("piqa", json!({ "goal": "g", "sol1": "a", "sol2": 2, "label": 0 }), "`sol2` is no text"),
        ("piqa", json!({ "goal": "g", "sol1": "a", "sol2": "b", "label": 2 }), "names choice 3 of 2"),
        ("piqa", json!({ "goal": "g", "sol1": "a", "sol2": "b", "label": -1 }), "`label` is no number"),
        (
            "arc_easy",
            json!({ "question": "q", "choices": choices, "answerKey": "C" }),
            "no label is its answerKey",
        ),
        ("arc_easy", json!({ "question": "q", "choices": [], "answerKey": "C" }), "no `text`"),
        (
            "winogrande",
            json!({ "sentence": "none", "option1": "a", "option2": "b", "answer": "1" }),
            "has no `_`",
        ),
        (
            "winogrande",
            json!({ "sentence": "_", "option1": "a", "option2": "b", "answer": "" }),
            "neither `1` nor `2`",
        ),
        ("mmlu_anatomy", json!({ "question": "q", "choices": ["a"], "answer": 0 }), "1 choices"),
        ("lambada_openai", json!([]), "no `text`"),
        ("hellaswag", json!({ "endings": [] }), "no list of texts"),
    ] {
        let problem = item(task, row).unwrap_err();
        assert!(problem.contains(words), "{task}: {problem}");
    }
}

#[test]
fn rows_become_the_harness_prompts() {
    let wiki = json!({
        "activity_label": "Cutting", "ctx_a": "A man [x] sits.", "ctx_b": "he THEN", "label": "1",
        "endings": ["goes.", " [substeps] Cut  it. [title] Done"],
    });
    assert_eq!(
        item("hellaswag", wiki).unwrap().requests("B "),
        [
            ("B Cutting: A man sits. He then".to_owned(), " goes.".to_owned()),
            ("B Cutting: A man sits. He then".to_owned(), "  Cut it.. Done".to_owned())
        ]
    );
    let wino = json!({ "sentence": "The _ is big. ", "option1": "cat", "option2": "dog", "answer": "2" });
    let wino = item("winogrande", wino).unwrap();
    assert_eq!(wino.requests("")[1], ("The dog".to_owned(), " is big.".to_owned()));
    assert_eq!(wino.example(), "The dog is big.\n\n");
    let one = item("lambada_openai", json!({ "text": "word" })).unwrap();
    assert_eq!(one.requests(""), [(String::new(), " word".to_owned())]);
}

#[test]
fn files_are_found_as_repositories_have_them() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::new(place.path());
    let write = |path: &str, text: &str| {
        let path = place.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let task = |name: &str| expand(&[name.to_owned()]).unwrap().0.remove(0);
    let rows = |name: &str, split| folder.rows(&task(name), split).map(|rows| rows.len());
    write("piqa.jsonl", "{}\n\n{}\n");
    write("piqa/train.json", " [{}, {}, {}]");
    write("ai2_arc/ARC-Easy/test-00000-of-00002.jsonl", "{}\n");
    write("ai2_arc/ARC-Easy/test-00001-of-00002.jsonl", "{}\n{}");
    write("ai2_arc/ARC-Easy/testing.jsonl", "{}\n");
    write("mmlu/anatomy/dev.jsonl", "{}");
    write("sciq/data/test.jsonl", "{\n");
    write("hellaswag/default/train/0000.jsonl", "{}\n{}");
    write("mmlu/virology/test/0000.jsonl", "{}");
    assert_eq!(rows("piqa", "validation").unwrap(), 2);
    assert_eq!(rows("piqa", "train").unwrap(), 3);
    assert_eq!(rows("arc_easy", "test").unwrap(), 3);
    assert_eq!(rows("mmlu_anatomy", "dev").unwrap(), 1);
    assert_eq!(rows("hellaswag", "train").unwrap(), 2);
    assert_eq!(rows("mmlu_virology", "test").unwrap(), 1);
    assert!(matches!(rows("arc_challenge", "test"), Err(EvalError::NoData { .. })));
    assert!(rows("sciq", "test").unwrap_err().to_string().contains("line 1"));
}

#[test]
fn pooled_errors_are_those_of_all_questions() {
    // Two tasks of 3 and 5 questions; the harness's formula, by hand.
    let pooled = pooled(&[(1.0 / 3.0, Some(0.2), 3), (0.6, Some(0.1), 5)]);
    assert!((pooled.value - 0.5).abs() < 1e-12);
    let variance: f64 = (2.0 * 0.04 * 3.0 + 4.0 * 0.01 * 5.0) / 6.0;
    assert!((pooled.error.unwrap() - (variance / 8.0).sqrt()).abs() < 1e-12);
}

#[test]
fn a_question_is_not_its_own_example() {
    let place = tempfile::tempdir().unwrap();
    let rows: String = (0..4)
        .map(|n| {
            json!({ "goal": format!("goal {n}"), "sol1": "a", "sol2": "b", "label": n % 2 }).to_string()
                + "\n"
        })
        .collect();
    std::fs::create_dir(place.path().join("piqa")).unwrap();
    for split in ["train", "validation"] {
        std::fs::write(place.path().join(format!("piqa/{split}.jsonl")), &rows).unwrap();
    }
    let tokenizer = Tokenizer::bytes().unwrap();
    let (tasks, _) = expand(&["piqa".to_owned()]).unwrap();
    let prepare = |shots| {
        let options = Options { shots, limit: Some(3), budget: 100 };
        prepare(&tasks[0], &Folder::new(place.path()), &tokenizer, &options)
    };
    let prepared = prepare(3).unwrap();
    assert_eq!((prepared.questions.len(), prepared.requests(), prepared.rows), (3, 6, 4));
    for (number, question) in prepared.questions.iter().enumerate() {
        assert_eq!(question.requests[0].0.matches(&format!("goal {number}\n")).count(), 1);
        assert_eq!(question.requests[0].0.matches("goal").count(), 4);
    }
    assert!(matches!(prepare(4), Err(EvalError::TooFewExamples { have: 4, asked: 4, .. })));
    // A model answers, and a report has it.
    let config = ModelConfig { initial_std: 0.2, ..ManifestFile::preset("local").unwrap().parsed.model };
    let model = Llama::new(&config, 1, Device::Cpu);
    let mut heard = 0;
    let options = Options { shots: 3, limit: None, budget: 100 };
    let outcome = ask(&model, prepared, &options, |more| heard += more);
    assert_eq!(heard, 6);
    let report = harness_json(std::slice::from_ref(&outcome), &[]);
    assert_eq!(report["n-samples"]["piqa"], json!({ "original": 4, "effective": 3 }));
    assert!(report["results"]["piqa"]["acc_norm_stderr,none"].is_number());
    assert_eq!(table_rows(&[outcome], &[]).len(), 2);
}
