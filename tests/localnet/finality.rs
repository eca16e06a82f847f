//! A chain whose blocks are final only a while after they came, as on the main network.

use crate::network::localnet;

/// Uploads are accepted though no put window is over when the block that opened it is final a second and a half later: a node that
/// waited for that would lose a third of it, and on the main network all.
#[test]
fn uploads_are_in_time_where_blocks_are_final_three_blocks_later() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("net");
    let arguments = ["--windows=4", "--miners=2", "--saboteur=none", "--finality-lag=3"];
    let report = localnet(&dir, &arguments, &[], |_| {});
    let log = |name: &str| std::fs::read_to_string(dir.join("logs").join(format!("{name}.log"))).unwrap();
    for name in ["miner-1", "miner-2"] {
        let text = log(name);
        assert!(text.matches("uploaded in time").count() >= 3, "{text}");
        assert!(!text.contains("early by the store's clock"), "{text}");
    }
    let validator = log("validator-1");
    assert!(!validator.contains("replaced"), "{validator}");
    let losses = report["loss"].as_array().unwrap();
    assert_eq!(losses.len(), 4);
    let hashes: std::collections::BTreeSet<_> =
        report["model_hash"].as_object().unwrap().values().map(|hash| hash.as_str().unwrap()).collect();
    assert_eq!(hashes.len(), 1, "{report}");
    let paid = report["peers"].as_array().unwrap().iter().filter(|peer| peer["kind"] == "honest");
    assert_eq!(paid.filter(|peer| peer["weight"].as_u64().unwrap_or_default() > 0).count(), 2, "{report}");
}
