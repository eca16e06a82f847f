use crate::{Runtime, RuntimeCall, RuntimeOrigin, SubtensorModule, subtensor};
use frame_support::pallet_prelude::{TransactionSource, Weight};
use parity_scale_codec::{Decode, DecodeWithMemTracking, Encode};
use scale_info::TypeInfo;
use sp_runtime::{
    impl_tx_ext_default,
    traits::{AsSystemOriginSigner, DispatchInfoOf, TransactionExtension, ValidateResult},
    transaction_validity::{InvalidTransaction, ValidTransaction},
};

type Error = subtensor::Error<Runtime>;

/// Rejects in the pool what is free of charge and bound to fail: weights without the stake for them or too
/// soon, endpoints that cannot be served. It runs again at inclusion, so such an extrinsic never costs a
/// block's room, and its sender reads the reason as `Custom error: N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo)]
pub struct SubtensorTransactionExtension;

impl TransactionExtension<RuntimeCall> for SubtensorTransactionExtension {
    const IDENTIFIER: &'static str = "SubtensorTransactionExtension";
    type Implicit = ();
    type Val = ();
    type Pre = ();

    fn validate(
        &self,
        origin: RuntimeOrigin,
        call: &RuntimeCall,
        _info: &DispatchInfoOf<RuntimeCall>,
        _len: usize,
        _implicit: (),
        _implication: &impl Encode,
        _source: TransactionSource,
    ) -> ValidateResult<(), RuntimeCall> {
        if let (Some(who), RuntimeCall::SubtensorModule(call)) = (origin.as_system_origin_signer(), call) {
            SubtensorModule::guard(who, call).map_err(|error| InvalidTransaction::Custom(code(&error)))?;
        }
        Ok((ValidTransaction::default(), (), origin))
    }

    fn weight(&self, _: &RuntimeCall) -> Weight {
        Weight::zero()
    }

    impl_tx_ext_default!(RuntimeCall; prepare);
}

/// The pool's code for an error of the guard, as clients of Subtensor mainnet know it.
fn code(error: &Error) -> u8 {
    match error {
        Error::AmountTooLow | Error::NotEnoughStakeToSetWeights => 1,
        Error::NotEnoughBalanceToStake => 2,
        Error::SubnetNotExists => 3,
        Error::HotKeyAccountNotExists => 4,
        Error::NotEnoughStakeToWithdraw => 5,
        Error::SettingWeightsTooFast
        | Error::CommittingWeightsTooFast
        | Error::NetworkTxRateLimitExceeded => 6,
        Error::InsufficientLiquidity => 7,
        Error::HotKeyNotRegisteredInNetwork => 10,
        Error::InvalidIpAddress | Error::InvalidIpType => 11,
        Error::ServingRateLimitExceeded => 12,
        Error::InvalidPort => 13,
        #[cfg(not(feature = "spec365"))]
        Error::InvalidRevealRound => 15,
        Error::NoWeightsCommitFound => 16,
        Error::RevealTooEarly => 17,
        Error::InputLengthsUnequal => 18,
        Error::HotKeyNotRegisteredInSubNet => 19,
        Error::NonAssociatedColdKey => 25,
        _ => 255,
    }
}
