//! One simulation: window after window, in virtual time.

use super::{
    bigram::Bigram,
    economy::Economy,
    judge::{self, Judge, Measured, Seen},
    kinds::Class,
    outcome::{Account, History},
    peer::{Snapshot, World},
    population::Population,
    scenario::{Conduct, Defence, Scenario, ScenarioError},
    text::Text,
    threads,
};
use crate::{
    codec::Norms,
    gauntlet::{Gauntlet, Hotkey, Observation, proof::Claim},
    gradient::{Audited, Layout},
    window::{PutWindow, Schedule, Uid, Window},
};
use rand::{Rng as _, SeedableRng, rngs::StdRng};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Models that are remembered, for those who train on old ones.
const REMEMBERED: usize = 12;
/// Milliseconds of a block.
const BLOCK_MS: u64 = 12_000;

/// Runs a scenario; `progress` is told after each window, with the held-out loss.
///
/// # Errors
/// A scenario that makes no sense.
pub fn run(
    scenario: &Scenario,
    text: &Text,
    thread_count: usize,
    mut progress: impl FnMut(Window, f64),
) -> Result<History, ScenarioError> {
    threads::alone();
    let mut run = Run::new(scenario, text, thread_count)?;
    for window in 0..scenario.windows {
        let loss = run.window(window);
        progress(window, loss);
    }
    Ok(run.history)
}

