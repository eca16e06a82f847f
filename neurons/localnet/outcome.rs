//! What a localnet leaves behind: report, loss curve, score log.

use super::{
    plan::{Kind, Neuron, Plan},
    watch::furthest,
};
use crate::{
    cli::{Exit, Failure},
    validator::losses::LossObject,
};
use std::collections::BTreeMap;
use templar::{
    bucket::{Store, keys::RunKeys},
    chain::Chain,
    gauntlet::ScoreRecord,
    report::{LossPoint, PeerReport, Report, WeightsOnChain},
    round::{self, MAX_DOCUMENT_BYTES, SyncRecord},
    telemetry::{files::write_atomic, score_log},
    wallet::{AccountId, verify},
};

/// Longest score log of a window, and longest progress object, in bytes.
const MAX_BYTES: u64 = 4 << 20;
/// Objects of a loss curve that are read.
const MOST_OBJECTS: usize = 1000;

/// Reads the outcome back from the chain and the buckets, as anyone could.
pub async fn read(chain: &dyn Chain, plan: &Plan) -> Result<Report, Failure> {
    let keys = RunKeys::new(plan.manifest.run_id());
    let (validator, progress) = furthest(plan).await?.ok_or_else(|| {
        Failure::new(Exit::Data, "no validator has said where it is")
            .hint("look at the logs of the validators")
    })?;
    let bucket = plan.bucket(validator)?;
    // Of a null window there are none: those before it stand.
    let mut scores = BTreeMap::new();
    let losses = losses(bucket.as_ref(), &keys).await?;
    let first = losses.iter().map(|point| point.window).min().unwrap_or(progress.window);
    for window in (first..=progress.window).rev() {
        let Ok(log) = bucket.get(&keys.scores(window), MAX_BYTES).await else { continue };
        scores = scores_of(&log.bytes, &validator.account())?;
        if !scores.is_empty() {
            break;
        }
    }
    let metagraph = chain.metagraph(plan.netuid, None).await?;

    let mut peers = Vec::new();
    let mut model_hash = BTreeMap::new();
    for neuron in &plan.neurons {
        let account = neuron.account();
        let Some(on_chain) = metagraph.neuron(&account) else { continue };
        let score = scores.get(&on_chain.uid);
        peers.push(PeerReport {
            uid: on_chain.uid,
            hotkey: account.clone(),
            role: if neuron.kind == Kind::Validator { "validator" } else { "miner" }.to_owned(),
            kind: neuron.kind.name().to_owned(),
            mu: score.map(|s| s.rating.mu),
            sigma: score.map(|s| s.rating.sigma),
            score: score.map_or(0.0, |s| s.score),
            weight: score.map_or(0, |s| s.weight),
            incentive: f64::from(on_chain.incentive) / 65535.0,
        });
        if let Some(sync) = last_sync(plan, neuron, progress.window).await? {
            model_hash.insert(account, sync.model);
        }
    }
    peers.sort_by_key(|p| p.uid);
    let head = chain.head().await?.number;
    let history = chain.weights_history(plan.netuid, 0, head, None).await?;
    Ok(Report {
        windows: losses.len() as u64,
        loss: losses,
        peers,
        model_hash,
        weights_on_chain: history
            .into_iter()
            .map(|s| WeightsOnChain { block: s.block, validator_uid: s.validator_uid, weights: s.weights })
            .collect(),
    })
}

/// The loss curve that a validator has published.
async fn losses(bucket: &dyn Store, keys: &RunKeys) -> Result<Vec<LossPoint>, Failure> {
    let mut losses = Vec::new();
    for key in bucket.list(&keys.prefix("losses"), MOST_OBJECTS).await? {
        let object = bucket.get(&key, MAX_BYTES).await?;
        let object: LossObject = serde_json::from_slice(&object.bytes)
            .map_err(|e| Failure::new(Exit::Data, format!("the loss curve `{key}` is unreadable: {e}")))?;
        losses.extend(object.losses);
    }
    Ok(losses)
}

/// The records of a window's score log, by UID, after checking whose log it is.
fn scores_of(log: &[u8], validator: &AccountId) -> Result<BTreeMap<u16, ScoreRecord>, Failure> {
    let windows = score_log::read(&String::from_utf8_lossy(log), verify)?;
    let own = windows.into_iter().filter(|window| window.closing.validator == *validator);
    Ok(own.flat_map(|window| window.records).map(|record| (record.uid, record)).collect())
}

/// Where a neuron says its model stands after the run's last window.
async fn last_sync(plan: &Plan, neuron: &Neuron, window: u64) -> Result<Option<SyncRecord>, Failure> {
    let store = plan.bucket(neuron)?;
    match store.get(&RunKeys::new(plan.manifest.run_id()).sync(window), MAX_DOCUMENT_BYTES).await {
        Ok(object) => round::open(&object.bytes, &neuron.account()).map(Some).map_err(Failure::from),
        Err(error) => {
            tracing::warn!(name = neuron.name, %error, "no sync record of the last window");
            Ok(None)
        }
    }
}

/// Writes the report, the losses and the curves into the localnet's folder, and puts the score log of
/// the validator that is furthest beside them.
pub async fn write(plan: &Plan, report: &Report) -> Result<(), Failure> {
    let validator = furthest(plan).await?.map(|(validator, _)| validator).ok_or_else(|| {
        Failure::new(Exit::Data, "no validator has said where it is")
            .hint("look at the logs of the validators")
    })?;
    let state = plan.dir.join("state").join(&validator.name).join(plan.manifest.run_id());
    let text = std::fs::read_to_string(state.join("scores.jsonl"))
        .map_err(|e| Failure::new(Exit::Storage, format!("cannot read the validator's score log: {e}")))?;
    let windows = score_log::read(&text, verify)?;
    let records: Vec<ScoreRecord> = windows.into_iter().flat_map(|window| window.records).collect();
    report.write(&plan.dir, &records)?;
    write_atomic(&plan.dir.join("scores.jsonl"), text.as_bytes())
        .map_err(|e| Failure::new(Exit::Storage, format!("cannot write the score log: {e}")))
}
