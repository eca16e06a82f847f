//! The flags of the network and the wallet, which many verbs have.

use super::Failure;
use std::path::PathBuf;
use templar::{
    chain::{Endpoints, SubtensorClient},
    wallet::{PasswordSources, Wallet, WalletOptions},
};

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

impl NetworkArgs {
    /// A connection to the chain that the flags mean.
    pub async fn connect(&self) -> Result<SubtensorClient, Failure> {
        Ok(SubtensorClient::connect_to(Endpoints::from_env(&self.network)?).await?)
    }
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
        .map_err(Failure::from)
    }
}
