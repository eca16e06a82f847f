//! How a wallet is named where its folder is not.

use std::path::PathBuf;

use super::WalletError;

/// Where to look for keys when the wallet is named in short. Each field left `None` takes Bittensor's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WalletOptions {
    /// The wallet's (coldkey's) name: `--wallet.name`, `BT_WALLET_NAME`, `BT_WALLET`.
    pub name: Option<String>,
    /// The hotkey's name: `--wallet.hotkey`, `BT_WALLET_HOTKEY`.
    pub hotkey: Option<String>,
    /// The folder that holds the wallets: `--wallet.path`, `BT_WALLET_PATH`; `~/` is the home folder.
    pub path: Option<PathBuf>,
}

impl WalletOptions {
    /// What the environment says: `BT_WALLET_NAME`, `BT_WALLET_HOTKEY`, `BT_WALLET_PATH`, and `BT_WALLET`.
    pub fn from_env() -> Self {
        Self::default().or(|name| std::env::var(name).ok())
    }

    /// Takes from `environment` what is not given. Version 11 of Bittensor's SDK has `BT_WALLET`, the wallet's
    /// name alone or `COLD/HOT`, in the place of `BT_WALLET_NAME`; where a name is given it counts for nothing,
    /// as its hotkey belongs to its own wallet.
    #[must_use]
    pub fn or(mut self, environment: impl Fn(&str) -> Option<String>) -> Self {
        let text = |name| environment(name).filter(|value| !value.is_empty());
        self.path = self.path.or_else(|| text("BT_WALLET_PATH").map(PathBuf::from));
        self.hotkey = self.hotkey.or_else(|| text("BT_WALLET_HOTKEY"));
        self.name = self.name.or_else(|| text("BT_WALLET_NAME"));
        if let (None, Some(wallet)) = (&self.name, text("BT_WALLET")) {
            let (name, hotkey) = wallet.split_once('/').map_or((&*wallet, None), |(n, h)| (n, Some(h)));
            self.hotkey = self.hotkey.or_else(|| hotkey.map(str::to_owned));
            self.name = Some(name.to_owned());
        }
        self
    }

    /// The folder that holds the wallets; `~/.bittensor/wallets` unless given.
    ///
    /// # Errors
    /// [`WalletError::NoHome`] if it lies in a home folder that is unknown.
    pub fn folder(&self) -> Result<PathBuf, WalletError> {
        let path = self.path.clone().unwrap_or_else(|| PathBuf::from("~/.bittensor/wallets"));
        match path.strip_prefix("~") {
            Ok(rest) => Ok(std::env::home_dir().ok_or(WalletError::NoHome)?.join(rest)),
            Err(_) => Ok(path),
        }
    }
}
