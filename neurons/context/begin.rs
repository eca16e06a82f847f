//! Where the run began: by the word of its validators. A new one begins only where that was asked for.

use super::{POLL, Role};
use templar::{
    node::{self, BucketCache, Clock, Directory, Identity, NodeError},
    round::RunStart,
};

/// How often validators that do not answer are asked whether the run has begun, before a new one does.
const TRIES: u32 = 30;

/// Finds out where the run began. Every validator says it again in its own bucket, so that the run goes on whoever is gone.
/// With `new_run` the validator with the highest stake begins it, if nobody has.
pub async fn begin(
    identity: &Identity,
    role: Role,
    new_run: bool,
    clock: &Clock,
    buckets: &mut BucketCache,
    directory: &mut Directory,
) -> Result<RunStart, NodeError> {
    let (mut tries, mut told) = (0, false);
    loop {
        let first = directory.leader(&identity.manifest.hash());
        let first = first.is_ok_and(|leader| *leader.hotkey == identity.account());
        match node::fetch_start(directory, &identity.manifest).await {
            Ok(Some(start)) => {
                if role == Role::Validator {
                    node::persist(async || node::publish_start(identity, &start).await).await?;
                }
                return Ok(start);
            }
            Err(error) if error.is_transient() && tries < TRIES => {
                tries += 1;
                tracing::warn!(%error, "a validator of this run cannot be asked where it began; trying again");
            }
            Err(error) if !error.is_transient() => return Err(error),
            _ if new_run && first => {
                // One whole window of notice, so that everyone is there when the first one opens.
                let (run, netuid) = (identity.run(), identity.netuid);
                let start = RunStart { run, netuid, start_window: clock.window() + 2 };
                node::persist(async || node::publish_start(identity, &start).await).await?;
                tracing::info!(window = start.start_window, "a new run begins");
                return Ok(start);
            }
            _ if !std::mem::replace(&mut told, true) => {
                tracing::info!(
                    "nobody has begun this run yet: its validator with the highest stake does so with --new-run; waiting"
                );
            }
            _ => {}
        }
        tokio::time::sleep(POLL * 2).await;
        let chain = identity.chain.as_ref();
        *directory = node::persist(async || Directory::read(chain, identity.netuid, buckets).await).await?;
    }
}
