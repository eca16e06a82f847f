//! A field of a commitment and its own encoding: one leading byte says what follows.

use frame_support::{BoundedVec, traits::ConstU32};
use parity_scale_codec::{Decode, DecodeWithMemTracking, Encode, EncodeLike, Error, Input, Output};
use scale_info::{
    Path, Type, TypeInfo,
    build::{Fields, Variants},
};

/// The most bytes of a raw field.
const RAW: u8 = 128;
/// The leading byte of an empty raw field; a longer one adds its length.
const RAW_TAG: u8 = 1;

/// A field of a commitment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Nothing.
    None,
    /// Up to 128 bytes.
    Raw(BoundedVec<u8, ConstU32<128>>),
    /// A BLAKE2b-256 hash.
    BlakeTwo256([u8; 32]),
    /// A SHA-256 hash.
    Sha256([u8; 32]),
    /// A Keccak-256 hash.
    Keccak256([u8; 32]),
    /// A SHA3-256 hash.
    ShaThree256([u8; 32]),
    /// Bytes that can be read once a drand round is known.
    TimelockEncrypted {
        /// The bytes, encrypted.
        encrypted: BoundedVec<u8, ConstU32<1024>>,
        /// The round.
        reveal_round: u64,
    },
    /// Asks that the neuron's bonds are forgotten.
    ResetBondsFlag,
    /// Up to 512 bytes.
    BigRaw(BoundedVec<u8, ConstU32<512>>),
}

impl Data {
    /// How many bytes count against the hotkey's space.
    pub fn len(&self) -> u64 {
        let bytes = match self {
            Data::None | Data::ResetBondsFlag => 0,
            Data::Raw(bytes) => bytes.len(),
            Data::BigRaw(bytes) => bytes.len(),
            Data::TimelockEncrypted { encrypted, .. } => encrypted.len(),
            _ => 32,
        };
        bytes as u64
    }

    /// Whether no bytes count.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The drand round of a timelocked field.
    pub fn reveal_round(&self) -> Option<u64> {
        match self {
            Data::TimelockEncrypted { reveal_round, .. } => Some(*reveal_round),
            _ => None,
        }
    }
}

impl Encode for Data {
    fn encode_to<W: Output + ?Sized>(&self, out: &mut W) {
        match self {
            Data::None => out.push_byte(0),
            Data::Raw(bytes) => {
                // The bound keeps the length below what a byte holds.
                out.push_byte(RAW_TAG.saturating_add(u8::try_from(bytes.len()).unwrap_or(RAW)));
                out.write(bytes);
            }
            Data::BlakeTwo256(hash) => (130u8, hash).encode_to(out),
            Data::Sha256(hash) => (131u8, hash).encode_to(out),
            Data::Keccak256(hash) => (132u8, hash).encode_to(out),
            Data::ShaThree256(hash) => (133u8, hash).encode_to(out),
            Data::TimelockEncrypted { encrypted, reveal_round } => {
                (134u8, encrypted, reveal_round).encode_to(out)
            }
            Data::ResetBondsFlag => out.push_byte(135),
            Data::BigRaw(bytes) => (136u8, bytes).encode_to(out),
        }
    }
}

impl EncodeLike for Data {}
impl DecodeWithMemTracking for Data {}

impl Decode for Data {
    fn decode<I: Input>(input: &mut I) -> Result<Self, Error> {
        Ok(match input.read_byte()? {
            0 => Data::None,
            tag @ 1..=129 => {
                let mut bytes = vec![0; usize::from(tag - RAW_TAG)];
                input.read(&mut bytes)?;
                Data::Raw(bytes.try_into().map_err(|_| "a raw field is too long")?)
            }
            130 => Data::BlakeTwo256(Decode::decode(input)?),
            131 => Data::Sha256(Decode::decode(input)?),
            132 => Data::Keccak256(Decode::decode(input)?),
            133 => Data::ShaThree256(Decode::decode(input)?),
            134 => Data::TimelockEncrypted {
                encrypted: Decode::decode(input)?,
                reveal_round: Decode::decode(input)?,
            },
            135 => Data::ResetBondsFlag,
            136 => Data::BigRaw(Decode::decode(input)?),
            _ => return Err("a commitment has no field of this kind".into()),
        })
    }
}

/// Adds a variant `RawN([u8; N])` at index N + 1 for each length.
macro_rules! raw_variants {
    ($variants:expr, $($length:literal),*) => {
        $variants$(.variant(concat!("Raw", stringify!($length)), |variant| {
            variant
                .index(RAW_TAG + $length)
                .fields(Fields::unnamed().field(|field| field.ty::<[u8; $length]>()))
        }))*
    };
}

impl TypeInfo for Data {
    type Identity = Self;

    fn type_info() -> Type {
        let variants = Variants::new().variant("None", |variant| variant.index(0));
        let mut variants = raw_variants!(
            variants, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
            24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47,
            48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 70, 71,
            72, 73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95,
            96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115,
            116, 117, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128
        );
        for (index, name) in [(130, "BlakeTwo256"), (131, "Sha256"), (132, "Keccak256"), (133, "ShaThree256")]
        {
            variants = variants.variant(name, |variant| {
                variant.index(index).fields(Fields::unnamed().field(|field| field.ty::<[u8; 32]>()))
            });
        }
        let variants = variants
            .variant("TimelockEncrypted", |variant| {
                variant.index(134).fields(
                    Fields::named()
                        .field(|field| field.name("encrypted").ty::<BoundedVec<u8, ConstU32<1024>>>())
                        .field(|field| field.name("reveal_round").ty::<u64>()),
                )
            })
            .variant("ResetBondsFlag", |variant| variant.index(135))
            .variant("BigRaw", |variant| {
                variant
                    .index(136)
                    .fields(Fields::unnamed().field(|field| field.ty::<BoundedVec<u8, ConstU32<512>>>()))
            });
        Type::builder().path(Path::new("Data", module_path!())).variant(variants)
    }
}
