//! OpenSkill's Plackett-Luce model: a window's scores become ratings.
//!
//! Every window is one match of one-player teams, ranked by their scores. The update is the one of
//! Weng and Lin, "A Bayesian Approximation Method for Online Ranking" (JMLR 12, 2011), algorithm 4, as
//! openskill.py 6.1.3 computes it. Two of that package's habits are left out on purpose: it takes a
//! score of exactly `0.0` for a missing one, and its averaging of tied players has no effect there.

use crate::manifest::GauntletConfig;
use serde::{Deserialize, Serialize};

/// Smallest share of its variance that one match leaves a player (openskill's `kappa`).
const KAPPA: f64 = 1e-4;

/// What is believed about a player's strength: a normal distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rating {
    /// Mean of the strength, in rating points.
    pub mu: f64,
    /// Standard deviation of the strength, in rating points.
    pub sigma: f64,
}

impl Rating {
    /// A cautious estimate of the strength, `mu - 3 sigma`, in rating points.
    pub fn ordinal(&self) -> f64 {
        self.mu - 3.0 * self.sigma
    }
}

/// The constants of the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlackettLuce {
    /// Mean of a player who never played.
    pub mu: f64,
    /// Deviation of a player who never played.
    pub sigma: f64,
    /// Spread of one performance about the strength, in rating points.
    pub beta: f64,
    /// Drift of a strength from one match to the next, added to the deviation in quadrature.
    pub tau: f64,
}

/// A player on its way through one match.
struct Player {
    index: usize,
    score: f64,
    /// `mu / c`, the logarithm of the Plackett-Luce worth.
    worth: f64,
}

impl PlackettLuce {
    /// The constants that a run's manifest names.
    pub fn new(config: &GauntletConfig) -> Self {
        Self {
            mu: config.rating_mu,
            sigma: config.rating_sigma,
            beta: config.rating_beta,
            tau: config.rating_tau,
        }
    }

    /// The rating of a player who never played.
    pub fn fresh(&self) -> Rating {
        Rating { mu: self.mu, sigma: self.sigma }
    }

    /// The ratings after a match, in the order of `players`: each is a rating and a score, higher scores
    /// are better, equal scores share a rank. Fewer than two players make no match: nothing changes.
    ///
    /// With `s_i^2 = sigma_i^2 + tau^2`, `c = sqrt(sum (s_i^2 + beta^2))`, `e_i = exp(mu_i / c)`,
    /// `S_q = sum of e_s over rank_s >= rank_q` and `A_q` the players of `q`'s rank:
    ///
    /// - `omega_i = sum over rank_q <= rank_i of (1[rank_q = rank_i] - e_i / S_q) / A_q`
    /// - `delta_i = sum over rank_q <= rank_i of (e_i / S_q)(1 - e_i / S_q) / A_q`
    /// - `mu_i += s_i^2 / c * omega_i`
    /// - `sigma_i = s_i sqrt(max(1 - s_i^2 / c^2 * s_i / c * delta_i, kappa))`
    ///
    /// The `A_q` players of a rank contribute the same term, so that the sums run over ranks, and sums
    /// over ranks are running sums: the cost is that of sorting. All of it is done with logarithms,
    /// so that no rating, however far away, overflows.
    ///
    /// The result does not depend on the order of the players except in the last bits; give them in a
    /// fixed order where bits matter.
    pub fn rate(&self, players: &[(Rating, f64)]) -> Vec<Rating> {
        if players.len() < 2 {
            return players.iter().map(|(rating, _)| *rating).collect();
        }
        let variance = |rating: &Rating| rating.sigma * rating.sigma + self.tau * self.tau;
        let c =
            players.iter().map(|(rating, _)| variance(rating) + self.beta * self.beta).sum::<f64>().sqrt();

        // Adding 0.0 makes -0.0 and 0.0 one score.
        let mut order: Vec<Player> = players
            .iter()
            .enumerate()
            .map(|(index, (rating, score))| Player { index, score: score + 0.0, worth: rating.mu / c })
            .collect();
        order.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)));
        let ranks: Vec<&[Player]> = order.chunk_by(|a, b| a.score.total_cmp(&b.score).is_eq()).collect();

        // ln S_q of each rank, from the last to the first.
        let mut tail = LogSum::default();
        let mut ln_s = vec![0.0; ranks.len()];
        for (rank, ln_s) in ranks.iter().zip(&mut ln_s).rev() {
            rank.iter().for_each(|player| tail.add(player.worth));
            *ln_s = tail.ln();
        }

        let mut after = vec![self.fresh(); players.len()];
        let (mut inverse, mut inverse_squared) = (LogSum::default(), LogSum::default());
        for (rank, ln_s) in ranks.iter().zip(&ln_s) {
            inverse.add(-ln_s);
            inverse_squared.add(-2.0 * ln_s);
            for player in *rank {
                let before = players[player.index].0;
                let lost = (player.worth + inverse.ln()).exp();
                let omega = 1.0 - lost;
                let delta = lost - (2.0 * player.worth + inverse_squared.ln()).exp();
                let s2 = variance(&before);
                let s = s2.sqrt();
                after[player.index] = Rating {
                    mu: before.mu + s2 / c * omega,
                    sigma: s * (1.0 - s2 / (c * c) * (s / c) * delta).max(KAPPA).sqrt(),
                };
            }
        }
        after
    }

    /// The rating of a player who comes last behind all of `field`, whose ratings this leaves alone.
    ///
    /// A peer that failed loses to everybody and lifts nobody: who owns many bad peers gains nothing
    /// from their losses.
    pub fn lose_to(&self, loser: Rating, field: &[Rating]) -> Rating {
        let mut players: Vec<_> = field.iter().map(|rating| (*rating, 1.0)).collect();
        players.push((loser, 0.0));
        self.rate(&players).pop().unwrap_or(loser)
    }
}

