//! The outputs of the verbs that need no chain: the shape of each `--json` document, and the words of each text.
//!
//! After a change that is meant: `INSTA_UPDATE=always cargo test --workspace --test cli outputs`.

use crate::support::{
    self,
    forms::{shape, words},
};
use std::{fmt::Write as _, path::Path, process::Command};
use templar::{
    gauntlet::{Evidence, Gauntlet, Observation, Peer, stage1::Stage1},
    manifest::ManifestFile,
    telemetry::score_log::sign_window,
    wallet::Keypair,
};

fn losses(gain: f64) -> Vec<f64> {
    (0..64).map(|sequence| 4.0 + 0.01 * f64::from(sequence % 7) - gain).collect()
}

/// A score log of ten windows with an honest peer and one that does not come.
fn write_log(path: &Path) {
    let validator = Keypair::from_uri("//validator").unwrap();
    let hotkeys = ["//honest", "//absent"].map(|uri| Keypair::from_uri(uri).unwrap().account());
    let mut gauntlet = Gauntlet::new(&ManifestFile::preset("local").unwrap().parsed.gauntlet);
    let peer = |(uid, hotkey): (u16, _)| Peer { hotkey, uid, registered_at_block: 0 };
    gauntlet.roster(&(1..).zip(hotkeys.clone()).map(peer).collect::<Vec<_>>());
    let mut log = String::new();
    for window in 1..=10 {
        let evidence = Evidence {
            own_before: losses(0.0),
            own_after: losses(0.05),
            own_comparator: losses(0.02),
            random_before: losses(0.0),
            random_after: losses(0.02),
            random_comparator: losses(0.015),
            audits: vec![0.01; 2],
        };
        let [honest, absent] = hotkeys.clone();
        let observations = [
            Observation {
                hotkey: honest,
                stage1: Stage1::Accepted { seconds: 1, steps_behind: 0.0 },
                evidence: Some(evidence),
                aggregated: true,
            },
            Observation { hotkey: absent, stage1: Stage1::Absent, evidence: None, aggregated: false },
        ];
        let records = gauntlet.update(window, 1e-3, &observations).unwrap();
        let sign = |message: &[u8]| validator.sign(message);
        log += &sign_window("00ff00ff00ff00ff", window, &validator.account(), &records, sign).unwrap();
    }
    std::fs::write(path, log).unwrap();
}

#[test]
fn every_output_has_the_form_that_was_reviewed() {
    let folder = tempfile::tempdir().unwrap();
    write_log(&folder.path().join("scores.jsonl"));
    let tiny = support::root().join("tests/sim/tiny.toml");
    std::fs::copy(tiny, folder.path().join("tiny.toml")).unwrap();
    let run = |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
        command.args(line.split(' ')).current_dir(folder.path()).env_remove("TEMPLAR_LOG");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let (mut shapes, mut texts) = (String::new(), String::new());
    for line in [
        "why 1 --log scores.jsonl --run local",
        "why 2 --log scores.jsonl --run local",
        "sim tiny.toml",
        "wallet show //Alice",
        "sign //Alice --message text",
    ] {
        let line = if line.starts_with("sign") { format!("wallet {line}") } else { line.to_owned() };
        writeln!(texts, "$ templar {line}\n{}", words(&run(&line))).unwrap();
        let json = serde_json::from_str(&run(&format!("{line} --json"))).unwrap();
        writeln!(shapes, "$ templar {line} --json\n{:#}\n", shape(&json)).unwrap();
    }
    let export = "scores export --log scores.jsonl --format jsonl --out table.jsonl";
    writeln!(texts, "$ templar {export}\n{}", words(&run(export))).unwrap();
    insta::assert_snapshot!("json", shapes);
    insta::assert_snapshot!("text", texts);
}
