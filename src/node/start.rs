//! Where a run began, and who led it: what a validator needs that leads on.

use super::{Directory, Identity, NodeError, follow::document, publish_document};
use crate::{
    round::RunStart,
    wallet::AccountId,
    window::{Block, Window},
};

/// Where the run began, by the word of the validator with the highest stake that says so; for a leader that has nothing to say
/// itself. A first window after `next`, the first of a run that would begin now, is nobody's.
///
/// # Errors
/// Where nobody says so, and a validator of the run could not be asked for the moment.
pub async fn fetch_start_elsewhere(
    identity: &Identity,
    directory: &Directory,
    next: Window,
) -> Result<Option<RunStart>, NodeError> {
    let (run, me) = (identity.run(), identity.account());
    let mut unheard = None;
    for (hotkey, store) in directory.validators(&identity.manifest.hash()) {
        if hotkey == me {
            continue;
        }
        match document::<RunStart>(store.as_ref(), &identity.keys().start(), &hotkey).await {
            Ok(Some(start))
                if start.run == run
                    && start.netuid == identity.netuid
                    && (1..=next).contains(&start.start_window) =>
            {
                return Ok(Some(start));
            }
            Ok(_) => {}
            Err(error) if error.is_transient() => unheard = Some(error),
            Err(error) => tracing::debug!(%hotkey, %error, "no usable start of the run"),
        }
    }
    unheard.map_or(Ok(None), Err)
}

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

/// Who led at a block; none where there was nobody, or the chain does not remember.
pub async fn leader_at(identity: &Identity, block: Block) -> Option<AccountId> {
    match identity.chain.metagraph(identity.netuid, Some(block)).await {
        Ok(metagraph) => metagraph.leader().map(|neuron| neuron.hotkey.clone()),
        Err(error) => {
            tracing::debug!(block, %error, "nobody can say who led at this block");
            None
        }
    }
}
