use super::endpoint::check_account_id;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

const ACCOUNT_ID: usize = 32;
const ACCESS_KEY_ID: usize = 32;
const SECRET: usize = 64;

/// The key that everyone may read a bucket with, as its owner commits it on chain.
///
/// The commitment is 128 ASCII characters: 32 of the account id, 32 of the access key id, 64 of the
/// secret. The bucket is named like the account id. It is public by design; it is redacted in logs all
/// the same, so that logs can be shared without a thought.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ReadCredential {
    account_id: String,
    access_key_id: String,
    secret: String,
}

/// The key that the owner of a bucket writes with.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct WriteCredential {
    account_id: String,
    access_key_id: String,
    secret: String,
}

/// Why something is no credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The commitment has another length.
    #[error(
        "a bucket commitment has {} characters, this one has {length}",
        ReadCredential::COMMITMENT_LENGTH
    )]
    WrongLength {
        /// Characters (or bytes, where they are no text).
        length: usize,
    },
    /// A byte of the commitment is no printable ASCII character.
    #[error("the bucket commitment has a byte at {position} that is no printable ASCII character")]
    NotAscii {
        /// Counted from 0.
        position: usize,
    },
    /// The account id cannot be a bucket's name.
    #[error("the account id `{account_id}` {problem}")]
    BadAccountId {
        /// The account id, made printable.
        account_id: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The access key id cannot be part of a signed request.
    #[error("the access key id {problem}")]
    BadAccessKeyId {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The secret is not what S3 gives out.
    #[error("the secret access key {problem}")]
    BadSecret {
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl CredentialError {
    /// What to do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::WrongLength { .. } => {
                "Commit 32 characters of account id, 32 of access key id and 64 of secret, nothing between them."
            }
            Self::NotAscii { .. } => "Commit the text that the store gave out, without quotes or line ends.",
            Self::BadAccountId { .. } => {
                "The account id is also the bucket's name; R2 shows it as 32 hex digits."
            }
            Self::BadAccessKeyId { .. } => "R2's access key ids are 32 hex digits.",
            Self::BadSecret { .. } => "R2's secret access keys are 64 hex digits.",
        }
    }
}

fn check_parts(account_id: &str, access_key_id: &str, secret: &str) -> Result<(), CredentialError> {
    check_account_id(account_id).map_err(|problem| CredentialError::BadAccountId {
        account_id: super::printable(account_id, 64),
        problem,
    })?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if access_key_id.is_empty() || access_key_id.len() > 128 {
        return Err(CredentialError::BadAccessKeyId { problem: "must have 1 to 128 characters" });
    }
    // The id is a part of the signed scope, whose parts are separated by slashes.
    if !access_key_id.bytes().all(plain) {
        return Err(CredentialError::BadAccessKeyId { problem: "may only have A-Z a-z 0-9 . _ -" });
    }
    if secret.is_empty() || secret.len() > 256 {
        return Err(CredentialError::BadSecret { problem: "must have 1 to 256 characters" });
    }
    if !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(CredentialError::BadSecret { problem: "may only have printable ASCII characters" });
    }
    Ok(())
}

impl ReadCredential {
    /// Characters of a commitment.
    pub const COMMITMENT_LENGTH: usize = ACCOUNT_ID + ACCESS_KEY_ID + SECRET;

    /// Makes one of its parts, of 32, 32 and 64 characters.
    pub fn new(account_id: &str, access_key_id: &str, secret: &str) -> Result<Self, CredentialError> {
        if account_id.len() != ACCOUNT_ID {
            let account_id = super::printable(account_id, 64);
            return Err(CredentialError::BadAccountId { account_id, problem: "must have 32 characters" });
        }
        if access_key_id.len() != ACCESS_KEY_ID {
            return Err(CredentialError::BadAccessKeyId { problem: "must have 32 characters" });
        }
        if secret.len() != SECRET {
            return Err(CredentialError::BadSecret { problem: "must have 64 characters" });
        }
        check_parts(account_id, access_key_id, secret)?;
        Ok(Self {
            account_id: account_id.to_owned(),
            access_key_id: access_key_id.to_owned(),
            secret: secret.to_owned(),
        })
    }

