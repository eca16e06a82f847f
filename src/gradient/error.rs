//! Why a pseudo-gradient is refused.

use crate::window::{NetUid, Uid, Window};
use templar_codec::wire::WireError;

/// Why a pseudo-gradient is refused, or cannot be written.
///
/// Names of tensors are ours, never the sender's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum GradientError {
    #[error("the pseudo-gradient has {bytes} bytes; this run allows {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("the pseudo-gradient ends after {bytes} bytes; its header promises {promised}")]
    Truncated { bytes: usize, promised: u64 },
    #[error("the pseudo-gradient has {bytes} bytes; its header accounts for {promised}")]
    TrailingBytes { bytes: usize, promised: u64 },
    #[error("the pseudo-gradient's header has {bytes} bytes; this run allows {limit}")]
    HeaderTooLarge { bytes: u64, limit: usize },
    #[error("the pseudo-gradient's header cannot be read: {problem}")]
    Header { problem: String },
    #[error("the pseudo-gradient has format version {found}; this program reads version {expected}")]
    Version { found: u32, expected: u32 },
    #[error("the pseudo-gradient has no tensor {name}")]
    MissingTensor { name: String },
    #[error("the pseudo-gradient has a tensor that is not the model's, or has one twice")]
    ExtraTensor,
    #[error("the tensor {name} is not a vector of bytes that follows the one before it")]
    Blob { name: String },
    #[error("the tensor {name}: {problem}")]
    Tensor { name: String, problem: WireError },
    #[error("the pseudo-gradient has {found} exponents; this run's model has {expected} tensors")]
    ExponentCount { found: usize, expected: usize },
    #[error("the pseudo-gradient shows {found} values of its model; this run asks for {expected}")]
    SampleCount { found: usize, expected: usize },
    #[error("value {index} that the pseudo-gradient shows of its model is not a finite number")]
    SampleNotFinite { index: usize },
    #[error("the pseudo-gradient has {found} bytes of sketches; {sequences} sequences take {expected}")]
    Sketches { found: u64, expected: u64, sequences: u64 },
    #[error("the pseudo-gradient was made from {found} sequences; this run allows {limit}")]
    TooManySequences { found: u64, limit: u64 },
    #[error("the sample digest is not 32 lower-case hex digits")]
    SampleDigest,
    #[error("the pseudo-gradient belongs to another run")]
    WrongRun,
    #[error("the pseudo-gradient is for subnet {found}, not {expected}")]
    WrongNetuid { found: NetUid, expected: NetUid },
    #[error("the pseudo-gradient is for window {found}, not {expected}")]
    WrongWindow { found: Window, expected: Window },
    #[error("the pseudo-gradient names UID {found}, not {expected}")]
    WrongUid { found: Uid, expected: Uid },
    #[error("the pseudo-gradient names another hotkey than its bucket's owner")]
    WrongHotkey,
    #[error("the signature is not the hotkey's over this pseudo-gradient")]
    Signature,
    #[error("what is to be sent of {name} does not fit its layout")]
    Unsendable { name: String },
    #[error("{found} tensors are to be sent; the layout has {expected}")]
    TensorCount { found: usize, expected: usize },
}
