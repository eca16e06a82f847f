//! The model as it was before a window, for those who look back.

use super::{
    Directory, FollowOutcome, Following, Identity, NodeError, Replica, checkpoint::Checkpoints, follow,
    sources::Sources,
};
use crate::{gradient::PseudoGradient, round::Accepted, window::Window};

/// Moves a model to where it stood before the step of `window`: from where it is if that is not too far,
/// else from `fresh`, the model before the run's first step, or a checkpoint before the window.
///
/// A checkpoint counts if its hash is the one that the leader's signed record of the window after it names.
///
/// # Errors
/// Those of [`follow`]; [`NodeError::NoRound`] where nobody has the record of a window before this one, which was not null.
pub async fn replay_before(
    identity: &Identity,
    directory: &Directory,
    replica: &mut Replica,
    window: Window,
) -> Result<(), NodeError> {
    let target = window.saturating_sub(1);
    // One step is as good as a checkpoint, and checks more.
    if target > replica.window + 1 {
        Checkpoints::new(directory, identity.netuid, &identity.manifest)?
            .load_before(replica, target)
            .await?;
    }
    match follow(identity, directory, replica, target).await? {
        FollowOutcome::Reached => Ok(()),
        FollowOutcome::Waiting(missing) => {
            // They were null, if the record of this window follows on what is here.
            let next = super::fetch_round(directory, &identity.manifest, window).await?;
            if next.is_none_or(|next| replica.check(&next.record).is_err()) {
                return Err(NodeError::NoRound { window: missing });
            }
            replica.skip_to(target);
            Ok(())
        }
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
