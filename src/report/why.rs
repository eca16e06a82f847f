//! Why a score is what it is: what was measured, which rule did what, what to change to earn more.
//!
//! A pure function of a score record, of the records of the same peer before it, and of the run's rules where
//! they are known. Each rule of Gauntlet that speaks to a peer is one entry of a table in `why/rules.rs`.

mod rules;
#[cfg(test)]
mod tests;

use crate::{
    gauntlet::{Hotkey, ScoreRecord},
    manifest::GauntletConfig,
    window::{Uid, Window},
};
use serde::Serialize;

/// What an explanation is made from.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The record to explain.
    pub record: &'a ScoreRecord,
    /// Records of the same peer from windows before, in their order; may be empty.
    pub history: &'a [ScoreRecord],
    /// The run's rules, where the manifest is at hand; without them no threshold is named.
    pub rules: Option<&'a GauntletConfig>,
}

/// What one rule has to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule, in a word or two; docs/gauntlet.md has a section for each.
    pub rule: &'static str,
    /// What was measured, with units.
    pub measured: String,
    /// What the rule made of it.
    pub effect: String,
    /// What to change; none where nothing is wrong.
    pub advice: Option<String>,
    /// Whether this alone leaves the window without a score of its own.
    pub decisive: bool,
}

/// A score, explained. Its JSON is a stable interface: fields may be added.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The window.
    pub window: Window,
    /// The peer's UID.
    pub uid: Uid,
    /// The peer.
    pub hotkey: Hotkey,
    /// Stage 1 in one word.
    pub verdict: &'static str,
    /// The peer score.
    pub score: f64,
    /// The score before this window.
    pub score_before: f64,
    /// The share of all miners' pay, from 0 to 1.
    pub share: f64,
    /// The same as set on chain: the largest is 65535.
    pub weight: u16,
    /// The outcome in one sentence.
    pub summary: String,
    /// Rule by rule, in the order in which they act.
    pub findings: Vec<Finding>,
    /// What to change to earn more, the most urgent first.
    pub advice: Vec<String>,
}

/// Explains a record.
pub fn explain(case: &Case<'_>) -> Explanation {
    let record = case.record;
    let findings: Vec<Finding> = rules::RULES.iter().filter_map(|rule| rule(case)).collect();
    let urgent = findings.iter().filter(|finding| finding.decisive);
    let urgent = urgent.chain(findings.iter().filter(|finding| !finding.decisive));
    let mut advice: Vec<String> = urgent.filter_map(|finding| finding.advice.clone()).collect();
    if advice.is_empty() {
        advice.push(
            "nothing is wrong; more is earned by training on more of the assigned sequences in a window, and by an upload \
             in every window"
                .to_owned(),
        );
    }
    Explanation {
        window: record.window,
        uid: record.uid,
        hotkey: record.hotkey.clone(),
        verdict: record.stage1.name(),
        score: record.score,
        score_before: record.score_before,
        share: record.share,
        weight: record.weight,
        summary: summary(record),
        findings,
        advice,
    }
}

fn summary(record: &ScoreRecord) -> String {
    let change = match (record.score_before, record.score) {
        (before, now) if before == now => "unchanged".to_owned(),
        (0.0, _) => "0 before".to_owned(),
        (before, now) => format!("{before:.4} before, {:+.1} %", (now / before - 1.0) * 100.0),
    };
    let pay = if record.weight > 0 {
        format!("{:.2} % of the miners' pay (weight {} of 65535)", record.share * 100.0, record.weight)
    } else {
        "no pay".to_owned()
    };
    format!("score {:.4} ({change}), {pay}", record.score)
}

impl Explanation {
    /// The explanation as text: the outcome, rule by rule, and what to do. Nothing in it can drive a terminal.
    pub fn text(&self) -> String {
        let mut text =
            format!("UID {} ({}) in window {}: {}\n", self.uid, self.hotkey, self.window, self.summary);
        let width = self.findings.iter().map(|finding| finding.rule.len()).max().unwrap_or(0);
        for Finding { rule, measured, effect, .. } in &self.findings {
            text.push_str(&format!("\n  {rule:<width$}  {measured}\n  {:<width$}  {effect}\n", ""));
        }
        text.push_str("\nTo earn more:\n");
        for advice in &self.advice {
            text.push_str(&format!("  - {advice}\n"));
        }
        text
    }
}
