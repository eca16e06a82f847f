//! The weights on chain, compared with those that the scores give.

use super::{AuditError, Auditor, Difference, report::WeightsChecked};
use crate::{
    chain::WeightSetting,
    node::window::{DecidingBlocks, last_window, weights_are_due},
    window::{Block, Uid, Window},
};
use std::collections::BTreeMap;

/// The weights after a window, as they came out; none where it could not be checked.
#[derive(Debug, Clone)]
pub(super) struct Due {
    pub(super) window: Window,
    pub(super) weights: Option<Vec<(Uid, u16)>>,
}

/// The most blocks that are looked at after the last window that was checked.
const LONGEST_AFTER: Block = 7200;

impl Auditor {
    /// Compares every setting of the span with the weights that were due then.
    pub(super) async fn weights_on_chain(&mut self, windows: &[Due]) -> Result<WeightsChecked, AuditError> {
        let manifest = &self.identity.manifest.parsed;
        let (every, schedule) = (manifest.gauntlet.windows_per_weights, manifest.schedule());
        let start = self.start.start_window;
        let last = last_window(manifest, start);
        let is_due = |window: Window| weights_are_due(manifest, start, window);
        let mut due = Vec::new();
        for after in windows.iter().filter(|after| is_due(after.window)) {
            let blocks = DecidingBlocks::find(&mut self.clock, &schedule, after.window).await?;
            due.push((blocks.evaluation, after.clone()));
        }
        let (Some((from, oldest)), Some((_, newest))) = (due.first().cloned(), due.last().cloned()) else {
            return Ok(WeightsChecked::default());
        };
        // Those of the last window may stand until the next ones are due; after the run's last, for good.
        let end = if last == Some(newest.window) {
            schedule.opening_block(newest.window).saturating_add(LONGEST_AFTER)
        } else {
            schedule.opening_block(newest.window.saturating_add(every))
        };
        let to = end.min(self.identity.chain.head().await?.number);
        // Those before the first ones may have been set late.
        let before = (start..oldest.window).rev().take(every as usize).find(|window| is_due(*window));
        if let Some(window) = before
            && let Some(state) = self.state(window).await?
        {
            due.insert(0, (0, Due { window, weights: Some(state.gauntlet.weights()) }));
        }
        let (chain, netuid) = (&self.identity.chain, self.identity.netuid);
        let settings = chain.weights_history(netuid, from, to, Some(self.audited.uid)).await?;
        let settings: Vec<_> = settings.into_iter().filter(|s| s.hotkey == self.audited.hotkey).collect();
        let revealed_later = chain.hyperparameters(netuid).await?.commit_reveal_weights_enabled;
        let mut checked = compare(&due, &settings, revealed_later, self.tolerance.weights());
        checked.not_set_after.retain(|window| windows.iter().any(|after| after.window == *window));
        (checked.from_block, checked.to_block) = (Some(from), Some(to));
        Ok(checked)
    }
}

/// Every setting must be what was due last, or still what was due before that, as long as the newer one has
/// not been set. Where weights are revealed later, any that were due will do. `slack` is how far two weights
/// may differ.
fn compare(
    due: &[(Block, Due)],
    settings: &[WeightSetting],
    revealed_later: bool,
    slack: u64,
) -> WeightsChecked {
    let mut checked = WeightsChecked { settings: settings.len(), ..WeightsChecked::default() };
    let mut set: BTreeMap<Window, bool> = due.iter().map(|(_, due)| (due.window, false)).collect();
    for setting in settings {
        let on_chain = sorted(&setting.weights);
        let known: Vec<&Due> =
            due.iter().filter(|(from, _)| *from < setting.block).map(|(_, due)| due).collect();
        // A setting in the first block can only be that of a window before the span.
        let Some(current) = known.last() else { continue };
        let late = known.len().checked_sub(2).and_then(|at| known.get(at));
        let newer_is_set = set.get(&current.window).copied().unwrap_or_default();
        let is = |due: &Due| first(due, &on_chain, slack).is_none();
        let matching = if is(current) {
            Some(*current)
        } else if revealed_later {
            known.iter().copied().find(|due| is(due))
        } else {
            late.copied().filter(|due| !newer_is_set && is(due))
        };
        match matching {
            Some(due) => _ = set.insert(due.window, true),
            None => {
                checked.difference = first(current, &on_chain, slack);
                return checked;
            }
        }
    }
    // Nothing is set where nobody has a score.
    let paid = |due: &Due| due.weights.as_ref().is_some_and(|weights| !weights.is_empty());
    let wanted = |window: &Window| due.iter().any(|(_, due)| due.window == *window && paid(due));
    checked.not_set_after =
        set.into_iter().filter(|(window, set)| !set && wanted(window)).map(|(window, _)| window).collect();
    checked
}

