//! What people get wrong, each a sentence with what to do about it, and a documented exit code.

use std::{fs, path::Path, process::Command};

use super::node::{Node, key, neurons, subnet, until};
use super::proxy;
use templar::{
    chain::{AdminCall, Chain, MemoryBook, RAO_PER_TAO, WeightsRequest},
    wallet::{Keypair, Wallet},
};

const PHRASE: &str = "bottom drive obey lake curtain smoke basket hold race lonely fit walk";

struct Scene<'a> {
    folder: &'a Path,
    network: &'a str,
}

impl Scene<'_> {
    fn run(&self, line: &str, environment: &[(&str, &str)]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
        command.args(line.split(' ')).current_dir(self.folder);
        command.env("BT_WALLET_PATH", self.folder).env("BT_SUBTENSOR_NETWORK", self.network);
        for name in ["BT_WALLET_NAME", "BT_WALLET_HOTKEY", "BT_WALLET_PASSWORD", "RUST_LOG"] {
            command.env_remove(name);
        }
        let output = command.envs(environment.iter().copied()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Fails with this code, these words in its sentence, and these in its hint; nothing is on stdout.
    fn fails(&self, line: &str, environment: &[(&str, &str)], code: i32, sentence: &str, hint: &str) {
        let (found, out, err) = self.run(line, environment);
        assert_eq!((found, out.as_str()), (code, ""), "{line}: {err}");
        let of = |start: &str| {
            let mut lines = err.lines().map(str::trim_start).filter_map(|line| line.strip_prefix(start));
            lines.next().unwrap_or_else(|| panic!("{line}: no {start}in {err}")).to_owned()
        };
        let (said, help) = (of("error: "), of("hint: "));
        assert!(said.contains(sentence), "{line}: {sentence:?} is not in {said:?}");
        assert!(help.contains(hint), "{line}: {hint:?} is not in {help:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_mistake_has_its_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(0, None);
    let chain = node.client().await;
    let (netuid, alice) = (subnet(&chain).await, key("//Alice"));
    let admin = async |call| chain.sudo(call, &alice).await.unwrap();
    let keys: Vec<Keypair> = ["//validator", "//miner", "//other"].map(key).into();
    let uids = neurons(&chain, netuid, &keys).await;
    let (validator, miner) = (&keys[0], uids[1]);
    until(&chain, netuid, |m| m.neuron(&validator.account()).unwrap().validator_permit).await;
    let scene = Scene { folder: folder.path(), network: &node.url };

    // A wrong password, a damaged keyfile.
    let open = [("BT_WALLET_PASSWORD", "right")];
    let mut made = Command::new(env!("CARGO_BIN_EXE_templar"));
    made.args(["wallet", "new", "cold/hot", "--encrypt"]).env("BT_WALLET_PATH", folder.path()).envs(open);
    assert!(made.output().unwrap().status.success());
    let coldkey = Wallet::at(folder.path(), "cold", "hot").unwrap().coldkey_account().unwrap();
    chain.transfer(&coldkey, 100 * RAO_PER_TAO, &alice).await.unwrap();
    let register = format!("register --yes --netuid {netuid} --wallet cold/hot");
    scene.fails(&register, &[("BT_WALLET_PASSWORD", "wrong")], 3, "does not open", "type it again");
    let wallet = Wallet::at(folder.path(), "broken", "hot").unwrap();
    wallet.create_coldkey().unwrap();
    wallet.create_hotkey().unwrap();
    let keyfile = folder.path().join("broken/hotkeys/hot");
    let whole = fs::read_to_string(&keyfile).unwrap();
    fs::write(&keyfile, &whole[..whole.len() / 2]).unwrap();
    let set = |who: &str, weights: &str| format!("weights set {weights} --netuid {netuid} --wallet {who}");
    scene.fails(&set("broken/hot", "1:1"), &[], 3, "hotkeys/hot", "");
    let (_, _, said) = scene.run(&set("broken/hot", "1:1"), &[]);
    for secret in ["secretSeed", "secretPhrase"].map(|name| field(&whole, name)) {
        assert!(!said.contains(&secret));
    }
    assert!(!said.contains(PHRASE));

    // A wrong network: a name that is none, nobody there, a chain of another kind, a subnet that is not there.
    let graph = |network: &str| format!("metagraph --netuid {netuid} --network {network}");
    scene.fails(&graph("finny"), &[], 2, "finny", "use local, test, finney");
    scene.fails(&graph("ws://127.0.0.1:1"), &[], 4, "cannot connect", "check the endpoint");
    let other = proxy::start(&node, proxy::Renamed("SubtensorModule", "AnythingDiffers")).await;
    scene.fails(&graph(&other), &[], 4, "a chain without subnets", "check --network");
    scene.fails("metagraph --netuid 77", &[], 5, "no subnet 77", "--network");

    // Who may not, when one may not, what one may not.
    let good = format!("{miner}:1");
    scene.fails(&set("//stranger", &good), &[], 5, "is not registered", "templar register");
    chain.register(netuid, &key("//idle").account(), &key("//Bob")).await.unwrap();
    scene.fails(&set("//idle", &good), &[], 5, "NeuronNoValidatorPermit", "stake");
    scene.fails(&set("//validator", &format!("{miner}:0")), &[], 5, "weight", "correct the arguments");
    scene.fails(&set("//validator", "99:1"), &[], 5, "UidVecContainInvalidOne", "metagraph");
    admin(AdminCall::WeightsVersionKey { netuid, key: u64::MAX }).await;
    scene.fails(&set("//validator", &good), &[], 5, "IncorrectWeightVersionKey", "update templar");
    admin(AdminCall::WeightsVersionKey { netuid, key: 0 }).await;
    assert_eq!(scene.run(&set("//validator", &good), &[]).0, 0);
    admin(AdminCall::WeightsSetRateLimit { netuid, blocks: 5000 }).await;
    scene.fails(&set("//validator", &good), &[], 5, "too soon", "wait");
    admin(AdminCall::WeightsSetRateLimit { netuid, blocks: 0 }).await;

    // A UID that was given to somebody else between the commit and its reveal.
    admin(AdminCall::Tempo { netuid, blocks: 30 }).await;
    admin(AdminCall::CommitRevealVersion { version: 3 }).await;
    admin(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: true }).await;
    let weights = vec![(uids[2], 65535)];
    let order = WeightsRequest { netuid, mechanism: 0, weights, version_key: 0 };
    let commit = chain.set_weights(&order, validator, &MemoryBook::default()).await.unwrap().salted.unwrap();
    let file = folder.path().join("commits.json");
    fs::write(&file, serde_json::to_vec(&[&commit]).unwrap()).unwrap();
    // What another wallet committed is refused, and stays; so is a damaged file.
    let kept = fs::read(&file).unwrap();
    let theirs = "weights reveal --commits commits.json --wallet //other";
    scene.fails(theirs, &[], 2, &format!("has a commit of {}", validator.account()), "name the wallet");
    scene.fails(&format!("{theirs} --dry-run"), &[], 2, "has a commit of", "name the wallet");
    assert_eq!(fs::read(&file).unwrap(), kept);
    fs::write(folder.path().join("damaged.json"), &kept[..kept.len() / 2]).unwrap();
    let damaged = "weights reveal --commits damaged.json --wallet //validator";
    scene.fails(damaged, &[], 6, "damaged.json", "without it they cannot be revealed");
    scene.fails(
        &format!("{} --commits damaged.json", set("//validator", &good)),
        &[],
        6,
        "damaged.json",
        "salts",
    );
    // Where a salt cannot be kept nothing is committed.
    let before = chain.head().await.unwrap().number;
    let nowhere = format!("{} --commits no/such/folder.json", set("//validator", &good));
    scene.fails(&nowhere, &[], 6, "no/such/folder.json", "--commits");
    let after = chain.head().await.unwrap().number;
    let set_since =
        chain.metagraph(netuid, None).await.unwrap().neuron(&validator.account()).unwrap().last_update;
    assert!(set_since <= before, "{set_since} in {before} to {after}");
    // While few neurons are not immune, an immune one is replaced.
    admin(AdminCall::ImmunityPeriod { netuid, blocks: 5000 }).await;
    let size = chain.metagraph(netuid, None).await.unwrap().neurons.len() as u16;
    admin(AdminCall::MaxAllowedUids { netuid, count: size }).await;
    chain.transfer(&key("//Bob").account(), 1000 * RAO_PER_TAO, &alice).await.unwrap();
    let mut tries = 0;
    while chain.uid(netuid, &keys[2].account()).await.unwrap().is_some() {
        let newcomer = key(&format!("//newcomer{tries}"));
        chain.register(netuid, &newcomer.account(), &key("//Bob")).await.unwrap();
        tries += 1;
        assert!(tries < 10, "nobody replaces {}", uids[2]);
    }
    let reveal = "weights reveal --commits commits.json --wallet //validator --dry-run";
    scene.fails(reveal, &[], 5, "at the commit and is", "set new weights");
    let anyway = scene.run(&format!("{reveal} --changed-too"), &[]);
    assert!(
        [0, 5].contains(&anyway.0)
            && anyway.1.contains(&format!("the commit of block {}", commit.block.unwrap())),
        "{anyway:?}"
    );
    // The salt is shown to nobody before its time, whatever goes wrong.
    let refused = scene.run(reveal, &[]).2;
    assert!(!refused.contains(&format!("{:?}", commit.salt)));
}

/// A field of a keyfile.
fn field(keyfile: &str, name: &str) -> String {
    let fields: serde_json::Value = serde_json::from_str(keyfile).unwrap();
    fields[name].as_str().unwrap().to_owned()
}