    /// Reads a commitment.
    pub fn parse(commitment: &str) -> Result<Self, CredentialError> {
        Self::from_bytes(commitment.as_bytes())
    }

    /// Reads a commitment as it lies on chain: a stranger's bytes.
    pub fn from_bytes(commitment: &[u8]) -> Result<Self, CredentialError> {
        if commitment.len() != Self::COMMITMENT_LENGTH {
            return Err(CredentialError::WrongLength { length: commitment.len() });
        }
        if let Some(position) = commitment.iter().position(|b| !b.is_ascii_graphic()) {
            return Err(CredentialError::NotAscii { position });
        }
        // Printable ASCII is UTF-8 and may be cut anywhere.
        let text = std::str::from_utf8(commitment)
            .map_err(|e| CredentialError::NotAscii { position: e.valid_up_to() })?;
        let (account_id, rest) = text.split_at(ACCOUNT_ID);
        let (access_key_id, secret) = rest.split_at(ACCESS_KEY_ID);
        Self::new(account_id, access_key_id, secret)
    }

    /// The 128 characters to commit on chain.
    pub fn to_commitment(&self) -> String {
        format!("{}{}{}", self.account_id, self.access_key_id, self.secret)
    }

    /// The owner's account id, which is also the bucket's name.
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// The access key id.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The secret; hand it to nothing that prints.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl WriteCredential {
    /// Makes one of its parts.
    pub fn new(account_id: &str, access_key_id: &str, secret: &str) -> Result<Self, CredentialError> {
        check_parts(account_id, access_key_id, secret)?;
        Ok(Self {
            account_id: account_id.to_owned(),
            access_key_id: access_key_id.to_owned(),
            secret: secret.to_owned(),
        })
    }

    /// The owner's account id, which is also the bucket's name.
    pub fn account_id(&self) -> &str {
        &self.account_id
    }

    /// The access key id.
    pub fn access_key_id(&self) -> &str {
        &self.access_key_id
    }

    /// The secret; hand it to nothing that prints.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for ReadCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadCredential").field("account_id", &self.account_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for WriteCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteCredential").field("account_id", &self.account_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commitment() -> String {
        format!("{}{}{}", "0123456789abcdef".repeat(2), "a1".repeat(16), "5e".repeat(32))
    }

    #[test]
    fn a_commitment_is_read_and_written_the_same() {
        let credential = ReadCredential::parse(&commitment()).unwrap();
        assert_eq!(credential.account_id(), "0123456789abcdef0123456789abcdef");
        assert_eq!(credential.access_key_id(), "a1".repeat(16));
        assert_eq!(credential.secret(), "5e".repeat(32));
        assert_eq!(credential.to_commitment(), commitment());
    }

    #[test]
    fn each_fault_is_named() {
        let text = commitment();
        let short = ReadCredential::parse(&text[..127]).unwrap_err();
        assert_eq!(short.to_string(), "a bucket commitment has 128 characters, this one has 127");
        assert_eq!(
            ReadCredential::parse(&format!("{text}\n")).unwrap_err(),
            CredentialError::WrongLength { length: 129 }
        );
        let mut bytes = text.clone().into_bytes();
        bytes[70] = 0xff;
        assert_eq!(
            ReadCredential::from_bytes(&bytes).unwrap_err(),
            CredentialError::NotAscii { position: 70 }
        );
        let host = format!("evil.example/{}", &text[13..]);
        assert!(matches!(ReadCredential::parse(&host), Err(CredentialError::BadAccountId { .. })));
        let scope = text.replacen("a1", "a/", 1);
        assert!(matches!(ReadCredential::parse(&scope), Err(CredentialError::BadAccessKeyId { .. })));
        let shifted = ReadCredential::new(&text[..31], &text[31..64], &text[64..]).unwrap_err();
        assert!(matches!(shifted, CredentialError::BadAccountId { .. }));
    }

    #[test]
    fn secrets_do_not_show() {
        let read = ReadCredential::parse(&commitment()).unwrap();
        let write = WriteCredential::new("bucket", "a1a1", "5e5e").unwrap();
        for shown in [format!("{read:?}"), format!("{write:?}")] {
            assert!(!shown.contains("5e5e") && !shown.contains("a1a1"), "{shown}");
        }
    }
}
