//! NVRTC, NVIDIA's compiler as a library: no CUDA toolkit is needed, and most machines have it with PyTorch.

#![allow(unsafe_code, reason = "NVRTC's interface is C's")]

use crate::{KernelError, library};
use libloading::Library;
use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    path::{Path, PathBuf},
    ptr,
};

type Program = *mut c_void;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Get = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
type Destroy = unsafe extern "C" fn(*mut Program) -> c_int;
type Version = unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int;
type Count = unsafe extern "C" fn(*mut c_int) -> c_int;
type Archs = unsafe extern "C" fn(*mut c_int) -> c_int;
type Message = unsafe extern "C" fn(c_int) -> *const c_char;

/// NVRTC, opened.
#[derive(Debug)]
pub struct Nvrtc {
    create: Create,
    compile: Compile,
    cubin_size: Size,
    cubin: Get,
    log_size: Size,
    log: Get,
    destroy: Destroy,
    version: Version,
    count: Count,
    archs: Archs,
    message: Message,
    _library: Library,
}

impl Nvrtc {
    /// Opens it: as the system knows it, or from the packages beside libtorch (`packages` is the folder that holds `torch` and
    /// `nvidia`).
    ///
    /// # Errors
    /// [`KernelError::NoCompiler`].
    pub fn open(packages: Option<&Path>) -> Result<Self, KernelError> {
        let mut candidates: Vec<PathBuf> =
            ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"].map(PathBuf::from).to_vec();
        let beside = |name| packages.map(|packages| library::beside(packages, name)).unwrap_or_default();
        candidates.extend(beside("libnvrtc.so").into_iter().rev());
        let library = library::open(&candidates).map_err(KernelError::NoCompiler)?;
        // NVRTC looks for its other half by name alone; it finds one that is open already.
        if let Ok(builtins) = library::open(&beside("libnvrtc-builtins.so")) {
            std::mem::forget(builtins);
        }
        Self::of(library).map_err(KernelError::NoCompiler)
    }

    fn of(library: Library) -> Result<Self, String> {
        Ok(Self {
            create: library::function(&library, "nvrtcCreateProgram")?,
            compile: library::function(&library, "nvrtcCompileProgram")?,
            cubin_size: library::function(&library, "nvrtcGetCUBINSize")?,
            cubin: library::function(&library, "nvrtcGetCUBIN")?,
            log_size: library::function(&library, "nvrtcGetProgramLogSize")?,
            log: library::function(&library, "nvrtcGetProgramLog")?,
            destroy: library::function(&library, "nvrtcDestroyProgram")?,
            version: library::function(&library, "nvrtcVersion")?,
            count: library::function(&library, "nvrtcGetNumSupportedArchs")?,
            archs: library::function(&library, "nvrtcGetSupportedArchs")?,
            message: library::function(&library, "nvrtcGetErrorString")?,
            _library: library,
        })
    }

    /// Its version, as major and minor.
    pub fn version(&self) -> (i32, i32) {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both are written to.
        unsafe { (self.version)(&raw mut major, &raw mut minor) };
        (major, minor)
    }

    /// The kinds of GPU that it compiles for, ascending: 80, 90 and so on.
    pub fn architectures(&self) -> Vec<i32> {
        let mut count = 0;
        // SAFETY: the count is written to.
        unsafe { (self.count)(&raw mut count) };
        let mut archs = vec![0; usize::try_from(count).unwrap_or(0)];
        if !archs.is_empty() {
            // SAFETY: so many numbers are written, and there is room for them.
            unsafe { (self.archs)(archs.as_mut_ptr()) };
        }
        archs
    }

    /// Compiles CUDA C for one kind of GPU.
    ///
    /// # Errors
    /// [`KernelError::Refused`], with what it said.
    pub fn compile(&self, source: &str, architecture: i32) -> Result<Vec<u8>, KernelError> {
        let text = |text: String| CString::new(text).map_err(|error| KernelError::Refused(error.to_string()));
        let (source, name) = (text(source.to_owned())?, text("templar.cu".to_owned())?);
        let options =
            [text(format!("--gpu-architecture=sm_{architecture}"))?, text("--std=c++17".to_owned())?];
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program: Program = ptr::null_mut();
        // SAFETY: all texts end with a zero and live until the call has returned; NVRTC copies them.
        let code = unsafe {
            (self.create)(&raw mut program, source.as_ptr(), name.as_ptr(), 0, ptr::null(), ptr::null())
        };
        self.fine(code)?;
        // SAFETY: the program was made above, and is destroyed once, below.
        let code = unsafe { (self.compile)(program, options.len() as c_int, options.as_ptr()) };
        let result = match self.fine(code) {
            Ok(()) => self.bytes(program, self.cubin_size, self.cubin),
            Err(refused) => {
                let log = self.bytes(program, self.log_size, self.log).unwrap_or_default();
                let log = String::from_utf8_lossy(&log).trim_end_matches('\0').trim().to_owned();
                Err(if log.is_empty() { refused } else { KernelError::Refused(log) })
            }
        };
        // SAFETY: see above.
        unsafe { (self.destroy)(&raw mut program) };
        result
    }

    fn bytes(&self, program: Program, size: Size, get: Get) -> Result<Vec<u8>, KernelError> {
        let mut length = 0;
        // SAFETY: the program lives, and the length is written to.
        self.fine(unsafe { size(program, &raw mut length) })?;
        let mut bytes = vec![0u8; length];
        // SAFETY: NVRTC writes as many bytes as it said.
        self.fine(unsafe { get(program, bytes.as_mut_ptr().cast()) })?;
        Ok(bytes)
    }

    fn fine(&self, code: c_int) -> Result<(), KernelError> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: NVRTC answers every code with a text that lives as long as the library.
        let message = unsafe { CStr::from_ptr((self.message)(code)) };
        Err(KernelError::Refused(message.to_string_lossy().into_owned()))
    }
}
