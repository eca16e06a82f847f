//! Weights of a hotkey that one of its proxies signs for, with a key of its own.

use std::process::Command;

use subxt::{
    OnlineClient, PolkadotConfig,
    ext::scale_value::{Composite, Value},
    tx::Signer,
    utils::{AccountId32, MultiSignature},
};
use templar::{
    chain::{
        AdminCall, Chain, ChainError, MemoryBook, RAO_PER_TAO, RevealState, SubtensorClient, WeightsPath,
        WeightsRequest,
    },
    wallet::{Keypair, Wallet},
};

use super::node::{BLOCK, Node, PATIENCE, key, neurons, subnet, until};

struct Signing<'a>(&'a Keypair);

impl Signer<PolkadotConfig> for Signing<'_> {
    fn account_id(&self) -> AccountId32 {
        AccountId32(self.0.account().into())
    }

    fn sign(&self, payload: &[u8]) -> MultiSignature {
        MultiSignature::Sr25519(self.0.sign(payload))
    }
}

/// `Proxy.add_proxy` of an account, as its owner would sign it with another tool.
async fn add_proxy(node: &Node, owner: &Keypair, delegate: &Keypair, kind: &str, delay: u32) {
    let client = OnlineClient::<PolkadotConfig>::from_insecure_url(&node.url).await.unwrap();
    let delegate = Value::unnamed_variant("Id", [Value::from_bytes(<[u8; 32]>::from(delegate.account()))]);
    let fields = [
        ("delegate", delegate),
        ("proxy_type", Value::unnamed_variant(kind, [])),
        ("delay", Value::u128(delay.into())),
    ];
    let call = subxt::dynamic::tx("Proxy", "add_proxy", Composite::named(fields));
    let at = client.at_current_block().await.unwrap();
    let sent = at.tx().sign_and_submit_then_watch_default(&call, &Signing(owner)).await.unwrap();
    sent.wait_for_finalized_success().await.unwrap();
}

/// Runs the program; its exit code and what it said.
fn program(arguments: &str, wallets: &std::path::Path) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_templar"));
    for name in ["BT_WALLET_NAME", "BT_WALLET_HOTKEY", "BT_WALLET", "RUST_LOG", "TEMPLAR_LOG"] {
        command.env_remove(name);
    }
    let output = command.args(arguments.split(' ')).env("BT_WALLET_PATH", wallets).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_signs_for_a_hotkey() {
    let node = Node::start(0, None);
    let chain = node.client().await;
    let (netuid, alice) = (subnet(&chain).await, key("//Alice"));
    chain.sudo(AdminCall::Tempo { netuid, blocks: 20 }, &alice).await.unwrap();
    let (validator, miner, delegate) = (key("//validator"), key("//miner1"), key("//delegate"));
    let uids = neurons(&chain, netuid, &[validator.clone(), miner.clone()]).await;
    until(&chain, netuid, |m| m.neuron(&validator.account()).is_some_and(|n| n.validator_permit)).await;
    for account in [&validator, &delegate] {
        chain.transfer(&account.account(), 10 * RAO_PER_TAO, &key("//Bob")).await.unwrap();
    }
    let acting: SubtensorClient = node.client().await.acting_for(validator.account());
    let order = |weight| WeightsRequest {
        netuid,
        mechanism: 0,
        weights: vec![(uids[0], 65535), (uids[1], weight)],
        version_key: 0,
    };
    let is = async |weight| {
        let wait = async {
            while chain.weights(netuid, uids[0], None).await.unwrap() != order(weight).weights {
                tokio::time::sleep(BLOCK).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the weights are as they were given");
    };
    let refused = async |weight, name: &str, before_signing| {
        let error = acting.set_weights(&order(weight), &delegate, &MemoryBook::default()).await.unwrap_err();
        match (&error, before_signing) {
            (ChainError::WouldRefuse { name: found, .. }, true)
            | (ChainError::Refused { name: found, .. }, false) => assert_eq!(found, name, "{error}"),
            _ => panic!("{error}"),
        }
        assert!(error.hint().len() > 10);
    };

    // A stranger may not, and is told so before anything is signed; a proxy that has to announce its calls neither.
    refused(100, "NotProxy", true).await;
    add_proxy(&node, &validator, &delegate, "NonTransfer", 10).await;
    refused(100, "Unannounced", true).await;
    // That of another kind is refused by the chain, inside of a transaction that itself succeeds.
    add_proxy(&node, &validator, &delegate, "Transfer", 0).await;
    refused(100, "CallFiltered", false).await;

    // Plainly, by a timelock and by a salt: all of it counts as the hotkey's.
    add_proxy(&node, &validator, &delegate, "NonTransfer", 0).await;
    let given = acting.set_weights(&order(200), &delegate, &MemoryBook::default()).await.unwrap();
    assert_eq!(given.path, WeightsPath::Plain);
    is(200).await;
    assert!(chain.uid(netuid, &delegate.account()).await.unwrap().is_none(), "the delegate is no neuron");
    chain.sudo(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: true }, &alice).await.unwrap();
    let given = acting.set_weights(&order(300), &delegate, &MemoryBook::default()).await.unwrap();
    assert_eq!(given.path, WeightsPath::Timelocked);
    is(300).await;
    chain.sudo(AdminCall::CommitRevealVersion { version: 3 }, &alice).await.unwrap();
    let given = acting.set_weights(&order(400), &delegate, &MemoryBook::default()).await.unwrap();
    let commit = given.salted.unwrap();
    assert!(commit.is_of(&validator.account()));
    while acting.reveal_state(&commit, &validator.account()).await.unwrap() != RevealState::Due {
        tokio::time::sleep(BLOCK / 2).await;
    }
    acting.reveal_weights(&commit, &delegate).await.unwrap();
    is(400).await;

    // The program: the wallet has the proxy's key, and the hotkey is named.
    chain.sudo(AdminCall::CommitRevealWeightsEnabled { netuid, enabled: false }, &alice).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let wallet = Wallet::at(folder.path(), "cold", "proxy").unwrap();
    wallet.create_coldkey().unwrap();
    let hotkey = wallet.create_hotkey().unwrap();
    chain.transfer(&hotkey, RAO_PER_TAO, &key("//Bob")).await.unwrap();
    let line = format!(
        "weights set {}:1,{}:1 --netuid {netuid} --wallet cold/proxy --proxy {} --network {}",
        uids[0],
        uids[1],
        validator.account(),
        node.url
    );
    let (code, out, err) = program(&format!("{line} --dry-run"), folder.path());
    assert_eq!(code, 5, "{out}{err}");
    assert!(out.contains("NO   the signer is a proxy of the hotkey"), "{out}");
    let signer = wallet.hotkey().unwrap();
    add_proxy(&node, &validator, &signer, "Any", 0).await;
    let (code, out, err) = program(&format!("{line} --dry-run"), folder.path());
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("Proxy.proxy") && out.contains("set_weights"), "{out}");
    let (code, _, err) = program(&line, folder.path());
    assert_eq!(code, 0, "{err}");
    is(65535).await;
}
