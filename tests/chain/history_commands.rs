//! `templar metagraph` and `templar weights history` as a person or a script uses them.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use super::node::{Node, key, neurons, reach, subnet, until};
use super::proxy;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::{Value, json};
use templar::chain::Chain;

/// What a run of the program left: exit code, stdout, stderr.
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.err);
        self
    }

    fn json(self) -> Value {
        serde_json::from_str(&self.ok().out).unwrap()
    }
}

fn templar(network: &str, line: &str) -> Run {
    templar_with(network, "none", line)
}

fn templar_with(network: &str, archive: &str, line: &str) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_templar"))
        .args(line.split(' '))
        .env("BT_ARCHIVE_ENDPOINTS", archive)
        .env("BT_SUBTENSOR_NETWORK", network)
        .env_remove("RUST_LOG")
        .output()
        .unwrap();
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_goes_to_files_and_goes_on_where_it_ended() {
    let node = Node::start(0, None);
    let chain = node.client().await;
    let netuid = subnet(&chain).await;
    let validator = key("//validator");
    let uids = neurons(&chain, netuid, &[validator.clone(), key("//miner")]).await;
    until(&chain, netuid, |m| m.neuron(&validator.account()).unwrap().validator_permit).await;
    let first = chain.set_weights_unchecked(netuid, &uids[1..], &[1], 0, &validator).await.unwrap().block;
    let second = chain.set_weights_unchecked(netuid, &uids, &[1, 2], 0, &validator).await.unwrap().block;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let run = |more: String| templar(&node.url, &format!("weights history --netuid {netuid} {more}"));
    let out = |name: &str| format!("--out {}", file(name).display());

    let printed = run(format!("--from 1 --to {second} --json")).json();
    assert_eq!(printed[0]["kind"], "set");
    assert_eq!((&printed[1]["block"], printed.as_array().unwrap().len()), (&json!(second), 2));
    let text = run(format!("--from 1 --to {second}")).ok().out;
    assert!(text.contains("WHAT") && text.contains(&format!("{}:65535", uids[1])), "{text}");

    // The first part, a line that was cut off, and the rest.
    run(format!("--from 1 --to {first} {}", out("w.jsonl"))).ok();
    assert_eq!(lines(&file("w.jsonl")).len(), 1);
    let mut whole = fs::read_to_string(file("w.jsonl")).unwrap();
    whole += "{\"block\":";
    fs::write(file("w.jsonl"), whole).unwrap();
    let refused = run(format!("--from 1 --to {second} {}", out("w.jsonl")));
    assert_eq!((refused.code, refused.out.as_str()), (2, ""), "{}", refused.err);
    let drawn = file("plots");
    run(format!("--to {second} {} --resume --plot {}", out("w.jsonl"), drawn.display())).ok();
    assert_eq!(json!(lines(&file("w.jsonl"))), printed);
    let name = format!("weights-{}", uids[0]);
    assert!(fs::read_to_string(drawn.join(format!("{name}.svg"))).unwrap().contains("<svg"));
    assert!(fs::read(drawn.join(format!("{name}.png"))).unwrap().starts_with(b"\x89PNG"));
    // Nothing is added when there is nothing new; other flags are another history.
    run(format!("--to {second} {} --resume", out("w.jsonl"))).ok();
    assert_eq!(lines(&file("w.jsonl")).len(), 2);
    for other in ["--from 2", "--validator 0"] {
        assert_eq!(run(format!("{other} --to {second} {} --resume", out("w.jsonl"))).code, 2);
    }

    run(format!("--from 1 --to {second} --validator {} {}", uids[0], out("w.parquet"))).ok();
    let table = SerializedFileReader::new(fs::File::open(file("w.parquet")).unwrap()).unwrap();
    assert_eq!(table.metadata().file_metadata().num_rows(), 2);
    let row = table.get_row_iter(None).unwrap().nth(1).unwrap().unwrap().to_string();
    assert!(row.contains("kind: \"set\"") && row.contains(&format!("block: {second}")), "{row}");
    assert_eq!(run(format!("--from 1 --to {second} {}", out("w.csv"))).code, 2);

    // By hotkey, whatever its UID; a UID that is not there is no quiet one.
    let of =
        |hotkey: String| run(format!("--from 1 --hotkey {hotkey} --json")).json().as_array().unwrap().len();
    assert_eq!((of(validator.account().to_string()), of(key("//miner").account().to_string())), (2, 0));
    let nobody = run("--from 1 --validator 99".to_owned());
    assert!(nobody.code == 5 && nobody.err.contains("has no UID 99: there are 3"), "{}", nobody.err);
    assert!(nobody.err.contains("hint: "), "{}", nobody.err);
}

