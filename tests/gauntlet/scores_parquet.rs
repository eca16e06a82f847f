//! The score log as Parquet, read by the library that everybody else uses.
use crate::support;
use serde_json::Value;
use std::process::Command;
use templar::{
    gauntlet::{Evidence, Gauntlet, Hotkey, Observation, Peer, stage1::Stage1, stage1::malformed},
    manifest::ManifestFile,
    telemetry::{columns, score_log},
    wallet::{Keypair, verify},
};

const PACKAGE: &str = "pyarrow==26.0.1";

/// A log with every kind of record in it: judged, late, malformed, absent.
fn log(windows: u64) -> String {
    let mut gauntlet = Gauntlet::new(&ManifestFile::preset("local").unwrap().parsed.gauntlet);
    let alice = Keypair::from_uri("//Alice").unwrap();
    let key = |n: u8| Hotkey::from([n; 32]);
    let peer = |n: u8| Peer { hotkey: key(n), uid: n.into(), registered_at_block: 0 };
    gauntlet.roster(&(0..4).map(peer).collect::<Vec<_>>());
    let mut text = String::new();
    for window in 0..windows {
        let losses = |by: f64| (0..8).map(|i| 4.0 + 0.01 * f64::from(i * i) - by).collect::<Vec<f64>>();
        let evidence = Evidence {
            own_before: losses(0.0),
            own_after: losses(1.0 / 3.0),
            random_before: losses(0.0),
            random_after: losses(0.1 + 0.01 * window as f64),
            ..Evidence::default()
        };
        let observe = |n, stage1: Stage1, evidence| Observation {
            hotkey: key(n),
            aggregated: stage1.is_accepted(),
            stage1,
            evidence,
        };
        let accepted = Stage1::Accepted { seconds: 1, steps_behind: 1.0 / 3.0 };
        let last = if window % 2 == 0 { accepted.clone() } else { Stage1::Absent };
        let observations = [
            observe(0, accepted, Some(evidence)),
            observe(1, Stage1::Late { seconds: 3 }, None),
            observe(2, malformed("not ünderstood"), None),
            observe(3, last, None),
        ];
        let records = gauntlet.update(window, 1e-3, &observations).unwrap();
        let sign = |message: &[u8]| alice.sign(message);
        text += &score_log::sign_window("00ff", window, &alice.account(), &records, sign).unwrap();
    }
    text
}

fn exact(value: &Value) -> Option<f64> {
    let text = value.as_str()?;
    let (mantissa, exponent) = text.trim_start_matches('-').strip_prefix("0x")?.split_once('p')?;
    let (whole, fraction) = mantissa.split_once('.')?;
    let bits = u64::from_str_radix(&format!("{whole}{fraction}"), 16).ok()? as f64;
    let size = bits * 2f64.powi(exponent.parse::<i32>().ok()? - 4 * fraction.len() as i32);
    Some(if text.starts_with('-') { -size } else { size })
}

#[test]
fn arrow_reads_every_value_and_every_null() {
    let text = log(40);
    let windows = score_log::read(&text, verify).unwrap();
    assert_eq!(columns::to_jsonl(&windows), text, "the lines are the signed ones");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scores.parquet");
    std::fs::write(&file, columns::to_parquet(&windows).unwrap()).unwrap();
    let script = support::script("read_parquet.py");
    let output =
        Command::new(support::python("parquet", &[PACKAGE])).arg(script).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();

    let names: Vec<_> = read["fields"].as_array().unwrap().iter().map(|f| f[0].as_str().unwrap()).collect();
    assert_eq!(names, columns::names().collect::<Vec<_>>());
    let field = |name: &str| &read["fields"][names.iter().position(|n| *n == name).unwrap()];
    assert_eq!((&field("window")[1], &field("window")[2]), (&"int64".into(), &false.into()));
    assert_eq!((&field("t")[1], &field("t")[2]), (&"double".into(), &true.into()));
    assert_eq!((&field("hotkey")[1], &field("aggregated")[1]), (&"string".into(), &"bool".into()));

    let rows = read["rows"].as_array().unwrap();
    let records: Vec<_> = windows.iter().flat_map(|w| &w.records).collect();
    assert_eq!(rows.len(), records.len());
    for (row, record) in rows.iter().zip(records) {
        assert_eq!((&row["window"], &row["uid"]), (&record.window.into(), &record.uid.into()));
        assert_eq!(row["hotkey"], record.hotkey.to_string());
        assert_eq!(row["verdict"], record.stage1.name());
        assert_eq!(row["aggregated"], record.aggregated);
        assert_eq!(exact(&row["score"]), Some(record.score));
        assert_eq!(exact(&row["share"]), Some(record.share));
        assert_eq!(exact(&row["sync_score"]), record.sync_score);
        assert_eq!(exact(&row["mu"]), Some(record.rating.mu));
        assert_eq!(exact(&row["own_loss_after"]), record.judged.map(|judged| judged.own.after));
        assert_eq!(row["own_loss_comparator"], Value::Null);
        assert_eq!(row["random_sequences"].as_u64(), record.judged.map(|_| 8));
        let reason = matches!(record.stage1, Stage1::Malformed { .. }).then_some("not ünderstood");
        assert_eq!(row["reason"].as_str(), reason);
        assert_eq!(row["weight"], record.weight);
    }
}

#[test]
fn a_log_of_no_windows_is_a_table_of_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scores.parquet");
    std::fs::write(&file, columns::to_parquet(&[]).unwrap()).unwrap();
    let script = support::script("read_parquet.py");
    let output =
        Command::new(support::python("parquet", &[PACKAGE])).arg(script).arg(&file).output().unwrap();
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(read["rows"], Value::Array(vec![]));
    assert_eq!(read["fields"].as_array().unwrap().len(), columns::names().count());
}
