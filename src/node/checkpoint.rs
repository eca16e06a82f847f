//! The newest checkpoint of a run, for those who only look at its model.

use super::{Directory, Leader, NodeError, follow::document, publish::MODEL_FILE, replica};
use crate::{
    bucket::keys::RunKeys,
    manifest::ManifestFile,
    model::{Llama, parameter_count},
    round::CheckpointRecord,
    window::NetUid,
};
use tch::Device;

/// What a leader says about its newest checkpoint; `None` before there is one.
///
/// # Errors
/// [`NodeError`] where there is no leader, its word cannot be read, or it speaks of a window that has not come.
pub async fn newest_checkpoint(
    directory: &Directory,
    netuid: NetUid,
    manifest: &ManifestFile,
) -> Result<Option<CheckpointRecord>, NodeError> {
    let Leader { hotkey, store, .. } = directory.led(netuid)?;
    let run = hex::encode(manifest.hash());
    let record: Option<CheckpointRecord> =
        document(store, &keys(manifest).latest_checkpoint(), hotkey).await?;
    let record = record.filter(|record| record.run == run);
    // The leader may have seen a block more than this node.
    let now = manifest.parsed.schedule().window_of(directory.metagraph.block) + 1;
    match record {
        Some(CheckpointRecord { window, .. }) if window > now => Err(NodeError::BadCheckpoint { window }),
        record => Ok(record),
    }
}

/// The model of a checkpoint, which has the hash that its record names.
///
/// # Errors
/// [`NodeError::BadCheckpoint`] for another model; what the bucket or the disk says.
pub async fn fetch_checkpoint(
    directory: &Directory,
    netuid: NetUid,
    manifest: &ManifestFile,
    record: &CheckpointRecord,
    device: Device,
) -> Result<Llama, NodeError> {
    let Leader { store, .. } = directory.led(netuid)?;
    let config = manifest.parsed.model.clone();
    let most = 4 * parameter_count(&config) as u64 + (1 << 20);
    let key = keys(manifest).checkpoint(record.window, MODEL_FILE);
    let object = store.get(&key, most).await?;
    let (window, hash) = (record.window, record.model.clone());
    let load = move || {
        let file = replica::temporary(&object.bytes)?;
        let (model, _) = Llama::load(&config, file.path(), device)?;
        if hex::encode(model.hash()) == hash { Ok(model) } else { Err(NodeError::BadCheckpoint { window }) }
    };
    // Reading and hashing take a while: other tasks of the runtime go on.
    tokio::task::spawn_blocking(load).await.map_err(|_| NodeError::BadCheckpoint { window })?
}

fn keys(manifest: &ManifestFile) -> RunKeys {
    RunKeys::new(hex::encode(&manifest.hash()[..8]))
}
