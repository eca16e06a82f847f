use super::*;
use crate::{
    gauntlet::{Evidence, Gauntlet, Observation, Peer, stage1::Stage1, stage1::malformed},
    manifest::ManifestFile,
};

const ACCEPTED: Stage1 = Stage1::Accepted { seconds: 2, steps_behind: 0.0 };

fn key(n: u8) -> Hotkey {
    Hotkey::from([n; 32])
}

fn config() -> GauntletConfig {
    ManifestFile::preset("local").unwrap().parsed.gauntlet.without_audits()
}

/// An update that lowers the loss on own data by `own` and on random data by `random` nats.
fn evidence(own: f64, random: f64) -> Option<Evidence> {
    let spread = |i: usize| 0.01 * ((i * 7 % 5) as f64 - 2.0);
    let before: Vec<f64> = (0..16).map(|i| 4.0 + 0.1 * i as f64).collect();
    let moved = |by: f64, shift: usize| -> Vec<f64> {
        before.iter().enumerate().map(|(i, loss)| loss - by + spread(i + shift)).collect()
    };
    Some(Evidence {
        own_after: moved(own, 0),
        own_comparator: moved(0.05, 1),
        random_after: moved(random, 2),
        random_comparator: moved(0.05, 3),
        own_before: before.clone(),
        random_before: before,
        audits: Vec::new(),
    })
}

/// Peers 1 to 3 work well for `windows`; then peer 1 does `last` in as many windows as there are.
fn records(windows: u64, last: &[(Stage1, Option<Evidence>)]) -> Vec<ScoreRecord> {
    let mut gauntlet = Gauntlet::new(&config());
    let peer = |n: u8| Peer { hotkey: key(n), uid: n.into(), registered_at_block: 0 };
    gauntlet.roster(&[peer(1), peer(2), peer(3)]);
    let good = || (ACCEPTED, evidence(0.08, 0.05));
    let mut records = Vec::new();
    let all = (0..windows).map(|_| good()).chain(last.iter().cloned());
    for (window, (stage1, evidence)) in all.enumerate() {
        let observe =
            |n: u8, (stage1, evidence)| Observation { hotkey: key(n), stage1, evidence, aggregated: true };
        let observations = [observe(1, (stage1, evidence)), observe(2, good()), observe(3, good())];
        records.push(gauntlet.update(window as u64, 1e-3, &observations).unwrap().remove(0));
    }
    records
}

fn explained(windows: u64, last: &[(Stage1, Option<Evidence>)]) -> Explanation {
    let records = records(windows, last);
    let (record, history) = records.split_last().unwrap();
    let config = config();
    let explanation = explain(&Case { record, history, rules: Some(&config) });
    // Without the manifest it says less, but as much about what went wrong.
    let bare = explain(&Case { record, history: &[], rules: None });
    assert_eq!(bare.summary, explanation.summary);
    assert!(!explanation.text().chars().any(|c| c.is_control() && c != '\n'));
    explanation
}

#[track_caller]
fn says(explanation: &Explanation, rule: &str, words: &[&str]) -> Option<String> {
    let text = explanation.text();
    let finding = explanation.findings.iter().find(|f| f.rule == rule);
    let finding = finding.unwrap_or_else(|| panic!("nothing about {rule}:\n{text}"));
    for word in words {
        assert!(format!("{} {}", finding.measured, finding.effect).contains(word), "{word}:\n{text}");
    }
    finding.advice.clone()
}

#[test]
fn honest_work_is_explained_factor_by_factor() {
    let honest = explained(8, &[]);
    assert_eq!(says(&honest, "upload", &["2 s after", "in time"]), None);
    assert_eq!(says(&honest, "sync", &["0.00 outer steps", "1.000 of 1"]), None);
    assert_eq!(
        says(
            &honest,
            "proof",
            &["16 assigned", "standard errors", "usual in this window", "a factor of 1.0"]
        ),
        None
    );
    says(&honest, "match", &["16 random sequences", "nats per token"]);
    let product = format!("the score is {:.4}", honest.score);
    says(&honest, "score", &["proof 1.0", "rating 1.000", "sync 1.000", &product]);
    assert!(honest.findings.iter().all(|f| f.rule != "penalty" && f.rule != "harm"));
    assert!(honest.summary.contains("% of the miners' pay"), "{}", honest.summary);
}

