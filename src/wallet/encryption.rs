//! How keyfiles are encrypted with a password, told apart by their first bytes.
//!
//! | prefix | scheme | here |
//! |---|---|---|
//! | `$NACL` | Argon2i 1.3 with 8 passes over 512 MiB, and XSalsa20-Poly1305 | read and written |
//! | `$ANSIBLE_VAULT` | Ansible vault 1.1, AES256: PBKDF2 with ten thousand rounds, AES-256-CTR, HMAC | read |
//! | `gAAAAA` | Fernet: PBKDF2 with ten million rounds, AES-128-CBC, HMAC | read |
//!
//! The last two are what old versions of Bittensor's tools wrote; whoever changes the password of such a file
//! gets the first.

mod fernet;
mod nacl;
mod vault;

use std::fmt;

use zeroize::Zeroizing;

use super::Password;

/// A scheme that keyfiles are encrypted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Scheme {
    /// Argon2i with libsodium's costs `SENSITIVE`, and its secretbox.
    Nacl,
    /// Ansible vault 1.1 with AES256.
    Vault,
    /// Fernet with a key from PBKDF2.
    Fernet,
}

impl Scheme {
    /// The scheme of a file with these first bytes; none for one that is not encrypted.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        [(nacl::PREFIX, Self::Nacl), (vault::PREFIX, Self::Vault), (fernet::PREFIX, Self::Fernet)]
            .into_iter()
            .find_map(|(prefix, scheme)| bytes.starts_with(prefix).then_some(scheme))
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nacl => "NaCl",
            Self::Vault => "Ansible vault",
            Self::Fernet => "Fernet",
        })
    }
}

/// Why something cannot be encrypted or decrypted. No part of it, nor of the password, is in here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CipherError {
    /// The seal does not fit: another password, or another byte somewhere.
    WrongPassword,
    /// Not even the form is right.
    Damaged(&'static str),
    /// Argon2 needs half a gibibyte.
    Memory,
    /// The system gives no random bytes.
    Randomness,
}

/// An encrypted file whose form is right, so that asking for a password makes sense.
pub(crate) enum Sealed<'a> {
    Nacl(nacl::Sealed<'a>),
    Vault(vault::Sealed),
    Fernet(fernet::Sealed),
}

impl<'a> Sealed<'a> {
    /// Takes an encrypted file apart.
    pub(crate) fn parse(scheme: Scheme, bytes: &'a [u8]) -> Result<Self, CipherError> {
        Ok(match scheme {
            Scheme::Nacl => Self::Nacl(nacl::Sealed::parse(bytes)?),
            Scheme::Vault => Self::Vault(vault::Sealed::parse(bytes)?),
            Scheme::Fernet => Self::Fernet(fernet::Sealed::parse(bytes)?),
        })
    }

    /// What was encrypted. It takes seconds, on purpose.
    pub(crate) fn open(&self, password: &Password) -> Result<Zeroizing<Vec<u8>>, CipherError> {
        match self {
            Self::Nacl(sealed) => sealed.open(password.as_bytes()),
            Self::Vault(sealed) => sealed.open(password.as_bytes()),
            Self::Fernet(sealed) => sealed.open(password.as_bytes()),
        }
    }
}

/// Encrypts with the scheme that today's tools write, `$NACL`. It takes seconds, on purpose.
pub(crate) fn seal(plain: &[u8], password: &Password) -> Result<Vec<u8>, CipherError> {
    nacl::seal(plain, password.as_bytes())
}
