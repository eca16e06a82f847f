//! Promises of the house itself: what depends on what, and what is loaded.

use crate::support;
use std::process::Command;

/// `templar` runs on a machine without libtorch, and starts at once, because it does not name it.
#[test]
fn the_light_program_does_not_load_libtorch() {
    let libraries = |program: &str| {
        // The dynamic loader prints what it would load, and runs nothing.
        let output = Command::new(program).env("LD_TRACE_LOADED_OBJECTS", "1").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    if cfg!(target_os = "linux") {
        let light = libraries(env!("CARGO_BIN_EXE_templar"));
        assert!(light.contains("libc.so") && !light.contains("torch"), "{light}");
        assert!(libraries(env!("CARGO_BIN_EXE_templar-node")).contains("libtorch_cpu"));
    }
}

#[test]
fn the_library_does_not_depend_on_frame() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let tree = ["tree", "--offline", "--package", "templar", "--prefix", "none"];
    let output = Command::new(cargo).args(tree).current_dir(support::root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    // subxt decodes with `frame-metadata` and `frame-decode`, which are no part of FRAME.
    for package in ["frame-support ", "frame-system ", "sp-io ", "templar-devchain ", "pallet-"] {
        assert!(!tree.lines().any(|line| line.starts_with(package)), "{package}");
    }
}

#[test]
fn no_rooms_lead_in_a_circle_and_the_pictures_are_right() {
    let mut check = Command::new("python3");
    check.args(["scripts/structure", "--check"]).current_dir(support::root());
    let output = check.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
