//! What `--help` says, word for word: flags are an interface, and a change of one is to be seen in review.
//!
//! After a change that is meant: `INSTA_UPDATE=always cargo test --workspace --test cli help`.

use clap::CommandFactory as _;
use std::fmt::Write as _;
use templar_neurons::commands::Templar;

fn write(text: &mut String, mut command: clap::Command, path: &str) {
    let help = command.render_long_help().to_string();
    let help: String = help.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    writeln!(text, "$ {path} --help\n{help}").unwrap();
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        write(text, verb.clone(), &format!("{path} {}", verb.get_name()));
    }
}

#[test]
fn every_verb_has_the_help_that_was_reviewed() {
    let mut command = Templar::command().term_width(100);
    command.build();
    let mut top = String::new();
    write(&mut top, command.clone().mut_subcommands(|verb| verb.hide(false)), "templar");
    insta::assert_snapshot!("help", top);
}
