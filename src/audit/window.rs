//! One window, done again.

use super::{
    AuditError, Auditor, Bench, Difference, Outcome, WindowReport,
    compare::{first_difference, names},
    objects::Found,
    roster::peers,
};
use crate::{
    gauntlet::{Gauntlet, Hotkey, ScoreRecord},
    node::{
        Assignments, Directory, NodeError, StateRecord, View, fetch_round,
        gather::Spool,
        window::{DecidingBlocks, OpenWindow, block_hash},
    },
    telemetry::score_log::LoggedWindow,
    window::{Uid, Window},
};
use serde_json::Value;
use std::collections::BTreeSet;

/// What a window's weights are compared by.
type Weights = Vec<(Uid, u16)>;

impl Auditor {
    /// Repeats one window. Gives the weights after it where it is the same.
    pub(super) async fn window(
        &mut self,
        bench: &mut Option<Bench>,
        window: Window,
        logged: &LoggedWindow,
    ) -> Result<(WindowReport, Option<Weights>), AuditError> {
        let records = &logged.records;
        let not_checked =
            |why: &str| Ok((WindowReport::not_checked(window, records.len(), why.to_owned()), None));
        let mut notes = Vec::new();
        if records.is_empty() {
            return self.null(window).await.map(|report| (report, None));
        }
        let Some(after) = self.state(window).await? else {
            return not_checked("the validator published no state of this window");
        };
        let before = match after.previous {
            None => {
                if window != self.start.start_window {
                    notes.push("the validator began here, with an empty state".to_owned());
                }
                Gauntlet::new(&self.identity.manifest.parsed.gauntlet)
            }
            Some(previous) => match self.state(previous).await?.filter(|_| previous < window) {
                Some(state) => state.gauntlet,
                None => return not_checked("the validator's state before this window is not there any more"),
            },
        };
        let schedule = self.identity.manifest.parsed.schedule();
        let blocks = DecidingBlocks::find(&mut self.clock, &schedule, window).await?;
        let put = blocks.put;
        let chain = self.identity.chain.clone();
        let directory = Directory::read_at(
            chain.as_ref(),
            self.identity.netuid,
            Some(blocks.evaluation),
            &mut self.buckets,
        )
        .await?;
        let bench = self.bench(bench, &directory, window).await?;
        let round = fetch_round(&directory, &self.identity.manifest, window).await?;
        let round = round.ok_or(NodeError::NoRound { window })?.record;
        bench.replica.check(&round)?;

        let mut assignments = Assignments::new(self.start.start_window);
        assignments.learn(&self.identity, window).await?;
        // An audit has time, and whoever audits has a machine for a model: it keeps what it read.
        let spool = Spool::default();
        let view = View {
            identity: &self.identity,
            directory: &directory,
            replica: &bench.replica,
            corpus: &self.corpus,
            assignments: &assignments,
            device: self.device,
            spool: &spool,
        };
        let found = match self.objects(&view, window, &put, &round, records).await? {
            Ok(found) => found,
            Err(why) => return not_checked(&why),
        };
        let Found { gathered, notes: taken } = found;
        notes.extend(taken);
        let mut gauntlet = before;
        let (mut judged, mut difference) = (0, self.rules(&gauntlet, &after));
        if difference.is_none() {
            difference = self.roster(&directory, &after, &blocks, window).await?;
        }
        if difference.is_none() {
            gauntlet.roster(&peers(&after.gauntlet));
            // The choice was made before the window was scored.
            let lots = block_hash(chain.as_ref(), blocks.lots).await?;
            let open = OpenWindow::new(&view, window, &gathered, lots)?;
            let choice = self.round(&directory, &open.choose(&gauntlet), &round);
            let seed = block_hash(chain.as_ref(), blocks.evaluation).await?;
            let chosen: BTreeSet<Hotkey> = round.accepted.into_iter().map(|a| a.hotkey).collect();
            let accepted = gathered.hotkeys();
            notes.extend(self.not_judged(records));
            let wanted = records.iter().filter(|record| was_judged(record, &accepted));
            let order: Vec<Hotkey> = wanted.map(|record| record.hotkey.clone()).collect();
            let measured =
                open.measure(&mut bench.judge, &view, &chosen, &seed, &order, async |_| true).await?;
            judged = measured.evidence.len();
            let again = open.score(&mut gauntlet, &chosen, measured).map_err(NodeError::from)?;
            difference =
                self.records(logged, &again).or(choice).or_else(|| self.state_differs(&after, &gauntlet));
        }
        let outcome = if difference.is_some() { Outcome::Differs } else { Outcome::Same };
        let weights = difference.is_none().then(|| gauntlet.weights());
        Ok((WindowReport { window, outcome, records: records.len(), judged, notes, difference }, weights))
    }

