//! The verbs that move money or speak for a neuron: what they say beforehand, whom they ask, what they do.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::Value;
use templar::{
    chain::{AdminCall, RAO_PER_TAO, SubtensorClient},
    wallet::Wallet,
    window::NetUid,
};

use super::node::{Node, key, neurons, subnet, until};

/// A network and the wallets on it.
struct Desk<'a> {
    wallets: &'a Path,
    network: &'a str,
}

/// What a run left: exit code, stdout, stderr.
type Left = (i32, String, String);

impl Desk<'_> {
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
        command.args(line.split(' ')).stdin(Stdio::null());
        self.with_environment(command)
    }

    fn with_environment(&self, mut command: Command) -> Command {
        for name in ["BT_WALLET_NAME", "BT_WALLET_HOTKEY", "BT_WALLET", "RUST_LOG", "TEMPLAR_LOG"] {
            command.env_remove(name);
        }
        command.env("BT_WALLET_PATH", self.wallets).env("BT_SUBTENSOR_NETWORK", self.network);
        command
    }

    fn run(&self, line: &str) -> Left {
        let output = self.command(line).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    fn json(&self, line: &str) -> Value {
        let (code, out, err) = self.run(line);
        assert_eq!(code, 0, "{line}: {err}");
        serde_json::from_str(&out).unwrap()
    }

    /// It ends with this code, names this, and says what to do.
    #[track_caller]
    fn fails(&self, line: &str, code: i32, words: &str) {
        let (found, _, err) = self.run(line);
        assert_eq!(found, code, "{line}: {err}");
        assert!(err.contains(words) && err.contains("hint: "), "{line}: {err}");
        assert!(!err.contains("the chain refused"), "it was not asked: {err}");
    }

    /// On a terminal, where somebody types this.
    fn typed(&self, line: &str, answer: &str) -> (i32, String) {
        let mut script = Command::new("script");
        script.args(["-qec", &format!("{} {line}", env!("CARGO_BIN_EXE_templar")), "/dev/null"]);
        let mut script = self.with_environment(script);
        let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

async fn rao(chain: &SubtensorClient, uri: &str) -> u64 {
    chain.balance(&key(uri).account()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn money_is_spent_only_by_who_agreed_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(0, None);
    let chain = node.client().await;
    let netuid: NetUid = subnet(&chain).await;
    let desk = Desk { wallets: folder.path(), network: &node.url };
    let wallet = Wallet::at(folder.path(), "cold", "hot").unwrap();
    let (coldkey, hotkey) = (wallet.create_coldkey().unwrap(), wallet.create_hotkey().unwrap());

    // A phrase is shown on demand, once, and on a terminal alone; a machine that never sees the coldkey has its address.
    desk.fails("wallet new paper/hot --no-password --show-phrase", 2, "on a terminal alone");
    let (code, shown) = desk.typed("wallet new paper/hot --no-password --show-phrase", "");
    let file = std::fs::read_to_string(folder.path().join("paper/coldkey")).unwrap();
    let keyfile: Value = serde_json::from_str(&file).unwrap();
    assert!(
        code == 0 && shown.contains(keyfile["secretPhrase"].as_str().unwrap()),
        "the phrase is not shown"
    );
    let (_, quiet) = desk.typed("wallet new paper/hot2", "");
    assert!(!quiet.contains(keyfile["secretPhrase"].as_str().unwrap()));
    let watch = desk.json(&format!("wallet regen-coldkeypub watch --address {coldkey} --json"));
    assert_eq!(watch["coldkey"], coldkey.to_string());
    assert_eq!(desk.json("balance --wallet.name watch --json")[0]["address"], coldkey.to_string());
    desk.fails(&format!("wallet regen-coldkeypub watch --address {coldkey}"), 3, "coldkeypub.txt");

    // What is used and why, without what may be a secret.
    let shown = desk
        .json("config show --json --network wss://user:secret@node.example/0123456789abcdef0123456789abcdef");
    assert_eq!(shown["network"]["from"], "a flag");
    assert_eq!(shown["wallets"]["from"], "the environment (BT_WALLET_PATH)");
    assert!(
        !shown.to_string().contains("secret") && !shown.to_string().contains("0123456789abcdef"),
        "{shown}"
    );

    // A transfer: nobody can be asked here, so nothing is sent without --yes.
    let before = rao(&chain, "//Bob").await;
    let transfer = format!("transfer --to {coldkey} --amount 50 --wallet //Bob");
    desk.fails(&transfer, 2, "no terminal to ask on");
    let (code, out, _) = desk.run(&format!("{transfer} --dry-run"));
    assert_eq!(code, 0);
    for words in [
        "Balances.transfer_keep_alive",
        &format!("dest: {coldkey}, value: 50000000000"),
        "yes  the coldkey can pay",
    ] {
        assert!(out.contains(words), "{words} is not in {out}");
    }
    assert_eq!(rao(&chain, "//Bob").await, before);
    // On a terminal it asks.
    let (code, shown) = desk.typed(&transfer, "n\n");
    assert_eq!(code, 130, "{shown}");
    assert!(
        shown.contains("sends 50 TAO to")
            && shown.contains("Go on? [y/N]")
            && shown.contains("nothing was sent"),
        "{shown}"
    );
    assert_eq!(rao(&chain, "//Bob").await, before);
    let (code, shown) = desk.typed(&transfer, "y\n");
    assert_eq!(code, 0, "{shown}");
    assert_eq!(chain.balance(&coldkey).await.unwrap(), 50 * RAO_PER_TAO);
    assert!(desk.json(&format!("{transfer} --yes --json"))["block"].is_u64());
    assert_eq!(chain.balance(&coldkey).await.unwrap(), 100 * RAO_PER_TAO);

    // What cannot be paid is not sent, and a dry run says so with its exit code.
    let too_much = format!("transfer --to {coldkey} --amount 100000000 --wallet //Bob");
    desk.fails(&format!("{too_much} --yes"), 5, "FundsUnavailable");
    desk.fails(&format!("{too_much} --dry-run"), 5, "FundsUnavailable");
    for (line, words) in [
        (format!("transfer --to {coldkey} --amount 1e3 --wallet //Bob"), "is no amount"),
        ("transfer --to 5Nobody --amount 1 --wallet //Bob".to_owned(), "5Nobody"),
    ] {
        let (code, _, err) = desk.run(&line);
        assert!(code == 2 && err.contains(words), "{line}: {err}");
    }
    desk.fails(
        &format!("transfer --to {hotkey} --amount 0.000000001 --yes --wallet cold/hot"),
        5,
        "BelowMinimum",
    );

    // A registration: a limit is agreement enough.
    let register = format!("register --netuid {netuid} --wallet cold/hot");
    desk.fails(&register, 2, "no terminal to ask on");
    desk.fails(&format!("{register} --max-cost 0.0001"), 5, "no more than 0.0001");
    desk.fails(&format!("{register} --max-cost 0.0001 --dry-run"), 5, "no more than 0.0001");
    desk.fails(
        &format!("register --netuid {netuid} --wallet //poor --dry-run"),
        5,
        "NotEnoughBalanceToStake",
    );
    let (code, shown) = desk.typed(&register, "\n");
    assert!(code == 130 && shown.contains(" TAO and a fee of "), "{shown}");
    assert_eq!(desk.json(&format!("{register} --max-cost 2 --json"))["registered_now"], true);
    let (code, out, _) = desk.run(&format!("{register} --dry-run"));
    assert!(code == 0 && out.contains("there is nothing to do"), "{out}");
    // Another coldkey cannot have this hotkey.
    let theirs = format!("subnets create --yes --wallet {}", "//Bob");
    let stolen = Wallet::at(folder.path(), "other", "hot").unwrap();
    stolen.create_coldkey().unwrap();
    std::fs::create_dir_all(folder.path().join("other/hotkeys")).unwrap();
    std::fs::copy(folder.path().join("cold/hotkeys/hot"), folder.path().join("other/hotkeys/hot")).unwrap();
    desk.fails("subnets create --yes --wallet other/hot", 5, "CannotAffordLockCost");
    desk.fails("register --netuid 1 --yes --wallet other/hot", 5, "NonAssociatedColdKey");

    // Stake, in and out.
    let stake = format!("stake add --netuid {netuid} --amount 10 --wallet cold/hot");
    desk.fails(&stake, 2, "no terminal to ask on");
    let (_, shown) = desk.typed(&stake, "n\n");
    assert!(shown.contains("for about 10 alpha (one alpha is 1 TAO"), "{shown}");
    desk.json(&format!("{stake} -y --json"));
    let staked = desk.json("stake show --json --wallet cold/hot");
    assert_eq!(staked[0]["stake"]["alpha"], 10 * RAO_PER_TAO);
    assert_eq!(
        (&staked[0]["worth_rao"], &staked[0]["stake"]["registered"]),
        (&(10 * RAO_PER_TAO).into(), &true.into())
    );
    let table = desk.run("stake show --wallet cold/hot").1;
    assert!(table.contains(&hotkey.to_string()) && table.contains("10.0000"), "{table}");
    let balance = desk.json(&format!("balance {coldkey} --json"));
    assert_eq!(balance[0]["staked_rao"], 10 * RAO_PER_TAO);
    assert_eq!(balance[0]["free_rao"], chain.balance(&coldkey).await.unwrap());
    desk.fails(
        &format!("stake add --netuid {netuid} --amount 0.001 --yes --wallet cold/hot"),
        5,
        "AmountTooLow",
    );
    desk.fails(
        &format!("stake remove --netuid {netuid} --amount 11 --yes --wallet cold/hot"),
        5,
        "NotEnoughStakeToWithdraw",
    );
    desk.fails("stake add --netuid 77 --amount 1 --yes --wallet cold/hot", 5, "no subnet 77");
    desk.fails(
        &format!(
            "stake add --netuid {netuid} --amount 1 --yes --wallet //Bob --for {}",
            key("//never").account()
        ),
        5,
        "HotKeyAccountNotExists",
    );
    desk.json(&format!("stake remove --netuid {netuid} --all --yes --json --wallet cold/hot"));
    assert_eq!(desk.json("stake show --json --wallet cold/hot"), serde_json::json!([]));
    desk.fails(
        &format!("stake remove --netuid {netuid} --all --yes --wallet cold/hot"),
        5,
        "there is no stake",
    );

    // Subnets.
    let made = desk.json(&format!("{theirs} --json"));
    let new = made["netuid"].as_u64().unwrap();
    let list = desk.json("subnets list --json");
    let of = |netuid: u64| list.as_array().unwrap().iter().find(|subnet| subnet["netuid"] == netuid).unwrap();
    assert_eq!(of(new)["owner"], key("//Bob").account().to_string());
    assert_eq!(of(netuid.into())["tempo"], 5);
    desk.fails(&format!("subnets start --netuid {new} --yes --wallet //Alice"), 5, "NotSubnetOwner");
    desk.fails(&format!("stake add --netuid {new} --amount 1 --yes --wallet //Bob"), 5, "SubtokenDisabled");
    desk.json(&format!("subnets start --netuid {new} --yes --json --wallet //Bob"));
    let settings = desk.json(&format!("subnets show --netuid {netuid} --json"));
    assert_eq!(settings["hyperparameters"]["tempo"], 5);
    assert_eq!(settings["hyperparameters"]["commit_reveal_weights_enabled"], false);
    assert!(settings["hyperparameters"]["alpha_sigmoid_steepness"].is_f64(), "{settings}");
    let shown = desk.run(&format!("subnets show --netuid {netuid}")).1;
    assert!(shown.contains("min_burn") && shown.contains("0.0005 TAO"), "{shown}");
    desk.fails("subnets show --netuid 77", 5, "no subnet 77");

    // Everything, and the account is closed.
    desk.json(&format!("transfer --all --yes --json --to {} --wallet cold/hot", key("//Bob").account()));
    assert_eq!(chain.balance(&coldkey).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_weights_are_known_beforehand_and_a_neuron_can_be_announced() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(0, None);
    let chain = node.client().await;
    let (netuid, alice) = (subnet(&chain).await, key("//Alice"));
    let admin = async |call| chain.sudo(call, &alice).await.unwrap();
    let keys = [key("//validator"), key("//miner")];
    let uids = neurons(&chain, netuid, &keys).await;
    until(&chain, netuid, |m| m.neuron(&keys[0].account()).unwrap().validator_permit).await;
    let desk = Desk { wallets: folder.path(), network: &node.url };
    let set = format!("weights set {}:1 --netuid {netuid} --wallet //validator", uids[1]);

    // The owner asks for more weights than there are neurons: the chain caps it, and so does the check.
    admin(AdminCall::MinAllowedWeights { netuid, count: 1024 }).await;
    desk.fails(&format!("{set} --dry-run"), 5, "WeightVecLengthIsLow");
    let all: Vec<String> = (0..=uids[1]).map(|uid| format!("{uid}:1")).collect();
    desk.json(&format!("weights set {} --netuid {netuid} --wallet //validator --json", all.join(",")));
    admin(AdminCall::MinAllowedWeights { netuid, count: 1 }).await;
    // More stake than the validator has.
    admin(AdminCall::StakeThreshold { rao: 100_000 * RAO_PER_TAO }).await;
    desk.fails(&format!("{set} --dry-run"), 5, "NotEnoughStakeToSetWeights");
    desk.fails(&set, 5, "NotEnoughStakeToSetWeights");
    admin(AdminCall::StakeThreshold { rao: 0 }).await;
    // An epoch may have taken the permit meanwhile.
    until(&chain, netuid, |m| m.neuron(&keys[0].account()).unwrap().validator_permit).await;
    desk.fails(&format!("{set} --mechanism 1 --dry-run"), 5, "MechanismDoesNotExist");
    // Ten commits wait.
    admin(AdminCall::Tempo { netuid, blocks: 300 }).await;
    admin(AdminCall::CommitRevealVersion { version: 3 }).await;
    admin(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: true }).await;
    let commits = format!("--commits {}", folder.path().join("commits.json").display());
    for _ in 0..10 {
        desk.json(&format!("{set} {commits} --json"));
    }
    desk.fails(&format!("{set} {commits} --dry-run"), 5, "TooManyUnrevealedCommits");
    desk.fails(&format!("{set} {commits}"), 5, "ten commits wait already");
    let reveal = format!("weights reveal {commits} --wallet //validator --dry-run");
    desk.fails(&reveal, 5, "10 commits cannot be revealed now");

    let serve = format!("serve axon --netuid {netuid} --wallet //miner --port 8091");
    desk.fails(&format!("{serve} --ip 127.0.0.1"), 5, "InvalidIpAddress");
    desk.fails(
        &format!("{serve} --ip 203.0.113.7 --wallet.name x --dry-run").replace("//miner", "//nobody"),
        5,
        "HotKeyNotRegisteredInNetwork",
    );
    let (code, out, err) = desk.run(&format!("{serve} --ip 203.0.113.7 --dry-run"));
    assert!(code == 0 && out.contains("ip: 3405803783") && out.contains("fee        none"), "{out}{err}");
    desk.json(&format!("{serve} --ip 203.0.113.7 --json"));
    let table = desk.run(&format!("metagraph --netuid {netuid} --columns uid,axon")).1;
    assert!(table.contains("203.0.113.7:8091"), "{table}");
    desk.fails(&format!("{serve} --ip 203.0.113.8"), 5, "ServingRateLimitExceeded");
    let six = format!("serve axon --netuid {netuid} --wallet //validator --port 1 --ip 2001:db8::1 --json");
    desk.json(&six);
}
