//! What came of a simulation: pay against work.

use super::{
    kinds::Class,
    population::{Member, Population},
};
use crate::{
    gauntlet::{ScoreRecord, penalty::PenaltyRule, stage1::Stage1},
    window::Uid,
};
use serde::Serialize;
use std::collections::BTreeMap;

/// One peer's window.
#[derive(Debug, Clone, Copy)]
pub struct Account {
    /// Its UID.
    pub uid: Uid,
    /// Its share of what miners were paid.
    pub pay: f64,
    /// Own assigned sequences in what it delivered, as a share of all assigned.
    pub work: f64,
    /// What its update alone would do for the held-out loss, to first order.
    pub benefit: f64,
}

/// What is kept of a run.
#[derive(Debug)]
pub struct History {
    /// Held-out loss after each window.
    pub losses: Vec<f64>,
    /// What each UID is: name, class.
    members: BTreeMap<Uid, (String, Class)>,
    windows: Vec<Vec<Account>>,
    measured: BTreeMap<String, Sums>,
}

/// Sums over the judged objects of a kind.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    judged: f64,
    t: f64,
    copies: f64,
    refused: f64,
    harmful: f64,
    failed: f64,
    records: f64,
    aggregated: f64,
    strength: f64,
    rating: f64,
}

impl History {
    /// An empty history of these peers.
    pub(super) fn new(population: &Population) -> Self {
        let name = |member: &Member| {
            let again = member.replaced_every.map_or(String::new(), |every| format!(", anew every {every}"));
            (member.uid, (member.kind.name() + &again, member.kind.class()))
        };
        Self {
            losses: Vec::new(),
            members: population.members.iter().map(name).collect(),
            windows: Vec::new(),
            measured: BTreeMap::new(),
        }
    }

    /// Keeps a window's accounts.
    pub(super) fn window(&mut self, accounts: Vec<Account>) {
        self.windows.push(accounts);
    }

    /// Keeps what the leader measured.
    pub(super) fn records(&mut self, records: &[ScoreRecord], settle: u64) {
        for record in records.iter().filter(|r| r.window >= settle) {
            let Some((name, _)) = self.members.get(&record.uid) else { continue };
            let sums = self.measured.entry(name.clone()).or_default();
            if let Some(judged) = &record.judged {
                sums.judged += 1.0;
                sums.t += judged.t;
                sums.refused += f64::from(u8::from(judged.work == Some(0.0)));
                let harmful = record.penalties.iter().any(|p| p.rule == PenaltyRule::Harmful);
                sums.harmful += f64::from(u8::from(harmful));
                sums.copies += f64::from(u8::from(record.overlap.iter().any(|o| o.copy)));
            }
            let accused =
                |verdict: &Stage1| matches!(verdict, Stage1::OutOfSync { .. } | Stage1::Malformed { .. });
            sums.failed += f64::from(u8::from(accused(&record.stage1)));
            sums.records += 1.0;
            sums.aggregated += f64::from(u8::from(record.aggregated));
            sums.strength += record.proof.strength;
            sums.rating += record.rating_factor;
        }
    }

    /// Pay of one UID of a class in each window, means of ten windows, over the median honest peer's.
    pub(super) fn pay_by_class(&self, class: Class) -> Vec<f64> {
        let of_class = |uid: &Uid| self.members.get(uid).is_some_and(|(_, c)| *c == class);
        let uids: Vec<Uid> = self.members.keys().copied().filter(|uid| of_class(uid)).collect();
        let ratios = ratios(self, &uids);
        (0..ratios.len()).map(|at| smooth(&ratios, at)).collect()
    }

    fn is_honest(&self, uid: Uid) -> bool {
        self.members.get(&uid).is_some_and(|(_, class)| *class == Class::Honest)
    }
}

