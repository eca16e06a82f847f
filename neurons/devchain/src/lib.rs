//! The development chain (skeleton).
