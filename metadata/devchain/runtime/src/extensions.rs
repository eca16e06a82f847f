//! The transaction extensions, in Subtensor mainnet's order on the wire.
//!
//! Besides era, nonce, tip and the mode of [`CheckMetadataHash`], none adds a byte to an extrinsic.

mod guard;
mod metadata_hash;
mod nonce;

pub use guard::SubtensorTransactionExtension;
pub use metadata_hash::{CheckMetadataHash, Mode};
pub use nonce::CheckNonce;

use crate::{Runtime, RuntimeCall};
use parity_scale_codec::{Decode, DecodeWithMemTracking, Encode};
use scale_info::TypeInfo;
use sp_runtime::{generic::Era, impl_tx_ext_default, traits::TransactionExtension};

/// The extensions of FRAME, as far as a tuple reaches.
pub type FrameExtensions = (
    frame_system::CheckNonZeroSender<Runtime>,
    frame_system::CheckSpecVersion<Runtime>,
    frame_system::CheckTxVersion<Runtime>,
    frame_system::CheckGenesis<Runtime>,
    frame_system::CheckEra<Runtime>,
    CheckNonce,
    frame_system::CheckWeight<Runtime>,
    pallet_transaction_payment::ChargeTransactionPayment<Runtime>,
);

/// The extensions of the chain.
#[cfg(not(feature = "spec365"))]
pub type ChainExtensions = (
    SudoTransactionExtension,
    CheckShieldedTxValidity,
    SubtensorTransactionExtension,
    DrandPriority,
    CheckMetadataHash,
);

/// The extensions of the chain.
#[cfg(feature = "spec365")]
pub type ChainExtensions =
    (SudoTransactionExtension, SubtensorTransactionExtension, DrandPriority, CheckMetadataHash);

/// All extensions of an extrinsic. Metadata shows them flattened.
pub type TxExtension = (FrameExtensions, ChainExtensions);

/// The extensions of an ordinary extrinsic.
pub fn signed_extensions(era: Era, nonce: u32, tip: u64) -> TxExtension {
    (
        (
            frame_system::CheckNonZeroSender::new(),
            frame_system::CheckSpecVersion::new(),
            frame_system::CheckTxVersion::new(),
            frame_system::CheckGenesis::new(),
            frame_system::CheckEra::from(era),
            CheckNonce(nonce),
            frame_system::CheckWeight::new(),
            pallet_transaction_payment::ChargeTransactionPayment::from(tip),
        ),
        (
            SudoTransactionExtension,
            #[cfg(not(feature = "spec365"))]
            CheckShieldedTxValidity,
            SubtensorTransactionExtension,
            DrandPriority,
            CheckMetadataHash { mode: Mode::Disabled },
        ),
    )
}

/// The nonce that an extrinsic carries.
pub fn nonce_of(extensions: &TxExtension) -> u32 {
    extensions.0.5.0
}

macro_rules! placeholder {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode, DecodeWithMemTracking, TypeInfo,
        )]
        pub struct $name;

        impl TransactionExtension<RuntimeCall> for $name {
            const IDENTIFIER: &'static str = stringify!($name);
            type Implicit = ();
            type Val = ();
            type Pre = ();
            impl_tx_ext_default!(RuntimeCall; weight validate prepare);
        }
    };
}

placeholder! {
    /// Stands where Subtensor mainnet drops `Sudo` calls of strangers from the pool. Here they fail on chain.
    SudoTransactionExtension
}
placeholder! {
    /// Stands where Subtensor mainnet checks shielded extrinsics. This chain has no shield.
    CheckShieldedTxValidity
}
placeholder! {
    /// Stands where Subtensor mainnet ranks drand pulses. This chain signs its pulses itself.
    DrandPriority
}