/// What a kind was paid for what it did. A stable interface; fields may be added.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KindOutcome {
    /// The kind.
    pub kind: String,
    /// What its work is worth.
    pub class: Class,
    /// How many UIDs it has.
    pub uids: usize,
    /// Pay of one of its UIDs over that of the median honest one, or of the mean one if that has nothing.
    pub pay_per_uid_vs_honest_median: f64,
    /// Work (own assigned sequences that came in time) of one of its UIDs over that of the median honest one.
    pub work_per_uid_vs_honest_median: f64,
    /// What its objects would do for the held-out loss, over those of the median honest peer.
    pub benefit_per_uid_vs_honest_median: f64,
    /// Its share of all that miners were paid.
    pub share_of_pay: f64,
    /// Its share of all work.
    pub share_of_work: f64,
    /// Windows from its first upload until its pay stays below a tenth of the median honest peer's, means of ten
    /// windows; null if it never does.
    pub windows_to_detection: Option<u64>,
    /// Mean of the proof's `t` in one window; null if it never was judged.
    pub mean_t: Option<f64>,
    /// Mean strength that the proof believed.
    pub mean_strength: f64,
    /// Mean factor of the rating.
    pub mean_rating: f64,
    /// Share of its judged objects that were taken for copies.
    pub copies: f64,
    /// Share of its judged objects whose sketches did not agree with what was computed, or that were copies: windows without work.
    pub refused: f64,
    /// Share of its judged objects that were taken for harmful.
    pub harmful: f64,
    /// Share of its windows in which its object was malformed or out of sync.
    pub failed: f64,
    /// Share of its windows in which its object was aggregated.
    pub aggregated: f64,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// Rank correlation of pay and contribution among honest peers. A peer's contribution is what its objects,
    /// each alone, would do for the held-out loss to first order, every window in units of its median honest
    /// peer.
    pub spearman: f64,
    /// The same with work in place of contribution.
    pub spearman_work: f64,
    /// The held-out loss at the end, nats a symbol.
    pub loss: f64,
    /// By kind, honest ones first.
    pub kinds: Vec<KindOutcome>,
}

/// Pay, work and contribution of a UID.
type Totals = [f64; 3];

impl Outcome {
    /// The accounts of a run from window `settle` on.
    pub fn new(history: &History, settle: u64) -> Self {
        let totals = totals(history, settle);
        let honest: Vec<Totals> =
            totals.iter().filter(|(uid, _)| history.is_honest(**uid)).map(|(_, t)| *t).collect();
        let of = |at: usize| honest.iter().map(|t| t[at]).collect::<Vec<f64>>();
        // Rules that pay few leave the median peer with nothing; then the mean is the unit.
        let medians = [0, 1, 2].map(|at| {
            let (middle, all) = (median(of(at)), of(at));
            if middle > 0.0 { middle } else { all.iter().sum::<f64>() / all.len().max(1) as f64 }
        });
        let mut kinds = BTreeMap::<(Class, String), Vec<Uid>>::new();
        for (uid, (name, class)) in &history.members {
            kinds.entry((*class, name.clone())).or_default().push(*uid);
        }
        let kind = |((class, kind), uids): ((Class, String), Vec<Uid>)| {
            let sum = |at: usize| uids.iter().filter_map(|uid| totals.get(uid)).map(|t| t[at]).sum::<f64>();
            let all = |at: usize| totals.values().map(|t| t[at]).sum::<f64>();
            let relative = |at: usize| sum(at) / uids.len() as f64 / medians[at];
            let measured = history.measured.get(&kind).copied().unwrap_or_default();
            KindOutcome {
                class,
                uids: uids.len(),
                pay_per_uid_vs_honest_median: relative(0),
                work_per_uid_vs_honest_median: relative(1),
                benefit_per_uid_vs_honest_median: relative(2),
                share_of_pay: sum(0) / all(0),
                share_of_work: sum(1) / all(1),
                windows_to_detection: detection(history, &uids),
                mean_t: (measured.judged > 0.0).then(|| measured.t / measured.judged),
                mean_strength: measured.strength / measured.records.max(1.0),
                mean_rating: measured.rating / measured.records.max(1.0),
                copies: measured.copies / measured.judged.max(1.0),
                refused: measured.refused / measured.judged.max(1.0),
                harmful: measured.harmful / measured.judged.max(1.0),
                failed: measured.failed / measured.records.max(1.0),
                aggregated: measured.aggregated / measured.records.max(1.0),
                kind,
            }
        };
        Self {
            spearman: spearman(&of(0), &of(2)),
            spearman_work: spearman(&of(0), &of(1)),
            loss: history.losses.last().copied().unwrap_or(f64::NAN),
            kinds: kinds.into_iter().map(kind).collect(),
        }
    }

