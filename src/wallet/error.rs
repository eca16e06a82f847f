//! What can go wrong with a wallet on disk.

use std::{io, path::PathBuf};

use super::{AccountId, encryption::Scheme};

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
    /// The keyfile is encrypted with a password, and nobody gave it.
    #[error("{} is encrypted ({scheme}), and its password is not known", .path.display())]
    Encrypted {
        /// The file.
        path: PathBuf,
        /// The encryption.
        scheme: Scheme,
    },
    /// The password is another one.
    #[error("the password does not open {}", .path.display())]
    WrongPassword {
        /// The encrypted file.
        path: PathBuf,
    },
    /// The file that should hold a password is not usable.
    #[error("the password file {} {reason}", .path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The variable that should hold a password holds something else.
    #[error("the variable {name} does not hold a password as Bittensor's tools write it")]
    PasswordVariable {
        /// The variable.
        name: String,
    },
    /// Nobody could be asked.
    #[error("cannot read an answer from the terminal")]
    Prompt {
        /// What the system said.
        source: io::Error,
    },
    /// The second time something else was typed.
    #[error("the two passwords differ")]
    Repeat,
    /// A new password was asked for, and there is none.
    #[error("there is no new password for {}", .path.display())]
    NoNewPassword {
        /// The file that would be encrypted.
        path: PathBuf,
    },
    /// What encryption needs of the machine is not there.
    #[error("cannot encrypt or decrypt {}: {reason}", .path.display())]
    Resources {
        /// The keyfile.
        path: PathBuf,
        /// What is missing.
        reason: &'static str,
    },
    /// The key is of a kind that cannot be a neuron's.
    #[error("{} holds an {kind} key, and only sr25519 keys are used here", .path.display())]
    OtherKeyType {
        /// The file.
        path: PathBuf,
        /// The kind, by its name.
        kind: &'static str,
    },
    /// There is a public file already, of another key.
    #[error("{} names the address {account}, which is not that of this key", .path.display())]
    OtherAddress {
        /// The public file.
        path: PathBuf,
        /// The account it names.
        account: Box<AccountId>,
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
                "restore the file from a backup, or make it again from its phrase with `templar wallet regen`"
            }
            Self::NoNewPassword { .. } => {
                "run it at a terminal, which asks, or give it in a file: --password-file for a new key, \
                 --new-password-file for one that is there"
            }
            Self::Encrypted { .. } => {
                "run it at a terminal, which asks, or give the password in a file with --password-file or \
                 BT_WALLET_PASSWORD_FILE, or in the variable BT_WALLET_PASSWORD or BT_PW_<PATH>"
            }
            Self::WrongPassword { .. } => {
                "type it again; if it is surely right the file is damaged: restore it from a backup, or make \
                 it again from its phrase with `templar wallet regen`"
            }
            Self::PasswordFile { .. } => {
                "the file holds the password on one line and belongs to you alone: `chmod 600` it"
            }
            Self::PasswordVariable { .. } => {
                "it is the base64 of the password XOR the variable's name; BT_WALLET_PASSWORD takes it as it is"
            }
            Self::Prompt { .. } => "give the password in a file with --password-file",
            Self::Repeat => "nothing was written: start again and type the same password twice",
            Self::Resources { .. } => {
                "one keyfile at a time takes 512 MiB of memory: free some and try again"
            }
            Self::OtherKeyType { .. } => {
                "make a wallet with an sr25519 key, which is what btcli makes unless told otherwise"
            }
            Self::OtherAddress { .. } => {
                "check the phrase or seed, or name another wallet; nothing was written"
            }
            Self::PublicOnly { .. } => "use the machine that has the secret key, or copy the keyfile here",
            Self::Mismatch { .. } => "the file was edited or mixed up: restore it from a backup",
            Self::InvalidName { .. } => "a name has no slash, does not start with a dot and is not empty",
            Self::InvalidSecret => {
                "a phrase has 12 or more words of the BIP39 list, a seed 64 hex digits; development keys look like \
                 //Alice"
            }
            Self::InvalidAddress { .. } => "addresses of this chain start with 5 and have 48 characters",
            Self::NoHome => "set HOME, or give the folder with --wallet.path or BT_WALLET_PATH",
        }
    }
}
