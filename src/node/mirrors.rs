//! Whose records are taken where the leader has none of its own: those of windows before it led.
//!
//! Any validator of the run publishes the records that it applied. The chain of hashes says whether one was the run's: the next
//! record that the leader signed names the model before its step. Until then a mirror's word is taken on trust, and whoever was
//! trusted when a record of the leader says otherwise is not asked again.

use crate::wallet::AccountId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Which validators' records can be used, for as long as this process runs. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Mirrors(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Whose records the leader has contradicted.
    refused: BTreeSet<AccountId>,
    /// Whose records do not fit the model as it is, and which model they name: others' that came before may be what is wrong.
    passed_over: BTreeMap<AccountId, String>,
    /// Who was passed over before.
    misfits: BTreeSet<AccountId>,
    /// Whose records were applied since the last one of the leader.
    trusted: BTreeSet<AccountId>,
    /// Who had the last one: asked first, so that few are trusted at once.
    last: Option<AccountId>,
    /// How often something that a validator's record names could not be had: asked later.
    fruitless: BTreeMap<AccountId, u32>,
}

impl Mirrors {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom to ask, in this order, of those that could be asked.
    pub(super) fn order<'a, T>(&self, all: &'a [(AccountId, T)]) -> Vec<&'a (AccountId, T)> {
        let state = self.state();
        let usable = |hotkey| !state.refused.contains(hotkey) && !state.passed_over.contains_key(hotkey);
        let mut order: Vec<_> = all.iter().filter(|(hotkey, _)| usable(hotkey)).collect();
        let fruitless = |hotkey| state.fruitless.get(hotkey).copied().unwrap_or(0);
        order.sort_by_key(|(hotkey, _)| (fruitless(hotkey), state.last.as_ref() != Some(hotkey)));
        order
    }

    /// A mirror's record was applied.
    pub(super) fn trust(&self, hotkey: &AccountId) {
        let mut state = self.state();
        state.trusted.insert(hotkey.clone());
        state.last = Some(hotkey.clone());
    }

    /// What a mirror's record names could not be had.
    pub(super) fn demote(&self, hotkey: &AccountId) {
        *self.state().fruitless.entry(hotkey.clone()).or_default() += 1;
    }

    /// A mirror's record does not fit the model: it names another. Whose record does not fit a second time, after starting over, is
    /// not asked again.
    pub(super) fn pass_over(&self, hotkey: &AccountId, model: &str) {
        let mut state = self.state();
        if state.misfits.insert(hotkey.clone()) {
            state.passed_over.insert(hotkey.clone(), model.to_owned());
        } else {
            state.refused.insert(hotkey.clone());
        }
    }

    /// Where nobody is left to ask, but some were passed over: the model that one of them names. Then starting over may help.
    pub(super) fn stuck(&self) -> Option<String> {
        let model = self.state().passed_over.values().next().cloned();
        if model.is_some() {
            self.contradict();
        }
        model
    }

    /// A record of the leader fits the model: what came before was the run's, and what did not fit was not.
    pub(super) fn confirm(&self) {
        let mut state = self.state();
        state.trusted.clear();
        let wrong = std::mem::take(&mut state.passed_over);
        state.refused.extend(wrong.into_keys());
    }

    /// The model is not the run's: nobody who was trusted is again. Those that did not fit may have been right.
    pub(super) fn contradict(&self) {
        let mut state = self.state();
        let trusted = std::mem::take(&mut state.trusted);
        for hotkey in &trusted {
            tracing::warn!(%hotkey, "records of this validator were not the run's; it is not asked again");
        }
        state.refused.extend(trusted);
        state.passed_over.clear();
        state.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_contradicted_is_never_asked_again() {
        let key = |n: u8| AccountId::new([n; 32]);
        let all = [(key(1), ()), (key(2), ()), (key(3), ())];
        let mirrors = Mirrors::default();
        let asked = || mirrors.order(&all).into_iter().map(|(k, ())| k.clone()).collect::<Vec<_>>();
        mirrors.trust(&key(2));
        assert_eq!(asked(), [key(2), key(1), key(3)]);
        mirrors.demote(&key(2));
        assert_eq!(asked(), [key(1), key(3), key(2)]);
        mirrors.pass_over(&key(1), "00");
        assert_eq!(asked(), [key(3), key(2)]);
        mirrors.contradict();
        assert_eq!(asked(), [key(1), key(3)], "who did not fit may have been right");
        mirrors.trust(&key(1));
        mirrors.confirm();
        mirrors.contradict();
        assert_eq!(asked(), [key(1), key(3)]);
        mirrors.pass_over(&key(3), "00");
        mirrors.confirm();
        mirrors.contradict();
        assert_eq!(asked(), [key(1)], "who did not fit a model that was right was wrong");

        let mirrors = Mirrors::default();
        let asked = || mirrors.order(&all).len();
        mirrors.pass_over(&key(1), "11");
        assert_eq!((asked(), mirrors.stuck().as_deref(), asked()), (2, Some("11"), 3));
        mirrors.pass_over(&key(1), "11");
        assert_eq!((asked(), mirrors.stuck(), asked()), (2, None, 2), "the second time is the last");
    }
}
