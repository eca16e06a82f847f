//! Proofs of work: for a faucet, and before spec 425 for registration.

use super::*;
use frame_support::{ensure, pallet_prelude::DispatchResult, traits::fungible::Mutate};
use parity_scale_codec::Encode;
use sp_core::{H256, U256};
use sp_io::hashing::{keccak_256, sha2_256};
use sp_runtime::SaturatedConversion;

/// How hard the faucet's work is.
const FAUCET_DIFFICULTY: u64 = 1_000_000;
/// What the faucet gives, in rao: 1000 TAO.
const FAUCET_RAO: u64 = 1_000_000_000_000;
/// Blocks after which work is too old.
const LATEST_WORK: u64 = 3;

/// The seal of a nonce: Keccak-256 of the SHA-256 of the nonce, lowest byte first, and the Keccak-256 of block
/// hash and account.
pub fn seal(block_hash: H256, account: &[u8], nonce: u64) -> H256 {
    let block_and_account = keccak_256(&[block_hash.as_bytes(), account].concat());
    let inner = sha2_256(&[&nonce.to_le_bytes()[..], &block_and_account[..]].concat());
    H256(keccak_256(&inner))
}

/// Whether a seal, read with its lowest byte first, times the difficulty stays below 2^256.
pub fn is_hard_enough(seal: H256, difficulty: u64) -> bool {
    !U256::from_little_endian(seal.as_bytes()).overflowing_mul(U256::from(difficulty)).1
}

impl<T: Config> Pallet<T> {
    /// Checks work for an account and uses it up.
    fn take_work(
        account: &T::AccountId,
        block_number: u64,
        nonce: u64,
        work: Vec<u8>,
        difficulty: u64,
    ) -> Result<(), Error<T>> {
        let now = Self::now();
        let recent = block_number <= now && now.saturating_sub(block_number) < LATEST_WORK;
        ensure!(recent, Error::<T>::InvalidWorkBlock);
        ensure!(work.len() == 32, Error::<T>::InvalidSeal);
        ensure!(!UsedWork::<T>::contains_key(&work), Error::<T>::InvalidWorkBlock);
        let given = H256::from_slice(&work);
        ensure!(is_hard_enough(given, difficulty), Error::<T>::InvalidDifficulty);
        let block_hash = frame_system::Pallet::<T>::block_hash(
            block_number.saturated_into::<frame_system::pallet_prelude::BlockNumberFor<T>>(),
        );
        let block_hash = H256::from_slice(block_hash.as_ref());
        let right = account.using_encoded(|account| seal(block_hash, account, nonce));
        ensure!(right == given, Error::<T>::InvalidSeal);
        UsedWork::<T>::insert(work, now);
        Ok(())
    }

    /// Gives TAO for work.
    pub(super) fn do_faucet(
        coldkey: &T::AccountId,
        block_number: u64,
        nonce: u64,
        work: Vec<u8>,
    ) -> DispatchResult {
        Self::take_work(coldkey, block_number, nonce, work, FAUCET_DIFFICULTY)?;
        T::Currency::mint_into(coldkey, FAUCET_RAO)?;
        Self::deposit_event(Event::Faucet(coldkey.clone(), FAUCET_RAO));
        Ok(())
    }

    /// Registers for work instead of TAO.
    #[cfg(feature = "spec365")]
    pub(super) fn do_register_by_work(
        netuid: u16,
        (block_number, nonce, work): (u64, u64, Vec<u8>),
        hotkey: &T::AccountId,
        coldkey: &T::AccountId,
        _signer: &T::AccountId,
    ) -> DispatchResult {
        ensure!(netuid != ROOT, Error::<T>::RegistrationNotPermittedOnRootSubnet);
        ensure!(NetworksAdded::<T>::get(netuid), Error::<T>::SubnetNotExists);
        let allowed = NetworkPowRegistrationAllowed::<T>::get(netuid);
        ensure!(allowed, Error::<T>::SubNetRegistrationDisabled);
        Self::ensure_room(netuid)?;
        let registered = Uids::<T>::contains_key(netuid, hotkey);
        ensure!(!registered, Error::<T>::HotKeyAlreadyRegisteredInSubNet);
        Self::ensure_owner(coldkey, hotkey)?;
        Self::take_work(hotkey, block_number, nonce, work, Difficulty::<T>::get(netuid))?;
        Self::create_account_if_absent(coldkey, hotkey);
        let uid = Self::allocate_uid(netuid, hotkey).ok_or(Error::<T>::NoNeuronIdAvailable)?;
        POWRegistrationsThisInterval::<T>::mutate(netuid, |count| *count = count.saturating_add(1));
        RegistrationsThisInterval::<T>::mutate(netuid, |count| *count = count.saturating_add(1));
        RegistrationsThisBlock::<T>::mutate(netuid, |count| *count = count.saturating_add(1));
        Self::deposit_event(Event::NeuronRegistered(netuid, uid, hotkey.clone()));
        Ok(())
    }

    /// Registers for TAO, whatever the work.
    #[cfg(not(feature = "spec365"))]
    pub(super) fn do_register_by_work(
        netuid: u16,
        _work: (u64, u64, Vec<u8>),
        hotkey: &T::AccountId,
        _coldkey: &T::AccountId,
        signer: &T::AccountId,
    ) -> DispatchResult {
        Self::do_register(signer, netuid, hotkey, None)
    }
}
