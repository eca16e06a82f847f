//! The model as it was before a window, for those who look back.

use super::{
    Directory, FollowOutcome, Following, Identity, Leader, NodeError, Replica, fetch_round, follow,
    publish::MODEL_FILE, sources::Sources,
};
use crate::{
    bucket::{Store, keys::Key},
    gradient::PseudoGradient,
    round::Accepted,
    window::Window,
};

/// Keys of checkpoints that are listed at once.
const PAGE: usize = 1000;

/// Moves a model to where it stood before the step of `window`: from where it is if that is not too far,
/// else from `fresh`, the model before the run's first step, or a checkpoint before the window.
///
/// A checkpoint counts if its hash is the one that the leader's signed record of the window after it names.
///
/// # Errors
/// Those of [`follow`]; [`NodeError::NoRound`] where the leader has no record of a window before this one.
pub async fn replay_before(
    identity: &Identity,
    directory: &Directory,
    replica: &mut Replica,
    window: Window,
) -> Result<(), NodeError> {
    let target = window.saturating_sub(1);
    // One step is as good as a checkpoint, and checks more.
    if target > replica.window + 1 {
        load_checkpoint(identity, directory, replica, target).await?;
    }
    match follow(identity, directory, replica, target).await? {
        FollowOutcome::Reached => Ok(()),
        FollowOutcome::Waiting(window) => Err(NodeError::NoRound { window }),
    }
}

/// The newest checkpoint that is ahead of the model and not beyond `target`. A damaged one is passed over:
/// replaying from an earlier state gives the same model.
async fn load_checkpoint(
    identity: &Identity,
    directory: &Directory,
    replica: &mut Replica,
    target: Window,
) -> Result<(), NodeError> {
    let Leader { store, .. } = directory.led(identity.netuid)?;
    let mut windows = checkpoints(identity, store, replica.window + 1, target).await?;
    while let Some(window) = windows.pop() {
        // The record after it says what the model must be; at the newest end there may be none yet.
        let Some(record) = fetch_round(identity, directory, window + 1).await? else { continue };
        if record.run != identity.run() || record.netuid != identity.netuid || record.window != window + 1 {
            continue;
        }
        let key = identity.keys().checkpoint(window, MODEL_FILE);
        let loaded = match store.get(&key, replica.max_checkpoint_bytes()).await {
            Ok(object) => replica.load(&object.bytes, window, record.round, &record.model),
            Err(error) if error.is_transient() => return Err(error.into()),
            Err(error) => Err(error.into()),
        };
        match loaded {
            Ok(()) => {
                tracing::info!(window, "model loaded from a checkpoint of the leader");
                return Ok(());
            }
            Err(error) => tracing::warn!(window, %error, "the checkpoint is not used"),
        }
    }
    Ok(())
}

/// The windows from `from` to `to` that have a checkpoint, ascending.
async fn checkpoints(
    identity: &Identity,
    store: &dyn Store,
    from: Window,
    to: Window,
) -> Result<Vec<Window>, NodeError> {
    let keys = identity.keys();
    let (prefix, mut after) = (keys.prefix("checkpoint"), keys.before("checkpoint", from));
    let mut windows = Vec::new();
    loop {
        let page = store.list_after(&prefix, &after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(windows) };
        for key in &page {
            match keys.parse(key) {
                Some(Key::Checkpoint { window, .. }) if window > to => return Ok(windows),
                Some(Key::Checkpoint { window, file }) if file == MODEL_FILE => windows.push(window),
                _ => {}
            }
        }
        after = last.clone();
    }
}

/// One pseudo-gradient of a round with its digest as the leader's record has it: from its peer, else the
/// copy of the leader or another validator.
///
/// # Errors
/// [`NodeError::Missing`] if nobody has it any more.
pub async fn fetch_round_object(
    identity: &Identity,
    directory: &Directory,
    replica: &Replica,
    window: Window,
    accepted: &Accepted,
) -> Result<PseudoGradient, NodeError> {
    let sources = Sources::new(identity, directory, replica, &Following::default())?;
    Ok(sources.payload(window, accepted).await?.0)
}
