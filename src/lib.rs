//! Train one language model in the open, by strangers, paid for what their work is worth.
pub mod manifest;
pub mod window;
