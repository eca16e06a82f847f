//! Where the run began: by the leader's word; by another validator's, for a leader that came later; else a new run begins.

use super::{POLL, Role};
use templar::{
    node::{self, BucketCache, Clock, Directory, Identity, NodeError},
    round::RunStart,
};

/// How often validators that do not answer are asked whether the run has begun, before a new one does.
const TRIES: u32 = 30;

/// Finds out where the run began; the leader of a new run says so itself. Every validator says it again in its own bucket, so
/// that the run goes on when the leader is gone.
pub async fn begin(
    identity: &Identity,
    role: Role,
    clock: &Clock,
    buckets: &mut BucketCache,
    directory: &mut Directory,
) -> Result<RunStart, NodeError> {
    let mut tries = 0;
    loop {
        let leads = directory.leader().is_some_and(|n| n.hotkey == identity.account());
        let judges = role == Role::Validator;
        if let Some(start) = node::fetch_start(identity, directory).await? {
            if judges && !leads {
                node::publish_start(identity, &start).await?;
            }
            return Ok(start);
        }
        if judges && leads {
            // One whole window of notice, so that everyone is there when the first one opens.
            let next = clock.window() + 2;
            match node::fetch_start_elsewhere(identity, directory, next).await {
                Ok(Some(start)) => {
                    node::publish_start(identity, &start).await?;
                    tracing::info!(
                        window = start.start_window,
                        "this validator leads a run that others began"
                    );
                    return Ok(start);
                }
                Err(error) if tries < TRIES => {
                    tries += 1;
                    tracing::warn!(%error, "a validator of this run cannot be asked where it began; trying again");
                }
                Ok(None) | Err(_) => {
                    let (run, netuid) = (identity.run(), identity.netuid);
                    let start = RunStart { run, netuid, start_window: next };
                    node::publish_start(identity, &start).await?;
                    tracing::info!(window = start.start_window, "a new run begins");
                    return Ok(start);
                }
            }
        }
        tokio::time::sleep(POLL * 2).await;
        *directory = Directory::read(identity.chain.as_ref(), identity.netuid, buckets).await?;
    }
}
