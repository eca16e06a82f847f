//! `templar weights set` and `templar weights reveal`: weights by hand, by the path that the subnet takes.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use templar::{
    chain::{
        Chain, ChainError, CommitBook as _, Plan, RevealState, SaltedCommit, SubmittedWeights,
        SubtensorClient, WeightsPath, WeightsRequest,
    },
    gauntlet::weights,
    node::{VERSION_KEY, salted_commits::CommitFile},
    wallet::{AccountId, Wallet},
    window::{NetUid, Uid},
};

use crate::cli::{
    Exit, Failure, NetworkArgs, WalletArgs,
    output::{print, print_json},
    preview,
};

/// The pause between two looks at the chain while waiting.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// What to set.
#[derive(Debug, clap::Args)]
pub struct Set {
    /// The subnet
    #[arg(long, value_name = "N")]
    netuid: NetUid,
    /// The mechanism of the subnet
    #[arg(long, value_name = "N", default_value_t = 0)]
    mechanism: u8,
    /// UID:WEIGHT pairs of any scale, separated by commas, such as 3:0.7,8:0.3; `-` reads a JSON object from stdin
    #[arg(value_name = "UID:WEIGHT,...|-")]
    weights: String,
    /// Version of the rules by which they were made
    #[arg(long, value_name = "N", default_value_t = VERSION_KEY)]
    version_key: u64,
    /// Show what would be signed, every check and the fee, and sign nothing; exit code 5 if the chain would refuse it
    #[arg(long)]
    dry_run: bool,
    /// Wait until the rate limit has passed, rather than end with exit code 5
    #[arg(long)]
    wait: bool,
    /// Where a salted commit is kept until it is revealed; made if it is not there
    #[arg(long, value_name = "FILE", default_value = "templar-commits.json")]
    commits: PathBuf,
    /// Sign with the wallet's hotkey as a proxy of this account, whose weights they are
    #[arg(long, value_name = "SS58")]
    proxy: Option<AccountId>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    wallet: WalletArgs,
}

/// Which commits to reveal.
#[derive(Debug, clap::Args)]
pub struct Reveal {
    /// The file that `templar weights set` keeps salted commits in
    #[arg(long, value_name = "FILE", default_value = "templar-commits.json")]
    commits: PathBuf,
    /// Wait for those whose time has not come
    #[arg(long)]
    wait: bool,
    /// Reveal also where a UID is another hotkey's than at the commit, or nobody's
    #[arg(long)]
    changed_too: bool,
    /// Show what would be signed and the fee, and sign nothing; exit code 5 if one of them cannot be revealed now
    #[arg(long, conflicts_with = "wait")]
    dry_run: bool,
    /// Sign with the wallet's hotkey as a proxy of this account, whose weights they are
    #[arg(long, value_name = "SS58")]
    proxy: Option<AccountId>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    network: NetworkArgs,
    #[command(flatten)]
    wallet: WalletArgs,
}

/// Sets weights.
pub async fn set(args: Set) -> Result<(), Failure> {
    let weights = read_weights(&args.weights)?;
    let (netuid, mechanism, version_key) = (args.netuid, args.mechanism, args.version_key);
    let order = WeightsRequest { netuid, mechanism, weights, version_key };
    let wallet = args.wallet.open()?;
    let account = wallet.hotkey_account()?;
    let chain = connect(&args.network, args.proxy.as_ref()).await?;
    if args.dry_run {
        let (plan, preview) = chain.preview_weights(&order, &account).await?;
        if args.json {
            print_json(&serde_json::json!({ "plan": plan, "preview": preview }))?;
        } else {
            print(&format!("{}{}", shown(&plan), preview::text(&preview)))?;
        }
        return Ok(plan.refuse()?);
    }
    let hotkey = wallet.hotkey_with(&args.wallet.passwords.sources())?;
    // Before anything is signed: a commit whose salt cannot be kept is not made.
    let book = CommitFile::new(&args.commits);
    read_commits(&book)?;
    let given = loop {
        match chain.set_weights(&order, &hotkey, &book).await {
            Err(error @ ChainError::TooSoon { .. }) if args.wait => {
                eprintln!("waiting: {error}");
                wait_for(&chain, &error).await?;
            }
            given => break given?,
        }
    };
    if args.json { print_json(&given) } else { print(&said(&given, &args.commits)) }
}

