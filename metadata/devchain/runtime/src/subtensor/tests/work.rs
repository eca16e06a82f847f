use super::{
    super::work::{is_hard_enough, seal},
    *,
};
use parity_scale_codec::Encode;
use sp_core::H256;

/// A nonce that solves the work.
fn solve(block: H256, account: &AccountId, difficulty: u64) -> (u64, Vec<u8>) {
    let seals = (0..).map(|nonce| (nonce, seal(block, &account.encode(), nonce)));
    let (nonce, seal) = seals.into_iter().find(|(_, seal)| is_hard_enough(*seal, difficulty)).unwrap();
    (nonce, seal.as_bytes().to_vec())
}

#[test]
fn seals_are_those_of_the_real_chain() {
    let block = H256(std::array::from_fn(|at| at as u8));
    let seal = seal(block, &key("//Alice").encode(), 42);
    let expected = "c2fe32eb8ae572600069596e00d51c4275d3f10b72dad43dd2fe6d75241f3744";
    assert_eq!(format!("{seal:x}"), expected);
    assert!(is_hard_enough(H256::repeat_byte(0xff), 1) && !is_hard_enough(H256::repeat_byte(0xff), 2));
}

#[test]
fn the_faucet_gives_for_work_that_is_new_and_recent() {
    chain(|| {
        blocks(3);
        let (block, hash) = (2u64, H256::repeat_byte(9));
        frame_system::BlockHash::<Runtime>::insert(2u32, hash);
        // Not the faucet's difficulty, which takes seconds: a seal that is too easy is refused by name.
        let easy = seal(hash, &key("//Eve").encode(), 0).as_bytes().to_vec();
        let ask = |block, work: Vec<u8>| failure(SubtensorModule::faucet(signed("//Eve"), block, 0, work));
        assert_fails!(ask(block, easy.clone()), InvalidDifficulty);
        assert_fails!(ask(1, easy), InvalidWorkBlock);
        assert_fails!(ask(block, vec![0; 32]), InvalidSeal);
    });
}

#[cfg(feature = "spec365")]
#[test]
fn work_registers_once() {
    chain(|| {
        subnet();
        Difficulty::<Runtime>::insert(NETUID, 100);
        blocks(2);
        let hash = H256::repeat_byte(9);
        frame_system::BlockHash::<Runtime>::insert(2u32, hash);
        let (nonce, work) = solve(hash, &key("//worker"), 100);
        let register = |hotkey: &str| {
            let call = SubtensorModule::register(
                signed("//Eve"),
                NETUID,
                2,
                nonce,
                work.clone(),
                key(hotkey),
                key("//Eve"),
            );
            failure(call)
        };
        assert_fails!(register("//other"), InvalidSeal);
        assert_ok!(register("//worker").map_err(|_| "refused"));
        assert_eq!(Uids::<Runtime>::get(NETUID, key("//worker")), Some(1));
        assert_eq!(Owner::<Runtime>::get(key("//worker")), key("//Eve"));
        assert_fails!(register("//worker"), HotKeyAlreadyRegisteredInSubNet);
        assert_fails!(register("//other"), InvalidWorkBlock);
        assert_eq!(POWRegistrationsThisInterval::<Runtime>::get(NETUID), 1);
    });
}

#[cfg(not(feature = "spec365"))]
#[test]
fn work_is_not_looked_at_and_the_signer_pays() {
    chain(|| {
        subnet();
        let (_, work) = solve(H256::zero(), &key("//worker"), 2);
        let before = crate::Balances::free_balance(key("//Bob"));
        let call =
            SubtensorModule::register(signed("//Bob"), NETUID, 0, 0, work, key("//worker"), key("//Eve"));
        assert_ok!(call);
        assert_eq!(Owner::<Runtime>::get(key("//worker")), key("//Bob"));
        assert!(crate::Balances::free_balance(key("//Bob")) < before);
    });
}