    /// What a mechanism that pays what is earned would not do, one sentence each; empty if all is well.
    ///
    /// `loss_ratio` is the final loss over that of the same run without attackers, where that was run.
    pub fn shortfalls(&self, loss_ratio: Option<f64>) -> Vec<String> {
        let mut found = Vec::new();
        // What all of the work does for the loss.
        let honest = self.kinds.iter().filter(|kind| kind.class == Class::Honest);
        let best = honest.map(|kind| kind.benefit_per_uid_vs_honest_median).fold(f64::MIN_POSITIVE, f64::max);
        for kind in &self.kinds {
            let (name, pay) = (&kind.kind, kind.pay_per_uid_vs_honest_median);
            let work = kind.work_per_uid_vs_honest_median;
            if kind.class == Class::Worthless && !below(pay, WORTHLESS_PAY) {
                found.push(format!(
                    "`{name}` does nothing of use and earns {pay:.3} of the median honest peer"
                ));
            }
            let share = (kind.benefit_per_uid_vs_honest_median / best).max(0.0);
            let most = work * (share + DILUTED_SLACK * (1.0 + share));
            if kind.class == Class::Diluted && !below(pay, most) {
                let diluted = work * share;
                found.push(format!(
                    "`{name}` does {work:.3} of the work, sends what is worth {diluted:.3}, and earns {pay:.3} of the median honest peer"
                ));
            }
            if kind.class == Class::Partial && !below(pay, work + PARTIAL_SLACK) {
                found.push(format!(
                    "`{name}` does {work:.3} of the work and earns {pay:.3} of the median honest peer"
                ));
            }
        }
        let works =
            self.kinds.iter().filter(|k| k.class == Class::Honest).map(|k| k.work_per_uid_vs_honest_median);
        let (least, most) =
            works.fold((f64::MAX, 0.0f64), |(least, most), work| (least.min(work), most.max(work)));
        // Where all do the same there is nothing to follow.
        if most > least * (1.0 + ALIKE) && !below(RANK_CORRELATION, self.spearman_work) {
            found.push(format!("pay follows work with a rank correlation of {:.3} only", self.spearman_work));
        }
        if let Some(ratio) = loss_ratio.filter(|ratio| !below(*ratio, LOSS_RATIO)) {
            found.push(format!("the loss ends {:.1} % higher than without attackers", 100.0 * (ratio - 1.0)));
        }
        found
    }
}

/// Whether a number keeps within a bound. What is no number proves nothing.
fn below(value: f64, bound: f64) -> bool {
    value <= bound
}

/// Who contributes nothing or harm is to earn less than this share of the median honest peer.
pub const WORTHLESS_PAY: f64 = 0.1;
/// A peer that does a part of the work is to earn no more than its share of it, and this.
pub const PARTIAL_SLACK: f64 = 0.1;
/// A peer that does its work and sends something of less use is to earn no more than what that is worth, this share of that more, and this share
/// of its work. It is more than for work, because what is of use is not computed again but measured on a window's random data, with its luck.
pub const DILUTED_SLACK: f64 = 0.3;
/// The least rank correlation of pay and work among honest peers. That of pay and contribution is lower, because equal work does not
/// contribute the same: what it does for the loss has luck in it.
pub const RANK_CORRELATION: f64 = 0.9;
/// Kinds of honest peers whose work differs by less than this share do the same.
const ALIKE: f64 = 0.1;
/// The highest final loss over that of the run without attackers.
pub const LOSS_RATIO: f64 = 1.02;