/// Weights by UID, without zeros.
fn sorted(weights: &[(Uid, u16)]) -> BTreeMap<Uid, u16> {
    weights.iter().copied().filter(|(_, weight)| *weight > 0).collect()
}

/// The first UID whose weight on chain is another.
fn first(due: &Due, on_chain: &BTreeMap<Uid, u16>, slack: u64) -> Option<Difference> {
    // What is not known cannot be called wrong.
    let ours = sorted(due.weights.as_ref()?);
    let weight = |of: &BTreeMap<Uid, u16>, uid: &Uid| of.get(uid).copied().unwrap_or_default();
    let mut uids: Vec<&Uid> = ours.keys().chain(on_chain.keys()).collect();
    uids.sort_unstable();
    let uid =
        uids.into_iter().find(|uid| u64::from(weight(&ours, uid).abs_diff(weight(on_chain, uid))) > slack)?;
    Some(Difference {
        window: due.window,
        uid: Some(*uid),
        hotkey: None,
        field: "weight_on_chain".to_owned(),
        logged: weight(on_chain, uid).to_string(),
        recomputed: weight(&ours, uid).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::AccountId;

    fn setting(block: Block, weights: &[(Uid, u16)]) -> WeightSetting {
        let hotkey = AccountId::new([1; 32]);
        let (hash, weights) = ([0; 32], weights.to_vec());
        WeightSetting { block, hash, time_ms: 0, mechanism: 0, validator_uid: 0, hotkey, weights }
    }

    fn check(settings: &[WeightSetting], revealed_later: bool) -> WeightsChecked {
        let due = [
            Due { window: 3, weights: Some(THREE.to_vec()) },
            Due { window: 5, weights: Some(FIVE[1..].to_vec()) },
        ];
        compare(&[(100, due[0].clone()), (150, due[1].clone())], settings, revealed_later, 0)
    }

    const THREE: [(Uid, u16); 2] = [(1, 65535), (2, 100)];
    const FIVE: [(Uid, u16); 3] = [(0, 0), (1, 65535), (2, 300)];

    #[test]
    fn what_was_due_is_what_must_be_set() {
        let checked = check(&[setting(110, &THREE), setting(160, &FIVE)], false);
        assert_eq!((checked.settings, checked.difference), (2, None));
        // A slow validator may still set the older ones, but not after the newer.
        let late = check(&[setting(151, &THREE), setting(160, &FIVE)], false);
        assert_eq!((late.difference, late.not_set_after), (None, vec![]));
        let back = check(&[setting(160, &FIVE), setting(170, &THREE)], false);
        assert_eq!(back.difference.map(|d| (d.window, d.uid)), Some((5, Some(2))));
        assert_eq!(check(&[setting(170, &FIVE), setting(190, &THREE)], true).difference, None);
    }

    #[test]
    fn a_window_that_could_not_be_checked_excuses_what_was_set_after_it() {
        let due = |weights| {
            [(100, Due { window: 3, weights: Some(THREE.to_vec()) }), (150, Due { window: 5, weights })]
        };
        let settings = [setting(110, &THREE), setting(160, &[(7, 65535)])];
        assert_eq!(compare(&due(None), &settings, false, 0).difference, None);
        assert!(compare(&due(Some(vec![])), &settings, false, 0).difference.is_some());
        let nearly = [setting(110, &[(1, 65535), (2, 99)])];
        assert_eq!(compare(&due(None)[..1], &nearly, false, 1).difference, None);
    }

    #[test]
    fn one_bit_is_found_and_silence_is_noted() {
        let changed = check(&[setting(110, &[(1, 65535), (2, 101)])], false).difference.unwrap();
        assert_eq!((changed.window, changed.uid), (3, Some(2)));
        assert_eq!((changed.logged.as_str(), changed.recomputed.as_str()), ("101", "100"));
        let extra = check(&[setting(110, &[(1, 65535), (2, 100), (9, 1)])], false).difference.unwrap();
        assert_eq!((extra.uid, extra.recomputed.as_str()), (Some(9), "0"));
        let silent = check(&[setting(110, &THREE)], false);
        assert_eq!((silent.difference, silent.not_set_after), (None, vec![5]));
    }
}
