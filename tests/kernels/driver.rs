//! What is asked of NVIDIA's driver, and what a person reads when it refuses; by a driver that only pretends.

#![allow(unsafe_code, reason = "a library in C is loaded and told what to pretend")]

use crate::{buffer::Buffer, compiler::packages};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use std::{
    ffi::{CStr, CString, c_char, c_int, c_uint},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};
use templar_kernels::{Device, KernelError, Kind, driver::Driver};

/// The driver that pretends.
struct Pretender(Library);

impl Pretender {
    /// Loads it under the name that programs look for, so that it is what they find from then on.
    fn load() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libcuda.so.1");
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/kernels/driver.c");
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o"])
            .args([library.as_path(), &source])
            .output()
            .expect("a C compiler, which building libtorch's wrapper needs too");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // SAFETY: the library was made above; it does nothing when it is loaded.
        Self(unsafe { Library::open(Some(&library), RTLD_NOW | RTLD_LOCAL) }.unwrap())
    }

    /// From now on it has this version and a GPU of this capability, and one function fails.
    fn pretend(&self, version: c_int, capability: c_int, function: &str, code: c_int) {
        type Pretend = unsafe extern "C" fn(c_int, c_int, *const c_char, c_int);
        let function = CString::new(function).unwrap();
        // SAFETY: the function is as `driver.c` has it; it copies the text.
        unsafe { self.0.get::<Pretend>(b"pretend").unwrap()(version, capability, function.as_ptr(), code) }
    }

    /// Name, blocks, threads, first number of the first argument; and how often a context was made current.
    fn last_launch(&self) -> (String, u32, u32, f32, i32) {
        type Last = unsafe extern "C" fn(*mut c_uint, *mut c_uint, *mut f32, *mut c_int) -> *const c_char;
        let (mut blocks, mut threads, mut first, mut contexts) = (0, 0, 0.0, 0);
        // SAFETY: the function is as `driver.c` has it; the text is its own.
        let name = unsafe {
            let last = self.0.get::<Last>(b"last_launch").unwrap();
            CStr::from_ptr(last(&raw mut blocks, &raw mut threads, &raw mut first, &raw mut contexts))
        };
        (name.to_string_lossy().into_owned(), blocks, threads, first, contexts)
    }
}

/// One test, for the process has one driver: first none, if the machine has none, then the one that pretends.
#[test]
fn what_a_driver_refuses_is_said_in_a_sentence() {
    let packages = packages();
    let open = |number| Driver::open(number, Some(&packages));
    let says = |error: KernelError, sentence: &str| {
        assert!(error.to_string().starts_with(sentence), "{error}");
    };
    match open(0) {
        Err(error @ KernelError::NoDriver(_)) => {
            says(error, "the NVIDIA driver's library cannot be opened");
        }
        // A driver that is there, with a GPU or without, answers for itself and cannot be replaced.
        _ => return,
    }
    let pretender = Pretender::load();
    // Without NVRTC's package nothing can be compiled; the system may have one.
    if let Err(error) = Driver::open(0, Some(Path::new("/nowhere"))) {
        says(error, "NVRTC, which compiles the kernels, cannot be opened");
    }
    pretender.pretend(12_090, 90, "", 0);
    says(
        open(0).unwrap_err(),
        "the NVIDIA driver serves CUDA 12.9, and 13.0 is needed: install a newer driver",
    );
    for (function, code, sentence) in [
        ("cuInit", 100, "the NVIDIA driver refuses to start: CUDA_ERROR_NO_DEVICE"),
        ("cuDevicePrimaryCtxRetain", 2, "the GPU has no memory left: use smaller micro-batches"),
        ("cuModuleLoadData", 209, "the NVIDIA driver refuses the kernels: error 209"),
        ("cuModuleGetFunction", 500, "the NVIDIA driver refuses accumulate: error 500"),
    ] {
        pretender.pretend(13_000, 90, function, code);
        says(open(0).unwrap_err(), sentence);
    }
    pretender.pretend(13_000, 90, "", 0);
    says(open(7).unwrap_err(), "the NVIDIA driver refuses this GPU: CUDA_ERROR_INVALID_DEVICE");
    // An architecture that NVRTC does not know is refused by it, not by a crash.
    pretender.pretend(13_000, 11, "", 0);
    assert!(matches!(open(0).unwrap_err(), KernelError::Refused(_)));
    pretender.pretend(13_000, 90, "", 0);
    let driver = open(1).unwrap();
    assert_eq!(format!("{driver:?}"), "Driver(sm_90)");
    // A launch is made in the GPU's context, of whatever thread, with the blocks and arguments that a kernel is given.
    let device = Device::new(Arc::new(driver), Kind::F32);
    let before = pretender.last_launch().4;
    let (mut sum, mut part) = (Buffer::floats(&[7.0; 5000]), Buffer::floats(&[0.0; 5000]));
    let (sum, part) = (sum.span(), part.span());
    std::thread::scope(|scope| scope.spawn(|| device.accumulate(sum, part)).join().unwrap()).unwrap();
    assert_eq!(pretender.last_launch(), ("accumulate".to_owned(), 3, 256, 7.0, before + 1));
    for (function, code, sentence) in [
        ("cuLaunchKernel", 719, "the NVIDIA driver refuses accumulate: CUDA_ERROR_LAUNCH_FAILED"),
        ("cuLaunchKernel", 2, "the GPU has no memory left"),
        ("cuCtxSetCurrent", 201, "the NVIDIA driver refuses its context: error 201"),
    ] {
        pretender.pretend(13_000, 90, function, code);
        says(device.accumulate(sum, part).unwrap_err(), sentence);
    }
}