#[test]
fn who_never_uploaded_has_nothing_to_lose() {
    let never = explained(0, &[(Stage1::Absent, None)]);
    let advice = says(&never, "upload", &["there was no object", "nothing to take away"]);
    assert!(advice.unwrap().contains("see that the miner runs"));
    assert_eq!((never.score, never.weight), (0.0, 0));
    assert!(never.summary.contains("no pay"));
}

#[test]
fn each_failure_of_stage_1_has_its_reason_and_its_cure() {
    let late = explained(8, &[(Stage1::Late { seconds: 7 }, None)]);
    assert!(says(&late, "upload", &["7 s after the put window closed"]).unwrap().contains("sooner"));
    says(&late, "penalty", &["late: score x 0.75"]);
    says(&late, "match", &["loses the window's match"]);
    assert!(late.score < late.score_before);

    let early = explained(8, &[(Stage1::Early { seconds: 3 }, None)]);
    assert!(says(&early, "upload", &["3 s before"]).unwrap().contains("clock"));

    let broken = explained(8, &[(malformed("the signature is \u{1b}[31mwrong"), None)]);
    assert!(says(&broken, "form", &["the signature is", "wrong"]).unwrap().contains("signed"));
    says(&broken, "penalty", &["malformed: score x 0"]);
    assert_eq!(broken.score, 0.0);

    let behind = explained(8, &[(Stage1::OutOfSync { seconds: 1, steps_behind: 4.25 }, None)]);
    assert!(says(&behind, "sync", &["4.25 outer steps", "the 2 steps"]).unwrap().contains("checkpoint"));
}

#[test]
fn an_update_that_harms_or_proves_nothing_is_named() {
    let harmful = explained(8, &[(ACCEPTED, evidence(0.08, -0.1))]);
    assert!(says(&harmful, "harm", &["standard errors", "harm begins at 3"]).unwrap().contains("worse"));
    says(&harmful, "penalty", &["harmful: score x 0.75"]);
    says(&harmful, "score", &["by penalties"]);

    let lazy: Vec<_> = (0..9).map(|_| (ACCEPTED, evidence(0.04, 0.05))).collect();
    let lazy = explained(0, &lazy);
    let advice =
        says(&lazy, "proof", &["strength 0.00", "0 % of the usual work", "a factor of 0.000"]).unwrap();
    assert!(advice.contains("train on all of the sequences"));
    assert_eq!(lazy.advice[0], advice, "what leaves next to no score comes first");
    assert_eq!(lazy.weight, 0);
}

#[test]
fn newcomers_turns_and_oblivion_are_explained() {
    let newcomer = explained(2, &[]);
    assert!(says(&newcomer, "warm-up", &["2 of the first 5", "2/5"]).unwrap().contains("3 more"));
    let waiting = explained(8, &[(ACCEPTED, None)]);
    assert_eq!(says(&waiting, "turn", &["time ran out"]), None);

    let gone: Vec<_> = (0..10).map(|_| (Stage1::Absent, None)).collect();
    let gone = explained(8, &gone);
    says(&gone, "penalty", &["absent: score x 0.75", "forgotten: 10 windows in a row"]);
    says(&gone, "habit", &["10 of the last 18 windows failed"]);
    assert!(gone.advice.iter().any(|advice| advice.contains("warm-up")));
}

#[test]
fn the_json_has_every_finding() {
    let json = serde_json::to_value(explained(8, &[(Stage1::Late { seconds: 7 }, None)])).unwrap();
    assert_eq!(json["verdict"], "late");
    assert_eq!(json["findings"][0]["rule"], "upload");
    assert!(json["advice"][0].as_str().unwrap().contains("sooner"));
}
