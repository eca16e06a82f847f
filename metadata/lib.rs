//! Typed bindings of the chain (placeholder until the dev chain exports its metadata).
