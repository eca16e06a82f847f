#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

use super::{plan::plan, validator_state::ValidatorState, *};
use crate::{
    chain::{
        ChainError,
        timelock::{
            Beacon, BeaconSecret, EpochState, QUICKNET, WeightCommit, decrypt, public_key, sign_pulse,
        },
    },
    wallet::{AccountId, Keypair},
    window::Uid,
};
use subxt::utils::H256;

fn alice() -> AccountId {
    Keypair::from_uri("//Alice").unwrap().account()
}

fn request() -> WeightsRequest {
    WeightsRequest { netuid: 3, mechanism: 0, weights: vec![(1, 65535), (4, 9)], version_key: 7 }
}

/// A subnet of five, on a chain that knows every call, in which UID 2 may set weights plainly.
fn state() -> ValidatorState {
    ValidatorState {
        block: 1000,
        time_ms: QUICKNET.genesis_ms + 3_000_000,
        block_ms: 12_000,
        exists: true,
        uid: Some(2),
        neurons: 5,
        owns_subnet: false,
        permit: true,
        last_update: 800,
        rate_limit: 100,
        version_key: 0,
        min_weights: 1,
        commit_reveal: false,
        commit_version: Some(4),
        reveal_period: 1,
        tempo: 360,
        netuid: 3,
        epochs: Some(EpochState {
            tempo: 360,
            reveal_period: 1,
            last_epoch_block: 900,
            pending_epoch_at: 0,
            epoch_index: 7,
            blocks_since_last_step: 100,
            block: 1000,
        }),
        beacon: QUICKNET,
        newest_round: 990,
        calls: vec![
            "set_weights",
            "set_mechanism_weights",
            "commit_weights",
            "commit_mechanism_weights",
            "commit_timelocked_weights",
            "commit_timelocked_mechanism_weights",
        ],
        waiting: Vec::new(),
        mechanisms: 1,
        threshold: 0,
        stake: 0,
        timelocked: 0,
    }
}

fn refusal(state: &ValidatorState, request: &WeightsRequest) -> ChainError {
    plan(request, &alice(), state).and_then(|plan| plan.refuse()).unwrap_err()
}

#[test]
fn the_subnets_settings_choose_the_way() {
    let path = |state: &ValidatorState| plan(&request(), &alice(), state).unwrap().path;
    assert_eq!(path(&state()), WeightsPath::Plain);
    let hidden = ValidatorState { commit_reveal: true, ..state() };
    assert_eq!(path(&hidden), WeightsPath::Timelocked);
    assert_eq!(path(&ValidatorState { commit_version: Some(3), ..hidden.clone() }), WeightsPath::Salted);
    assert_eq!(path(&ValidatorState { commit_version: None, ..hidden.clone() }), WeightsPath::Salted);
    let older = ValidatorState { calls: vec!["set_weights", "commit_weights"], ..hidden.clone() };
    assert_eq!(path(&older), WeightsPath::Salted);
    let second = WeightsRequest { mechanism: 1, ..request() };
    assert_eq!(
        plan(&second, &alice(), &older).unwrap_err(),
        ChainError::Missing { item: "SubtensorModule.commit_mechanism_weights".to_owned() }
    );
    let still = ValidatorState { epochs: None, tempo: 0, ..hidden };
    assert!(matches!(plan(&request(), &alice(), &still), Err(ChainError::Invalid { .. })));
}

