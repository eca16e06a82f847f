//! `templar wallet new` and `templar wallet regen`: keyfiles that were not there before.

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
};

use templar::wallet::{AccountId, Password, PasswordSources, Secret, Wallet, WalletError, WalletOptions};

use super::{Key, addresses, input};
use crate::cli::{Exit, Failure, PasswordArgs};

/// A new hotkey, and its coldkey.
#[derive(Debug, clap::Args)]
pub struct New {
    /// The wallet and its hotkey
    #[arg(value_name = "COLD/HOT")]
    wallet: String,
    /// Encrypt the coldkey, and end if there is no password. Without this it is encrypted if a password is given
    /// or typed
    #[arg(long, conflicts_with = "no_password")]
    encrypt: bool,
    /// Do not encrypt the coldkey
    #[arg(long)]
    no_password: bool,
    /// Show the phrases of the new keys once, on the terminal, to be written down; they are never shown again
    #[arg(long)]
    show_phrase: bool,
    #[command(flatten)]
    passwords: PasswordArgs,
}

/// The address of a coldkey that stays elsewhere.
#[derive(Debug, clap::Args)]
pub struct RegenPub {
    /// The wallet
    #[arg(value_name = "COLD")]
    wallet: String,
    /// The coldkey's address
    #[arg(long, visible_alias = "ss58", value_name = "ADDRESS", value_parser = crate::cli::pay::address)]
    address: AccountId,
}

/// Writes a coldkey's public file.
pub fn regen_coldkeypub(args: &RegenPub, options: &WalletOptions, json: bool) -> Result<(), Failure> {
    let Key::Cold(wallet) = Key::parse(&args.wallet, options)? else {
        return Err(Failure::new(Exit::Usage, format!("{:?} names a hotkey", args.wallet)).hint(
            "name the wallet alone, for example `templar wallet regen-coldkeypub mine --address 5...`",
        ));
    };
    wallet.write_coldkeypub(&args.address)?;
    addresses(&wallet, Some(&args.address), wallet.hotkey_account().ok().as_ref(), json)
}

/// A key from its phrase or seed.
#[derive(Debug, clap::Args)]
pub struct Regen {
    /// The key: COLD for a coldkey, COLD/HOT for a hotkey
    #[arg(value_name = "COLD[/HOT]")]
    wallet: String,
    /// A file with the phrase, or the seed as 64 hex digits. Without it the terminal asks, or stdin has it
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Encrypt the key, and end if there is no password. Without this a coldkey is encrypted if a password is
    /// given or typed, and a hotkey is not
    #[arg(long, conflicts_with = "no_password")]
    encrypt: bool,
    /// Do not encrypt the key
    #[arg(long)]
    no_password: bool,
    #[command(flatten)]
    passwords: PasswordArgs,
}

/// Makes a hotkey, and its coldkey if there is none.
pub fn new(args: &New, options: &WalletOptions, json: bool) -> Result<(), Failure> {
    let spec = &args.wallet;
    let Some((name, hotkey)) = spec.split_once('/').filter(|_| !spec.starts_with("//")) else {
        return Err(Failure::new(Exit::Usage, format!("{spec:?} does not name a new wallet"))
            .hint("name the wallet and its hotkey, for example `templar wallet new alice/miner1`"));
    };
    let folder = options.folder()?;
    let wallet = Wallet::at(&folder, name, hotkey)?;
    if let Some(path) = wallet.hotkey_path().filter(|path| path.exists()) {
        return Err(WalletError::Exists { path }.into());
    }
    if args.show_phrase && !std::io::stderr().is_terminal() {
        return Err(Failure::new(Exit::Usage, "a phrase is shown on a terminal alone, and this is none")
            .hint("leave --show-phrase out: the keyfile holds the phrase"));
    }
    let show = |kind: &str, secret: &Secret| {
        if let Some(phrase) = secret.phrase().filter(|_| args.show_phrase) {
            eprintln!("the {kind}'s phrase, shown this once; whoever has it has the key:\n  {phrase}");
        }
    };
    let coldkey = match wallet.coldkey_account() {
        Ok(account) => account,
        Err(WalletError::MissingKeyfile { .. }) => {
            let key = Key::Cold(wallet.clone());
            let wish = Wish { encrypt: args.encrypt, plain: args.no_password };
            let secret = Secret::generate()?;
            let account = write(&key, name, wish, &args.passwords.sources(), || Ok(secret.clone()))?;
            show("coldkey", &secret);
            account
        }
        // There is a coldkey, and only its password tells whose: it is not needed for a hotkey.
        Err(WalletError::Encrypted { path, .. }) => {
            let missing = WalletError::MissingKeyfile { path: path.with_file_name("coldkeypub.txt") };
            return Err(
                Failure::from(missing).hint(format!("`templar wallet password {name}` writes it again"))
            );
        }
        Err(e) => return Err(e.into()),
    };
    let secret = Secret::generate()?;
    let hotkey = wallet.write_hotkey(&secret, None)?;
    show("hotkey", &secret);
    eprintln!("the keyfiles hold the secret phrases: keep a copy of them in a safe place");
    addresses(&wallet, Some(&coldkey), Some(&hotkey), json)
}

/// Makes one key again.
pub fn regen(args: &Regen, options: &WalletOptions, json: bool) -> Result<(), Failure> {
    let spec = &args.wallet;
    let key = Key::parse(spec, options)?;
    let path = key.path()?;
    if path.exists() {
        return Err(WalletError::Exists { path }.into());
    }
    let hotkey = matches!(key, Key::Hot(_));
    let wish = Wish { encrypt: args.encrypt, plain: args.no_password || hotkey && !args.encrypt };
    let secret = input::secret(args.secret_file.as_deref(), spec)?;
    let account = write(&key, spec, wish, &args.passwords.sources(), || Ok(secret))?;
    key.print(spec, &account, json)
}

/// Whether a key shall be encrypted; neither: if there is a password.
#[derive(Clone, Copy)]
struct Wish {
    encrypt: bool,
    plain: bool,
}

/// Writes a key, with a password if that is wished and there is one.
fn write(
    key: &Key,
    spec: &str,
    wish: Wish,
    sources: &PasswordSources,
    secret: impl FnOnce() -> Result<Secret, WalletError>,
) -> Result<templar::wallet::AccountId, Failure> {
    let path = key.path()?;
    let password = password(&path, wish, sources)?;
    if password.is_none() && matches!(key, Key::Cold(_)) {
        eprintln!(
            "warning: the new coldkey {} is not encrypted; `templar wallet password {spec}` does it",
            path.display()
        );
    }
    let secret = secret()?;
    match key {
        Key::Cold(wallet) => wallet.write_coldkey(&secret, password.as_ref()),
        Key::Hot(wallet) => wallet.write_hotkey(&secret, password.as_ref()),
    }
    .map_err(Failure::from)
}

fn password(path: &Path, wish: Wish, sources: &PasswordSources) -> Result<Option<Password>, WalletError> {
    if wish.plain {
        return Ok(None);
    }
    if let Some(password) = sources.known(path)? {
        return Ok(Some(password));
    }
    if sources.can_ask() && !wish.encrypt {
        eprintln!("an empty password leaves the key as it is, for everybody who can read the file");
    }
    match sources.ask_new(path)? {
        None if wish.encrypt => Err(WalletError::NoNewPassword { path: path.to_owned() }),
        password => Ok(password),
    }
}
