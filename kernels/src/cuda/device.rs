//! A GPU: how it is found and opened, its kernels, and its queue.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, DriverError, result, sys};
use cudarc::nvrtc::Ptx;

use super::launch::{Address, Arguments, Grid, Kernel};
use super::memory::{Memory, Pool, Staging};
use crate::{Buffer, DType, Error, Result};

/// The CUDA version whose drivers load the PTX; see `kernels/cuda/build.py`.
const OLDEST_DRIVER: i32 = 11_080;

/// The oldest compute capability that the PTX is made for.
const OLDEST_DEVICE: (i32, i32) = (7, 0);

/// The most blocks in y and z, on any device.
const MOST_IN_Y_AND_Z: u32 = 65_535;

/// What a driver says about a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What users call it: `cuda:0`.
    pub name: String,
    /// What its maker calls it.
    pub model: String,
    /// Its compute capability.
    pub capability: (i32, i32),
    /// Its memory in bytes.
    pub memory: usize,
}

/// All devices that a driver shows.
///
/// # Errors
/// If there is no driver, or one too old for the kernels. The text says which, and what helps.
pub fn found() -> Result<Vec<Found>> {
    let driver_says = |error: DriverError| Error::Device(format!("cuda: the driver does not answer: {}", text(error)));
    // SAFETY: loading the driver's library runs its initialisers, as any CUDA program does.
    if !unsafe { sys::is_culib_present() } {
        return Err(Error::Device(
            "cuda: there is no NVIDIA driver on this machine (libcuda was not found); use --device cpu".into(),
        ));
    }
    match result::init() {
        Err(DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => return Ok(Vec::new()),
        other => other.map_err(driver_says)?,
    }
    let mut version = 0;
    // SAFETY: the pointer is valid for the call.
    unsafe { sys::cuDriverGetVersion(&mut version) }.result().map_err(driver_says)?;
    if version < OLDEST_DRIVER {
        let [has, needs] = [version, OLDEST_DRIVER].map(|version| (version / 1000, version % 1000 / 10));
        return Err(Error::Device(format!(
            "cuda: the driver is of CUDA {}.{}, and the kernels need {}.{} (driver 520) or later; update the driver or \
             use --device cpu",
            has.0, has.1, needs.0, needs.1
        )));
    }
    let count = result::device::get_count().map_err(driver_says)?;
    (0..count).map(|ordinal| describe(ordinal).map_err(driver_says)).collect()
}

fn describe(ordinal: i32) -> std::result::Result<Found, DriverError> {
    use sys::CUdevice_attribute_enum::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    let device = result::device::get(ordinal)?;
    // SAFETY: the handle is the one that the driver just gave.
    let (capability, memory) = unsafe {
        let attribute = |which| result::device::get_attribute(device, which);
        ((attribute(MAJOR)?, attribute(MINOR)?), result::device::total_mem(device)?)
    };
    let name = format!("cuda:{ordinal}");
    Ok(Found { name, model: result::device::get_name(device)?, capability, memory })
}

/// How often the host and the device did something together.
#[derive(Debug, Default)]
pub struct Counts {
    /// Kernels that were started.
    pub launches: AtomicU64,
    /// Copies to the device.
    pub uploads: AtomicU64,
    /// Copies to the host, for which the host waits until all work is done.
    pub downloads: AtomicU64,
    /// Operations that were computed on the host, since the device has no kernel for their type.
    pub on_host: AtomicU64,
}

/// A device that was opened. It stays open until the program ends.
#[derive(Debug)]
pub struct Gpu {
    /// What users call it.
    pub name: &'static str,
    /// Its compute capability.
    pub capability: (i32, i32),
    /// What happened so far.
    pub counts: Counts,
    pub(super) context: Arc<CudaContext>,
    pub(super) stream: Arc<CudaStream>,
    pub(super) pool: Pool,
    staging: Staging,
    modules: Mutex<HashMap<&'static str, Arc<CudaModule>>>,
    /// Kernels that were loaded, with the sizes of the arguments that they were checked for.
    functions: RwLock<HashMap<String, (CudaFunction, &'static [usize])>>,
    /// Where kernels write an index that is out of range.
    alarm: Mutex<Option<Memory>>,
    /// Whether a kernel that could write there was started since the last look.
    may_alarm: AtomicBool,
}

/// The words of an alarm: whether there is one, the position of the index, the index, and the size that it is not in.
const ALARM_WORDS: usize = 4;

impl Gpu {
    /// Opens the device with this number.
    ///
    /// # Errors
    /// If there is no such device, or if it is too old.
    pub fn open(ordinal: usize) -> Result<&'static Self> {
        let devices = found()?;
        let list = || devices.iter().map(|device| format!("{} ({})", device.name, device.model)).collect::<Vec<_>>();
        let Some(device) = devices.get(ordinal) else {
            let there = match devices.len() {
                0 => "the driver shows no device".into(),
                _ => format!("there is {}", list().join(", ")),
            };
            return Err(Error::Device(format!("cuda:{ordinal}: no such device; {there}")));
        };
        if device.capability < OLDEST_DEVICE {
            let ((major, minor), needs) = (device.capability, OLDEST_DEVICE);
            return Err(Error::Device(format!(
                "{}: {} has compute capability {major}.{minor}, and the kernels need {}.{} or later",
                device.name, device.model, needs.0, needs.1
            )));
        }
        let fault = |error| Error::Device(format!("{}: it could not be opened: {}", device.name, text(error)));
        let context = CudaContext::new(ordinal).map_err(fault)?;
        // SAFETY: there is one stream, whose order is all the ordering that memory needs.
        unsafe { context.disable_event_tracking() };
        let gpu = Box::leak(Box::new(Self {
            name: Box::leak(device.name.clone().into_boxed_str()),
            capability: device.capability,
            counts: Counts::default(),
            stream: context.default_stream(),
            context,
            pool: Pool::default(),
            staging: Staging::default(),
            modules: Mutex::default(),
            functions: RwLock::default(),
            alarm: Mutex::default(),
            may_alarm: AtomicBool::new(false),
        }));
        Ok(gpu)
    }

    /// Starts a kernel. It runs when everything that was started before has ended.
    ///
    /// # Errors
    /// If the kernel cannot be loaded or started, or if an earlier one has failed.
    pub fn launch<A: Arguments>(&self, kernel: &Kernel<A>, grid: Grid, arguments: A) -> Result<()> {
        let Grid { blocks, threads } = grid;
        if blocks[1].max(blocks[2]) > MOST_IN_Y_AND_Z {
            let (name, hint) = (&kernel.name, "use a smaller batch or --device cpu");
            return Err(Error::Device(format!(
                "{}: kernel {name} would take {blocks:?} blocks, and there are at most {MOST_IN_Y_AND_Z} in y and z; {hint}",
                self.name
            )));
        }
        let function = self.function(kernel)?;
        let mut launch = self.stream.launch_builder(&function);
        arguments.push(&mut launch);
        self.counts.launches.fetch_add(1, Relaxed);
        // SAFETY: the arguments have the sizes that the PTX declares; addresses are those of memory that lives until this
        // call or longer, and whoever gets it next comes later in the same queue.
        let started = unsafe { launch.launch(grid.config()) };
        started.map(drop).map_err(|error| {
            self.failure(&format!("kernel {} on {blocks:?} blocks of {threads:?} threads", kernel.name), error)
        })
    }

    fn function<A: Arguments>(&self, kernel: &Kernel<A>) -> Result<CudaFunction> {
        let known = self.functions.read().unwrap_or_else(PoisonError::into_inner).get(kernel.name.as_ref()).cloned();
        // One of the same name with other arguments goes to the check, which refuses it.
        if let Some((function, _)) = known.filter(|(_, sizes)| *sizes == A::SIZES) {
            return Ok(function);
        }
        let family = kernel.check()?;
        let fault = |error| self.failure(&format!("kernel {} could not be loaded", kernel.name), error);
        // A module that another thread has loaded needs the context in this one too.
        self.context.bind_to_thread().map_err(fault)?;
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match modules.get(family.name) {
            Some(module) => module.clone(),
            None => {
                let module = self.context.load_module(Ptx::from_src(family.ptx)).map_err(fault)?;
                modules.entry(family.name).or_insert(module).clone()
            }
        };
        let function = module.load_function(&kernel.name).map_err(fault)?;
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        Ok(functions.entry(kernel.name.to_string()).or_insert((function, A::SIZES)).0.clone())
    }

    /// Host memory as memory of the device.
    pub fn upload(&'static self, host: &Buffer) -> Result<Buffer> {
        let memory = Memory::take(self, host.bytes().len())?;
        self.counts.uploads.fetch_add(1, Relaxed);
        self.staging.upload(self, host.bytes(), &memory)?;
        Ok(Buffer::on_device(host.dtype(), host.len(), memory))
    }

    /// The first `len` elements of a buffer of the device as host memory. The host waits for all work so far.
    ///
    /// # Errors
    /// If a kernel has failed, or if one has met an index that is out of range.
    pub fn download(&self, memory: &Memory, dtype: DType, len: usize) -> Result<Buffer> {
        let mut host = Buffer::unspecified(dtype, len);
        self.counts.downloads.fetch_add(1, Relaxed);
        if len > 0 {
            self.read(host.bytes_mut(), memory.address(0))?;
        }
        self.check_alarm()?;
        Ok(host)
    }

    fn read(&self, to: &mut [u8], from: Address) -> Result<()> {
        // SAFETY: callers name memory of the device that holds as many bytes.
        let copied = self.bound(|| unsafe { result::memcpy_dtoh_sync(to, from.0) });
        copied.map_err(|error| self.failure(&format!("{} bytes could not be downloaded", to.len()), error))
    }

    /// Where a kernel that is about to be started writes an index that is out of range.
    pub fn alarm(&'static self) -> Result<Address> {
        let mut alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        if alarm.is_none() {
            let memory = Memory::take(self, 8 * ALARM_WORDS)?;
            self.reset_alarm(&memory)?;
            *alarm = Some(memory);
        }
        self.may_alarm.store(true, Relaxed);
        Ok(alarm.as_ref().map_or(Address(0), |memory| memory.address(0)))
    }

    fn check_alarm(&self) -> Result<()> {
        if !self.may_alarm.swap(false, Relaxed) {
            return Ok(());
        }
        let alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(memory) = alarm.as_ref() else { return Ok(()) };
        let mut words = [0u64; ALARM_WORDS];
        self.read(bytemuck::cast_slice_mut(&mut words), memory.address(0))?;
        let [is_set, position, index, size] = words;
        if is_set == 0 {
            return Ok(());
        }
        self.reset_alarm(memory)?;
        Err(Error::Index {
            op: "an index on the GPU",
            index: index as i64,
            position: position as usize,
            size: size as usize,
        })
    }

    fn reset_alarm(&self, memory: &Memory) -> Result<()> {
        let (address, stream) = (memory.address(0).0, self.stream.cu_stream());
        // SAFETY: the memory holds as many bytes.
        let reset = self.bound(|| unsafe { result::memset_d8_async(address, 0, 8 * ALARM_WORDS, stream) });
        reset.map_err(|error| self.failure("memory could not be cleared", error))
    }

    /// How long the device takes for what `work` starts.
    pub fn milliseconds(&self, work: impl FnOnce() -> Result<()>) -> Result<f32> {
        let fault = |error| self.failure("the clock of the device", error);
        let timing = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
        let before = self.stream.record_event(timing).map_err(fault)?;
        work()?;
        let after = self.stream.record_event(timing).map_err(fault)?;
        // Waits for both.
        before.elapsed_ms(&after).map_err(fault)
    }

    /// Counts an operation that the host computed.
    pub fn computed_on_host(&self) {
        self.counts.on_host.fetch_add(1, Relaxed);
    }

    /// What `f` returns, with the device's context bound to this thread.
    pub(super) fn bound<R>(
        &self,
        f: impl FnOnce() -> std::result::Result<R, DriverError>,
    ) -> std::result::Result<R, DriverError> {
        self.context.bind_to_thread()?;
        f()
    }

    /// An error of the driver, with what was being done.
    pub(super) fn failure(&self, doing: &str, error: DriverError) -> Error {
        Error::Device(format!("{}: {doing}: {}", self.name, text(error)))
    }
}

/// The driver's name and words for an error.
fn text(error: DriverError) -> String {
    let words = error.error_string().map(|words| words.to_string_lossy().into_owned());
    let name = error.error_name().map(|name| name.to_string_lossy().into_owned());
    match (name, words) {
        (Ok(name), Ok(words)) => format!("{words} ({name})"),
        _ => format!("{:?}", error.0),
    }
}