fn totals(history: &History, settle: u64) -> BTreeMap<Uid, Totals> {
    let mut totals: BTreeMap<Uid, Totals> = history.members.keys().map(|uid| (*uid, [0.0; 3])).collect();
    for accounts in history.windows.iter().skip(settle as usize) {
        // Gradients shrink as the model learns: each window counts overlapping.
        let honest = accounts.iter().filter(|a| history.is_honest(a.uid)).map(|a| a.benefit);
        let unit = median(honest.filter(|benefit| *benefit > 0.0).collect()).max(f64::MIN_POSITIVE);
        for account in accounts {
            if let Some(total) = totals.get_mut(&account.uid) {
                *total = [total[0] + account.pay, total[1] + account.work, total[2] + account.benefit / unit];
            }
        }
    }
    totals
}

/// Windows over which pay is averaged before it is compared.
const SMOOTH: usize = 10;

/// Windows after its first upload from which a kind's mean pay stays below a tenth of the honest median.
fn detection(history: &History, uids: &[Uid]) -> Option<u64> {
    let ratios = ratios(history, uids);
    let paid = (0..ratios.len()).rev().find(|at| smooth(&ratios, *at) >= WORTHLESS_PAY);
    match paid {
        _ if ratios.is_empty() => None,
        None => Some(0),
        Some(last) if last + 1 == ratios.len() => None,
        Some(last) => Some(last as u64 + 1),
    }
}

/// Mean pay of some UIDs over the median honest peer's, in each window in which one of them was there.
fn ratios(history: &History, uids: &[Uid]) -> Vec<f64> {
    let ratio = |accounts: &Vec<Account>| {
        let honest = median(accounts.iter().filter(|a| history.is_honest(a.uid)).map(|a| a.pay).collect());
        let mine: Vec<f64> = accounts.iter().filter(|a| uids.contains(&a.uid)).map(|a| a.pay).collect();
        let mean = mine.iter().sum::<f64>() / mine.len() as f64;
        // Until honest peers are paid there is nothing to compare with.
        (!mine.is_empty()).then(|| if honest > 0.0 { mean / honest } else { 0.0 })
    };
    history.windows.iter().filter_map(ratio).collect()
}

/// The mean of the last ten up to a place.
fn smooth(ratios: &[f64], at: usize) -> f64 {
    let last = &ratios[at.saturating_sub(SMOOTH - 1)..=at];
    last.iter().sum::<f64>() / last.len() as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len();
    if n == 0 { 0.0 } else { (values[(n - 1) / 2] + values[n / 2]) / 2.0 }
}

/// Spearman's rank correlation, ties at their mean rank.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut at = 0;
    while at < order.len() {
        let tied = order[at..].iter().take_while(|i| values[**i] == values[order[at]]).count();
        for i in &order[at..at + tied] {
            ranks[*i] = at as f64 + (tied as f64 + 1.0) / 2.0;
        }
        at += tied;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rank_correlations_of_textbooks() {
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[10.0, 20.0, 90.0]), 1.0);
        assert_eq!(spearman(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]), -1.0);
        // scipy.stats.spearmanr([1, 2, 2, 4], [1, 3, 2, 4]): 0.9486832980505138.
        assert!(
            (spearman(&[1.0, 2.0, 2.0, 4.0], &[1.0, 3.0, 2.0, 4.0]) - 0.948_683_298_050_513_8).abs() < 1e-12
        );
    }

    #[test]
    fn medians() {
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0]), median(vec![])), (2.0, 2.5, 0.0));
    }
}
