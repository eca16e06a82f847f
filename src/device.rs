//! Where tensors live: choosing the device, and making CUDA visible.
//!
//! The linker drops `libtorch_cuda.so` as unneeded, and with it CUDA is invisible to libtorch; [`open`]
//! therefore loads it by hand where it is present. One binary so serves machines with and without a GPU.

#[cfg(test)]
#[allow(dead_code, reason = "the kernels' own tests use all of it")]
#[path = "../tests/kernels/emulator.rs"]
pub(crate) mod emulator;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use tch::Device;
use templar_kernels::{KernelError, Launch, driver::Driver};

/// Why a device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// Not a device's name.
    #[error("`{0}` is not a device: use cpu, cuda:N or auto")]
    Unknown(String),
    /// A GPU that is named twice.
    #[error("cuda:{0} is named twice: a GPU has nothing to share with itself")]
    Twice(usize),
    /// No such GPU.
    #[error("there is no cuda:{wanted}: libtorch sees {found} CUDA devices")]
    Missing {
        /// The device's number.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
}

/// Opens `cpu`, `cuda:N` (`cuda` is `cuda:0`) or `auto` (the first GPU if there is one).
///
/// # Errors
/// An unknown name, or a GPU that libtorch does not see.
pub fn open(name: &str) -> Result<Device, DeviceError> {
    let unknown = || DeviceError::Unknown(name.to_owned());
    match name {
        "cpu" => Ok(Device::Cpu),
        "auto" if cuda_devices() > 0 => Ok(Device::Cuda(0)),
        "auto" => Ok(Device::Cpu),
        _ => {
            let number = name.strip_prefix("cuda").ok_or_else(unknown)?;
            let wanted = match number.strip_prefix(':') {
                None if number.is_empty() => 0,
                digits => digits.and_then(|d| d.parse().ok()).ok_or_else(unknown)?,
            };
            let found = cuda_devices();
            if wanted < found {
                Ok(Device::Cuda(wanted))
            } else {
                Err(DeviceError::Missing { wanted, found })
            }
        }
    }
}

/// Opens several devices, separated by commas, which share a node's work; the first is the one that its model is on.
///
/// # Errors
/// As [`open`], and a GPU that is named twice.
pub fn open_all(names: &str) -> Result<Vec<Device>, DeviceError> {
    let devices: Vec<Device> = names.split(',').map(|name| open(name.trim())).collect::<Result<_, _>>()?;
    for (at, device) in devices.iter().enumerate() {
        if let (Device::Cuda(number), true) = (device, devices[..at].contains(device)) {
            return Err(DeviceError::Twice(*number));
        }
    }
    Ok(devices)
}

/// CUDA devices that libtorch sees, once `libtorch_cuda.so` is loaded.
pub fn cuda_devices() -> usize {
    load_cuda();
    usize::try_from(tch::Cuda::device_count()).unwrap_or(0)
}

/// Threads of libtorch's CPU kernels, for what this thread computes.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(i32::try_from(threads.max(1)).unwrap_or(i32::MAX));
}

/// What [`set_threads`] has set in this thread. Others that compute for it have to be told: each has a number of its own.
pub(crate) fn threads() -> usize {
    usize::try_from(tch::get_num_threads()).unwrap_or(1)
}

/// Threads of our own kernels, those of the codec and the hash; all cores unless told. Only the first call counts, and only
/// before any of them ran: says whether it did.
pub fn set_own_threads(threads: usize) -> bool {
    rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build_global().is_ok()
}

/// The kernels of a GPU, compiled and loaded once; a CPU has none.
///
/// # Errors
/// [`Driver::open`]'s; they are the same until the program ends.
pub fn kernels(device: Device) -> Result<Option<Arc<dyn Launch>>, KernelError> {
    static LOADED: Mutex<BTreeMap<usize, Result<Arc<Driver>, KernelError>>> = Mutex::new(BTreeMap::new());
    let Device::Cuda(number) = device else { return Ok(None) };
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    // `torch/lib/libtorch_cuda.so`; other packages lie beside `torch`.
    let packages = || cuda_library().and_then(|path| Some(path.ancestors().nth(3)?.to_owned()));
    let driver = loaded.entry(number).or_insert_with(|| {
        let driver = Driver::open(number, packages().as_deref()).map(Arc::new);
        if let Err(error) = &driver {
            tracing::warn!(%error, "cuda:{number} computes with libtorch's own kernels, which is slower");
        }
        driver
    });
    driver.clone().map(|driver| Some(driver as Arc<dyn Launch>))
}

/// Loads `libtorch_cuda.so` from beside the libtorch that this process runs on; says whether it did.
fn load_cuda() -> bool {
    static LOADED: OnceLock<bool> = OnceLock::new();
    *LOADED.get_or_init(|| cuda_library().is_some_and(|path| open_library(&path)))
}

/// Where the running libtorch lies, as the kernel's list of mapped files has it.
fn cuda_library() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let libtorch = maps
        .lines()
        .filter_map(|l| l.find('/').map(|at| &l[at..]))
        .find(|p| p.ends_with("/libtorch_cpu.so"))?;
    let cuda = PathBuf::from(libtorch).with_file_name("libtorch_cuda.so");
    cuda.exists().then_some(cuda)
}

#[cfg(unix)]
fn open_library(path: &std::path::Path) -> bool {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: the library is libtorch's own other half; its initialisers register CUDA with the libtorch
    // that is loaded, and nothing else is called. It is never unloaded.
    match unsafe { Library::open(Some(path), RTLD_NOW | RTLD_GLOBAL) } {
        Ok(library) => {
            std::mem::forget(library);
            true
        }
        Err(error) => {
            // Usual on a machine without the GPU's libraries: the CPU serves.
            tracing::debug!(%error, "libtorch_cuda.so cannot be loaded");
            false
        }
    }
}

#[cfg(not(unix))]
fn open_library(_: &std::path::Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_understood() {
        assert_eq!(open("cpu"), Ok(Device::Cpu));
        assert!(open("auto").is_ok());
        for wrong in ["gpu", "cuda:", "cuda:x", "cuda1", ""] {
            assert_eq!(open(wrong), Err(DeviceError::Unknown(wrong.to_owned())));
        }
        let found = cuda_devices();
        assert_eq!(open("cuda:99"), Err(DeviceError::Missing { wanted: 99, found }));
        assert_eq!(open("cuda").is_ok(), found > 0);
        assert_eq!(open_all("cpu, cpu"), Ok(vec![Device::Cpu; 2]));
        assert_eq!(open_all("cpu,,cpu"), Err(DeviceError::Unknown(String::new())));
    }
}
