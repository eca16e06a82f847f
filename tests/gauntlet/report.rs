//! The report, from records that Gauntlet made.
use templar::{
    gauntlet::{Evidence, Gauntlet, Hotkey, Observation, Peer, ScoreRecord, stage1::Stage1},
    manifest::ManifestFile,
    report::{LossPoint, PeerReport, Report, WeightsOnChain},
    telemetry::{self, LogOutput, TelemetryError},
};

const KINDS: [&str; 6] = ["honest", "honest", "honest", "honest", "noise", "lazy"];

fn evidence(kind: &str, seed: u64) -> Evidence {
    let wobble = |i: u64| ((i * 2_654_435_761 + seed * 40_503) % 1000) as f64 / 1000.0 - 0.5;
    let drop = if kind == "noise" { -0.01 } else { 0.01 + 0.002 * wobble(seed) };
    let own = if kind == "honest" { 0.0005 + 0.0004 * wobble(seed + 3) } else { 0.0005 * wobble(seed + 9) };
    let before: Vec<f64> = (0..32).map(|i| 4.0 + 0.1 * wobble(i)).collect();
    let moved = |by: f64, salt: u64| -> Vec<f64> {
        before.iter().zip(0..).map(|(loss, i)| loss - by + 0.004 * wobble(i * 7 + salt)).collect()
    };
    Evidence {
        own_after: moved(drop + own, 1),
        own_comparator: moved(0.01, 2),
        random_after: moved(drop, 3),
        random_comparator: moved(0.01, 4),
        own_before: before.clone(),
        random_before: before.clone(),
        audits: vec![0.01; 2],
    }
}

fn report() -> (Report, Vec<ScoreRecord>) {
    let mut gauntlet = Gauntlet::new(&ManifestFile::preset("local").unwrap().parsed.gauntlet);
    let key = |n: usize| Hotkey::from([n as u8 + 1; 32]);
    let peer = |n| Peer { hotkey: key(n), uid: n as u16 + 1, registered_at_block: 0 };
    gauntlet.roster(&(0..KINDS.len()).map(peer).collect::<Vec<_>>());
    let mut records = Vec::new();
    for window in 0..20 {
        let observations: Vec<Observation> = KINDS
            .iter()
            .enumerate()
            .map(|(n, kind)| Observation {
                hotkey: key(n),
                stage1: Stage1::Accepted { seconds: 0, steps_behind: 0.0 },
                evidence: Some(evidence(kind, window * 31 + n as u64 * 17)),
                aggregated: true,
            })
            .collect();
        records.extend(gauntlet.update(window, 1e-3, &observations).unwrap());
    }
    let validator = PeerReport {
        uid: 0,
        hotkey: Hotkey::from([99; 32]),
        role: "validator".into(),
        kind: "validator".into(),
        mu: None,
        sigma: None,
        score: 0.0,
        weight: 0,
        incentive: 0.0,
    };
    let miners = records[records.len() - 6..].iter().zip(KINDS).map(|(record, kind)| PeerReport {
        uid: record.uid,
        hotkey: record.hotkey.clone(),
        role: "miner".into(),
        kind: kind.into(),
        mu: Some(record.rating.mu),
        sigma: Some(record.rating.sigma),
        score: record.score,
        weight: record.weight,
        incentive: record.share,
    });
    let report = Report {
        windows: 20,
        loss: (0..20).map(|w| LossPoint { window: w, loss: 3.6 + 2.0 * (-(w as f64) / 6.0).exp() }).collect(),
        peers: std::iter::once(validator).chain(miners).collect(),
        model_hash: (0..6).map(|n| (key(n), "ab".repeat(32))).collect(),
        weights_on_chain: vec![WeightsOnChain { block: 96, validator_uid: 0, weights: gauntlet.weights() }],
    };
    (report, records)
}

#[test]
fn every_file_is_written_and_can_be_read() {
    let (report, records) = report();
    // A folder to look at the pictures: TEMPLAR_TEST_PLOTS=/tmp/plots.
    let kept = std::env::var_os("TEMPLAR_TEST_PLOTS").map(std::path::PathBuf::from);
    let temporary = tempfile::tempdir().unwrap();
    let folder = kept.unwrap_or_else(|| temporary.path().to_owned());
    report.write(&folder, &records).unwrap();
    report.write(&folder, &records).unwrap();

    let json = std::fs::read_to_string(folder.join("report.json")).unwrap();
    let back: Report = serde_json::from_str(&json).unwrap();
    assert_eq!(back.weights_on_chain, report.weights_on_chain);
    assert_eq!(back.model_hash, report.model_hash);
    let csv = std::fs::read_to_string(folder.join("loss.csv")).unwrap();
    assert!(csv.starts_with("window,loss\n0,5.6\n") && csv.lines().count() == 21);
    for name in ["loss", "score", "weight"] {
        let svg = std::fs::read_to_string(folder.join(format!("{name}.svg"))).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        let png = std::fs::read(folder.join(format!("{name}.png"))).unwrap();
        assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
        // Width and height in the header chunk.
        assert_eq!(png[16..24], [0, 0, 7, 128, 0, 0, 4, 56]);
        // More than one flat colour: text and lines were drawn.
        assert!(png.len() > 10_000, "{name}: {} bytes", png.len());
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 8, "nothing else stays in the folder");
}

#[test]
fn the_json_has_the_fields_that_others_read() {
    let json = serde_json::to_value(report().0).unwrap();
    for field in ["windows", "loss", "peers", "model_hash", "weights_on_chain"] {
        assert!(!json[field].is_null(), "{field}");
    }
    for field in ["uid", "hotkey", "kind", "mu", "sigma", "score", "weight", "incentive"] {
        assert!(!json["peers"][1][field].is_null(), "{field}");
    }
    assert_eq!(json["loss"][2]["window"], 2);
    assert!(json["loss"][2]["loss"].as_f64().unwrap() > 3.6);
    assert_eq!(json["weights_on_chain"][0]["block"], 96);
    assert!(json["weights_on_chain"][0]["weights"][0].as_array().unwrap().len() == 2);
}

#[test]
fn the_table_is_aligned() {
    let table = report().0.table();
    println!("{table}");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 8);
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["UID", "ROLE", "KIND", "RATING", "SCORE", "WEIGHT", "INCENTIVE"]
    );
    let width = lines[0].chars().count();
    assert!(lines.iter().all(|line| line.chars().count() == width), "the last column stands on the right");
    assert!(lines[1].contains("validator") && lines[6].contains("noise") && lines[7].contains("lazy"));
}

#[test]
fn a_log_file_gets_lines_without_colours_and_logging_starts_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.log");
    let missing = folder.path().join("no/folder.log");
    assert!(matches!(telemetry::init(LogOutput::File(&missing)), Err(TelemetryError::Open { .. })));
    telemetry::init(LogOutput::File(&path)).unwrap();
    tracing::error!(target: "templar", window = 7, "a word for people");
    let log = std::fs::read_to_string(&path).unwrap();
    assert!(log.contains("ERROR") && log.contains("a word for people") && log.contains("window=7"), "{log}");
    assert!(!log.contains('\x1b'));
    assert!(matches!(telemetry::init(LogOutput::Stderr), Err(TelemetryError::Twice(_))));
}
