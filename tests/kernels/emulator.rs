//! Runs CUDA kernels on the processor: [`SOURCE`] compiled as C++, the threads of a block as fibers.

#![allow(unsafe_code, reason = "a library is loaded, and kernels are given C's arguments")]

use std::{ffi::c_void, fs, path::Path, process::Command, sync::OnceLock};
use templar_kernels::{
    KernelError, Launch,
    device::{KERNELS, SOURCE, THREADS},
};

type Emulate = unsafe extern "C" fn(*const u8, u32, u32, i32, *mut *mut c_void, u32) -> i32;

/// Runs the threads of a block in their order, or backwards.
#[derive(Debug, Clone, Copy)]
pub struct Emulator {
    emulate: Emulate,
    backwards: bool,
}

impl Emulator {
    /// Compiles the kernels, once in a process.
    pub fn new() -> Self {
        static COMPILED: OnceLock<Emulate> = OnceLock::new();
        let emulate = *COMPILED.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let table: String = KERNELS.iter().map(|name| format!("KERNEL({name}),\n")).collect();
            let header = include_str!("emulator.h");
            let program = format!(
                "{header}\n{SOURCE}\nextern const Kernel kernels[] = {{\n{table}{{nullptr, 0, nullptr}}}};\n"
            );
            let (source, library) = (folder.path().join("kernels.cc"), folder.path().join("kernels.so"));
            fs::write(&source, program).unwrap();
            compile(&source, &library);
            // SAFETY: the library was made above; it does nothing when it is loaded.
            let library = unsafe { libloading::Library::new(&library) }.unwrap();
            // SAFETY: the function is as `emulator.h` has it, and the library is never unloaded.
            let emulate = *unsafe { library.get::<Emulate>(b"emulate") }.unwrap();
            std::mem::forget(library);
            emulate
        });
        Self { emulate, backwards: false }
    }

    /// The same, with the threads of a block from the first to the last, or backwards.
    pub fn ordered(self, backwards: bool) -> Self {
        Self { backwards, ..self }
    }
}

fn compile(source: &Path, library: &Path) {
    let output = Command::new("c++")
        .args(["-std=c++17", "-O2", "-shared", "-fPIC", "-o"])
        .args([library, source])
        .output()
        .expect("a C++ compiler, which building libtorch's wrapper needs too");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Launch for Emulator {
    unsafe fn launch(
        &self,
        kernel: &'static str,
        grid: u32,
        arguments: &mut [*mut c_void],
    ) -> Result<(), KernelError> {
        // One at a time: the emulator has one block.
        static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
        let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let name = format!("{kernel}\0");
        let (count, backwards) = (arguments.len() as u32, i32::from(self.backwards));
        // SAFETY: the caller's arguments are the kernel's; the emulator compares their number.
        let code =
            unsafe { (self.emulate)(name.as_ptr(), grid, THREADS, backwards, arguments.as_mut_ptr(), count) };
        assert_eq!(code, 0, "{kernel}: 1 is unknown, 2 another number of arguments");
        Ok(())
    }
}
