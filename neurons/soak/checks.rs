//! What must be true after any trouble.

use super::{ALL, NETUID, VALIDATORS, World};
use std::{collections::BTreeMap, fs, path::Path, rc::Rc, time::Duration};
use templar::{
    bucket::Store,
    chain::Chain,
    gauntlet::{Gauntlet, ScoreRecord},
    round::{self, RunStart, SignedRound, SyncRecord},
    telemetry::score_log,
    wallet::verify,
    window::{Uid, Window},
};

/// Times that sizes are measured.
const LOOKS: u64 = 20;
/// From this many windows on everything that is thrown away has been thrown away once.
const SETTLED: u64 = 1500;

/// How large everything is.
#[derive(Debug)]
pub struct Sizes {
    window: Window,
    /// Memory of this process, without what is in the buckets, in KiB.
    memory: u64,
    /// Files in all folders, but for the text's.
    files: u64,
    /// Objects in all buckets, by family.
    objects: BTreeMap<String, u64>,
}

/// Measures now and then, until the task is waited for at the end.
pub async fn watch_sizes(world: Rc<World>, windows: u64) -> Vec<Sizes> {
    let mut looks = Vec::new();
    for look in 1..=LOOKS {
        let at = windows * look / LOOKS;
        while world.window() < at {
            tokio::time::sleep(Duration::from_millis(world.window_ms())).await;
        }
        let sizes = Sizes::of(&world).await;
        if windows >= SETTLED {
            eprintln!("{sizes:?}");
        }
        looks.push(sizes);
    }
    looks
}

