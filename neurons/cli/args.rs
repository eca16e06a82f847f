//! The flags of the network and the wallet, which many verbs have.

use super::{Failure, config::Settings};
use std::path::PathBuf;
use templar::{
    chain::SubtensorClient,
    wallet::{PasswordSources, Wallet, WalletOptions},
};

/// Where the chain is.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// The chain: `finney`, `test`, `dev`, `latent-lite`, `archive`, `local`, a ws:// or wss:// address, or several with commas, the
    /// preferred one first; `finney` unless given here, in the environment (BT_SUBTENSOR_NETWORK, BT_NETWORK) or in btcli's settings.
    /// BT_FALLBACK_ENDPOINTS and BT_ARCHIVE_ENDPOINTS name more.
    #[arg(
        long,
        short = 'n',
        global = true,
        aliases = ["subtensor.network", "subtensor.chain_endpoint"],
        value_name = "NAME|URL"
    )]
    pub network: Option<String>,
}

impl NetworkArgs {
    /// A connection to the chain that the flags mean.
    pub async fn connect(&self) -> Result<SubtensorClient, Failure> {
        let endpoints = Settings::load()?.endpoints(self.network.as_deref())?;
        Ok(SubtensorClient::connect_to(endpoints).await?)
    }
}

/// Whose keys sign.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Wallet")]
pub struct WalletArgs {
    /// The wallet: COLD/HOT, or the name of a hotkey of the default wallet.
    #[arg(long, short = 'w', value_name = "COLD/HOT|HOTKEY")]
    pub wallet: Option<String>,
    /// The coldkey's folder name, where --wallet does not say it; otherwise BT_WALLET_NAME, BT_WALLET or btcli's settings.
    #[arg(long = "wallet.name", alias = "wallet-name", value_name = "NAME")]
    pub name: Option<String>,
    /// The hotkey's file name, where --wallet does not say it; otherwise BT_WALLET_HOTKEY or btcli's settings.
    #[arg(long = "wallet.hotkey", short = 'H', aliases = ["wallet-hotkey", "hotkey"], value_name = "NAME")]
    pub hotkey: Option<String>,
    /// The folder that holds the wallets; otherwise BT_WALLET_PATH or btcli's settings.
    #[arg(long = "wallet.path", alias = "wallet-path", value_name = "DIR")]
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
    /// What the flags say, and nothing else.
    pub fn flags(&self) -> WalletOptions {
        WalletOptions { name: self.name.clone(), hotkey: self.hotkey.clone(), path: self.path.clone() }
    }

    /// The wallet that the flags mean.
    pub fn open(&self) -> Result<Wallet, Failure> {
        let options = Settings::load()?.wallet(self.flags());
        match &self.wallet {
            Some(spec) => Wallet::resolve(spec, &options),
            None => Wallet::from_options(&options),
        }
        .map_err(Failure::from)
    }
}
