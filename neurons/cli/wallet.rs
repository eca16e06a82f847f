//! `templar wallet`: the keys on this machine, in Bittensor's folders.

mod create;
mod input;
mod password;
mod sign;

use std::path::PathBuf;

use templar::wallet::{AccountId, DEFAULT_NAME, Wallet, WalletEntry, WalletError, WalletOptions, keyfile};

use crate::cli::{
    Failure,
    config::Settings,
    output::{print, print_json, table},
};

/// What to do with wallets.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// The folder that holds the wallets; ~/.bittensor/wallets unless given
    #[arg(long = "wallet.path", alias = "wallet-path", value_name = "DIR", global = true)]
    path: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a hotkey, and its coldkey if there is none. Nothing is ever replaced
    New(create::New),
    /// Make a key again from its phrase or seed, which is asked for or read from stdin. Nothing is ever replaced
    Regen(create::Regen),
    /// Write a coldkey's address alone, for a machine that never sees the coldkey
    RegenColdkeypub(create::RegenPub),
    /// List all wallets and their hotkeys
    List,
    /// Show the addresses of one wallet
    Show {
        /// The wallet: COLD/HOT, a hotkey, a wallet, or //Alice
        #[arg(value_name = "WALLET")]
        wallet: String,
    },
    /// Sign a message with a hotkey, or with a coldkey
    Sign(sign::Sign),
    /// Check a signature: exit code 0 if it is the address's over the message, 3 if not
    Verify(sign::Verify),
    /// Set, change or remove the password of a key
    Password(password::Args),
}

/// Makes, shows and uses wallets.
pub async fn run(args: Args) -> Result<(), Failure> {
    let options = Settings::load()?.wallet(WalletOptions { path: args.path, ..WalletOptions::default() });
    match args.verb {
        Verb::New(new) => create::new(&new, &options, args.json),
        Verb::Regen(regen) => create::regen(&regen, &options, args.json),
        Verb::RegenColdkeypub(regen) => create::regen_coldkeypub(&regen, &options, args.json),
        Verb::List => list(&options, args.json),
        Verb::Show { wallet } => show(&wallet, &options, args.json),
        Verb::Sign(sign) => sign::sign(&sign, &options, args.json),
        Verb::Verify(verify) => sign::verify(&verify, args.json),
        Verb::Password(change) => password::change(&change, &options, args.json),
    }
}

/// One keyfile that a command names: COLD or COLD/HOT.
enum Key {
    Cold(Wallet),
    Hot(Wallet),
}

impl Key {
    /// The keyfile that `spec` names, whether it exists or not.
    fn parse(spec: &str, options: &WalletOptions) -> Result<Self, Failure> {
        let folder = options.folder()?;
        match spec.split_once('/') {
            None => Wallet::at(&folder, spec, DEFAULT_NAME).map(Self::Cold),
            Some((name, hotkey)) => Wallet::at(&folder, name, hotkey).map(Self::Hot),
        }
        .map_err(Failure::from)
    }

    fn path(&self) -> Result<PathBuf, Failure> {
        let path = match self {
            Self::Cold(wallet) => wallet.coldkey_path(),
            Self::Hot(wallet) => wallet.hotkey_path(),
        };
        path.ok_or_else(|| WalletError::NoHome.into())
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Cold(_) => "coldkey",
            Self::Hot(_) => "hotkey",
        }
    }

    /// Prints what became of it.
    fn print(&self, spec: &str, account: &AccountId, json: bool) -> Result<(), Failure> {
        let scheme = keyfile::encryption(&self.path()?)?;
        if json {
            return print_json(&serde_json::json!({
                "wallet": spec, "key": self.kind(), "address": account, "encrypted": scheme.is_some(),
            }));
        }
        let state = if scheme.is_some() { "encrypted" } else { "not encrypted" };
        print(&format!("wallet   {spec}\n{:<8} {account}\nkeyfile  {state}\n", self.kind()))
    }
}

fn show(spec: &str, options: &WalletOptions, json: bool) -> Result<(), Failure> {
    let wallet = Wallet::resolve(spec, options)?;
    let (coldkey, hotkey) = (wallet.coldkey_account(), wallet.hotkey_account());
    match (coldkey, hotkey) {
        (Err(e), Err(_)) => Err(e.into()),
        (coldkey, hotkey) => addresses(&wallet, coldkey.ok().as_ref(), hotkey.ok().as_ref(), json),
    }
}

fn addresses(
    wallet: &Wallet,
    coldkey: Option<&AccountId>,
    hotkey: Option<&AccountId>,
    json: bool,
) -> Result<(), Failure> {
    if json {
        return print_json(&serde_json::json!({
            "wallet": wallet.spec(), "coldkey": coldkey, "hotkey": hotkey,
        }));
    }
    let or_none = |account: Option<&AccountId>| account.map_or("none".to_owned(), ToString::to_string);
    print(&format!(
        "wallet   {}\ncoldkey  {}\nhotkey   {}\n",
        wallet.spec(),
        or_none(coldkey),
        or_none(hotkey)
    ))
}

fn list(options: &WalletOptions, json: bool) -> Result<(), Failure> {
    let folder = options.folder()?;
    let wallets = Wallet::list(&folder)?;
    if json {
        return print_json(&wallets);
    }
    if wallets.is_empty() {
        eprintln!("no wallets in {}", folder.display());
        return Ok(());
    }
    print(&table(&["WALLET", "HOTKEY", "ADDRESS"], &["WALLET", "HOTKEY", "ADDRESS"], &rows(&wallets)))
}

fn rows(wallets: &[WalletEntry]) -> Vec<Vec<String>> {
    let address = |account: &Option<AccountId>| {
        account.as_ref().map_or_else(|| "not readable".to_owned(), ToString::to_string)
    };
    let mut rows = Vec::new();
    for wallet in wallets {
        rows.push(vec![wallet.name.clone(), String::new(), address(&wallet.coldkey)]);
        for hotkey in &wallet.hotkeys {
            rows.push(vec![wallet.name.clone(), hotkey.name.clone(), address(&hotkey.account)]);
        }
    }
    rows
}
