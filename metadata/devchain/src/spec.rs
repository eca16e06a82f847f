//! The versions of Subtensor's runtime that the chain can run, behind the same functions.
//!
//! Which of them runs is part of the state. Under the key `:code`, where other chains have WebAssembly, stands
//! a runtime's name; `System.set_code` with another one upgrades the chain, from the next block on.

use crate::pool::Taken;
use node_subtensor_runtime::{AccountId, Beacon, Header};
use parity_scale_codec::{Decode, Encode};
use sp_core::{
    H256,
    storage::{Storage, well_known_keys::CODE},
    traits::ReadRuntimeVersion,
};
use sp_externalities::Externalities;
use sp_io::storage;
use sp_runtime::{
    MultiAddress,
    generic::Preamble,
    transaction_validity::{
        InvalidTransaction, TransactionSource, TransactionValidity, TransactionValidityError,
    },
};
use sp_version::RuntimeVersion;
use std::{
    str::FromStr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A version of Subtensor's runtime that the chain can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpecVersion {
    /// Epochs by the block's number, registration by proof of work.
    #[cfg(feature = "spec365")]
    Spec365,
    /// Epochs by each subnet's own count.
    #[default]
    Spec425,
}

impl SpecVersion {
    /// Every version that was compiled in, the oldest first.
    pub const ALL: &[Self] = &[
        #[cfg(feature = "spec365")]
        Self::Spec365,
        Self::Spec425,
    ];

    /// The argument of `System.set_code` that upgrades a chain to this version.
    pub fn code(self) -> &'static [u8] {
        match self {
            #[cfg(feature = "spec365")]
            Self::Spec365 => node_subtensor_365_runtime::CODE,
            Self::Spec425 => node_subtensor_runtime::CODE,
        }
    }

    /// The number that the runtime gives itself.
    pub fn spec_version(self) -> u32 {
        match self {
            #[cfg(feature = "spec365")]
            Self::Spec365 => node_subtensor_365_runtime::SPEC_VERSION,
            Self::Spec425 => node_subtensor_runtime::SPEC_VERSION,
        }
    }

    /// The version of a state by what it has under `:code`. A chain from before there were several has nothing there.
    fn of_code(code: Option<&[u8]>) -> Option<Self> {
        let Some(code) = code else { return Some(Self::Spec425) };
        Self::ALL.iter().copied().find(|spec| spec.code() == code)
    }
}

impl FromStr for SpecVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(spec) = Self::ALL.iter().find(|spec| spec.spec_version().to_string() == text) {
            return Ok(*spec);
        }
        if text == "365" {
            return Err("spec 365 was left out of this build: build with `--features spec365`".to_owned());
        }
        Err(format!("there is no spec `{text}` here: write 365 or 425"))
    }
}

/// An account and a nonce of it.
pub(crate) type Signer = (AccountId, u32);

/// A runtime's functions. All but `version`, `genesis` and `signer` work on the state that is set around them.
pub(crate) struct Runtime {
    pub version: fn() -> RuntimeVersion,
    pub genesis: fn() -> Result<Storage, String>,
    pub initialize: fn(&Header),
    pub finalize: fn() -> Header,
    /// The inherent that gives a block its time.
    pub timestamp: fn() -> Vec<u8>,
    pub apply: fn(&[u8]) -> Taken,
    pub validate: fn(&[u8], H256) -> TransactionValidity,
    /// Who signed an extrinsic, and with which nonce; `Ok(None)` if nobody did, and why the bytes are none.
    pub signer: fn(&[u8]) -> Result<Option<Signer>, String>,
    pub nonce: fn(&AccountId) -> u32,
    /// A function of the runtime's interface.
    pub call: fn(&str, &[u8]) -> Option<Vec<u8>>,
}

impl Runtime {
    /// The runtime of a state, by what it has under `:code`.
    pub fn of_code(code: Option<&[u8]>) -> &'static Self {
        // `set_code` lets no unknown name in.
        match SpecVersion::of_code(code).unwrap_or_default() {
            #[cfg(feature = "spec365")]
            SpecVersion::Spec365 => &spec365::RUNTIME,
            SpecVersion::Spec425 => &spec425::RUNTIME,
        }
    }
}

/// The state before the first block.
pub(crate) fn genesis(spec: SpecVersion) -> Result<Storage, String> {
    let mut storage = (Runtime::of_code(Some(spec.code())).genesis)()?;
    storage.top.insert(CODE.to_vec(), spec.code().to_vec());
    Ok(storage)
}

