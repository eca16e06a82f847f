//! `templar-node`: every verb, with libtorch. `templar` starts it for the verbs that compute.

use std::process::ExitCode;
use templar_neurons::commands::{Templar, Verb, light, node};

fn main() -> ExitCode {
    match Templar::from_arguments() {
        Verb::Light(verb) => light(verb),
        Verb::Node(verb) => node::run(verb),
    }
}
