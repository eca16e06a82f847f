//! Requests to a node: one [`connection`] that outlives breaks, [`failover`] between endpoints, blocks as they come
//! and as they become final, and storage at one block.

pub(in crate::chain) mod answer;
pub(in crate::chain) mod api;
pub(in crate::chain) mod best_heads;
pub(in crate::chain) mod connection;
pub(in crate::chain) mod dynamic_value;
pub mod endpoint;
pub(in crate::chain) mod failover;
pub(in crate::chain) mod finalized_heads;
pub(in crate::chain) mod storage;
