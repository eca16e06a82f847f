//! Scores one window with Gauntlet: two peers, of which one learned from the data that it was assigned.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use templar::{
    gauntlet::{Evidence, Gauntlet, GauntletError, Hotkey, Observation, Peer, stage1::Stage1},
    manifest::{ManifestError, ManifestFile},
};

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error(transparent)]
    Gauntlet(#[from] GauntletError),
}

/// Mean losses of 64 sequences, nats a token, after an update that lowers them by `gain`.
fn losses(gain: f64) -> Vec<f64> {
    (0..64).map(|sequence| 4.0 + 0.01 * f64::from(sequence % 7) - gain).collect()
}

fn main() -> Result<(), Failure> {
    let rules = ManifestFile::preset("local")?.parsed.gauntlet;
    let mut gauntlet = Gauntlet::new(&rules);
    let hotkeys = [Hotkey::new([1; 32]), Hotkey::new([2; 32])];
    let peers = hotkeys.clone().map(|hotkey| Peer {
        uid: u16::from(<Hotkey as AsRef<[u8; 32]>>::as_ref(&hotkey)[0]),
        hotkey,
        registered_at_block: 0,
    });
    gauntlet.roster(&peers);

    for window in 1..=20 {
        // The first peer's own data gains more from its update than other data does; the second peer's does not.
        let observations: Vec<Observation> = hotkeys
            .iter()
            .zip([0.05, 0.02])
            .map(|(hotkey, own)| Observation {
                hotkey: hotkey.clone(),
                stage1: Stage1::Accepted { seconds: 1, steps_behind: 0.0 },
                evidence: Some(Evidence {
                    own_before: losses(0.0),
                    own_after: losses(own),
                    own_comparator: losses(0.02),
                    random_before: losses(0.0),
                    random_after: losses(0.02),
                    random_comparator: losses(0.015),
                    audits: Vec::new(),
                }),
                aggregated: true,
            })
            .collect();
        gauntlet.update(window, 1e-3, &observations)?;
    }
    for (uid, weight) in gauntlet.weights() {
        println!("UID {uid} gets weight {weight} of 65535");
    }
    Ok(())
}
