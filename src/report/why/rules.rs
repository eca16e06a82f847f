//! What each rule says to a peer. One function a rule, in the order in which they act; a new rule is a new
//! entry of [`RULES`].

use super::{Case, Finding};
use crate::{
    bucket::printable,
    gauntlet::{
        penalty::{HARMFUL_T, PenaltyRule},
        stage1::Stage1,
    },
    manifest::Proof,
};

/// Every rule. It is silent (`None`) where it had no say.
pub(super) const RULES: &[fn(&Case<'_>) -> Option<Finding>] = &[
    upload, content, sync, copied, aggregated, not_judged, harm, rating, audit, proof, warm_up, penalties,
    product, habit,
];

/// The longest reason that is quoted, in characters.
const LONGEST_REASON: usize = 200;
/// Below this strength a peer is told that it could do more.
const FULL_STRENGTH: f64 = 0.8;
/// Failures in this many windows make a habit.
const HABIT: usize = 3;

fn finding(rule: &'static str, measured: String, effect: String) -> Finding {
    Finding { rule, measured, effect, advice: None, decisive: false }
}

impl Finding {
    fn advise(self, advice: impl Into<String>) -> Option<Self> {
        Some(Self { advice: Some(advice.into()), ..self })
    }

    fn decisive(self, decisive: bool) -> Self {
        Self { decisive, ..self }
    }
}

/// Factors of a penalty in words; nothing is taken from a peer that has nothing.
fn cost(case: &Case<'_>) -> String {
    match case.record.penalties.as_slice() {
        [] => "nothing of this peer was ever accepted, so there was nothing to take away".to_owned(),
        _ => "it had no part in the round, was not judged, and penalties apply (below)".to_owned(),
    }
}

fn upload(case: &Case<'_>) -> Option<Finding> {
    let window = case.record.window;
    let (measured, advice) = match &case.record.stage1 {
        Stage1::Absent => (
            format!("there was no object `gradient/{window:010}.safetensors` in the peer's bucket"),
            "see that the miner runs, that it finishes training before the window ends, that its bucket can be \
             read with the key committed on chain, and look for upload errors in its log",
        ),
        Stage1::Unanswered => (
            "the peer's bucket did not answer, although most others did".to_owned(),
            "see that the bucket's endpoint can be reached from elsewhere; some windows are tolerated, then it \
             counts as if nothing was uploaded",
        ),
        Stage1::Early { seconds } => (
            format!("the object was uploaded {seconds} s before the put window opened"),
            "upload only after the first block of the next window; check the machine's clock and the chain endpoint",
        ),
        Stage1::Late { seconds } => (
            format!("the object was uploaded {seconds} s after the put window closed"),
            "start the upload sooner: train fewer micro-batches, use a faster link, have the object ready when the \
             window ends; and never upload twice, the last time stamp counts",
        ),
        Stage1::Malformed { .. } => return None,
        Stage1::OutOfSync { seconds, .. } | Stage1::Accepted { seconds, .. } => {
            let measured = format!("the object was uploaded {seconds} s after the put window opened");
            return Some(finding("upload", measured, "in time".to_owned()));
        }
    };
    finding("upload", measured, cost(case)).decisive(true).advise(advice)
}

fn content(case: &Case<'_>) -> Option<Finding> {
    let Stage1::Malformed { reason } = &case.record.stage1 else { return None };
    let measured = format!("the object cannot be used: {}", printable(reason, LONGEST_REASON));
    finding("form", measured, cost(case)).decisive(true).advise(
        "run the version of the program that the run uses, with the run's manifest, wallet and data; the object must \
         be signed by this hotkey, for this window and subnet, and must not have been changed after it was signed",
    )
}

fn sync(case: &Case<'_>) -> Option<Finding> {
    let steps = case.record.stage1.steps_behind()?;
    let limit =
        case.rules.map(|rules| format!(" (0 from {} steps on)", rules.sync_limit)).unwrap_or_default();
    let measured = format!("its model is {steps:.2} outer steps away from the run's");
    let advice = "the model is not the run's: restart the miner, so that it loads the newest checkpoint and the \
                  rounds after it, and wait until it has caught up";
    if let Stage1::OutOfSync { .. } = case.record.stage1 {
        let most = case.rules.map(|rules| format!(" the {} steps", rules.sync_max));
        let effect =
            format!("more than{} that are allowed: not aggregated, not judged", most.unwrap_or_default());
        return finding("sync", measured, effect).decisive(true).advise(advice);
    }
    let score = case.record.sync_score.unwrap_or_default();
    let effect = format!("sync score {score:.3} of 1{limit}, a factor of the score");
    let said = finding("sync", measured, effect).decisive(score == 0.0);
    if score < 0.99 { said.advise(advice) } else { Some(said) }
}

fn copied(case: &Case<'_>) -> Option<Finding> {
    let likest = case.record.overlap.iter().max_by(|a, b| a.similarity.total_cmp(&b.similarity))?;
    let measured = format!(
        "the object is like that of UID {}: {:.0} % of the way from a usual pair of peers to identical ones",
        likest.uid,
        100.0 * likest.similarity
    );
    if case.record.overlap.iter().all(|other| !other.copy) {
        let effect = "this peer shows more own work than the other, which is taken for the copy";
        return Some(finding("overlap", measured, effect.to_owned()));
    }
    let effect = "it shows less own work than the other, so it is the copy: no score in this window, not aggregated, and \
                  the window counts as one without work";
    finding("overlap", measured, effect.to_owned()).decisive(true).advise(
        "train on the assigned sequences and upload only that; if somebody reads your object before you have \
         finished uploading it, upload faster and keep the bucket's keys to yourself",
    )
}

fn aggregated(case: &Case<'_>) -> Option<Finding> {
    let record = case.record;
    if !record.stage1.is_accepted() {
        return None;
    }
    let (measured, effect) = if record.aggregated {
        ("the update is in the round's aggregate", "everybody's model took it in")
    } else {
        (
            "the update is not in the round's aggregate",
            "a place there goes to positive scores first, then to newcomers by lot, and not to who did harm last; it is \
             no part of the score",
        )
    };
    Some(finding("aggregate", measured.to_owned(), effect.to_owned()))
}

fn not_judged(case: &Case<'_>) -> Option<Finding> {
    let record = case.record;
    if !record.stage1.is_accepted() || record.judged.is_some() {
        return None;
    }
    let measured = "the validator's time ran out before this peer's turn".to_owned();
    let effect = "proof and rating stay as they were; the longer a peer waits, the likelier it is judged in the next window";
    Some(finding("turn", measured, effect.to_owned()))
}

fn harm(case: &Case<'_>) -> Option<Finding> {
    let judged = case.record.judged.as_ref()?;
    case.record.penalties.iter().find(|penalty| penalty.rule == PenaltyRule::Harmful)?;
    let measured = format!(
        "the update raises the loss on random data from {:.4} to {:.4} nats per token, by {:.1} standard errors; \
         harm begins at {:.0}",
        judged.random.before, judged.random.after, -judged.benefit_t, -HARMFUL_T
    );
    let effect =
        "the match is lost, penalties apply (below), and it is not aggregated until it is judged harmless";
    finding("harm", measured, effect.to_owned()).advise(
        "the update makes the model worse: see that the training loss falls, that gradients are of the run's model, \
         that momentum and compression are the manifest's, and that nothing scales or flips the values",
    )
}

fn rating(case: &Case<'_>) -> Option<Finding> {
    let record = case.record;
    let moved = format!(
        "rating {:.2} to {:.2} (mean less three deviations), a factor of {:.3}",
        record.rating_before.ordinal, record.rating.ordinal, record.rating_factor
    );
    let Some(judged) = &record.judged else {
        if record.rating.mu == record.rating_before.mu {
            return None;
        }
        return Some(finding("match", "a failed upload loses the window's match".to_owned(), moved));
    };
    let random = &judged.random;
    let measured = format!(
        "on {} random sequences the update takes the loss from {:.4} to {:.4} nats per token ({:+.3} %)",
        random.sequences,
        random.before,
        random.after,
        -random.score * 100.0
    );
    let said = finding("match", measured, moved).decisive(record.rating_factor == 0.0);
    let lost = record.rating.mu < record.rating_before.mu;
    if random.score <= 0.0 {
        return said.advise(
            "the update does not lower the loss on random data: train on all assigned sequences, with \
                            the manifest's momentum and compression",
        );
    }
    if lost {
        return said.advise(
            "others lowered the loss on random data more: process more of the assigned data in a \
                            window, and miss no window, so that the momentum carries on",
        );
    }
    Some(said)
}

/// The worth of updates below which something is wrong with them: honest ones differ by chance.
const LITTLE_WORTH: f64 = 0.8;

fn audit(case: &Case<'_>) -> Option<Finding> {
    let (record, judged) = (case.record, case.record.judged.as_ref()?);
    let (work, average) = (judged.work?, record.proof.work?);
    let tolerance = case.rules.and_then(|rules| rules.audit).map_or(0.0, |audit| audit.tolerance);
    let farthest = record.audits.iter().copied().fold(0.0, f64::max);
    let measured = format!(
        "it declares {} sequences, of which {} audits computed micro-batches again: the farthest sketch is {farthest:.3} spreads \
         off, {tolerance} are allowed",
        judged.claimed,
        record.audits.len()
    );
    let recent = record.proof.recent_work.unwrap_or(average);
    let worth = record.proof.worth.unwrap_or(1.0);
    let effect = format!(
        "work of this window {work:.2} of what is usual, on average {average:.2}, lately {recent:.2}: the lower one is paid, times {worth:.2} \
         for what the updates did for the loss"
    );
    let said = finding("audit", measured, effect).decisive(average.min(recent) * worth <= 0.0);
    if work > 0.0 && worth < LITTLE_WORTH {
        return said.advise(
            "the updates lower the loss on random data less than the work in them should: send what came of the declared \
             micro-batches alone, with the manifest's momentum and compression",
        );
    }
    if work > 0.0 {
        return Some(said);
    }
    said.advise(
        "declare only micro-batches that were computed, whole, on the assigned sequences and on the run's model of this window; if \
         they were, look whether the machine computes rightly, in float32 or bfloat16",
    )
}

fn proof(case: &Case<'_>) -> Option<Finding> {
    let record = case.record;
    let judged = record.judged.as_ref()?;
    let (average, factor) = (record.proof.average, record.proof.factor);
    let is_sign = case.rules.is_some_and(|rules| rules.proof == Proof::Sign);
    let measured = if is_sign {
        format!(
            "own data improves by {:.4} %, random data by {:.4} %: observation {:+.0}",
            judged.own.score * 100.0,
            judged.random.score * 100.0,
            judged.observation
        )
    } else {
        let did = match (judged.claimed, judged.usual) {
            (claimed, usual) if claimed > 0 && usual > 0 => format!(
                "it says to have trained on {claimed} sequences, {:.0} % of what is usual; ",
                100.0 * claimed as f64 / usual as f64
            ),
            _ => String::new(),
        };
        format!(
            "{did}on {} assigned sequences the update takes the loss from {:.4} to {:.4} nats per token, {:+.1} standard \
             errors better than others' updates do; {:.1} is usual in this window",
            judged.own.sequences, judged.own.before, judged.own.after, judged.t, record.proof.reference
        )
    };
    let threshold = case.rules.map(|rules| rules.proof_threshold).filter(|_| is_sign);
    let (strength, deviation) = (record.proof.strength, record.proof.deviation);
    let short = average <= 0.0
        || threshold.is_some_and(|threshold| average < threshold)
        || !is_sign && strength < FULL_STRENGTH;
    let effect = if is_sign {
        let least = threshold.map(|t| format!(", the least is {t}")).unwrap_or_default();
        format!("average {average:+.3}{least}; a factor of {factor:.3}")
    } else {
        format!(
            "average {average:+.2} over {:.0} windows: strength {strength:.2} \u{b1} {deviation:.2}, that is {:.0} % of the \
             usual work; a factor of {factor:.3}",
            record.proof.windows,
            100.0 * strength * strength
        )
    };
    let said = finding("proof", measured, effect).decisive(factor == 0.0);
    if short || judged.observation <= 0.0 && factor < 1.0 {
        return said.advise(
            "the update shows less training on the assigned data than others' do: train on all of the sequences that \
             the window assigns to this hotkey, from the run's corpus (--data), and on nothing else",
        );
    }
    Some(said)
}

fn warm_up(case: &Case<'_>) -> Option<Finding> {
    let (record, rules) = (case.record, case.rules?);
    let (count, needed) = (record.proof.observations, rules.proof_warmup);
    if count >= needed
        || !matches!(rules.proof, Proof::Counterfactual | Proof::Audited)
        || !record.stage1.is_accepted()
    {
        return None;
    }
    let measured = format!("{count} of the first {needed} observations have been made");
    let effect =
        format!("a newcomer is paid in proportion to what is known of it: the proof counts {count}/{needed}");
    finding("warm-up", measured, effect)
        .advise(format!("go on: after {} more judged windows the proof counts in full", needed - count))
}

fn penalties(case: &Case<'_>) -> Option<Finding> {
    let record = case.record;
    if record.penalties.is_empty() {
        return None;
    }
    let each = record.penalties.iter().map(|penalty| match penalty.rule {
        PenaltyRule::Forgotten => {
            let missed = case.rules.map(|rules| format!("{} windows", rules.forget_after));
            let missed = missed.unwrap_or_else(|| "too many windows".to_owned());
            format!("forgotten: {missed} in a row without an accepted object; it starts again as a newcomer")
        }
        rule => {
            let proof = match penalty.proof_factor {
                1.0 => String::new(),
                factor => format!(", average of the proof x {factor}"),
            };
            format!("{}: score x {}{proof}", rule.name().replace('_', " "), penalty.score_factor)
        }
    });
    let measured = each.collect::<Vec<_>>().join("; ");
    let effect = format!("score {:.4} to {:.4}", record.score_before, record.score);
    let said = finding("penalty", measured, effect);
    let forgotten = record.penalties.iter().any(|penalty| penalty.rule == PenaltyRule::Forgotten);
    if forgotten {
        return said
            .advise("upload in every window again; a newcomer's warm-up has to be gone through once more");
    }
    Some(said)
}

fn product(case: &Case<'_>) -> Option<Finding> {
    let record = case.record;
    let sync = record.sync_score.filter(|_| record.stage1.is_accepted())?;
    let factors = [("proof", record.proof.factor), ("rating", record.rating_factor), ("sync", sync)];
    let measured = factors.map(|(name, value)| format!("{name} {value:.3}")).join(" x ");
    let taken: f64 = record.penalties.iter().map(|penalty| penalty.score_factor).product();
    let after = if taken == 1.0 { String::new() } else { format!(", x {taken} by penalties") };
    let effect = format!(
        "= {:.4}{after}: the score is {:.4}",
        factors.iter().map(|f| f.1).product::<f64>(),
        record.score
    );
    Some(finding("score", measured, effect))
}

/// What the windows before say.
fn habit(case: &Case<'_>) -> Option<Finding> {
    let failed: Vec<&str> = case
        .history
        .iter()
        .chain([case.record])
        .filter(|record| !record.stage1.is_accepted())
        .map(|record| record.stage1.name())
        .collect();
    if failed.len() < HABIT {
        return None;
    }
    let measured = format!(
        "{} of the last {} windows failed: {}",
        failed.len(),
        case.history.len() + 1,
        failed.join(", ")
    );
    let effect = "each failure costs again, and what it takes from the proof comes back slowly".to_owned();
    finding("habit", measured, effect.replace('_', " "))
        .advise("an upload in every window is worth more than a better one in some")
}
