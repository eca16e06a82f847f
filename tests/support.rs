//! What the test programs share: where the repository is, and Python programs as judges.
#![allow(dead_code, reason = "each program uses a part of this")]

#[path = "support/forms.rs"]
pub mod forms;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The repository's root, whichever package the test belongs to.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().find(|folder| folder.join("scripts/venv").is_file()).unwrap().to_owned()
}

/// The interpreter of a virtual environment with these packages, which is made if it is missing.
pub fn python(name: &str, packages: &[&str]) -> String {
    let output = Command::new(root().join("scripts/venv")).arg(name).args(packages).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The path of a Python program of the tests.
pub fn script(name: &str) -> PathBuf {
    root().join("tests/python").join(name)
}
