//! What a node writes into its own bucket.

use super::{Identity, NodeError, Replica};
use crate::round::{self, CheckpointRecord, Document};

/// The model's file in a checkpoint.
pub const MODEL_FILE: &str = "model.safetensors";

/// Signs a document and writes it under a key of the node's bucket.
pub async fn publish_document<D: Document>(
    identity: &Identity,
    key: &str,
    document: &D,
) -> Result<(), NodeError> {
    let bytes = round::sign(document, &identity.hotkey)?;
    identity.bucket.put(key, bytes.into()).await?;
    Ok(())
}

/// Writes the model, and only then the sidecar that makes it the newest checkpoint.
pub async fn publish_checkpoint(identity: &Identity, replica: &Replica) -> Result<(), NodeError> {
    let bytes = replica.to_bytes()?;
    let record = CheckpointRecord {
        run: identity.run(),
        window: replica.window,
        round: replica.round,
        model: replica.hash.clone(),
        bytes: bytes.len() as u64,
    };
    let keys = identity.keys();
    identity.bucket.put(&keys.checkpoint(replica.window, MODEL_FILE), bytes.into()).await?;
    publish_document(identity, &keys.latest_checkpoint(), &record).await
}
