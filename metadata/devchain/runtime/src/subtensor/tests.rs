//! The pallet on the chain's genesis, block by block.

#[cfg(not(feature = "spec365"))]
mod economy;
#[cfg(not(feature = "spec365"))]
mod registration;
#[cfg(not(feature = "spec365"))]
mod schedule;
#[cfg(feature = "spec365")]
mod spec365;
mod timelock;
#[cfg(not(feature = "spec365"))]
mod upgrade;
mod vectors;
#[cfg(not(feature = "spec365"))]
mod weights;
mod work;

use super::*;
use crate::{
    AccountId, AdminUtils, Runtime, RuntimeEvent, RuntimeOrigin, SubtensorModule, System,
    genesis::{development_account, genesis},
};
use frame_support::{assert_ok, traits::Hooks};

type Failure = Error<Runtime>;

/// The subnet of most tests.
const NETUID: u16 = 2;

fn chain(test: impl FnOnce()) {
    sp_io::TestExternalities::new(genesis().unwrap()).execute_with(|| {
        blocks(1);
        test();
    });
}

/// Goes on by so many blocks.
fn blocks(count: u32) {
    for _ in 0..count {
        System::set_block_number(System::block_number() + 1);
        System::reset_events();
        SubtensorModule::on_initialize(System::block_number());
    }
}

fn key(uri: &str) -> AccountId {
    development_account(uri).unwrap()
}

fn signed(uri: &str) -> RuntimeOrigin {
    RuntimeOrigin::signed(key(uri))
}

fn events() -> Vec<Event<Runtime>> {
    let records = System::events().into_iter();
    records
        .filter_map(|record| match record.event {
            RuntimeEvent::SubtensorModule(event) => Some(event),
            _ => None,
        })
        .collect()
}

/// Alice makes subnet 2, with tempo 10 and no limits; her hotkey `//owner` has UID 0.
fn subnet() {
    let root = RuntimeOrigin::root;
    assert_ok!(SubtensorModule::register_network(signed("//Alice"), key("//owner")));
    assert_ok!(AdminUtils::sudo_set_admin_freeze_window(root(), 0));
    assert_ok!(AdminUtils::sudo_set_tempo(root(), NETUID, 10));
    // Only before spec 425 do they limit a subnet's registrations.
    assert_ok!(AdminUtils::sudo_set_max_registrations_per_block(root(), NETUID, 100));
    assert_ok!(AdminUtils::sudo_set_target_registrations_per_interval(root(), NETUID, 100));
    assert_ok!(AdminUtils::sudo_set_weights_set_rate_limit(root(), NETUID, 0));
    assert_ok!(AdminUtils::sudo_set_commit_reveal_weights_enabled(root(), NETUID, false));
    assert_ok!(SubtensorModule::start_call(signed("//Alice"), NETUID));
}

/// Bob registers a hotkey.
fn register(hotkey: &str) -> u16 {
    assert_ok!(SubtensorModule::burned_register(signed("//Bob"), NETUID, key(hotkey)));
    Uids::<Runtime>::get(NETUID, key(hotkey)).unwrap()
}

/// Bob stakes on a hotkey.
fn stake(hotkey: &str, rao: u64) {
    assert_ok!(SubtensorModule::add_stake(signed("//Bob"), key(hotkey), NETUID, rao));
}

/// Subnet 2 with validators `//v1` (UID 1) and `//v2` (UID 2), who have permits, and miners `//m1` and
/// `//m2` (UIDs 3 and 4).
fn busy_subnet() {
    subnet();
    for hotkey in ["//v1", "//v2", "//m1", "//m2"] {
        register(hotkey);
    }
    stake("//v1", 3_000_000_000_000);
    stake("//v2", 1_000_000_000_000);
    blocks(10);
    assert_eq!(ValidatorPermit::<Runtime>::get(NETUID), [true, true, true, false, false]);
}

fn set_weights(hotkey: &str, uids: &[u16], values: &[u16]) -> Result<(), Failure> {
    failure(SubtensorModule::set_weights(signed(hotkey), NETUID, uids.to_vec(), values.to_vec(), 0))
}

/// The pallet's own error of a call.
fn failure(result: frame_support::dispatch::DispatchResult) -> Result<(), Failure> {
    use parity_scale_codec::Decode;
    result.map_err(|error| match error {
        sp_runtime::DispatchError::Module(module) => Failure::decode(&mut &module.error[..]).unwrap(),
        other => panic!("{other:?}"),
    })
}

macro_rules! assert_fails {
    ($result:expr, $error:ident) => {
        let result = $result;
        assert!(matches!(result, Err(Failure::$error)), "{result:?} is not {}", stringify!($error))
    };
}
pub(crate) use assert_fails;
