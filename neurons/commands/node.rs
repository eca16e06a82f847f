//! The verbs that compute with libtorch. They are in a program of their own, `templar-node`, so that no other verb
//! waits until libtorch is loaded, or needs it.

use super::finish;
use crate::{
    cli::{Exit, Failure, audit, bench, eval, model, sim},
    evaluator, localnet, miner, validator,
};
use clap::Subcommand;
use std::{ffi::OsString, path::PathBuf, process::ExitCode};

/// What the other program is called, beside this one.
pub(crate) const NODE: &str = "templar-node";

/// The verbs that compute.
#[derive(Debug, Subcommand)]
pub enum NodeVerb {
    /// Run a whole network on this machine: chain, storage, miners, validators
    Localnet(localnet::Args),
    /// Train and publish pseudo-gradients
    Miner(miner::Args),
    /// Judge the miners and set weights
    Validator(validator::Args),
    /// Simulate an economy of honest peers and attackers
    Sim(sim::Args),
    /// Repeat what a validator did and name the first difference
    Audit(audit::Args),
    /// Export, import, describe and ask models in Hugging Face's form
    Model(model::Args),
    /// Evaluate a model by the questions that the field asks
    Eval(eval::Args),
    /// Follow a run and evaluate its checkpoints
    Evaluator(evaluator::Args),
    /// Measure what the heavy works of a node take on this machine
    Bench(bench::Args),
}

/// Runs a verb that computes, to its end. Only `templar-node` may refer to this: it is what needs libtorch.
pub fn run(verb: NodeVerb) -> ExitCode {
    finish(async {
        match verb {
            NodeVerb::Localnet(args) => localnet::run(args).await,
            NodeVerb::Miner(args) => miner::run(args).await,
            NodeVerb::Validator(args) => validator::run(args).await,
            NodeVerb::Sim(args) => sim::run(args).await,
            NodeVerb::Audit(args) => audit::run(args).await,
            NodeVerb::Model(args) => model::run(args).await,
            NodeVerb::Eval(args) => eval::run(args).await,
            NodeVerb::Evaluator(args) => evaluator::run(args).await,
            NodeVerb::Bench(args) => bench::run(args).await,
        }
    })
}

/// Becomes `templar-node`, with the arguments of this process.
pub fn hand_over() -> ExitCode {
    let node = match sibling(NODE) {
        Ok(node) => node,
        Err(failure) => return failure.report(),
    };
    let mut command = std::process::Command::new(&node);
    command.args(std::env::args_os().skip(1)).envs(huge_pages());
    #[cfg(unix)]
    let error = std::os::unix::process::CommandExt::exec(&mut command);
    #[cfg(not(unix))]
    let error = match command.status() {
        Ok(status) => return ExitCode::from(status.code().and_then(|c| c.try_into().ok()).unwrap_or(1)),
        Err(error) => error,
    };
    Failure::new(Exit::Unexpected, format!("cannot start {}: {error}", node.display()))
        .hint("build both programs with `cargo build --bins`, or install them together")
        .report()
}

/// What makes allocators ask for huge pages, where Linux gives them to those who ask: a model and a miner's state are gigabytes, and
/// the codec walks through them in large steps. glibc reads it when a program starts, so that the program itself is too late. What
/// the user has set stays.
fn huge_pages() -> Vec<(&'static str, OsString)> {
    const TUNABLES: &str = "GLIBC_TUNABLES";
    const ASK: &str = "glibc.malloc.hugetlb";
    let tunables = match std::env::var(TUNABLES) {
        Err(_) => Some(format!("{ASK}=1")),
        Ok(set) if set.contains(ASK) => None,
        Ok(set) => Some(format!("{set}:{ASK}=1")),
    };
    let torch = std::env::var_os("THP_MEM_ALLOC_ENABLE").is_none();
    let torch = torch.then(|| ("THP_MEM_ALLOC_ENABLE", OsString::from("1")));
    tunables.map(|tunables| (TUNABLES, tunables.into())).into_iter().chain(torch).collect()
}

/// A program of ours that lies beside the one that runs.
pub(crate) fn sibling(name: &str) -> Result<PathBuf, Failure> {
    let fail = |what: String| {
        Err(Failure::new(Exit::Unexpected, what)
            .hint("`templar` and `templar-node` belong together: put both into one folder"))
    };
    let here = match std::env::current_exe() {
        Ok(here) => here,
        Err(error) => return fail(format!("this program cannot find itself: {error}")),
    };
    let path = here.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if path.is_file() {
        Ok(path)
    } else {
        fail(format!("there is no {} beside this program", path.display()))
    }
}