/// A client for the wallet's hotkey, or for the account that it is a proxy of.
async fn connect(network: &NetworkArgs, proxy_of: Option<&AccountId>) -> Result<SubtensorClient, Failure> {
    let chain = network.connect().await?;
    Ok(match proxy_of {
        Some(real) => chain.acting_for(real.clone()),
        None => chain,
    })
}

/// Whose weights they are.
fn whose(wallet: &Wallet, proxy_of: Option<&AccountId>) -> Result<AccountId, Failure> {
    Ok(match proxy_of {
        Some(real) => real.clone(),
        None => wallet.hotkey_account()?,
    })
}

async fn wait_for(chain: &SubtensorClient, error: &ChainError) -> Result<(), Failure> {
    let ChainError::TooSoon { block, .. } = error else { return Ok(()) };
    // A transaction in the block after the newest is early enough.
    while chain.head().await?.number + 1 < *block {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
    Ok(())
}

/// Reveals what is due.
pub async fn reveal(args: Reveal) -> Result<(), Failure> {
    let book = CommitFile::new(&args.commits);
    let mut commits = read_commits(&book)?;
    if commits.is_empty() {
        return Err(Failure::new(Exit::Usage, format!("{} has no commits", args.commits.display()))
            .hint("`templar weights set` writes salted commits there; name the file with --commits"));
    }
    if args.changed_too {
        commits.iter_mut().for_each(|commit| commit.hotkeys.clear());
    }
    let wallet = args.wallet.open()?;
    let account = whose(&wallet, args.proxy.as_ref())?;
    if let Some(theirs) = commits.iter().find(|commit| !commit.is_of(&account)) {
        let whose = theirs.hotkey.as_ref().map_or("another hotkey".to_owned(), ToString::to_string);
        return Err(Failure::new(
            Exit::Usage,
            format!("{} has a commit of {whose}, and not of {account}", args.commits.display()),
        )
        .hint("name the wallet that made it with --wallet, or another file with --commits"));
    }
    if args.dry_run {
        return preview_reveals(&args, &wallet, &commits).await;
    }
    let hotkey = wallet.hotkey_with(&args.wallet.passwords.sources())?;
    let chain = connect(&args.network, args.proxy.as_ref()).await?;
    let elsewhere =
        |commit: &&SaltedCommit| commit.genesis.is_some_and(|genesis| genesis != chain.genesis_hash());
    if commits.iter().any(|commit| elsewhere(&commit)) {
        return Err(Failure::new(
            Exit::Usage,
            format!("{} has a commit on another network", args.commits.display()),
        )
        .hint("name the network that it was made on with --network"));
    }
    let over = |commit: &SaltedCommit| {
        book.forget(&commit.hash).map_err(|words| Failure::new(Exit::Storage, words).hint(KEPT_THERE))
    };
    let (mut revealed, mut gone) = (Vec::new(), Vec::new());
    loop {
        let mut waiting = Vec::new();
        for commit in commits {
            match chain.reveal_state(&commit, &account).await? {
                RevealState::Due => {
                    let included = chain.reveal_weights(&commit, &hotkey).await?;
                    eprintln!("revealed {} in block {}", called(&commit), included.block);
                    revealed.push(included.block);
                    over(&commit)?;
                }
                RevealState::Gone => {
                    eprintln!(
                        "{} is gone: revealed before, its time is over, or it never came",
                        called(&commit)
                    );
                    gone.push(commit.block);
                    over(&commit)?;
                }
                RevealState::Early | RevealState::Unknown => waiting.push(commit),
            }
        }
        if waiting.is_empty() || !args.wait {
            let early: Vec<_> = waiting.iter().map(|commit| commit.block).collect();
            if args.json {
                let all = serde_json::json!({ "revealed_in": revealed, "gone": gone, "too_early": early });
                return print_json(&all);
            }
            let (done, left) = (revealed.len(), early.len());
            return print(&format!("{done} revealed, {} gone, {left} too early\n", gone.len()));
        }
        commits = waiting;
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// What each commit would be revealed by, and whether it can be now.
async fn preview_reveals(args: &Reveal, wallet: &Wallet, commits: &[SaltedCommit]) -> Result<(), Failure> {
    let (signer, account) = (wallet.hotkey_account()?, whose(wallet, args.proxy.as_ref())?);
    let chain = connect(&args.network, args.proxy.as_ref()).await?;
    let (mut all, mut text, mut not_now) = (Vec::new(), String::new(), 0);
    for commit in commits {
        let state = chain.reveal_state(commit, &account).await?;
        not_now += usize::from(state != RevealState::Due);
        let preview = chain.preview_reveal(commit, &signer).await?;
        // Before its time nobody may see what it reveals, and a terminal is no place for a secret.
        let preview = matches!(state, RevealState::Due | RevealState::Gone).then_some(preview);
        let check = match state {
            RevealState::Early => "NO   its time has not come; the call is shown when it has",
            RevealState::Due => "yes  it can be revealed now",
            RevealState::Gone => "NO   the chain does not have it (any more)",
            RevealState::Unknown => "NO   it is not certain yet whether it got into the chain",
        };
        let shown = preview.as_ref().map(preview::text).unwrap_or_default();
        text.push_str(&format!("{}\n  {check}\n{shown}", called(commit)));
        all.push(serde_json::json!({ "committed_in": commit.block, "state": state, "preview": preview }));
    }
    if args.json {
        print_json(&all)?;
    } else {
        print(&text)?;
    }
    match not_now {
        0 => Ok(()),
        1 => Err(Failure::new(Exit::Chain, "a commit cannot be revealed now").hint(NOT_NOW)),
        n => Err(Failure::new(Exit::Chain, format!("{n} commits cannot be revealed now")).hint(NOT_NOW)),
    }
}

const NOT_NOW: &str = "`templar weights reveal --wait` reveals each when its time comes";

fn read_weights(text: &str) -> Result<Vec<(Uid, u16)>, Failure> {
    let wrong = |what: String| {
        Failure::new(Exit::Usage, format!("{what} is not a weight")).hint(
            "write UID:WEIGHT pairs such as 3:0.7,8:0.3, or a JSON object such as {\"3\": 0.7} on stdin",
        )
    };
    let pairs: Vec<(Uid, f64)> = if text == "-" {
        if std::io::stdin().is_terminal() {
            eprintln!("reading weights as a JSON object from the terminal; end with Ctrl-D");
        }
        let mut json = String::new();
        std::io::stdin()
            .take(1 << 20)
            .read_to_string(&mut json)
            .map_err(|e| Failure::new(Exit::Usage, format!("cannot read stdin: {e}")))?;
        let map: BTreeMap<Uid, f64> =
            serde_json::from_str(&json).map_err(|_| wrong("what was read".to_owned()))?;
        map.into_iter().collect()
    } else {
        let pair = |pair: &str| {
            let (uid, weight) = pair.split_once(':')?;
            Some((uid.trim().parse().ok()?, weight.trim().parse().ok()?))
        };
        text.split(',')
            .map(|text| pair(text).ok_or_else(|| wrong(format!("`{text}`"))))
            .collect::<Result<_, _>>()?
    };
    weights::of_uids(&pairs)
        .map_err(|e| Failure::new(Exit::Usage, e).hint("every UID once, every weight 0 or more"))
}

/// The plan as a person reads it.
fn shown(plan: &Plan) -> String {
    let path = match plan.path {
        WeightsPath::Plain => "plainly, for all to see",
        WeightsPath::Timelocked => "as a timelocked commit, which the chain opens by itself",
        WeightsPath::Salted => "as a salted commit, to be revealed with `templar weights reveal`",
    };
    format!("at block {}, weights are set {path}\n{}", plan.block, preview::checks(&plan.checks))
}

fn said(given: &SubmittedWeights, commits: &Path) -> String {
    let block = given.included.block;
    match (given.path, given.round, given.opens_at) {
        (WeightsPath::Timelocked, Some(round), Some(opens_at)) => format!(
            "committed in block {block}; the chain opens it from block {opens_at} on, with round {round} of the beacon\n"
        ),
        (WeightsPath::Salted, ..) => format!(
            "committed in block {block}; reveal it with `templar weights reveal --commits {}`\n",
            commits.display()
        ),
        _ => format!("set in block {block}\n"),
    }
}

/// What a person calls a commit.
fn called(commit: &SaltedCommit) -> String {
    match commit.block {
        Some(block) => format!("the commit of block {block}"),
        None => "a commit that was not seen on chain".to_owned(),
    }
}

const KEPT_THERE: &str = "the salts of weight commits are kept there; name another file with --commits";

/// Salted commits that wait; none if the file is not there.
fn read_commits(book: &CommitFile) -> Result<Vec<SaltedCommit>, Failure> {
    book.read().map_err(|e| {
        Failure::from_error(Exit::Storage, &e)
            .hint("it holds salts of weight commits; without it they cannot be revealed")
    })
}
