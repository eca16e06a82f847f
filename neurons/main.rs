//! `templar`: runs the verbs that need no tensors itself, at once, and hands the others to `templar-node`.

use std::process::ExitCode;
use templar_neurons::commands::{Templar, Verb, light, node};

fn main() -> ExitCode {
    match Templar::from_arguments() {
        Verb::Light(verb) => light(verb),
        Verb::Node(_) => node::hand_over(),
    }
}
