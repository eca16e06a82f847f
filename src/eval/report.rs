//! Results as the harness writes them, so that what reads its files reads ours.

use super::{Estimate, Group, Metric, Outcome, pooled};
use serde_json::{Map, Value, json};

/// The file of results: tasks, groups, versions, examples, counts.
pub fn harness_json(outcomes: &[Outcome], groups: &[Group]) -> Value {
    let mut results = Map::new();
    let (mut configs, mut versions, mut shots) = (Map::new(), Map::new(), Map::new());
    let (mut better, mut counts) = (Map::new(), Map::new());
    for outcome in outcomes {
        let (task, name) = (&outcome.task, outcome.task.name());
        let mut entry = entry(&name, &task.alias(), outcome.samples.len());
        for (metric, estimate) in &outcome.metrics {
            insert(&mut entry, *metric, estimate);
        }
        results.insert(name.clone(), entry.into());
        let dataset = task.dataset();
        let config = Some(dataset.config).filter(|config| !config.is_empty());
        configs.insert(
            name.clone(),
            json!({
                "task": name, "dataset_path": dataset.path, "dataset_name": config, "output_type": task.output_type(),
                "test_split": task.split(), "fewshot_split": task.example_split(), "num_fewshot": outcome.shots,
                "description": task.description(), "target_delimiter": " ", "fewshot_delimiter": "\n\n",
                "metadata": { "version": 1.0 },
            }),
        );
        versions.insert(name.clone(), 1.0.into());
        shots.insert(name.clone(), outcome.shots.into());
        let higher: Map<String, Value> =
            task.metrics().iter().map(|m| (m.name().to_owned(), m.higher_is_better().into())).collect();
        better.insert(name.clone(), higher.into());
        counts.insert(name, json!({ "original": outcome.rows, "effective": outcome.samples.len() }));
    }
    let (mut of_groups, mut members) = (Map::new(), Map::new());
    for group in flat(groups) {
        let found: Vec<&Outcome> = outcomes.iter().filter(|o| group.all().contains(&o.task)).collect();
        let questions = found.iter().map(|o| o.samples.len()).sum();
        let mut entry = entry(&group.name, &group.alias, questions);
        insert(&mut entry, Metric::Accuracy, &group_estimate(&found));
        entry.insert("sample_count".to_owned(), json!({ "acc,none": questions }));
        results.insert(group.name.clone(), entry.clone().into());
        of_groups.insert(group.name.clone(), entry.into());
        let names = group.groups.iter().map(|g| g.name.clone());
        let names: Vec<String> = names.chain(group.tasks.iter().map(super::Task::name)).collect();
        members.insert(group.name.clone(), names.into());
        versions.insert(group.name.clone(), "2".into());
        shots.insert(group.name.clone(), found.first().map_or(0, |o| o.shots).into());
        better.insert(group.name.clone(), json!({ "acc": true }));
    }
    let mut document = json!({
        "results": results, "group_subtasks": members, "configs": configs, "versions": versions, "n-shot": shots,
        "higher_is_better": better, "n-samples": counts,
    });
    if !of_groups.is_empty() {
        document["groups"] = of_groups.into();
    }
    document
}

fn entry(name: &str, alias: &str, questions: usize) -> Map<String, Value> {
    let mut entry = Map::new();
    entry.insert("name".to_owned(), name.into());
    entry.insert("alias".to_owned(), alias.into());
    entry.insert("sample_len".to_owned(), questions.into());
    entry
}

fn insert(entry: &mut Map<String, Value>, metric: Metric, estimate: &Estimate) {
    entry.insert(format!("{},none", metric.name()), estimate.value.into());
    let error = estimate.error.map_or_else(|| Value::from("N/A"), Value::from);
    entry.insert(format!("{}_stderr,none", metric.name()), error);
}

/// Every group, those inside of others before them.
fn flat(groups: &[Group]) -> Vec<&Group> {
    groups.iter().flat_map(|group| flat(&group.groups).into_iter().chain([group])).collect()
}

fn group_estimate(outcomes: &[&Outcome]) -> Estimate {
    let part = |outcome: &&Outcome| {
        let (_, estimate) = outcome.metrics.iter().find(|(metric, _)| *metric == Metric::Accuracy)?;
        Some((estimate.value, estimate.error, outcome.samples.len()))
    };
    pooled(&outcomes.iter().filter_map(part).collect::<Vec<_>>())
}

/// The rows of a table: task, version, examples, metric, value, standard error; a group before what is in it.
pub fn table_rows(outcomes: &[Outcome], groups: &[Group]) -> Vec<[String; 6]> {
    let mut rows = Vec::new();
    let number = |value: f64| format!("{value:.4}");
    let mut row = |name: String, version: &str, shots: usize, metric: Metric, estimate: &Estimate| {
        let error = estimate.error.map_or_else(|| "N/A".to_owned(), number);
        let shots = shots.to_string();
        rows.push([name, version.to_owned(), shots, metric.name().to_owned(), number(estimate.value), error]);
    };
    let in_groups: Vec<super::Task> = groups.iter().flat_map(Group::all).collect();
    let task =
        |outcome: &Outcome, depth: usize, row: &mut dyn FnMut(String, &str, usize, Metric, &Estimate)| {
            for (metric, estimate) in &outcome.metrics {
                row(indented(&outcome.task.alias(), depth), "1", outcome.shots, *metric, estimate);
            }
        };
    for outcome in outcomes.iter().filter(|o| !in_groups.contains(&o.task)) {
        task(outcome, 0, &mut row);
    }
    let mut waiting: Vec<(usize, &Group)> = groups.iter().rev().map(|group| (0, group)).collect();
    while let Some((depth, group)) = waiting.pop() {
        let found: Vec<&Outcome> = outcomes.iter().filter(|o| group.all().contains(&o.task)).collect();
        let shots = found.first().map_or(0, |o| o.shots);
        row(indented(&group.alias, depth), "2", shots, Metric::Accuracy, &group_estimate(&found));
        for outcome in found.iter().filter(|o| group.tasks.contains(&o.task)) {
            task(outcome, depth + 1, &mut row);
        }
        waiting.extend(group.groups.iter().rev().map(|inner| (depth + 1, inner)));
    }
    rows
}

fn indented(name: &str, depth: usize) -> String {
    if depth == 0 { name.to_owned() } else { format!("{}- {name}", " ".repeat(depth)) }
}

/// Each question as one line of JSON, as in the harness's files of samples.
pub fn sample_lines(outcome: &Outcome) -> impl Iterator<Item = Value> {
    outcome.samples.iter().enumerate().map(|(number, sample)| {
        let arguments: Map<String, Value> = sample
            .requests
            .iter()
            .enumerate()
            .map(|(at, (context, continuation))| {
                (format!("gen_args_{at}"), json!({ "arg_0": context, "arg_1": continuation }))
            })
            .collect();
        let answers: Vec<Value> =
            sample.answers.iter().map(|answer| json!([answer.log_likelihood, answer.greedy])).collect();
        let mut line = json!({
            "doc_id": number, "doc": sample.row, "target": sample.target, "arguments": arguments,
            "resps": answers.iter().map(|answer| json!([answer])).collect::<Vec<_>>(), "filtered_resps": answers,
            "filter": "none", "metrics": outcome.task.metrics().iter().map(|m| m.name()).collect::<Vec<_>>(),
        });
        for (metric, value) in outcome.task.metrics().iter().zip(&sample.values) {
            line[metric.name()] = (*value).into();
        }
        line
    })
}
