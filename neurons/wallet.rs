//! `templar wallet`: the keys on this machine, in Bittensor's folders.

use std::path::PathBuf;

use templar::wallet::{AccountId, Wallet, WalletEntry, WalletError, WalletOptions};

use crate::{
    cli::{Exit, Failure},
    failure::ToFailure,
    output::{print, print_json, table},
};

/// What to do with wallets.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// The folder that holds the wallets; ~/.bittensor/wallets unless given
    #[arg(
        long = "wallet.path",
        alias = "wallet-path",
        env = "BT_WALLET_PATH",
        value_name = "DIR",
        global = true
    )]
    path: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a hotkey, and its coldkey if there is none. Nothing is ever replaced
    New {
        /// The wallet and its hotkey
        #[arg(value_name = "COLD/HOT")]
        wallet: String,
    },
    /// List all wallets and their hotkeys
    List,
    /// Show the addresses of one wallet
    Show {
        /// The wallet: COLD/HOT, a hotkey, a wallet, or //Alice
        #[arg(value_name = "WALLET")]
        wallet: String,
    },
}

/// Makes or shows wallets.
pub async fn run(args: Args) -> Result<(), Failure> {
    let options = WalletOptions { path: args.path, ..WalletOptions::from_env() };
    match args.verb {
        Verb::New { wallet } => new(&wallet, &options, args.json),
        Verb::List => list(&options, args.json),
        Verb::Show { wallet } => show(&wallet, &options, args.json),
    }
}

fn new(spec: &str, options: &WalletOptions, json: bool) -> Result<(), Failure> {
    let Some((name, hotkey)) = spec.split_once('/').filter(|_| !spec.starts_with("//")) else {
        return Err(Failure::new(Exit::Usage, format!("{spec:?} does not name a new wallet"))
            .hint("name the wallet and its hotkey, for example `templar wallet new alice/miner1`"));
    };
    let folder = options.folder().map_err(|e| e.to_failure())?;
    let wallet = Wallet::at(&folder, name, hotkey).map_err(|e| e.to_failure())?;
    if let Some(path) = wallet.hotkey_path().filter(|path| path.exists()) {
        return Err(WalletError::Exists { path }.to_failure());
    }
    let coldkey = match wallet.coldkey_account() {
        Ok(account) => account,
        Err(WalletError::MissingKeyfile { .. }) => {
            let account = wallet.create_coldkey().map_err(|e| e.to_failure())?;
            eprintln!("warning: the new coldkey {} is not encrypted", shown(wallet.coldkey_path()));
            account
        }
        Err(e) => return Err(e.to_failure()),
    };
    let hotkey = wallet.create_hotkey().map_err(|e| e.to_failure())?;
    eprintln!("the keyfiles hold the secret phrases: keep a copy of them in a safe place");
    addresses(&wallet, Some(&coldkey), Some(&hotkey), json)
}

fn show(spec: &str, options: &WalletOptions, json: bool) -> Result<(), Failure> {
    let wallet = Wallet::resolve(spec, options).map_err(|e| e.to_failure())?;
    let (coldkey, hotkey) = (wallet.coldkey_account(), wallet.hotkey_account());
    match (coldkey, hotkey) {
        (Err(e), Err(_)) => Err(e.to_failure()),
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
    let folder = options.folder().map_err(|e| e.to_failure())?;
    let wallets = Wallet::list(&folder).map_err(|e| e.to_failure())?;
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

fn shown(path: Option<PathBuf>) -> String {
    path.map_or_else(String::new, |path| path.display().to_string())
}