/// A running `ln(sum of exp(x))` that neither overflows nor underflows.
struct LogSum {
    largest: f64,
    sum: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        Self { largest: f64::NEG_INFINITY, sum: 0.0 }
    }
}

impl LogSum {
    fn add(&mut self, x: f64) {
        if x > self.largest {
            self.sum = self.sum * (self.largest - x).exp() + 1.0;
            self.largest = x;
        } else {
            self.sum += (x - self.largest).exp();
        }
    }

    fn ln(&self) -> f64 {
        self.largest + self.sum.ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MODEL: PlackettLuce = PlackettLuce { mu: 25.0, sigma: 25.0 / 3.0, beta: 7.0, tau: 0.1 };

    fn assert_rated(before: &[Rating], scores: &[f64], expected: &[(f64, f64)]) {
        let players: Vec<_> = before.iter().copied().zip(scores.iter().copied()).collect();
        for (rating, (mu, sigma)) in MODEL.rate(&players).iter().zip(expected) {
            assert!((rating.mu - mu).abs() < 1e-9, "mu {} is not {mu}", rating.mu);
            assert!((rating.sigma - sigma).abs() < 1e-9, "sigma {} is not {sigma}", rating.sigma);
        }
    }

    #[test]
    fn three_newcomers() {
        assert_rated(
            &[MODEL.fresh(); 3],
            &[0.01, -0.02, 0.005],
            &[(27.456249477, 8.253534696), (21.929688153, 8.162139691), (25.614062369, 8.162139691)],
        );
    }

    #[test]
    fn two_tied_at_the_end() {
        assert_rated(
            &[MODEL.fresh(); 4],
            &[0.01, 0.02, -99.0, -99.0],
            &[
                (26.329484028, 8.23755907),
                (27.393071251, 8.289968889),
                (24.734103194, 8.178196566),
                (24.734103194, 8.178196566),
            ],
        );
    }

    #[test]
    fn a_favourite_loses() {
        assert_rated(
            &[Rating { mu: 27.0, sigma: 8.0 }, Rating { mu: 23.0, sigma: 7.5 }],
            &[0.01, 0.02],
            &[(24.542206737, 7.843126694), (25.160216356, 7.379211970)],
        );
    }

    #[test]
    fn a_score_of_zero_is_a_score() {
        let players = [-0.01, 0.0, -0.02].map(|score| (MODEL.fresh(), score));
        let after = MODEL.rate(&players);
        assert!(after[1].mu > after[0].mu && after[0].mu > after[2].mu);
        let minus = MODEL.rate(&[(MODEL.fresh(), 0.0), (MODEL.fresh(), -0.0)]);
        assert_eq!(minus[0], minus[1]);
    }

    #[test]
    fn one_player_makes_no_match() {
        assert_eq!(MODEL.rate(&[(MODEL.fresh(), 1.0)]), [MODEL.fresh()]);
        assert_eq!(MODEL.lose_to(MODEL.fresh(), &[]), MODEL.fresh());
    }

    #[test]
    fn a_loser_falls_and_lifts_nobody() {
        let field = [MODEL.fresh(); 5];
        let after = MODEL.lose_to(MODEL.fresh(), &field);
        let players: Vec<_> = field.iter().map(|r| (*r, 1.0)).chain([(MODEL.fresh(), 0.0)]).collect();
        assert_eq!(after, MODEL.rate(&players)[5]);
        assert!(after.mu < 25.0);
    }

    /// The formulas as they are written above, without any of the shortcuts.
    fn plain(model: &PlackettLuce, players: &[(Rating, f64)]) -> Vec<Rating> {
        let s2: Vec<f64> = players.iter().map(|(r, _)| r.sigma.powi(2) + model.tau.powi(2)).collect();
        let c = s2.iter().map(|s2| s2 + model.beta.powi(2)).sum::<f64>().sqrt();
        let e: Vec<f64> = players.iter().map(|(r, _)| (r.mu / c).exp()).collect();
        let rank = |i: usize| players.iter().filter(|(_, score)| *score > players[i].1).count();
        (0..players.len())
            .map(|i| {
                let (mut omega, mut delta) = (0.0, 0.0);
                for q in (0..players.len()).filter(|q| rank(*q) <= rank(i)) {
                    let sum: f64 = (0..players.len()).filter(|s| rank(*s) >= rank(q)).map(|s| e[s]).sum();
                    let tied = (0..players.len()).filter(|s| rank(*s) == rank(q)).count() as f64;
                    let same = f64::from(u8::from(rank(q) == rank(i)));
                    omega += (same - e[i] / sum) / tied;
                    delta += e[i] / sum * (1.0 - e[i] / sum) / tied;
                }
                let s = s2[i].sqrt();
                Rating {
                    mu: players[i].0.mu + s2[i] / c * omega,
                    sigma: s * (1.0 - s2[i] / (c * c) * (s / c) * delta).max(KAPPA).sqrt(),
                }
            })
            .collect()
    }

    proptest! {
        #[test]
        fn shortcuts_change_nothing(
            players in prop::collection::vec((0.0..50.0f64, 0.5..9.0f64, 0..8i32), 2..40),
        ) {
            let players: Vec<_> =
                players.iter().map(|(mu, sigma, score)| (Rating { mu: *mu, sigma: *sigma }, f64::from(*score))).collect();
            for (fast, slow) in MODEL.rate(&players).iter().zip(plain(&MODEL, &players)) {
                prop_assert!((fast.mu - slow.mu).abs() < 1e-9);
                prop_assert!((fast.sigma - slow.sigma).abs() < 1e-9);
            }
        }

        #[test]
        fn far_ratings_stay_finite(
            players in prop::collection::vec((-1e7..1e7f64, 1e-3..100.0f64, -1e300..1e300f64), 2..20),
        ) {
            let players: Vec<_> =
                players.iter().map(|(mu, sigma, score)| (Rating { mu: *mu, sigma: *sigma }, *score)).collect();
            for rating in MODEL.rate(&players) {
                prop_assert!(rating.mu.is_finite() && rating.sigma.is_finite() && rating.sigma > 0.0);
            }
        }
    }
}
