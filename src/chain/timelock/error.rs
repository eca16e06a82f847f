//! What can go wrong with timelocked commits.

/// Why something could not be locked, opened or scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimelockError {
    /// Not a point of G2, or the one that stands for nothing.
    #[error("the beacon's public key is not a point of its curve")]
    PublicKey,
    /// Not a point of G1.
    #[error("the beacon's signature is not a point of its curve")]
    Signature,
    /// The secret scalar is zero.
    #[error("the beacon's secret is zero")]
    ZeroSecret,
    /// The bytes are no ciphertext.
    #[error("the ciphertext is cut off or malformed at its {part}")]
    Malformed {
        /// Where.
        part: &'static str,
    },
    /// The signature is of another round or another beacon, or the ciphertext's head was changed.
    #[error("the signature does not open the ciphertext: another round, another beacon, or damaged bytes")]
    WrongSignature,
    /// The ciphertext's body was changed.
    #[error("the ciphertext's body is damaged")]
    Damaged,
    /// More than AES-GCM can take.
    #[error("the text is too long to encrypt")]
    TooLong,
    /// The plaintext is neither the present nor the legacy form of a weight commit.
    #[error("the plaintext is no weight commit")]
    NotWeights,
    /// The subnet runs no epochs.
    #[error("a subnet of tempo 0 has no epochs, so a commit would never be revealed")]
    NoEpochs,
    /// Arithmetic on the curve failed, which no input should cause.
    #[error("arithmetic on the curve failed")]
    Curve,
}
