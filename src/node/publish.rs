//! What a node writes into its own bucket.

use super::{Identity, NodeError};
use crate::round::{self, Document};

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
