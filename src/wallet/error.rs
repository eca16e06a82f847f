//! What can go wrong with a wallet on disk.

use std::{io, path::PathBuf};

/// Why a key could not be read, written or found. No variant carries any part of a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalletError {
    /// Neither a hotkey nor a wallet has this name.
    #[error("no hotkey and no wallet is called {name:?} under {}", .path.display())]
    Unknown {
        /// What was asked for.
        name: String,
        /// The folder that holds the wallets.
        path: PathBuf,
    },
    /// The wallet is there, the keyfile is not.
    #[error("there is no keyfile {}", .path.display())]
    MissingKeyfile {
        /// Where the key was looked for.
        path: PathBuf,
    },
    /// A keyfile, or a folder on the way to it, cannot be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A keyfile cannot be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing is ever overwritten.
    #[error("{} exists already", .path.display())]
    Exists {
        /// The file that is in the way.
        path: PathBuf,
    },
    /// The file is not a Bittensor keyfile.
    #[error("{} is not a keyfile: {reason}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Which part does not fit; never its content.
        reason: &'static str,
    },
    /// The keyfile is encrypted with a password.
    #[error("{} is encrypted ({scheme}), and encrypted keyfiles cannot be read yet", .path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
        /// The encryption, by its name.
        scheme: &'static str,
    },
    /// The file holds an address and no secret.
    #[error("{} holds a public key only", .path.display())]
    PublicOnly {
        /// The file.
        path: PathBuf,
    },
    /// The secret belongs to another account than the one the file names.
    #[error("the secret in {} is not that of the address it names", .path.display())]
    Mismatch {
        /// The file.
        path: PathBuf,
    },
    /// A name that could not be a file's name.
    #[error("{name:?} is not a wallet or hotkey name")]
    InvalidName {
        /// What was given.
        name: String,
    },
    /// Not a derivation path, phrase or seed that gives a key.
    #[error("that is not a secret that a key can be made from")]
    InvalidSecret,
    /// A text that is not an address.
    #[error("{text:?} is not an SS58 address of this chain")]
    InvalidAddress {
        /// What was given.
        text: String,
    },
    /// There is no home folder to look for wallets in.
    #[error("the home folder is unknown, so there is no place for wallets")]
    NoHome,
}

impl WalletError {
    /// What to do about it, in one sentence.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => {
                "`templar wallet list` shows what is there and `templar wallet new COLD/HOT` makes one; \
                 the folder is set with --wallet.path or BT_WALLET_PATH"
            }
            Self::MissingKeyfile { .. } => {
                "`templar wallet list` shows which keys are there; a miner or a validator needs the hotkey \
                 only, registering and staking need the coldkey"
            }
            Self::Read { .. } => "check that the file belongs to the user that runs templar (mode 0600)",
            Self::Write { .. } => "check the folder's owner and the free space on its disk",
            Self::Exists { .. } => "choose another name, or move the old key away yourself",
            Self::Malformed { .. } => {
                "restore the file from a backup, or make it again from its phrase with btcli"
            }
            Self::Encrypted { .. } => {
                "use a coldkey without a password here, or do this step with btcli; hotkeys are normally \
                 not encrypted"
            }
            Self::PublicOnly { .. } => "use the machine that has the secret key, or copy the keyfile here",
            Self::Mismatch { .. } => "the file was edited or mixed up: restore it from a backup",
            Self::InvalidName { .. } => "a name has no slash, does not start with a dot and is not empty",
            Self::InvalidSecret => {
                "development keys look like //Alice; a phrase has 12 or more words of the BIP39 list"
            }
            Self::InvalidAddress { .. } => "addresses of this chain start with 5 and have 48 characters",
            Self::NoHome => "set HOME, or give the folder with --wallet.path or BT_WALLET_PATH",
        }
    }
}