/// A node that prunes says what it lacks, with an exit code; with an archive beside it nobody notices.
#[tokio::test(flavor = "multi_thread")]
async fn old_states_come_from_an_archive_in_every_verb() {
    let node = Node::start(0, None);
    let chain = node.client().await;
    let netuid = subnet(&chain).await;
    let validator = key("//validator");
    let uids = neurons(&chain, netuid, &[validator.clone(), key("//miner")]).await;
    until(&chain, netuid, |m| m.neuron(&validator.account()).unwrap().validator_permit).await;
    let set = chain.set_weights_unchecked(netuid, &uids[1..], &[1], 0, &validator).await.unwrap().block;
    reach(&chain, set + 30).await;
    let verbs = [
        format!("metagraph --netuid {netuid} --block {set} --columns uid,weights --json"),
        format!("metagraph --netuid {netuid} --block {} --diff {} --json", set - 1, set + 1),
        format!("weights history --netuid {netuid} --from {set} --to {set} --json"),
    ];
    let whole: Vec<Value> = verbs.iter().map(|verb| templar(&node.url, verb).json()).collect();
    assert_eq!(whole[0]["neurons"][usize::from(uids[0])]["weights"], json!([[uids[1], 65535]]));

    let mut old = BTreeSet::new();
    for block in 0..=set + 5 {
        old.insert(format!("0x{}", hex::encode(chain.block_hash(block).await.unwrap().unwrap())));
    }
    let pruned = proxy::start(&node, proxy::Forgetful(old)).await;
    for (verb, whole) in verbs.iter().zip(&whole) {
        let alone = templar(&pruned, verb);
        assert_eq!(alone.code, 4, "{verb}: {}", alone.err);
        assert!(
            alone.err.contains("no longer has the state of block") && alone.err.contains("--network archive"),
            "{}",
            alone.err
        );
        assert_eq!(templar_with(&pruned, &node.url, verb).json(), *whole, "{verb}");
    }
    // The development chain itself prunes on request.
    let quick = Node::start_with(&["--keep-states", "5"]);
    let fresh = quick.client().await;
    reach(&fresh, 12).await;
    let old = templar(&quick.url, "metagraph --netuid 1 --block 2");
    assert!(old.code == 4 && old.err.contains("no longer has the state of block 2"), "{}", old.err);
    templar(&quick.url, "metagraph --netuid 1").ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metagraph_has_columns_formats_and_differences() {
    let node = Node::start(0, None);
    let chain = node.client().await;
    let netuid = subnet(&chain).await;
    let validator = key("//validator");
    let before = chain.head().await.unwrap().number;
    let uids = neurons(&chain, netuid, std::slice::from_ref(&validator)).await;
    let hotkey = validator.account().to_string();
    let run = |more: &str| templar(&node.url, &format!("metagraph --netuid {netuid} {more}"));

    let chosen = run("--columns hotkey,uid --csv").ok().out;
    let mut rows = chosen.lines();
    assert_eq!(rows.next(), Some("hotkey,uid"));
    assert_eq!(rows.nth(uids[0].into()), Some(format!("{hotkey},{}", uids[0]).as_str()));
    let all = run("--csv").ok().out;
    for name in ["stake", "total_stake", "tao_stake", "pruning_score", "axon", "identity", "validator_permit"]
    {
        assert!(all.lines().next().unwrap().split(',').any(|column| column == name), "{name}");
    }
    let width = all.lines().next().unwrap().split(',').count();
    assert!(all.lines().all(|line| line.split(',').count() == width), "{all}");
    let table = run("--columns uid,axon,rank").ok().out;
    assert!(table.lines().nth(1).unwrap().starts_with("UID  AXON"), "{table}");
    assert!(run("--columns all").ok().out.contains("IDENTITY"));
    let json = run("--columns uid,stake --json").json();
    let neuron = json["neurons"][usize::from(uids[0])].as_object().unwrap();
    assert_eq!(neuron.keys().collect::<Vec<_>>(), ["stake", "uid"]);
    assert!(json["details"]["burn"].is_u64() && json["details"]["symbol"].is_string());
    let whole = run("--json").json();
    assert!(whole["neurons"][0]["details"]["alpha_stake"].is_u64());
    let unknown = run("--columns uid,colour");
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("coldkey"), "{}", unknown.err);

    let diff = run(&format!("--diff {before} --json")).json();
    let joined = json!({"change": "joined", "uid": uids[0], "hotkey": hotkey});
    assert!(diff["changes"].as_array().unwrap().contains(&joined), "{diff}");
    assert_eq!(diff["from_block"], before);
    let text = run(&format!("--diff {before}")).ok().out;
    assert!(text.contains("joined") && text.contains(&hotkey), "{text}");
    let same = run(&format!("--block {before} --diff {before}")).ok().out;
    assert!(same.contains("nothing changed"), "{same}");
}
