//! Bittensor wallets on disk, and the keys in them.
//!
//! A wallet is a folder with a *coldkey*, which owns, and *hotkeys*, which work:
//! `<path>/<wallet>/coldkey`, `<path>/<wallet>/coldkeypub.txt`, `<path>/<wallet>/hotkeys/<hotkey>` and
//! `<path>/<wallet>/hotkeys/<hotkey>pub.txt`. A miner or a validator needs a hotkey's secret and nothing else.
//!
//! ```
//! use templar::wallet::{Wallet, WalletOptions, verify};
//! let wallet = Wallet::resolve("//Alice", &WalletOptions::default())?;
//! let hotkey = wallet.hotkey()?;
//! assert!(verify(&hotkey.account(), b"message", &hotkey.sign(b"message")));
//! # Ok::<(), templar::wallet::WalletError>(())
//! ```

mod error;
pub mod keyfile;
mod keypair;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

pub use error::WalletError;
pub use keypair::{Keypair, SS58_PREFIX, parse_address, verify};
pub use sp_core::crypto::AccountId32 as AccountId;

/// The name of a wallet, or of a hotkey, where none is given.
pub const DEFAULT_NAME: &str = "default";

/// Where to look for keys when the wallet is named in short. Each field left `None` takes Bittensor's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WalletOptions {
    /// The wallet's (coldkey's) name: `--wallet.name`, `BT_WALLET_NAME`.
    pub name: Option<String>,
    /// The hotkey's name: `--wallet.hotkey`, `BT_WALLET_HOTKEY`.
    pub hotkey: Option<String>,
    /// The folder that holds the wallets: `--wallet.path`, `BT_WALLET_PATH`; `~/` is the home folder.
    pub path: Option<PathBuf>,
}

impl WalletOptions {
    /// What the environment says: `BT_WALLET_NAME`, `BT_WALLET_HOTKEY`, `BT_WALLET_PATH`.
    pub fn from_env() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            name: text("BT_WALLET_NAME"),
            hotkey: text("BT_WALLET_HOTKEY"),
            path: text("BT_WALLET_PATH").map(PathBuf::from),
        }
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

    /// The hotkey's key pair.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    pub fn hotkey(&self) -> Result<Keypair, WalletError> {
        match (&self.0, self.hotkey_path()) {
            (Kind::Disk { .. }, Some(path)) => keyfile::read_secret(&path),
            (Kind::Development { uri }, _) => Keypair::from_uri(uri),
            (Kind::Disk { .. }, None) => Err(WalletError::NoHome),
        }
    }

    /// The coldkey's key pair.
    ///
    /// # Errors
    /// Whatever keeps it from being read; [`WalletError::Encrypted`] for one with a password.
    pub fn coldkey(&self) -> Result<Keypair, WalletError> {
        match (&self.0, self.coldkey_path()) {
            (Kind::Disk { .. }, Some(path)) => keyfile::read_secret(&path),
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
            Some(path) => read_either(&path.with_file_name("coldkeypub.txt"), &path),
            None => self.coldkey().map(|keypair| keypair.account()),
        }
    }

    /// Makes a new coldkey without a password, and its public file.
    ///
    /// # Errors
    /// [`WalletError::Exists`] rather than replace a key.
    pub fn create_coldkey(&self) -> Result<AccountId, WalletError> {
        let path = self.coldkey_path().ok_or_else(|| self.not_on_disk())?;
        let account = keyfile::write_secret(&path, &Keypair::generate().1)?.account();
        keyfile::write_public(&path.with_file_name("coldkeypub.txt"), &account)?;
        Ok(account)
    }

    /// Makes a new hotkey, and its public file.
    ///
    /// # Errors
    /// [`WalletError::Exists`] rather than replace a key.
    pub fn create_hotkey(&self) -> Result<AccountId, WalletError> {
        let path = self.hotkey_path().ok_or_else(|| self.not_on_disk())?;
        let account = keyfile::write_secret(&path, &Keypair::generate().1)?.account();
        keyfile::write_public(&public_path(&path), &account)?;
        Ok(account)
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

    /// All wallets under `folder`, by name; none if there is no such folder.
    ///
    /// # Errors
    /// [`WalletError::Read`] if a folder cannot be listed. A single bad keyfile is listed without an address.
    pub fn list(folder: &Path) -> Result<Vec<WalletEntry>, WalletError> {
        let mut wallets = Vec::new();
        for name in names(folder, true)? {
            let wallet = Self::at(folder, &name, DEFAULT_NAME)?;
            let hotkeys = names(&folder.join(&name).join("hotkeys"), false)?
                .into_iter()
                .filter(|hotkey| !hotkey.ends_with("pub.txt"))
                .map(|hotkey| {
                    let account = Self::at(folder, &name, &hotkey).and_then(|wallet| wallet.hotkey_account());
                    HotkeyEntry { name: hotkey, account: account.ok() }
                })
                .collect();
            wallets.push(WalletEntry { coldkey: wallet.coldkey_account().ok(), name, hotkeys });
        }
        Ok(wallets)
    }
}

/// A wallet as `templar wallet list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct WalletEntry {
    /// The folder's name.
    pub name: String,
    /// The coldkey's account, if a file says it without a password.
    pub coldkey: Option<AccountId>,
    /// Its hotkeys, by name.
    pub hotkeys: Vec<HotkeyEntry>,
}

/// A hotkey as `templar wallet list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HotkeyEntry {
    /// The keyfile's name.
    pub name: String,
    /// Its account, if the file can be read.
    pub account: Option<AccountId>,
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

/// The names in a folder that a wallet, or a hotkey, may have; sorted.
fn names(folder: &Path, folders: bool) -> Result<Vec<String>, WalletError> {
    let failed = |source| WalletError::Read { path: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if entry.path().is_dir() == folders && Wallet::at(folder, &name, DEFAULT_NAME).is_ok() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}
