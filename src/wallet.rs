//! Bittensor wallets on disk, and the keys in them.
//!
//! A wallet is a folder with a *coldkey*, which owns, and *hotkeys*, which work:
//! `<path>/<wallet>/coldkey`, `<path>/<wallet>/coldkeypub.txt`, `<path>/<wallet>/hotkeys/<hotkey>` and
//! `<path>/<wallet>/hotkeys/<hotkey>pub.txt`. A miner or a validator needs a hotkey's secret and nothing else.
//! A keyfile may be encrypted with a password, as coldkeys mostly are: [`encryption`], [`password`].
//!
//! ```
//! use templar::wallet::{Wallet, WalletOptions, verify};
//! let wallet = Wallet::resolve("//Alice", &WalletOptions::default())?;
//! let hotkey = wallet.hotkey()?;
//! assert!(verify(&hotkey.account(), b"message", &hotkey.sign(b"message")));
//! # Ok::<(), templar::wallet::WalletError>(())
//! ```

pub mod encryption;
mod error;
pub mod keyfile;
mod keypair;
mod list;
mod options;
pub mod password;
mod secret;
mod write;

use std::path::{Path, PathBuf};

pub use error::WalletError;
pub use keypair::{Keypair, SS58_PREFIX, parse_address, verify, verify_wrapped};
pub use list::{HotkeyEntry, WalletEntry};
pub use options::WalletOptions;
pub use password::{Password, PasswordSources, Passwords};
pub use secret::Secret;
pub use sp_core::crypto::AccountId32 as AccountId;

/// The name of a wallet, or of a hotkey, where none is given.
pub const DEFAULT_NAME: &str = "default";

/// One coldkey and one hotkey of it: files that need not exist yet, or a development key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wallet(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Disk { folder: PathBuf, name: String, hotkey: String },
    Development { uri: String },
}

impl Wallet {
    /// The wallet that `spec` means, in this order:
    /// `//Alice`: a development key, both coldkey and hotkey; `COLD/HOT`: exactly these;
    /// a bare name: a hotkey of the wallet `options.name`, else a wallet, with the hotkey `options.hotkey`.
    ///
    /// # Errors
    /// [`WalletError::Unknown`] if a bare name is neither, [`WalletError::InvalidName`] if it cannot be one.
    pub fn resolve(spec: &str, options: &WalletOptions) -> Result<Self, WalletError> {
        if spec.starts_with("//") {
            Keypair::from_uri(spec)?;
            return Ok(Self(Kind::Development { uri: spec.to_owned() }));
        }
        let folder = options.folder()?;
        let default = |name: &Option<String>| name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
        if let Some((name, hotkey)) = spec.split_once('/') {
            return Self::at(&folder, name, hotkey);
        }
        let as_hotkey = Self::at(&folder, &default(&options.name), spec)?;
        if as_hotkey.hotkey_path().is_some_and(|path| path.exists()) {
            return Ok(as_hotkey);
        }
        let as_wallet = Self::at(&folder, spec, &default(&options.hotkey))?;
        match as_wallet.wallet_folder() {
            Some(path) if path.is_dir() => Ok(as_wallet),
            _ => Err(WalletError::Unknown { name: spec.to_owned(), path: folder }),
        }
    }

    /// The wallet of the options alone, where no `--wallet` is given.
    ///
    /// # Errors
    /// [`WalletError::InvalidName`] for a name that cannot be a file's.
    pub fn from_options(options: &WalletOptions) -> Result<Self, WalletError> {
        let name = options.name.as_deref().unwrap_or(DEFAULT_NAME);
        Self::at(&options.folder()?, name, options.hotkey.as_deref().unwrap_or(DEFAULT_NAME))
    }

    /// The wallet `name` with the hotkey `hotkey` under `folder`, whether its files exist or not.
    ///
    /// # Errors
    /// [`WalletError::InvalidName`] for a name that would lead out of the folder.
    pub fn at(folder: &Path, name: &str, hotkey: &str) -> Result<Self, WalletError> {
        for part in [name, hotkey] {
            let fits = !part.is_empty() && !part.starts_with('.') && part.len() <= 128;
            if !fits || part.chars().any(|c| matches!(c, '/' | '\\') || c.is_control()) {
                return Err(WalletError::InvalidName { name: part.to_owned() });
            }
        }
        Ok(Self(Kind::Disk { folder: folder.to_owned(), name: name.to_owned(), hotkey: hotkey.to_owned() }))
    }