    /// A window of which the validator has written down that nobody is scored: there is no record of a round, or one that says so.
    async fn null(&mut self, window: Window) -> Result<WindowReport, AuditError> {
        let (chain, netuid) = (self.identity.chain.clone(), self.identity.netuid);
        let directory = Directory::read(chain.as_ref(), netuid, &mut self.buckets).await?;
        let round = fetch_round(&directory, &self.identity.manifest, window).await?;
        let why = match round.map(|signed| signed.record.null) {
            None => "nobody has decided it".to_owned(),
            Some(Some(null)) => null.describe().to_owned(),
            Some(None) => {
                let why = "the validator scored nobody, although there is a round".to_owned();
                return Ok(WindowReport::not_checked(window, 0, why));
            }
        };
        Ok(WindowReport { outcome: Outcome::Null, ..WindowReport::not_checked(window, 0, why) })
    }

    /// The state that the validator published after a window, if it is one of this run.
    pub(super) async fn state(&self, window: Window) -> Result<Option<StateRecord>, AuditError> {
        let state = self.scores.state(window).await?;
        Ok(state.filter(|state| {
            state.run == self.identity.run() && state.netuid == self.identity.netuid && state.window == window
        }))
    }

    /// Peers whose objects counted and that the validator has not judged, which costs them nothing and brings them nothing: time may have been up,
    /// but nobody else can know. A validator that never judges some of its peers shows it here.
    fn not_judged(&self, records: &[ScoreRecord]) -> Option<String> {
        // With bins most are left out by rule.
        let by_rule = self.identity.manifest.parsed.gauntlet.bins.is_some();
        let left_out = |record: &&ScoreRecord| record.stage1.is_accepted() && record.judged.is_none();
        let uids: Vec<String> =
            records.iter().filter(left_out).map(|record| record.uid.to_string()).collect();
        (!by_rule && !uids.is_empty()).then(|| format!("accepted and not judged: UID {}", uids.join(", ")))
    }

    /// Compares the log with the records that came out, line by line and then field by field. What was found
    /// of one peer is behind what was computed of others: the first field in the order of the computation
    /// counts, whichever peer's it is.
    fn records(&self, logged: &LoggedWindow, again: &[ScoreRecord]) -> Option<Difference> {
        let window = logged.closing.closes;
        let lines = logged.text.lines().take(logged.records.len());
        let fields = lines.zip(&logged.records).zip(again).filter_map(|((line, theirs), ours)| {
            let text = serde_json::to_string(ours).unwrap_or_default();
            if line == text {
                return None;
            }
            let value = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
            let field = first_difference(&value(line), &value(&text), &names(&text), self.tolerance)?;
            Some((theirs, field))
        });
        let first = fields.min_by_key(|(_, field)| field.place).map(|(record, field)| Difference {
            window,
            uid: Some(record.uid),
            hotkey: Some(record.hotkey.clone()),
            field: field.path,
            logged: field.logged,
            recomputed: field.again,
        });
        let missing = || Difference {
            window,
            uid: None,
            hotkey: None,
            field: "records".to_owned(),
            logged: logged.records.len().to_string(),
            recomputed: again.len().to_string(),
        };
        first.or_else(|| (logged.records.len() != again.len()).then(missing))
    }

    fn state_differs(&self, after: &StateRecord, again: &Gauntlet) -> Option<Difference> {
        let value = |gauntlet: &Gauntlet| serde_json::to_value(gauntlet).unwrap_or_default();
        let found = first_difference(&value(&after.gauntlet), &value(again), &[], self.tolerance)?;
        let peer = again.peers().find(|(hotkey, _)| found.path.contains(&hotkey.to_string()));
        Some(Difference {
            window: after.window,
            uid: peer.map(|(_, state)| state.uid),
            hotkey: peer.map(|(hotkey, _)| hotkey.clone()),
            field: format!("state.{}", found.path),
            logged: found.logged,
            recomputed: found.again,
        })
    }
}

/// Whether the validator measured this peer. One whose losses made no sense is malformed in the log, and
/// accepted by stage 1.
fn was_judged(record: &ScoreRecord, accepted: &[Hotkey]) -> bool {
    let measured = record.judged.is_some() || !record.stage1.is_accepted();
    measured && accepted.contains(&record.hotkey)
}
