//! Which wallets a folder holds.

use std::{fs, io, path::Path};

use super::{AccountId, DEFAULT_NAME, Wallet, WalletError};

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

impl Wallet {
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