#[test]
fn every_rule_is_looked_at_before_anything_is_sent() {
    let name = |state: &ValidatorState, request: &WeightsRequest| match refusal(state, request) {
        ChainError::WouldRefuse { name, .. } => name,
        other => panic!("{other:?}"),
    };
    assert_eq!(name(&ValidatorState { neurons: 4, ..state() }, &request()), "UidVecContainInvalidOne");
    assert_eq!(name(&ValidatorState { version_key: 8, ..state() }, &request()), "IncorrectWeightVersionKey");
    assert_eq!(name(&ValidatorState { permit: false, ..state() }, &request()), "NeuronNoValidatorPermit");
    assert_eq!(name(&ValidatorState { min_weights: 3, ..state() }, &request()), "WeightVecLengthIsLow");
    let poor = ValidatorState { threshold: 10, stake: 9, ..state() };
    assert_eq!(name(&poor, &request()), "NotEnoughStakeToSetWeights");
    let second = WeightsRequest { mechanism: 1, ..request() };
    assert_eq!(name(&state(), &second), "MechanismDoesNotExist");
    assert_eq!(
        plan(&second, &alice(), &ValidatorState { mechanisms: 2, ..state() }).unwrap().refuse(),
        Ok(())
    );
    // More than there are neurons cannot be asked for.
    let small = ValidatorState { neurons: 5, min_weights: 1024, ..state() };
    assert_eq!(name(&small, &request()), "WeightVecLengthIsLow");
    let everybody = WeightsRequest { weights: (0..5).map(|uid| (uid, 1)).collect(), ..request() };
    assert_eq!(plan(&everybody, &alice(), &small).unwrap().refuse(), Ok(()));
    // Whoever weighs itself alone, and the subnet's owner, need no permit.
    let alone = WeightsRequest { weights: vec![(2, 1)], ..request() };
    let outsider = ValidatorState { permit: false, min_weights: 3, ..state() };
    assert_eq!(plan(&alone, &alice(), &outsider).unwrap().refuse(), Ok(()));
    let owner = ValidatorState { permit: false, owns_subnet: true, ..state() };
    assert_eq!(plan(&request(), &alice(), &owner).unwrap().refuse(), Ok(()));
    let rich = ValidatorState { owns_subnet: true, ..poor };
    assert_eq!(plan(&request(), &alice(), &rich).unwrap().refuse(), Ok(()));
    let unknown = ValidatorState { uid: None, ..state() };
    assert!(matches!(plan(&request(), &alice(), &unknown), Err(ChainError::NotRegistered { .. })));
    let nowhere = ValidatorState { exists: false, ..state() };
    assert_eq!(plan(&request(), &alice(), &nowhere).unwrap_err(), ChainError::NoSuchSubnet { netuid: 3 });
}

#[test]
fn only_so_many_commits_wait() {
    let hidden = ValidatorState { commit_reveal: true, ..state() };
    let name = |state: &ValidatorState| match refusal(state, &request()) {
        ChainError::WouldRefuse { name, .. } => name,
        other => panic!("{other:?}"),
    };
    let full = ValidatorState { timelocked: 10, ..hidden.clone() };
    assert_eq!(name(&full), "TooManyUnrevealedCommits");
    assert_eq!(
        plan(&request(), &alice(), &ValidatorState { timelocked: 9, ..full }).unwrap().refuse(),
        Ok(())
    );
    // Ten salted ones, of this epoch (7) or of one whose reveals are over.
    let salted = |epoch| ValidatorState {
        commit_version: Some(3),
        waiting: (0..10).map(|n| (H256([n; 32]), epoch, 900, 0)).collect(),
        ..hidden.clone()
    };
    assert_eq!(name(&salted(7)), "TooManyUnrevealedCommits");
    assert_eq!(plan(&request(), &alice(), &salted(2)).unwrap().refuse(), Ok(()));
}

#[test]
fn the_rate_limit_ends_at_a_block_that_is_named() {
    let last = |last_update| ValidatorState { last_update, ..state() };
    assert_eq!(
        refusal(&last(950), &request()),
        ChainError::TooSoon { call: "set_weights", block: 1050, blocks: 50 }
    );
    // The next block is the first that a transaction can be in, and the limit counts to it.
    assert_eq!(plan(&request(), &alice(), &last(901)).unwrap().refuse(), Ok(()));
    assert!(plan(&request(), &alice(), &last(902)).unwrap().refuse().is_err());
    assert_eq!(plan(&request(), &alice(), &last(0)).unwrap().refuse(), Ok(()));
}

