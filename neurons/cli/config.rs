//! `templar config`: what is used where no flag says it, and where each value comes from.
//!
//! A flag counts first, then the environment, then `btcli.json` of Bittensor's command line 11, then `config.yml` of earlier ones.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use templar::{
    chain::{Endpoints, NETWORKS},
    wallet::{DEFAULT_NAME, WalletOptions},
};
use yaml_rust2::{Yaml, YamlLoader};

use crate::cli::{
    Exit, Failure, NetworkArgs, WalletArgs,
    output::{print, print_json, table},
};

/// What to do with settings.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show the network and the wallet that are used, and where each value comes from
    Show(Show),
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    wallet: WalletArgs,
}

/// Where values are looked for, the first that has one counting.
pub struct Settings {
    layers: Vec<Layer>,
}

/// One place: its name for people, and its values by the names of the environment.
struct Layer {
    name: String,
    values: BTreeMap<&'static str, String>,
}

/// The variables that are understood.
const VARIABLES: [&str; 9] = [
    "BT_SUBTENSOR_NETWORK",
    "BT_NETWORK",
    "BT_SUBTENSOR_CHAIN_ENDPOINT",
    "BT_FALLBACK_ENDPOINTS",
    "BT_ARCHIVE_ENDPOINTS",
    "BT_WALLET_NAME",
    "BT_WALLET",
    "BT_WALLET_HOTKEY",
    "BT_WALLET_PATH",
];

/// Keys of `btcli.json`, and the variables that they stand for.
const JSON_KEYS: [(&str, &str); 6] = [
    ("network", "BT_NETWORK"),
    ("wallet", "BT_WALLET"),
    ("wallet_hotkey", "BT_WALLET_HOTKEY"),
    ("wallet_path", "BT_WALLET_PATH"),
    ("fallback_endpoints", "BT_FALLBACK_ENDPOINTS"),
    ("archive_endpoints", "BT_ARCHIVE_ENDPOINTS"),
];

/// Keys of `config.yml`.
const YAML_KEYS: [(&str, &str); 4] = [
    ("network", "BT_NETWORK"),
    ("wallet_name", "BT_WALLET_NAME"),
    ("wallet_hotkey", "BT_WALLET_HOTKEY"),
    ("wallet_path", "BT_WALLET_PATH"),
];

impl Settings {
    /// From the environment and the files.
    ///
    /// # Errors
    /// Exit code 2 for a file that is there and cannot be read: with another wallet or network than the one that it names something
    /// could be signed that nobody meant.
    pub fn load() -> Result<Self, Failure> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let home = std::env::home_dir().map(|home| home.join(".bittensor"));
        let file = |name: &str, usual: &str| {
            let named = variable(name).map(PathBuf::from);
            named.or_else(|| home.as_ref().map(|home| home.join(usual)))
        };
        let environment = VARIABLES.iter().filter_map(|name| Some((*name, variable(name)?))).collect();
        let mut layers = vec![Layer { name: String::new(), values: environment }];
        for (path, read) in [
            (file("BTCLI_CONFIG", "btcli.json"), from_json as fn(&str) -> Result<_, String>),
            (file("BTCLI_CONFIG_PATH", "config.yml"), from_yaml),
        ] {
            let Some(path) = path else { continue };
            let text = match fs::read_to_string(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                text => text.map_err(|error| unreadable(&path, &error.to_string()))?,
            };
            let values = read(&text).map_err(|reason| unreadable(&path, &reason))?;
            layers.push(Layer { name: path.display().to_string(), values });
        }
        Ok(Self { layers })
    }

    /// The first value under one of these names, and where it is.
    fn find(&self, names: &[&'static str]) -> Option<(String, String)> {
        self.layers.iter().find_map(|layer| {
            let (name, value) = names.iter().find_map(|name| Some((name, layer.values.get(name)?)))?;
            let from =
                if layer.name.is_empty() { format!("the environment ({name})") } else { layer.name.clone() };
            Some((value.clone(), from))
        })
    }

    /// The network, where no flag says it.
    fn network(&self) -> (String, String) {
        let names = ["BT_SUBTENSOR_CHAIN_ENDPOINT", "BT_SUBTENSOR_NETWORK", "BT_NETWORK"];
        self.find(&names).unwrap_or_else(|| ("finney".to_owned(), DEFAULT.to_owned()))
    }

    /// The endpoints of a network, or of the one that is set.
    pub fn endpoints(&self, flag: Option<&str>) -> Result<Endpoints, Failure> {
        let network = flag.map_or_else(|| self.network().0, str::to_owned);
        let list = |name| self.find(&[name]).map(|(value, _)| value);
        Ok(Endpoints::with(&network, |name| match name {
            "BT_FALLBACK_ENDPOINTS" => list("BT_FALLBACK_ENDPOINTS"),
            "BT_ARCHIVE_ENDPOINTS" => list("BT_ARCHIVE_ENDPOINTS"),
            _ => None,
        })?)
    }

    /// Wallet options, with what flags leave out.
    pub fn wallet(&self, flags: WalletOptions) -> WalletOptions {
        self.layers.iter().fold(flags, |options, layer| options.or(|name| layer.values.get(name).cloned()))
    }
}

