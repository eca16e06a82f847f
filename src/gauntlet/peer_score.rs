//! The peer score: one number from proof, rating and sync.

use super::rating::{PlackettLuce, Rating};
use crate::manifest::{GauntletConfig, Proof};

/// Scores below this are 0: penalties multiply for ever, and nothing is earned down here.
const SMALLEST_SCORE: f64 = 1e-6;

/// How a rating enters the peer score.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RatingRule {
    /// The paper's: the ordinal itself, negative ones as 0.
    Ordinal,
    /// The chance to win a duel against a newcomer.
    Duel,
}

impl RatingRule {
    /// The rule that belongs to the manifest's proof: the paper's with the paper's.
    pub fn new(config: &GauntletConfig) -> Self {
        match config.proof {
            Proof::Sign => Self::Ordinal,
            Proof::Counterfactual => Self::Duel,
        }
    }

    /// The rating's factor; never negative, without unit.
    ///
    /// `Ordinal` is `max(0, mu - 3 sigma)`, in rating points. The reference lets a negative ordinal make
    /// the score negative, which pays nothing as well, but turns penalties, which multiply, into gains.
    ///
    /// `Duel` is `1 / (1 + exp(-x / (sqrt(2) beta)))` with `x` the ordinal above a newcomer's: the
    /// Bradley-Terry odds of two players whose performances spread by `beta`. It is 1/2 for a newcomer,
    /// grows with every rating point, and is never 0: who loses early by bad luck is paid less, not
    /// nothing, and a bad rating alone does not silence a peer whose proof is good.
    pub fn factor(self, rating: &Rating, model: &PlackettLuce) -> f64 {
        match self {
            Self::Ordinal => rating.ordinal().max(0.0),
            Self::Duel => {
                let above = rating.ordinal() - model.fresh().ordinal();
                1.0 / (1.0 + (-above / (std::f64::consts::SQRT_2 * model.beta)).exp())
            }
        }
    }
}

/// `proof * rating * sync`, 0 where that is not a positive number worth keeping.
///
/// The paper's PeerScore is `mu_p * LossRating_p`; the reference multiplies by the sync score too.
/// Factors are never negative, so two bad ones do not make a good one.
pub fn peer_score(proof: f64, rating: f64, sync: f64) -> f64 {
    floor(proof.max(0.0) * rating.max(0.0) * sync.max(0.0))
}

/// A score that is too small to be told from nothing, or no number, is 0.
pub fn floor(score: f64) -> f64 {
    if score.is_finite() && score >= SMALLEST_SCORE { score } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: PlackettLuce = PlackettLuce { mu: 25.0, sigma: 25.0 / 3.0, beta: 7.0, tau: 0.1 };

    #[test]
    fn a_newcomer_has_an_even_chance_and_nobody_none() {
        let duel = |mu, sigma| RatingRule::Duel.factor(&Rating { mu, sigma }, &MODEL);
        assert_eq!(duel(25.0, 25.0 / 3.0), 0.5);
        assert!(duel(24.0, 25.0 / 3.0) < 0.5 && duel(-100.0, 8.0) > 0.0);
        assert!(duel(25.0, 5.0) > 0.5, "being better known counts");
        assert_eq!(duel(1e9, 1.0), 1.0);
    }

    #[test]
    fn the_papers_rule_pays_nothing_for_a_negative_ordinal() {
        assert_eq!(RatingRule::Ordinal.factor(&Rating { mu: 10.0, sigma: 4.0 }, &MODEL), 0.0);
        assert_eq!(RatingRule::Ordinal.factor(&Rating { mu: 25.0, sigma: 5.0 }, &MODEL), 10.0);
    }

    #[test]
    fn two_negatives_make_nothing() {
        assert_eq!(peer_score(-0.5, -3.0, 1.0), 0.0);
        assert_eq!(peer_score(0.5, 3.0, 0.5), 0.75);
        assert_eq!(peer_score(f64::NAN, 3.0, 1.0), 0.0);
        assert_eq!(peer_score(1e-4, 1e-4, 1.0), 0.0);
    }
}