/// Tells every runtime how long a block takes, for clients to read.
pub(crate) fn set_block_time(time: Duration) {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    node_subtensor_runtime::aura::set_slot_duration(milliseconds);
    #[cfg(feature = "spec365")]
    node_subtensor_365_runtime::aura::set_slot_duration(milliseconds);
}

/// Gives every runtime the beacon.
pub(crate) fn install(beacon: Beacon) {
    #[cfg(feature = "spec365")]
    {
        let Beacon { public_key, sign, open } = beacon;
        node_subtensor_365_runtime::beacon::install(node_subtensor_365_runtime::Beacon {
            public_key,
            sign,
            open,
        });
    }
    node_subtensor_runtime::beacon::install(beacon);
}

/// Tells `set_code` what version a code has.
pub(crate) struct Versions;

impl ReadRuntimeVersion for Versions {
    fn read_runtime_version(&self, code: &[u8], _: &mut dyn Externalities) -> Result<Vec<u8>, String> {
        let spec = SpecVersion::of_code(Some(code)).ok_or("this node has no such runtime")?;
        Ok((Runtime::of_code(Some(spec.code())).version)().encode())
    }
}

/// The machine's time in milliseconds, and later than that of the block before, even if the machine's clock
/// was set back.
fn time_after(last: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    u64::try_from(now).unwrap_or(u64::MAX).max(last.saturating_add(1))
}

/// What became of an extrinsic; one that is not included leaves no trace.
fn settle(error: Option<TransactionValidityError>) -> Taken {
    let Some(error) = error else {
        storage::commit_transaction();
        return Taken::Included;
    };
    storage::rollback_transaction();
    tracing::debug!(?error, "an extrinsic is left out of its block");
    match error {
        TransactionValidityError::Invalid(InvalidTransaction::ExhaustsResources) => Taken::Full,
        TransactionValidityError::Invalid(InvalidTransaction::Future) => Taken::Later,
        _ => Taken::Invalid,
    }
}

/// A module with the functions of a runtime's crate.
macro_rules! runtime {
    ($module:ident, $runtime:ident) => {
        mod $module {
            use super::*;
            use $runtime::{Executive, RuntimeCall, System, UncheckedExtrinsic};

            pub(super) static RUNTIME: Runtime = Runtime {
                version: || $runtime::VERSION,
                genesis: $runtime::genesis::genesis,
                initialize: |header| {
                    Executive::initialize_block(header);
                },
                finalize: Executive::finalize_block,
                timestamp: || {
                    let now = time_after(pallet_timestamp::Now::<$runtime::Runtime>::get());
                    let set = RuntimeCall::Timestamp(pallet_timestamp::Call::set { now });
                    UncheckedExtrinsic::new_bare(set).encode()
                },
                apply: |bytes| {
                    // What one runtime took in, the next one may not even read.
                    let Ok(extrinsic) = UncheckedExtrinsic::decode(&mut &bytes[..]) else {
                        return Taken::Invalid;
                    };
                    storage::start_transaction();
                    settle(Executive::apply_extrinsic(extrinsic).err())
                },
                validate: |bytes, block| {
                    let extrinsic = UncheckedExtrinsic::decode(&mut &bytes[..])
                        .map_err(|_| TransactionValidityError::Invalid(InvalidTransaction::Call))?;
                    Executive::validate_transaction(TransactionSource::External, extrinsic, block)
                },
                signer: |bytes| {
                    let mut rest = bytes;
                    let extrinsic =
                        UncheckedExtrinsic::decode(&mut rest).map_err(|error| error.to_string())?;
                    if !rest.is_empty() {
                        return Err(format!("{} bytes follow it", rest.len()));
                    }
                    Ok(match extrinsic.preamble {
                        Preamble::Signed(MultiAddress::Id(account), _, extensions) => {
                            Some((account, $runtime::extensions::nonce_of(&extensions)))
                        }
                        _ => None,
                    })
                },
                nonce: |account| System::account_nonce(account),
                call: |name, data| $runtime::api::dispatch(name, data),
            };
        }
    };
}

#[cfg(feature = "spec365")]
runtime!(spec365, node_subtensor_365_runtime);
runtime!(spec425, node_subtensor_runtime);