/// What a value that nobody gave comes from.
const DEFAULT: &str = "the default";

fn unreadable(path: &Path, reason: &str) -> Failure {
    Failure::new(Exit::Usage, format!("cannot read the settings in {}: {reason}", path.display())).hint(
        "correct the file, or name another with BTCLI_CONFIG (btcli.json) or BTCLI_CONFIG_PATH (config.yml)",
    )
}

fn from_json(text: &str) -> Result<BTreeMap<&'static str, String>, String> {
    let document: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| error.to_string())?;
    let value = |(key, name): (&str, &'static str)| {
        Some((name, document.get(key)?.as_str().filter(|text| !text.is_empty())?.to_owned()))
    };
    Ok(JSON_KEYS.into_iter().filter_map(value).collect())
}

fn from_yaml(text: &str) -> Result<BTreeMap<&'static str, String>, String> {
    let documents = YamlLoader::load_from_str(text).map_err(|error| error.to_string())?;
    let Some(document) = documents.first() else { return Ok(BTreeMap::new()) };
    if !matches!(document, Yaml::Hash(_) | Yaml::Null) {
        return Err("it is no list of names and values".to_owned());
    }
    let value = |(key, name): (&str, &'static str)| {
        Some((name, document[key].as_str().filter(|text| !text.is_empty())?.to_owned()))
    };
    Ok(YAML_KEYS.into_iter().filter_map(value).collect())
}

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    let Verb::Show(args) = args.verb;
    let settings = Settings::load()?;
    let (network, from) = match &args.network.network {
        Some(network) => (network.clone(), "a flag".to_owned()),
        None => settings.network(),
    };
    let endpoints = settings.endpoints(Some(&network))?;
    let flags = args.wallet.flags();
    let options = settings.wallet(flags.clone());
    let list = |urls: Vec<String>| if urls.is_empty() { "none".to_owned() } else { urls.join(", ") };
    let (main, archive) = endpoints.shown();
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
    let of = |flag: bool, names: &[&'static str]| match flag {
        true => "a flag".to_owned(),
        false => settings.find(names).map_or_else(|| DEFAULT.to_owned(), |(_, from)| from),
    };
    // An address may have a key in it: only names are shown as they are.
    let is_name = NETWORKS.iter().any(|(name, _)| *name == network);
    let network = if is_name { network } else { list(main.clone()) };
    let rows = [
        ("network", network, from),
        ("endpoints", list(main), of(false, &["BT_FALLBACK_ENDPOINTS"])),
        ("archive", list(archive), of(false, &["BT_ARCHIVE_ENDPOINTS"])),
        ("wallet", text(&options.name), of(flags.name.is_some(), &["BT_WALLET_NAME", "BT_WALLET"])),
        ("hotkey", text(&options.hotkey), of(flags.hotkey.is_some(), &["BT_WALLET_HOTKEY", "BT_WALLET"])),
        ("wallets", options.folder()?.display().to_string(), of(flags.path.is_some(), &["BT_WALLET_PATH"])),
    ];
    if args.json {
        let rows: BTreeMap<&str, serde_json::Value> = rows
            .iter()
            .map(|(name, value, from)| (*name, serde_json::json!({ "value": value, "from": from })))
            .collect();
        return print_json(&rows);
    }
    let rows: Vec<Vec<String>> =
        rows.into_iter().map(|(name, value, from)| vec![name.to_owned(), value, from]).collect();
    print(&table(&["SETTING", "VALUE", "FROM"], &["SETTING", "VALUE", "FROM"], &rows))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_files_are_read_and_the_newer_counts_first() {
        let json = from_json(r#"{"network": "test", "wallet": "mine/hk", "json": true, "wallet_path": ""}"#)
            .unwrap();
        let yaml = from_yaml(
            "network: local\nwallet_name: old\nwallet_hotkey: null\nuse_cache: true\nmetagraph_cols:\n  UID: true\n",
        )
        .unwrap();
        assert_eq!(
            json,
            BTreeMap::from([("BT_NETWORK", "test".to_owned()), ("BT_WALLET", "mine/hk".to_owned())])
        );
        assert_eq!(
            yaml,
            BTreeMap::from([("BT_NETWORK", "local".to_owned()), ("BT_WALLET_NAME", "old".to_owned())])
        );
        let layer = |name: &str, values| Layer { name: name.to_owned(), values };
        let settings = Settings { layers: vec![layer("new", json), layer("old", yaml)] };
        assert_eq!(settings.network(), ("test".to_owned(), "new".to_owned()));
        let options = settings.wallet(WalletOptions::default());
        assert_eq!((options.name.as_deref(), options.hotkey.as_deref()), (Some("mine"), Some("hk")));
        let named =
            settings.wallet(WalletOptions { name: Some("other".to_owned()), ..WalletOptions::default() });
        assert_eq!((named.name.as_deref(), named.hotkey), (Some("other"), None));
        assert!(from_json("[]").is_err() && from_json("{").is_err() && from_yaml("a: [").is_err());
        assert!(from_yaml("just words").is_err() && from_yaml("").unwrap().is_empty());
    }
}
