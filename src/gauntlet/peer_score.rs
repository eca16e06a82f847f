//! The peer score: one number from proof, rating and sync.

use super::rating::{PlackettLuce, Rating};
use crate::manifest::RatingUse;

/// Scores below this are 0: penalties multiply for ever, and nothing is earned down here.
const SMALLEST_SCORE: f64 = 1e-6;

/// The rating's factor; never negative, without unit.
///
/// `Ordinal` is `max(0, mu - 3 sigma)`, in rating points. The reference lets a negative ordinal make
/// the score negative, which pays nothing as well, but turns penalties, which multiply, into gains.
///
/// `Duel` is `min(1, 2 / (1 + exp(-x / (sqrt(2) beta))))` with `x` the ordinal above a newcomer's: twice the
/// chance to win a duel against a newcomer (Bradley and Terry's, of two players whose performances spread by
/// `beta`), and 1 from an even chance on. So a rating takes away and never adds. How much own work is in an
/// update the proof says; an update that is better than its work explains is better by what others did, and
/// who blends their objects into its own must not be paid for it.
///
/// `Off` is 1.
pub fn rating_factor(rule: RatingUse, rating: &Rating, model: &PlackettLuce) -> f64 {
    match rule {
        RatingUse::Ordinal => rating.ordinal().max(0.0),
        RatingUse::Duel => {
            let above = rating.ordinal() - model.fresh().ordinal();
            (2.0 / (1.0 + (-above / (std::f64::consts::SQRT_2 * model.beta)).exp())).min(1.0)
        }
        RatingUse::Off => 1.0,
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
        let duel = |mu, sigma| rating_factor(RatingUse::Duel, &Rating { mu, sigma }, &MODEL);
        assert_eq!(duel(25.0, 25.0 / 3.0), 1.0);
        assert!(duel(24.0, 25.0 / 3.0) < 1.0 && duel(-100.0, 8.0) > 0.0);
        assert!(duel(24.0, 25.0 / 3.0) < duel(24.0, 8.0), "being better known counts");
        assert_eq!(duel(1e9, 1.0), 1.0, "a rating takes away and never adds");
    }

    #[test]
    fn the_papers_rule_pays_nothing_for_a_negative_ordinal() {
        assert_eq!(rating_factor(RatingUse::Ordinal, &Rating { mu: 10.0, sigma: 4.0 }, &MODEL), 0.0);
        assert_eq!(rating_factor(RatingUse::Ordinal, &Rating { mu: 25.0, sigma: 5.0 }, &MODEL), 10.0);
    }

    #[test]
    fn two_negatives_make_nothing() {
        assert_eq!(peer_score(-0.5, -3.0, 1.0), 0.0);
        assert_eq!(peer_score(0.5, 3.0, 0.5), 0.75);
        assert_eq!(peer_score(f64::NAN, 3.0, 1.0), 0.0);
        assert_eq!(peer_score(1e-4, 1e-4, 1.0), 0.0);
    }
}