impl Sizes {
    async fn of(world: &World) -> Self {
        let (mut objects, mut bytes) = (BTreeMap::<String, u64>::new(), 0);
        for bucket in &world.buckets {
            for key in bucket.list("", usize::MAX).await.unwrap() {
                bytes += 200 + bucket.head(&key).await.unwrap().map_or(0, |info| info.size);
                let parts: Vec<&str> = key.split('/').collect();
                let family = match parts.as_slice() {
                    // A record, beside the copies.
                    [_, "round", _] => "record",
                    [_, family, ..] => family,
                    other => other[0],
                };
                *objects.entry(family.to_owned()).or_default() += 1;
            }
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
        let resident: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
        let files = (0..ALL).map(|who| files(&world.folder(who))).sum();
        Self { window: world.window(), memory: resident.saturating_sub(bytes >> 10), files, objects }
    }
}

fn files(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let of = |path: &Path| if path.is_dir() { files(path) } else { 1 };
    entries.flatten().map(|entry| of(&entry.path())).sum()
}

/// Nothing grows but what is kept for good: records, scores and losses.
pub fn sizes(looks: Vec<Sizes>) {
    let Some(early) = looks.iter().find(|look| look.window >= SETTLED) else { return };
    let last = looks.last().unwrap();
    assert!(last.memory <= early.memory * 5 / 4 + (64 << 10), "{early:?}, then {last:?}");
    assert!(last.files <= early.files * 3 / 2 + 20, "{early:?}, then {last:?}");
    for (family, count) in
        last.objects.iter().filter(|(family, _)| !["record", "scores", "losses"].contains(&family.as_str()))
    {
        let before = early.objects.get(family).copied().unwrap_or_default();
        assert!(*count <= before * 3 / 2 + 20, "{family}: {early:?}, then {last:?}");
    }
}

/// One model, every window scored once by each, nothing null that had a round, weights on chain as the state has them.
pub async fn everybody(world: &World, windows: u64) {
    let keys = templar::bucket::keys::RunKeys::new(world.manifest.run_id());
    let accounts: Vec<_> = world.keys.iter().map(|key| key.account()).collect();
    let object = async |who: usize, key: &str| world.buckets[who].get(key, 1 << 24).await.unwrap().bytes;
    let start: RunStart = round::open(&object(0, &keys.start()).await, &accounts[0]).unwrap();
    let last = world.last_window(start.start_window);

    let mut models = BTreeMap::new();
    for (who, account) in accounts.iter().enumerate() {
        let sync: SyncRecord = round::open(&object(who, &keys.sync(last)).await, account).unwrap();
        models.entry((sync.round, sync.model)).or_insert_with(Vec::new).push(World::name(who));
    }
    assert_eq!(models.len(), 1, "{models:?}");

    // The records of the run, back from the last one.
    let mut records: BTreeMap<Window, Vec<SignedRound>> = BTreeMap::new();
    for window in start.start_window..=last {
        for bucket in &world.buckets[..VALIDATORS] {
            if let Ok(object) = bucket.get(&keys.round(window), 1 << 20).await {
                let signed = SignedRound::open(object.bytes).unwrap();
                let known = records.entry(window).or_default();
                if !known.iter().any(|other| other.hash == signed.hash) {
                    known.push(signed);
                }
            }
        }
    }
    let (steps, _) = models.keys().next().unwrap();
    let mut run: BTreeMap<Window, SignedRound> = BTreeMap::new();
    let after = |signed: &SignedRound| signed.record.round + u64::from(!signed.record.accepted.is_empty());
    let (_, newest) = records.iter().next_back().unwrap();
    let mut next = newest.iter().find(|signed| after(signed) == *steps).cloned();
    while let Some(signed) = next {
        let (window, previous) = (signed.record.window, signed.record.previous.clone());
        let before = records.range(..window).rev().flat_map(|(_, signed)| signed);
        next = before.into_iter().find(|signed| Some(&signed.hash) == previous.as_ref()).cloned();
        assert!(next.is_some() || previous.is_none(), "the record before that of window {window} is nowhere");
        run.insert(window, signed);
    }
    let first = run.values().next().unwrap();
    assert_eq!(first.record.round, 0, "the records lead back to the beginning");
    let null = |window: Window| run.get(&window).is_none_or(|signed| signed.record.null.is_some());
    let nulls = (start.start_window..=last).filter(|window| null(*window)).count();
    let steps_by = |who: usize| run.values().filter(|signed| signed.record.by == accounts[who]).count();
    println!(
        "{nulls} of {windows} windows null, {steps} steps; decided: {:?}",
        (0..VALIDATORS).map(steps_by).collect::<Vec<_>>()
    );

    let history =
        world.chain.weights_history(NETUID, 0, world.chain.head().await.unwrap().number, None).await.unwrap();
    for (who, account) in accounts.iter().enumerate().take(VALIDATORS) {
        let folder = world.folder(who).join(world.manifest.run_id());
        let folder = if folder.is_dir() { folder } else { world.folder(who) };
        let text = fs::read_to_string(folder.join("scores.jsonl")).unwrap();
        // The reader refuses a window that comes twice.
        let log = score_log::read(&text, verify).unwrap();
        let (mut scored, mut odd, mut unseen) = (0, Vec::new(), Vec::new());
        for entry in &log {
            let window = entry.closing.closes;
            scored += u64::from(!entry.records.is_empty());
            match (entry.records.is_empty(), null(window)) {
                (false, true) => odd.push(window),
                (true, false) => unseen.push(window),
                _ => {}
            }
        }
        let name = World::name(who);
        if world.manifest.parsed.gauntlet.audit.is_some() {
            declared(log.iter().flat_map(|entry| &entry.records));
        }
        println!(
            "{name}: {} windows settled, {scored} scored, {} that the run has as null, {} not scored that it has",
            log.len(),
            odd.len(),
            unseen.len()
        );
        // A log is signed when its window ends. Where the round could not be read by then the window was taken for null, and where half of
        // the run did not see a round in time the other half has scored a window that the run then passed over.
        let otherwise = (odd.len() + unseen.len()) as u64;
        assert!(otherwise <= 1 + windows / 1000, "{name}: scored {odd:?}, not scored {unseen:?}");

        let saved: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.join("validator.json")).unwrap()).unwrap();
        let gauntlet: Gauntlet = serde_json::from_value(saved["gauntlet"].clone()).unwrap();
        let on_chain = history.iter().rev().find(|setting| setting.hotkey == *account).unwrap();
        let above = |weights: &[(Uid, u16)]| -> Vec<(Uid, u16)> {
            weights.iter().filter(|(_, w)| *w > 0).copied().collect()
        };
        if log.last().is_some_and(|entry| entry.closing.closes == last && !entry.records.is_empty()) {
            assert_eq!(above(&on_chain.weights), above(&gauntlet.weights()), "{name}");
        }
        let paid: Vec<u16> = (VALIDATORS..ALL)
            .map(|uid| on_chain.weights.iter().find(|(of, _)| usize::from(*of) == uid).map_or(0, |(_, w)| *w))
            .collect();
        println!("{name} pays {paid:?}");
    }
}

/// Every audit of declared work agreed, because all is honest here.
fn declared<'a>(records: impl Iterator<Item = &'a ScoreRecord>) {
    let mut audits = 0;
    for record in records {
        let Some(judged) = &record.judged else { continue };
        let whole = judged.claimed as f64 / judged.usual as f64;
        assert!(!record.audits.is_empty(), "{record:?}");
        assert!(record.audits.iter().all(|distance| *distance < 0.01), "{record:?}");
        // So small a model makes objects that are taken for copies, and a copy is no work.
        let copy = record.overlap.iter().any(|overlap| overlap.copy);
        assert!(
            judged.work == Some(if copy { 0.0 } else { whole }) && record.proof.work.is_some(),
            "{record:?}"
        );
        audits += record.audits.len();
    }
    assert!(audits > 0);
}
