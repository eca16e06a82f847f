use super::*;
use frame_support::traits::OnRuntimeUpgrade;
use parity_scale_codec::Encode;
use sp_core::H256;

#[test]
fn epochs_and_commits_go_on_after_the_upgrade() {
    chain(|| {
        subnet();
        let rank = frame_support::storage::storage_prefix(b"SubtensorModule", b"Rank");
        sp_io::storage::set(&[&rank[..], &NETUID.encode()].concat(), &[1]);
        let hash = H256::repeat_byte(1);
        WeightCommits::<Runtime>::insert(
            NETUID,
            key("//v1"),
            std::collections::VecDeque::from([(hash, 20, 30, 40)]),
        );
        // Before, epochs of this subnet were at blocks 8, 19, 30; the upgrade is in block 25.
        System::set_block_number(25);
        crate::upgrade::FromA::on_runtime_upgrade();
        assert_eq!(LastEpochBlock::<Runtime>::get(NETUID), 19);
        assert_eq!(SubnetEpochIndex::<Runtime>::get(NETUID), 2);
        assert_eq!(SubtensorModule::next_epoch_block(NETUID), Some(29));
        let commits = WeightCommits::<Runtime>::get(NETUID, key("//v1")).unwrap();
        assert_eq!(Vec::from(commits), [(hash, 2, 20, 0)]);
        assert_eq!(sp_io::storage::next_key(&rank).filter(|key| key.starts_with(&rank)), None);
    });
}

#[test]
fn events_and_errors_have_their_places() {
    let place = |event: Event<Runtime>| event.encode()[0];
    assert_eq!(place(Event::WeightsSet(0, 0)), 5);
    assert_eq!(place(Event::TempoSet(0, 0)), 52);
    assert_eq!(place(Event::WeightsCommitted(key("//Alice"), 0, H256::zero())), 85);
    assert_eq!(place(Event::TimelockedWeightsRevealed(0, key("//Alice"))), 108);
    assert_eq!(place(Event::EpochSkipped { netuid: 0, block: 0 }), 133);
    assert_eq!(Failure::SettingWeightsTooFast.encode()[0], 29);
    assert_eq!(Failure::RevealTooEarly.encode()[0], 79);
    assert_eq!(Failure::InvalidRevealRound.encode()[0], 111);
    assert_eq!(Failure::RegistrationPriceLimitExceeded.encode()[0], 134);
}