#[test]
fn orders_that_make_no_sense_need_no_chain() {
    let reason = |weights: Vec<(Uid, u16)>| match plan::check_order(&WeightsRequest { weights, ..request() })
    {
        Err(ChainError::Invalid { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(vec![]), "no UID has a weight above zero");
    assert_eq!(reason(vec![(1, 0), (2, 0)]), "no UID has a weight above zero");
    assert_eq!(reason(vec![(1, 5), (1, 6)]), "UID 1 has two weights");
}

#[test]
fn a_timelock_opens_with_its_round_and_holds_the_order() {
    let secret = BeaconSecret::from_bytes(&[5; 32]).unwrap();
    let beacon = Beacon { public_key: public_key(&secret).unwrap(), ..QUICKNET };
    let hidden = ValidatorState { commit_reveal: true, beacon, ..state() };
    let plan = plan(&request(), &alice(), &hidden).unwrap();
    let (sealed, round, opens_at) = plan.seal(&request(), &alice()).unwrap();
    // Epochs come at 1260 and 1620; a commit of now is opened in the first, three blocks' time later.
    assert_eq!((opens_at, round), (1260, (3_000_000 + 263 * 12_000) / 3000));
    let opened = decrypt(&sealed, &sign_pulse(&secret, round).unwrap()).unwrap();
    let commit = WeightCommit::decode(&opened).unwrap();
    assert_eq!(commit.uids, [1, 4]);
    assert_eq!((commit.values, commit.version_key), (vec![65535, 9], 7));
    assert_eq!(commit.hotkey, Some(alice().into()));
    assert!(decrypt(&sealed, &sign_pulse(&secret, round + 1).unwrap()).is_err());
    // A round that the chain has is refused by it: never that.
    let late = ValidatorState { newest_round: 1_000_000, ..hidden };
    assert_eq!(plan::plan(&request(), &alice(), &late).unwrap().lock.unwrap().round, 1_000_001);
}

#[test]
fn a_salted_commit_is_early_then_due_then_gone() {
    let salt = [1, 2, 3];
    let hash = request().hash(&alice(), &salt);
    let commit = SaltedCommit {
        request: request(),
        salt: salt.to_vec(),
        hash,
        hotkey: Some(alice()),
        genesis: None,
        block: Some(950),
        until: None,
        hotkeys: Vec::new(),
    };
    let at = |epoch_index, commit_epoch| ValidatorState {
        epochs: state().epochs.map(|epochs| EpochState { epoch_index, ..epochs }),
        waiting: vec![(H256(hash), commit_epoch, 950, 0)],
        ..state()
    };
    assert_eq!(at(7, 7).reveal_state_of(&commit), RevealState::Early);
    assert_eq!(at(8, 7).reveal_state_of(&commit), RevealState::Due);
    assert_eq!(at(9, 7).reveal_state_of(&commit), RevealState::Gone);
    let other = |block, until| SaltedCommit { hash: [0; 32], block, until, ..commit.clone() };
    let of_other = |block, until| at(8, 7).reveal_state_of(&other(block, until));
    assert_eq!(of_other(Some(990), None), RevealState::Gone);
    // It may still come, or it is in a block that this endpoint does not have yet.
    assert_eq!(of_other(None, Some(1001)), RevealState::Unknown);
    assert_eq!(of_other(Some(1001), None), RevealState::Unknown);
    assert_eq!(of_other(None, Some(1000)), RevealState::Gone);
    assert!(commit.is_of(&alice()));
    assert!(!commit.is_of(&Keypair::from_uri("//Bob").unwrap().account()));
    // Older runtimes name the blocks.
    let older =
        |from, to| ValidatorState { epochs: None, waiting: vec![(H256(hash), 900, from, to)], ..state() };
    assert_eq!(older(1002, 1010).reveal_state_of(&commit), RevealState::Early);
    assert_eq!(older(1001, 1010).reveal_state_of(&commit), RevealState::Due);
    assert_eq!(older(900, 1000).reveal_state_of(&commit), RevealState::Gone);
}

#[test]
fn a_commit_waits_where_an_epoch_is_about_to_begin() {
    let at = |block| {
        let epochs =
            state().epochs.map(|epochs| EpochState { block, blocks_since_last_step: block - 900, ..epochs });
        ValidatorState { block, epochs, commit_reveal: true, ..state() }
    };
    let clear_from = |state: &ValidatorState| plan(&request(), &alice(), state).unwrap().clear_from;
    // The epoch comes in block 1260: what is sent after block 1256 may be in it, or before.
    let seen: Vec<_> = (1255..1261).map(|block| clear_from(&at(block))).collect();
    assert_eq!(seen, [None, Some(1259), Some(1259), Some(1259), None, None]);
    assert_eq!(clear_from(&ValidatorState { commit_reveal: false, ..at(1258) }), None);
    let short = |epochs: EpochState| EpochState { tempo: 5, ..epochs };
    assert_eq!(
        clear_from(&ValidatorState { tempo: 5, epochs: at(1258).epochs.map(short), ..at(1258) }),
        None
    );
}

#[test]
fn a_storage_index_counts_mechanisms_in_steps_of_4096() {
    assert_eq!(request().storage_index(), 3);
    assert_eq!(WeightsRequest { mechanism: 1, ..request() }.storage_index(), 4099);
}
