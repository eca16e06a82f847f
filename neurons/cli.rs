//! What every verb shares: how a failure reaches a person, exit codes, and the flags of the network and
//! the wallet.

use crate::failure::ToFailure;
use std::{error::Error, fmt, path::PathBuf, process::ExitCode};
use templar::wallet::{PasswordSources, Wallet, WalletOptions};

/// Why the program ended, as its exit code. `templar help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something that should not happen.
    Unexpected = 1,
    /// A flag or an argument is wrong (clap uses the same code).
    Usage = 2,
    /// A wallet or a key is missing or unusable.
    Wallet = 3,
    /// An endpoint cannot be reached or does not speak the protocol.
    Network = 4,
    /// The chain refused what was asked.
    Chain = 5,
    /// A bucket cannot be read or written.
    Storage = 6,
    /// A manifest, a corpus or a checkpoint is not what it should be.
    Data = 7,
    /// An audit found something that is not as the validator says.
    Differs = 8,
    /// It was told to stop before it was done.
    Interrupted = 130,
}

/// What `templar help` says about the codes.
pub const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 unexpected, 2 wrong usage, 3 wallet or key, 4 endpoint, 5 refused by the chain,
6 storage, 7 manifest, data, log or checkpoint, 8 an audit found a difference, 130 interrupted";

/// A failure as a person sees it: one sentence, what to do next, and an exit code.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hint: Option<String>,
    exit: Exit,
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), hint: None, exit }
    }

    /// A failure from an error and its causes, as one sentence.
    pub fn from_error(exit: Exit, error: &(dyn Error + 'static)) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            // Wrapping errors often repeat their source's words.
            if !message.contains(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            cause = inner.source();
        }
        Self::new(exit, message)
    }

    /// Says what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Prints the failure on stderr and gives the exit code.
    pub fn report(&self) -> ExitCode {
        eprintln!("error: {}", self.message);
        if let Some(hint) = &self.hint {
            eprintln!("  hint: {hint}");
        }
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Where the chain is.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// The chain: `finney`, `test`, `local`, a ws:// or wss:// address, or several with commas, the preferred one
    /// first. BT_FALLBACK_ENDPOINTS and BT_ARCHIVE_ENDPOINTS name more.
    #[arg(
        long,
        global = true,
        env = "BT_SUBTENSOR_NETWORK",
        default_value = "finney",
        value_name = "NAME|URL"
    )]
    pub network: String,
}

/// Whose keys sign.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Wallet")]
pub struct WalletArgs {
    /// The wallet: COLD/HOT, or the name of a hotkey of the default wallet.
    #[arg(long, value_name = "COLD/HOT|HOTKEY")]
    pub wallet: Option<String>,
    /// The coldkey's folder name, where --wallet does not say it.
    #[arg(long = "wallet.name", alias = "wallet-name", env = "BT_WALLET_NAME", value_name = "NAME")]
    pub name: Option<String>,
    /// The hotkey's file name, where --wallet does not say it.
    #[arg(long = "wallet.hotkey", alias = "wallet-hotkey", env = "BT_WALLET_HOTKEY", value_name = "NAME")]
    pub hotkey: Option<String>,
    /// The folder that holds the wallets.
    #[arg(long = "wallet.path", alias = "wallet-path", env = "BT_WALLET_PATH", value_name = "DIR")]
    pub path: Option<PathBuf>,
    #[command(flatten)]
    pub passwords: PasswordArgs,
}

/// Where the password of an encrypted key is. It is never an argument itself.
#[derive(Debug, Clone, clap::Args)]
pub struct PasswordArgs {
    /// A file with the key's password, readable by its owner only. Without it BT_PW_<PATH>,
    /// BT_WALLET_PASSWORD or BT_WALLET_PASSWORD_FILE have it, or the terminal asks.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

impl PasswordArgs {
    /// All the places where a password may be.
    pub fn sources(&self) -> PasswordSources {
        PasswordSources::of_process(self.password_file.clone())
    }
}

impl WalletArgs {
    /// The wallet that the flags mean.
    pub fn open(&self) -> Result<Wallet, Failure> {
        let options =
            WalletOptions { name: self.name.clone(), hotkey: self.hotkey.clone(), path: self.path.clone() }
                .or(|name| std::env::var(name).ok());
        match &self.wallet {
            Some(spec) => Wallet::resolve(spec, &options),
            None => Wallet::from_options(&options),
        }
        .map_err(|e| e.to_failure())
    }
}
