use super::*;
use crate::{beacon, drand};
use parity_scale_codec::Encode;

/// A beacon whose signature of a round begins with the round, and whose ciphertexts begin with it as well.
fn toy() -> beacon::Beacon {
    let sign = |round: u64| Some([u8::try_from(round % 256).unwrap(); 48]);
    let open = |text: &[u8], signature: &[u8]| {
        (text.first() == signature.first()).then(|| text.get(1..).unwrap_or_default().to_vec())
    };
    beacon::Beacon { public_key: [7; 96], sign, open }
}

fn pulse(round: u64) {
    let signature = (toy().sign)(round).unwrap().to_vec().try_into().unwrap();
    let randomness = vec![0; 32].try_into().unwrap();
    drand::Pulses::<Runtime>::insert(round, drand::Pulse { round, randomness, signature });
}

fn commit(hotkey: &str, text: Vec<u8>, round: u64, version: u16) -> Result<(), Failure> {
    let text = text.try_into().unwrap();
    let result =
        SubtensorModule::commit_timelocked_mechanism_weights(signed(hotkey), NETUID, 0, text, round, version);
    failure(result)
}

fn weights_for(hotkey: &str, round: u8) -> Vec<u8> {
    let hotkey: Vec<u8> = key(hotkey).encode();
    [vec![round], (hotkey, vec![3u16, 4], vec![1u16, 2], 0u64).encode()].concat()
}

#[test]
fn commits_open_by_themselves_in_their_epoch() {
    beacon::install(toy());
    chain(|| {
        busy_subnet();
        assert_fails!(commit("//v1", weights_for("//v1", 5), 5, 4), CommitRevealDisabled);
        CommitRevealWeightsEnabled::<Runtime>::insert(NETUID, true);
        assert_fails!(commit("//v1", weights_for("//v1", 5), 5, 3), IncorrectCommitRevealVersion);
        assert_fails!(commit("//nobody", weights_for("//v1", 5), 5, 4), HotKeyNotRegisteredInSubNet);
        let epoch = SubtensorModule::current_epoch(NETUID);
        let text = weights_for("//v1", 5);
        let hash = sp_core::H256(sp_io::hashing::blake2_256(&text));
        assert_ok!(commit("//v1", text, 5, 4).map_err(|_| "refused"));
        let told = events().into_iter().any(
            |event| matches!(event, Event::TimelockedWeightsCommitted(_, NETUID, told, 5) if told == hash),
        );
        assert!(told);
        // A copy of another's commit, a pulse that is late, and a miner without a permit.
        assert_ok!(commit("//m2", weights_for("//v1", 5), 5, 4).map_err(|_| "refused"));
        assert_ok!(commit("//v2", weights_for("//v2", 6), 6, 4).map_err(|_| "refused"));
        assert_ok!(commit("//m1", weights_for("//m1", 5), 5, 4).map_err(|_| "refused"));
        assert_eq!(TimelockedWeightCommits::<Runtime>::get(NETUID, epoch).len(), 4);
        assert_eq!(LastUpdate::<Runtime>::get(NETUID)[1], SubtensorModule::now());
        assert_eq!(
            SubtensorModule::earliest_timelocked(NETUID, NETUID, &key("//v1")),
            Some(SubtensorModule::now())
        );
        pulse(5);
        while SubtensorModule::current_epoch(NETUID) == epoch {
            assert!(Weights::<Runtime>::get(NETUID, 1).is_empty(), "not before its epoch");
            blocks(1);
        }
        assert_eq!(Weights::<Runtime>::get(NETUID, 1), [(3, 32_768), (4, 65_535)]);
        let revealed = |event: &Event<Runtime>| matches!(event, Event::TimelockedWeightsRevealed(..));
        assert_eq!(events().iter().filter(|event| revealed(event)).count(), 1);
        assert!(Weights::<Runtime>::get(NETUID, 3).is_empty());
        assert_eq!(TimelockedWeightCommits::<Runtime>::get(NETUID, epoch).len(), 1);
        pulse(6);
        blocks(1);
        assert_eq!(Weights::<Runtime>::get(NETUID, 2).len(), 2);
        assert!(TimelockedWeightCommits::<Runtime>::get(NETUID, epoch).is_empty());
    });
}

#[test]
fn a_commit_without_its_pulse_is_forgotten_after_its_epoch() {
    beacon::install(toy());
    chain(|| {
        busy_subnet();
        CommitRevealWeightsEnabled::<Runtime>::insert(NETUID, true);
        for _ in 0..10 {
            assert_ok!(commit("//v1", weights_for("//v1", 9), 9, 4).map_err(|_| "refused"));
        }
        assert_fails!(commit("//v1", weights_for("//v1", 9), 9, 4), TooManyUnrevealedCommits);
        let epoch = SubtensorModule::current_epoch(NETUID);
        while SubtensorModule::current_epoch(NETUID) < epoch + 2 {
            blocks(1);
        }
        assert!(TimelockedWeightCommits::<Runtime>::get(NETUID, epoch).is_empty());
        pulse(9);
        blocks(1);
        assert!(Weights::<Runtime>::get(NETUID, 1).is_empty());
    });
}

#[test]
fn pulses_follow_the_clock() {
    use frame_support::traits::Hooks;
    beacon::install(toy());
    chain(|| {
        let round = 1_000;
        let time = (beacon::GENESIS_SECONDS + (round - 1) * beacon::PERIOD_SECONDS) * 1_000;
        assert_eq!([0, time - 1, time].map(beacon::newest_round), [0, round - 1, round]);
        let at = |time: u64| {
            pallet_timestamp::Now::<Runtime>::put(time);
            crate::Drand::on_finalize(1);
        };
        at(time);
        at(time + 2_000);
        assert_eq!(drand::LastStoredRound::<Runtime>::get(), round);
        assert_eq!(drand::BeaconConfig::<Runtime>::get().public_key[..], toy().public_key);
        at(time + 300_000);
        assert_eq!(drand::LastStoredRound::<Runtime>::get(), round + 50, "so many at once");
        at(time + 300_000);
        assert_eq!(drand::LastStoredRound::<Runtime>::get(), round + 100);
        assert_eq!(drand::OldestStoredRound::<Runtime>::get(), round);
        assert_eq!(drand::Pulses::<Runtime>::get(round + 9).unwrap().signature[0], (round + 9) as u8);
    });
}