    /// The hotkey's key pair. The password of an encrypted one is looked for in the environment and asked for at
    /// the terminal: [`PasswordSources::of_process`].
    ///
    /// # Errors
    /// Whatever keeps it from being read; [`WalletError::Encrypted`] if it has a password that nobody gives.
    pub fn hotkey(&self) -> Result<Keypair, WalletError> {
        self.hotkey_with(&PasswordSources::of_process(None))
    }

    /// The coldkey's key pair, with the password from where [`Self::hotkey`] looks for it.
    ///
    /// # Errors
    /// Whatever keeps it from being read; [`WalletError::Encrypted`] if it has a password that nobody gives.
    pub fn coldkey(&self) -> Result<Keypair, WalletError> {
        self.coldkey_with(&PasswordSources::of_process(None))
    }

    /// The hotkey's key pair; `passwords` is asked if it is encrypted.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    pub fn hotkey_with(&self, passwords: &dyn Passwords) -> Result<Keypair, WalletError> {
        self.key(self.hotkey_path(), passwords)
    }

    /// The coldkey's key pair; `passwords` is asked if it is encrypted.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    pub fn coldkey_with(&self, passwords: &dyn Passwords) -> Result<Keypair, WalletError> {
        self.key(self.coldkey_path(), passwords)
    }

    fn key(&self, path: Option<PathBuf>, passwords: &dyn Passwords) -> Result<Keypair, WalletError> {
        match (&self.0, path) {
            (Kind::Disk { .. }, Some(path)) => keyfile::read_secret_with(&path, passwords),
            (Kind::Development { uri }, _) => Keypair::from_uri(uri),
            (Kind::Disk { .. }, None) => Err(WalletError::NoHome),
        }
    }

    /// The hotkey's account, from its public file where there is one.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    pub fn hotkey_account(&self) -> Result<AccountId, WalletError> {
        match self.hotkey_path() {
            Some(path) => read_either(&public_path(&path), &path),
            None => self.hotkey().map(|keypair| keypair.account()),
        }
    }

    /// The coldkey's account, from `coldkeypub.txt` where there is one: no password is needed for it.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    pub fn coldkey_account(&self) -> Result<AccountId, WalletError> {
        match self.coldkey_path() {
            Some(path) => read_either(&coldkey_public(&path), &path),
            None => self.coldkey().map(|keypair| keypair.account()),
        }
    }

    /// How to name this wallet on a command line: `COLD/HOT`, or the development path.
    pub fn spec(&self) -> String {
        match &self.0 {
            Kind::Disk { name, hotkey, .. } => format!("{name}/{hotkey}"),
            Kind::Development { uri } => uri.clone(),
        }
    }

    /// The hotkey's keyfile; none for a development key.
    pub fn hotkey_path(&self) -> Option<PathBuf> {
        match &self.0 {
            Kind::Disk { folder, name, hotkey } => Some(folder.join(name).join("hotkeys").join(hotkey)),
            Kind::Development { .. } => None,
        }
    }

    /// The coldkey's keyfile; none for a development key.
    pub fn coldkey_path(&self) -> Option<PathBuf> {
        self.wallet_folder().map(|folder| folder.join("coldkey"))
    }

    fn wallet_folder(&self) -> Option<PathBuf> {
        match &self.0 {
            Kind::Disk { folder, name, .. } => Some(folder.join(name)),
            Kind::Development { .. } => None,
        }
    }

    fn not_on_disk(&self) -> WalletError {
        WalletError::InvalidName { name: self.spec() }
    }
}

fn coldkey_public(secret: &Path) -> PathBuf {
    secret.with_file_name("coldkeypub.txt")
}

fn public_path(secret: &Path) -> PathBuf {
    let mut name = secret.file_name().unwrap_or_default().to_owned();
    name.push("pub.txt");
    secret.with_file_name(name)
}

fn read_either(public: &Path, secret: &Path) -> Result<AccountId, WalletError> {
    match keyfile::read_account(public) {
        Err(WalletError::MissingKeyfile { .. }) => keyfile::read_account(secret),
        result => result,
    }
}
