//! Plackett-Luce against the package that everybody else uses.
use crate::support;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    io::Write,
    process::{Command, Stdio},
};
use templar::gauntlet::rating::{PlackettLuce, Rating};

/// The last version whose ties are the ones of the reference; without ties, later ones agree too.
const PACKAGE: &str = "openskill==6.1.3";

fn openskill(matches: &[Value]) -> Vec<Vec<[f64; 2]>> {
    let script = support::script("openskill_matches.py");
    let mut child = Command::new(support::python("openskill", &[PACKAGE]))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let input = serde_json::to_vec(matches).unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn random_matches_are_rated_as_openskill_rates_them() {
    let mut rng = StdRng::seed_from_u64(20250512);
    let mut matches = Vec::new();
    let mut ties = 0;
    for round in 0..300 {
        let model = PlackettLuce {
            mu: 25.0,
            sigma: 25.0 / 3.0,
            beta: [7.0, 20.0, 40.0, 100.0][round % 4],
            tau: [0.1, 0.0, 1.0][round % 3],
        };
        let size = if round < 20 { 256 } else { rng.random_range(2..40) };
        let tied = round % 2 == 1;
        let players: Vec<(Rating, f64)> = (0..size)
            .map(|_| {
                let rating =
                    Rating { mu: rng.random_range(-50.0..100.0), sigma: rng.random_range(0.5..10.0) };
                let score: f64 = if tied {
                    f64::from(rng.random_range(1..size)) * if rng.random() { 0.01 } else { -0.01 }
                } else {
                    rng.random_range(-0.1..0.1)
                };
                (rating, score)
            })
            .collect();
        assert!(players.iter().all(|(_, score)| *score != 0.0));
        let mut scores: Vec<f64> = players.iter().map(|(_, score)| *score).collect();
        scores.sort_by(f64::total_cmp);
        ties += scores.windows(2).filter(|pair| pair[0] == pair[1]).count();
        matches.push((model, players));
    }
    assert!(ties > 500, "{ties} ties");

    let asked: Vec<Value> = matches
        .iter()
        .map(|(model, players)| {
            let players: Vec<Value> =
                players.iter().map(|(r, score)| json!([r.mu, r.sigma, score])).collect();
            json!({"players": players, "beta": model.beta, "tau": model.tau})
        })
        .collect();
    let mut worst: f64 = 0.0;
    for ((model, players), theirs) in matches.iter().zip(openskill(&asked)) {
        let ours = model.rate(players);
        assert_eq!(ours.len(), theirs.len());
        for (ours, [mu, sigma]) in ours.iter().zip(theirs) {
            worst = worst.max((ours.mu - mu).abs()).max((ours.sigma - sigma).abs());
        }
    }
    println!("largest difference: {worst:e}");
    assert!(worst < 1e-9, "{worst:e}");
}
