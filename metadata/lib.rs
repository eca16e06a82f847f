//! Typed bindings of the chain's interface, generated from `subnet.scale` beside this file.
//!
//! They give names and types to what is asked; indices, hashers and encodings come from the metadata of the node
//! that is asked. `README.md` says where the file comes from and how it is made anew.

/// Calls, storage, events and types of the pallets that a subnet's neurons meet.
#[allow(
    missing_docs,
    rustdoc::all,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated; the chain's own documentation describes it"
)]
#[subxt::subxt(runtime_metadata_path = "subnet.scale")]
pub mod api {}

/// Nothing else tells the compiler that the bindings change with the file.
const _: &[u8] = include_bytes!("subnet.scale");
