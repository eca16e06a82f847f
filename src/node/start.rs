//! Where a run began: every validator of the run says it in its own bucket.

use super::{Identity, NodeError, publish_document};
use crate::round::RunStart;

/// Says in this node's bucket where the run began, and with which manifest.
///
/// # Errors
/// What the bucket says.
pub async fn publish_start(identity: &Identity, start: &RunStart) -> Result<(), NodeError> {
    let keys = identity.keys();
    let text = identity.manifest.text.clone().into_bytes();
    identity.bucket.put(&keys.manifest(), text.into()).await?;
    publish_document(identity, &keys.start(), start).await
}
