//! The table of neurons.

use super::PeerReport;

const HEADER: [&str; 7] = ["UID", "ROLE", "KIND", "RATING", "SCORE", "WEIGHT", "INCENTIVE"];

/// Columns of words stand on the left, numbers on the right.
const RIGHT: [bool; 7] = [true, false, false, true, true, true, true];

/// Aligned plain text with a header, one line a neuron, no trailing spaces.
pub(super) fn table(peers: &[PeerReport]) -> String {
    let rows = peers.iter().map(|peer| {
        let rating = match (peer.mu, peer.sigma) {
            (Some(mu), Some(sigma)) => format!("{mu:.2} ± {sigma:.2}"),
            _ => "-".into(),
        };
        let judged = peer.mu.is_some();
        [
            peer.uid.to_string(),
            peer.role.clone(),
            peer.kind.clone(),
            rating,
            if judged { format!("{:.4}", peer.score) } else { "-".into() },
            if judged { peer.weight.to_string() } else { "-".into() },
            format!("{:.4}", peer.incentive),
        ]
    });
    let rows: Vec<[String; 7]> = std::iter::once(HEADER.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; 7] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; 7]| {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .zip(RIGHT)
            .map(
                |((cell, width), right)| {
                    if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                },
            )
            .collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
