//! The NVIDIA driver: kernels are loaded into the context that libtorch uses too, and run after what it has begun.

#![allow(unsafe_code, reason = "the driver's interface is C's")]

use crate::{
    KernelError, Launch,
    device::{KERNELS, SOURCE, THREADS},
    library,
    nvrtc::Nvrtc,
};
use libloading::Library;
use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, c_char, c_int, c_uint, c_void},
    path::{Path, PathBuf},
    ptr,
};

type Handle = *mut c_void;
/// Compute capability, of which attributes are these.
const MAJOR: c_int = 75;
const MINOR: c_int = 76;
const OUT_OF_MEMORY: c_int = 2;

struct Functions {
    init: unsafe extern "C" fn(c_uint) -> c_int,
    version: unsafe extern "C" fn(*mut c_int) -> c_int,
    get: unsafe extern "C" fn(*mut c_int, c_int) -> c_int,
    attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> c_int,
    retain: unsafe extern "C" fn(*mut Handle, c_int) -> c_int,
    set_current: unsafe extern "C" fn(Handle) -> c_int,
    load: unsafe extern "C" fn(*mut Handle, *const c_void) -> c_int,
    function: unsafe extern "C" fn(*mut Handle, Handle, *const c_char) -> c_int,
    launch: unsafe extern "C" fn(
        Handle,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        c_uint,
        Handle,
        *mut *mut c_void,
        *mut *mut c_void,
    ) -> c_int,
    name: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int,
    _library: Library,
}

impl Functions {
    fn open() -> Result<Self, String> {
        let library = library::open(&["libcuda.so.1", "libcuda.so"].map(PathBuf::from))?;
        Ok(Self {
            init: library::function(&library, "cuInit")?,
            version: library::function(&library, "cuDriverGetVersion")?,
            get: library::function(&library, "cuDeviceGet")?,
            attribute: library::function(&library, "cuDeviceGetAttribute")?,
            retain: library::function(&library, "cuDevicePrimaryCtxRetain")?,
            set_current: library::function(&library, "cuCtxSetCurrent")?,
            load: library::function(&library, "cuModuleLoadData")?,
            function: library::function(&library, "cuModuleGetFunction")?,
            launch: library::function(&library, "cuLaunchKernel")?,
            name: library::function(&library, "cuGetErrorName")?,
            _library: library,
        })
    }

    fn fine(&self, what: &str, code: c_int) -> Result<(), KernelError> {
        if code == 0 {
            return Ok(());
        }
        if code == OUT_OF_MEMORY {
            return Err(KernelError::OutOfMemory);
        }
        let mut name: *const c_char = ptr::null();
        // SAFETY: the driver writes the address of a text that it keeps, or none.
        unsafe { (self.name)(code, &raw mut name) };
        let name = match name.is_null() {
            true => format!("error {code}"),
            // SAFETY: it is a text of the driver's.
            false => unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned(),
        };
        Err(KernelError::Driver { what: what.to_owned(), code: name })
    }
}

/// The kernels, loaded on one GPU.
pub struct Driver {
    functions: Functions,
    context: Handle,
    kernels: BTreeMap<&'static str, Handle>,
    architecture: i32,
}

// SAFETY: the driver's functions may be called by any thread; handles are numbers of the driver's, and nothing here changes them.
unsafe impl Send for Driver {}
// SAFETY: see above.
unsafe impl Sync for Driver {}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Driver(sm_{})", self.architecture)
    }
}

impl Driver {
    /// Compiles the kernels for the GPU of this number and loads them. `packages` is the folder that holds `torch` and `nvidia`, for
    /// [`Nvrtc::open`].
    ///
    /// # Errors
    /// No driver or too old a one, no NVRTC, no such GPU, and what either of them refuses.
    pub fn open(number: usize, packages: Option<&Path>) -> Result<Self, KernelError> {
        let functions = Functions::open().map_err(KernelError::NoDriver)?;
        let nvrtc = Nvrtc::open(packages)?;
        let (mut device, mut version, mut major, mut minor) = (0, 0, 0, 0);
        let mut context: Handle = ptr::null_mut();
        let mut module: Handle = ptr::null_mut();
        // SAFETY: everything that is written to is a variable of the type that the driver's header has.
        unsafe {
            functions.fine("to start", (functions.init)(0))?;
            functions.fine("its version", (functions.version)(&raw mut version))?;
            let needed = nvrtc.version();
            if version / 1000 < needed.0 {
                return Err(KernelError::OldDriver {
                    found: format!("{}.{}", version / 1000, version % 1000 / 10),
                    needed: format!("{}.0", needed.0),
                });
            }
            let number = c_int::try_from(number).unwrap_or(c_int::MAX);
            functions.fine("this GPU", (functions.get)(&raw mut device, number))?;
            functions.fine("what it can", (functions.attribute)(&raw mut major, MAJOR, device))?;
            functions.fine("what it can", (functions.attribute)(&raw mut minor, MINOR, device))?;
            functions.fine("its context", (functions.retain)(&raw mut context, device))?;
            functions.fine("its context", (functions.set_current)(context))?;
        }
        let architecture = 10 * major + minor;
        let compiled = nvrtc.compile(SOURCE, architecture)?;
        // SAFETY: the bytes are a whole cubin, as NVRTC made it; the driver copies them.
        functions
            .fine("the kernels", unsafe { (functions.load)(&raw mut module, compiled.as_ptr().cast()) })?;
        let mut kernels = BTreeMap::new();
        for name in KERNELS {
            let mut kernel: Handle = ptr::null_mut();
            let text = CString::new(name).map_err(|error| KernelError::Refused(error.to_string()))?;
            // SAFETY: the module is loaded, and the name ends with a zero.
            functions.fine(name, unsafe { (functions.function)(&raw mut kernel, module, text.as_ptr()) })?;
            kernels.insert(name, kernel);
        }
        Ok(Self { functions, context, kernels, architecture })
    }
}

impl Launch for Driver {
    unsafe fn launch(
        &self,
        kernel: &'static str,
        grid: u32,
        arguments: &mut [*mut c_void],
    ) -> Result<(), KernelError> {
        let unknown =
            || KernelError::Driver { what: kernel.to_owned(), code: "there is no such kernel".to_owned() };
        let function = *self.kernels.get(kernel).ok_or_else(unknown)?;
        // SAFETY: the caller's arguments are the kernel's, in number and kind. The stream is the default one, as libtorch's.
        let code = unsafe {
            let code = (self.functions.set_current)(self.context);
            self.functions.fine("its context", code)?;
            (self.functions.launch)(
                function,
                grid,
                1,
                1,
                THREADS,
                1,
                1,
                0,
                ptr::null_mut(),
                arguments.as_mut_ptr(),
                ptr::null_mut(),
            )
        };
        self.functions.fine(kernel, code)
    }
}
