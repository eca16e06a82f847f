//! NVIDIA's compiler takes every kernel, on a machine without a GPU.

use std::{path::PathBuf, process::Command};
use templar_kernels::{device::SOURCE, nvrtc::Nvrtc};

/// The folder of a virtual environment's packages, with NVRTC among them.
pub fn packages() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(root.join("scripts/venv"))
        .args(["nvrtc", "nvidia-cuda-nvrtc>=13.0,<13.1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let python = String::from_utf8(output.stdout).unwrap();
    let print = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let output = Command::new(python.trim()).args(["-c", print]).output().unwrap();
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

#[test]
fn nvrtc_compiles_every_kernel() {
    let nvrtc = Nvrtc::open(Some(&packages())).unwrap();
    assert!(nvrtc.version() >= (12, 0), "{:?}", nvrtc.version());
    let known = nvrtc.architectures();
    // An A100, an H100, and the newest that it knows.
    for architecture in [80, 90, *known.last().unwrap()] {
        assert!(known.contains(&architecture), "{known:?}");
        let compiled = nvrtc.compile(SOURCE, architecture).unwrap();
        assert!(compiled.starts_with(b"\x7fELF"), "a cubin for sm_{architecture}");
    }
    let refused = nvrtc.compile("__global__ void wrong() { missing(); }", 80).unwrap_err();
    assert!(refused.to_string().contains("missing"), "{refused}");
}
