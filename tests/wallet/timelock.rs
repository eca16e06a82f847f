//! Timelocked commits against the library that the official clients lock them with.
use crate::support;
use std::{
    io::Write,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use templar::chain::timelock::{
    BeaconSecret, EpochState, FixedEpochs, OVERHEAD_BYTES, QUICKNET, Reveal, TimelockError, WeightCommit,
    decrypt, encrypt, public_key, sign_pulse, verify_pulse,
};

/// The last version for chains whose epochs follow from the block's number, and the first for those that
/// count them.
const VERSIONS: [&str; 2] = ["1.3.0", "2.0.0"];

/// Published by quicknet: round, signature.
const ROUND: u64 = 1000;
const SIGNATURE: &str =
    "b44679b9a59af2ec876b1a6b1ad52ea9b1615fc3982b19576350f93447cb1125e342b73a8dd2bacbe47e4b6b63ed5e39";

fn signature() -> Vec<u8> {
    hex::decode(SIGNATURE).unwrap()
}

fn ask(version: &str, requests: &[Value]) -> Vec<Value> {
    let python = support::python(&format!("drand-{version}"), &[&format!("bittensor-drand=={version}")]);
    let mut child = Command::new(python.trim())
        .arg(support::script("drand_timelock.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&serde_json::to_vec(requests).unwrap()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answers.len(), requests.len());
    answers
}

fn bytes(answer: &Value) -> Vec<u8> {
    hex::decode(answer.as_str().unwrap()).unwrap()
}

#[test]
fn what_is_locked_here_is_unlocked_by_the_library_and_the_other_way_round() {
    let mut rng = StdRng::seed_from_u64(1);
    let texts: Vec<Vec<u8>> =
        [0, 1, 51, 300, 4756, 20_000].map(|length| (0..length).map(|_| rng.random()).collect()).to_vec();
    for version in VERSIONS {
        let mut requests = Vec::new();
        for text in &texts {
            let ours = encrypt(text, ROUND, &QUICKNET.public_key, &mut rng).unwrap();
            assert_eq!(ours.len(), text.len() + OVERHEAD_BYTES);
            requests.push(json!({"decrypt": hex::encode(&ours), "round": ROUND, "signature": SIGNATURE}));
            requests.push(json!({"encrypt": hex::encode(text), "round": ROUND}));
        }
        for (text, answers) in texts.iter().zip(ask(version, &requests).chunks(2)) {
            assert_eq!(&bytes(&answers[0]), text, "{version}: ours there");
            let theirs = bytes(&answers[1]);
            assert_eq!(theirs.len(), text.len() + OVERHEAD_BYTES);
            assert_eq!(&decrypt(&theirs, &signature()).unwrap(), text, "{version}: theirs here");
        }
    }
}

#[test]
fn the_library_refuses_what_is_refused_here() {
    let mut rng = StdRng::seed_from_u64(2);
    let whole = encrypt(b"weights", ROUND, &QUICKNET.public_key, &mut rng).unwrap();
    let other = encrypt(b"weights", ROUND + 1, &QUICKNET.public_key, &mut rng).unwrap();
    let mut cases = vec![(other, false)];
    cases.push(([&whole[..], b"more"].concat(), true));
    cases.push((whole[..whole.len() - 8].to_vec(), false));
    // One byte of: U, V, W, the text, the tag, the nonce, the cipher's name.
    for (place, opens) in
        [(5, false), (110, false), (150, false), (195, false), (210, false), (229, false), (250, true)]
    {
        let mut damaged = whole.clone();
        damaged[place] ^= 1;
        cases.push((damaged, opens));
    }
    let requests: Vec<Value> = cases
        .iter()
        .map(|(case, _)| json!({"decrypt": hex::encode(case), "round": ROUND, "signature": SIGNATURE}))
        .collect();
    for (number, ((case, opens), answer)) in cases.iter().zip(ask(VERSIONS[1], &requests)).enumerate() {
        assert_eq!(answer.is_string(), *opens, "there, case {number}");
        assert_eq!(decrypt(case, &signature()).is_ok(), *opens, "here, case {number}");
    }
}

/// The rest of a request for a commit, and the commit that it should lead to.
fn commit(rng: &mut StdRng) -> (serde_json::Map<String, Value>, WeightCommit) {
    let uids: Vec<u16> = (0..rng.random_range(0..256)).collect();
    let values = uids.iter().map(|_| rng.random()).collect();
    let commit = WeightCommit { hotkey: Some(rng.random()), uids, values, version_key: rng.random() };
    let request = json!({
        "uids": commit.uids,
        "weights": commit.values,
        "version_key": commit.version_key,
        "hotkey": hex::encode(commit.hotkey.unwrap()),
    });
    (request.as_object().unwrap().clone(), commit)
}

/// A reveal, and the arguments that the library should find it by.
type Schedule = fn(&mut StdRng) -> (Reveal, Value);

fn fixed(rng: &mut StdRng) -> (Reveal, Value) {
    let state = FixedEpochs {
        tempo: rng.random_range(1..2000),
        reveal_period: rng.random_range(1..6),
        netuid: rng.random_range(0..500),
        block: rng.random_range(0..10_000_000),
    };
    let request = json!({
        "tempo": state.tempo,
        "current_block": state.block,
        "netuid": state.netuid,
        "subnet_reveal_period_epochs": state.reveal_period,
    });
    (state.reveal().unwrap(), request)
}

fn stateful(rng: &mut StdRng) -> (Reveal, Value) {
    let block = rng.random_range(100_000..10_000_000);
    let rare = rng.random_bool(0.1);
    let state = EpochState {
        tempo: if rare { rng.random_range(50_000..=u16::MAX) } else { rng.random_range(1..2000) },
        reveal_period: rng.random_range(0..6),
        last_epoch_block: block - rng.random_range(0..2200),
        pending_epoch_at: if rng.random_bool(0.3) { block + rng.random_range(0..500) - 100 } else { 0 },
        epoch_index: rng.random_range(0..100_000),
        blocks_since_last_step: if rare {
            rng.random_range(50_000..50_500)
        } else {
            rng.random_range(0..2000)
        },
        block,
    };
    let request = json!({
        "last_epoch_block": state.last_epoch_block,
        "pending_epoch_at": state.pending_epoch_at,
        "subnet_epoch_index": state.epoch_index,
        "tempo": state.tempo,
        "blocks_since_last_step": state.blocks_since_last_step,
        "current_block": state.block,
        "subnet_reveal_period_epochs": state.reveal_period,
    });
    (state.reveal().unwrap(), request)
}

#[test]
fn commits_are_the_librarys_and_so_are_their_rounds() {
    let mut rng = StdRng::seed_from_u64(3);
    for (version, schedule) in VERSIONS.into_iter().zip([fixed as Schedule, stateful]) {
        let mut requests = Vec::new();
        let mut expected = Vec::new();
        for number in 0..400 {
            let (mut request, commit) = commit(&mut rng);
            let (reveal, schedule) = schedule(&mut rng);
            request.extend(schedule.as_object().unwrap().clone());
            let blocks = reveal.first_block + 3 - reveal.block;
            let past = number % 4 == 0;
            let block_time_ms = [12_000, 12_000, 250, 6_000][number % 4];
            if past {
                // A negative block time: the round that the signature is known of.
                request.insert("round".to_owned(), ROUND.into());
                request.insert("blocks".to_owned(), blocks.into());
            } else {
                request.insert("block_time".to_owned(), (block_time_ms as f64 / 1000.0).into());
            }
            requests.push(json!({"commit": request}));
            expected.push((commit, reveal, past, block_time_ms));
        }
        for ((commit, reveal, past, block_time_ms), answer) in
            expected.into_iter().zip(ask(version, &requests))
        {
            let ciphertext = bytes(&answer[0]);
            assert_eq!(ciphertext.len(), commit.encode().len() + OVERHEAD_BYTES);
            let round = answer[1].as_u64().unwrap();
            if past {
                assert_eq!(round, ROUND, "{version}: {reveal:?}");
                let plaintext = decrypt(&ciphertext, &signature()).unwrap();
                assert_eq!(plaintext, commit.encode());
                assert_eq!(WeightCommit::decode(&plaintext).unwrap(), commit);
            } else {
                // The library reads its clock itself, between these two times.
                let at = |time: f64| reveal.round(&QUICKNET, block_time_ms, time as u64);
                let first = at(answer[2].as_f64().unwrap() * 1000.0);
                let last = at((answer[3].as_f64().unwrap() * 1000.0).ceil());
                assert!(
                    (first..=last).contains(&round),
                    "{version}: {round} for {first}..={last}, {reveal:?}"
                );
            }
        }
    }
}

#[test]
fn a_beacon_of_ones_own_locks_and_unlocks() {
    let mut rng = StdRng::seed_from_u64(4);
    let secret = BeaconSecret::from_bytes(&rng.random()).unwrap();
    let key = public_key(&secret).unwrap();
    let mut taken = Duration::ZERO;
    let times = 20;
    for round in 0..times {
        let pulse = sign_pulse(&secret, round).unwrap();
        assert!(verify_pulse(&key, round, &pulse));
        let start = Instant::now();
        let sealed = encrypt(b"weights", round, &key, &mut rng).unwrap();
        assert_eq!(decrypt(&sealed, &pulse).unwrap(), b"weights");
        taken += start.elapsed();
        let late = sign_pulse(&secret, round + 1).unwrap();
        assert_eq!(decrypt(&sealed, &late), Err(TimelockError::WrongSignature));
    }
    println!("an encryption and a decryption take {:?}", taken / u32::try_from(times).unwrap());
}
