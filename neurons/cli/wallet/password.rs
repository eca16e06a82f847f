//! `templar wallet password`: a key gets a password, another one, or none.

use std::path::PathBuf;

use templar::wallet::{Password, WalletError, WalletOptions, keyfile};

use super::Key;
use crate::cli::{Failure, PasswordArgs};

/// Which key, and its new password.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The key: COLD for a coldkey, COLD/HOT for a hotkey
    #[arg(value_name = "COLD[/HOT]")]
    wallet: String,
    /// Leave the key without a password
    #[arg(long, conflicts_with = "new_password_file")]
    remove: bool,
    /// A file with the new password, readable by its owner only. Without it the terminal asks; a key without a
    /// password takes the one that is found as for opening a key
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    #[command(flatten)]
    passwords: PasswordArgs,
}

/// Writes the keyfile again with another password.
pub fn change(args: &Args, options: &WalletOptions, json: bool) -> Result<(), Failure> {
    let key = Key::parse(&args.wallet, options)?;
    let path = key.path()?;
    let sources = args.passwords.sources();
    let scheme = keyfile::encryption(&path)?;
    if args.remove && scheme.is_none() {
        eprintln!("{} had no password", path.display());
    }
    let new = || {
        if args.remove {
            return Ok(None);
        }
        let password = match &args.new_password_file {
            Some(file) => Some(Password::from_file(file)?),
            None if scheme.is_none() => sources.known(&path)?,
            None => None,
        };
        let password = password.map_or_else(|| sources.ask_new(&path), |password| Ok(Some(password)))?;
        password.map(Some).ok_or_else(|| WalletError::NoNewPassword { path: path.clone() })
    };
    let account = match &key {
        Key::Cold(wallet) => wallet.set_coldkey_password(&sources, new),
        Key::Hot(wallet) => wallet.set_hotkey_password(&sources, new),
    }?;
    key.print(&args.wallet, &account, json)
}