struct Run<'a> {
    scenario: &'a Scenario,
    text: &'a Text,
    threads: usize,
    layout: Layout,
    population: Population,
    judges: Vec<(Gauntlet, StdRng)>,
    economy: Economy,
    models: Vec<Arc<Snapshot>>,
    round: u64,
    history: History,
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, text: &'a Text, threads: usize) -> Result<Self, ScenarioError> {
        let rules = scenario.gauntlet()?;
        let shape = vec![super::bigram::SYMBOLS; 2];
        let layout = Layout::new(&[("bigram".to_owned(), shape)], &scenario.compress, rules.sync_samples)
            .map_err(|_| ScenarioError::Value { field: "compress.chunk", problem: "is too large" })?;
        let audited = Audited {
            micro_batch: scenario.micro_batch,
            most: scenario.sequences.div_ceil(scenario.micro_batch),
        };
        let layout = if rules.audit.is_some() { layout.with_sketches(audited) } else { layout };
        let population = Population::new(scenario, &layout);
        let luck = |n: usize| StdRng::seed_from_u64(scenario.seed ^ (n as u64 + 1) << 32);
        let judges = (0..scenario.validators.len()).map(|n| (Gauntlet::new(&rules), luck(n))).collect();
        let economy = Economy::new(population.members.len(), &scenario.validators);
        let history = History::new(&population);
        let models = vec![snapshot(Bigram::new())];
        Ok(Self { scenario, text, threads, layout, population, judges, economy, models, round: 0, history })
    }

    fn without(&self, defence: Defence) -> bool {
        self.scenario.without.contains(&defence)
    }

    /// One window; returns the held-out loss after its step.
    fn window(&mut self, window: Window) -> f64 {
        self.population.register(window);
        let roster = self.population.roster();
        self.judges.iter_mut().for_each(|(gauntlet, _)| gauntlet.roster(&roster));
        let put_window = Duration::from_secs_f64(self.scenario.put_window_seconds);
        let schedule = Schedule { blocks_per_window: 7, put_window };
        let put = schedule.put_window(schedule.opening_block(window) * BLOCK_MS);
        let models = self.models.clone();
        let incentive = self.economy.incentive.clone();
        let layout = self.layout.clone();
        let run = *blake3::hash(&self.scenario.seed.to_le_bytes()).as_bytes();
        // Hashes of blocks: of the first after the window, and of the first after the put window.
        let block = |window: Window, n: u8| {
            *blake3::hash(&[run.as_slice(), &window.to_le_bytes(), &[n]].concat()).as_bytes()
        };
        let (lots, seed) = (block(window, 0), block(window, 1));
        let world = World {
            window,
            run,
            text: self.text,
            layout: &layout,
            sequences: self.scenario.sequences,
            micro_batch: self.scenario.micro_batch,
            last_seed: block(window.saturating_sub(1), 1),
            models: &models,
            put,
            incentive: &incentive,
        };
        let mut uploads = self.population.uploads(&world, self.threads);
        let rules = self.judges[0].0.config().clone();
        let last_step = self.scenario.outer.step(self.round.saturating_sub(1));
        let accepts =
            if self.without(Defence::PutWindow) { PutWindow { open_ms: 0, close_ms: u64::MAX } } else { put };
        let seen: Vec<Seen> = threads::each(&mut uploads, self.threads, |upload| {
            judge::stage1(upload, &world, accepts, &rules, last_step)
        });
        let mut accepted: Vec<&Seen> = seen.iter().filter(|seen| seen.object.is_some()).collect();
        let overlapping = judge::overlaps(&accepted, &world, &lots, &rules);
        let leader = self.leader();
        let hotkeys: Vec<Hotkey> = accepted.iter().map(|seen| seen.hotkey.clone()).collect();
        let set = self.judges[leader].0.aggregate_set_without(&hotkeys, &overlapping, rules.top_g, &lots);
        let set = match self.scenario.validators[leader].conduct {
            Conduct::Misleads => self.misled(&hotkeys, &set, rules.top_g),
            _ => set,
        };
        let chosen: BTreeMap<&Hotkey, &[_]> = accepted
            .iter()
            .filter(|seen| set.contains(&seen.hotkey))
            .filter_map(|seen| Some((&seen.hotkey, seen.tensors()?)))
            .collect();
        let norms = if self.without(Defence::NormClip) { Norms::AsSent } else { Norms::Equal };
        let step = self.scenario.outer.step(self.round);
        let tensors: Vec<_> = chosen.values().copied().collect();
        let signs = judge::step_of(&tensors, &world, norms);
        let judge = Judge::new(&world, &rules, step, &seed, chosen, norms);
        let measured = threads::each(&mut accepted, self.threads, |seen| judge.one(seen));
        let measured: BTreeMap<&Hotkey, Measured> =
            accepted.iter().zip(measured).filter_map(|(seen, m)| Some((&seen.hotkey, m?))).collect();

        let claims: BTreeMap<Hotkey, Claim> = match self.layout.audited() {
            Some(_) => seen.iter().filter_map(|seen| Some((seen.hotkey.clone(), seen.claim()?))).collect(),
            None => BTreeMap::new(),
        };
        let mut judges: Vec<_> = self.scenario.validators.iter().zip(&mut self.judges).collect();
        let records = threads::each(&mut judges, self.threads, |(spec, (gauntlet, luck))| {
            // Without bins there is time for everybody.
            let order = rules.bins.is_some().then(|| gauntlet.evaluation_order(&hotkeys, window, &seed));
            let has_turn = |hotkey| order.as_ref().is_none_or(|order| order.contains(hotkey));
            let looked_at = seen.iter().filter(|_| spec.misses == 0.0 || !luck.random_bool(spec.misses));
            let observations: Vec<Observation> = looked_at
                .map(|seen| Observation {
                    hotkey: seen.hotkey.clone(),
                    stage1: seen.stage1.clone(),
                    evidence: measured
                        .get(&seen.hotkey)
                        .filter(|_| has_turn(&seen.hotkey))
                        .map(|m| m.evidence.clone()),
                    aggregated: set.contains(&seen.hotkey),
                })
                .collect();
            // Windows ascend, so that there is no error.
            gauntlet.update_with(window, step, &observations, &overlapping, &claims).unwrap_or_default()
        });
        self.history.records(&records[leader], self.scenario.settle);
        let weights: Vec<_> = self.judges.iter().map(|(gauntlet, _)| gauntlet.weights()).collect();
        let friends: Vec<Uid> =
            self.population.members.iter().filter(|m| m.kind == super::Kind::Friend).map(|m| m.uid).collect();
        self.economy.set_weights(window, &weights, &friends);
        let registered: BTreeMap<Uid, Window> =
            self.population.members.iter().filter_map(|m| Some((m.uid, m.registered?))).collect();
        self.economy.epoch(window, &registered);
        let accounts = uploads.iter().zip(&seen).map(|(upload, seen)| Account {
            uid: upload.uid,
            pay: self.economy.incentive.get(&upload.uid).copied().unwrap_or(0.0),
            work: if seen.stage1.is_accepted() { upload.work } else { 0.0 },
            benefit: measured.get(&upload.hotkey).map_or(0.0, |m| m.benefit),
        });
        self.history.window(accounts.collect());

        if let Some(signs) = signs {
            let mut model = world.model(0).model.clone();
            model.apply(&signs, step);
            self.models.push(snapshot(model));
            self.round += 1;
        }
        let excess = self.models.len().saturating_sub(REMEMBERED);
        self.models.drain(..excess);
        let loss = self.models.last().map_or(f64::NAN, |m| m.table.loss_of(self.text.held_out()));
        self.history.losses.push(loss);
        loss
    }

    /// Whom a dishonest leader aggregates.
    fn misled(&self, hotkeys: &[Hotkey], set: &[Hotkey], most: usize) -> Vec<Hotkey> {
        let worthless = |hotkey: &Hotkey| self.population.class(hotkey) == Some(Class::Worthless);
        let mut others: Vec<Hotkey> =
            hotkeys.iter().filter(|hotkey| !set.contains(hotkey)).cloned().collect();
        others.sort_by_key(|hotkey| !worthless(hotkey));
        others.truncate(most);
        others
    }

    /// The validator with the highest stake.
    fn leader(&self) -> usize {
        let stakes = self.scenario.validators.iter().map(|v| v.stake);
        stakes.enumerate().max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0))).map_or(0, |(at, _)| at)
    }
}

fn snapshot(model: Bigram) -> Arc<Snapshot> {
    let table = model.probabilities();
    Arc::new(Snapshot { model, table })
}
