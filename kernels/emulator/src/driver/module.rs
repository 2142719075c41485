//! Modules: PTX, its kernels and its variables.

use std::ffi::{c_int, c_uint};
use std::io::Write;

use super::error::Code;
use super::exports;
use super::launch::{MOST_SHARED, STATIC_SHARED};
use super::raw::{self, List, Out, Text};
use super::settings::Settings;
use super::state::{Function, Handle, Loaded, State, in_context};
use crate::parse::{Kernel, Module};

/// The options of `cuModuleLoadDataEx` that say where messages go, and how long they may be.
const ERROR_LOG: c_uint = 5;
const ERROR_LOG_BYTES: c_uint = 6;

/// How binaries begin: ELF, and NVIDIA's bundles.
const BINARY: [&[u8]; 3] = [b"\x7fELF", b"\x50\xed\x55\xba", b"\xb1\x43\x62\x46"];

/// A code, and what the compiler has to say about it.
type Refused = (Code, String);

/// Reads PTX as a device and a driver like this would.
fn read(settings: &Settings, image: &[u8]) -> Result<Module, Refused> {
    if BINARY.iter().any(|magic| image.starts_with(magic)) {
        return Err((Code::NoBinaryForGpu, "the emulator runs PTX and no binaries".into()));
    }
    let text = str::from_utf8(image).map_err(|_| (Code::InvalidImage, "the image is no text".to_owned()))?;
    let module = Module::parse(text).map_err(|error| (Code::InvalidPtx, error.to_string()))?;
    let pair = |text: &str| text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    let newest = settings.newest_ptx();
    if pair(&module.version).is_none_or(|version: (i32, i32)| version > newest) {
        let (major, minor) = newest;
        let reason = format!("PTX {} is newer than {major}.{minor}, the newest of this driver", module.version);
        return Err((Code::UnsupportedPtxVersion, reason));
    }
    let (major, minor) = settings.capability;
    let target = module.target.strip_prefix("sm_").and_then(|target| target.parse::<i32>().ok());
    if target.is_none_or(|target| target > 10 * major + minor) {
        let reason =
            format!("the PTX is for {}, and the device is of compute capability {major}.{minor}", module.target);
        return Err((Code::InvalidPtx, reason));
    }
    Ok(module)
}

impl State {
    fn load(&mut self, image: &[u8]) -> Result<Handle, Refused> {
        let module = read(&self.settings, image)?;
        let variables = module.place(&mut self.memory).map_err(|error| (error.clone().into(), error.to_string()))?;
        let handle = self.handle();
        self.modules.insert(handle, Loaded { module, variables });
        Ok(handle)
    }

    /// As `load`, for calls that have no room for a message: it goes to the terminal.
    fn load_loudly(&mut self, image: &[u8]) -> Result<Handle, Code> {
        self.load(image).map_err(|(code, reason)| {
            say(&format!("a module was refused: {reason}"));
            code
        })
    }

    fn module(&self, module: Handle) -> Result<&Loaded, Code> {
        self.modules.get(&module).ok_or(Code::InvalidHandle)
    }

    pub(super) fn function(&self, function: Handle) -> Result<(Function, &Loaded, &Kernel), Code> {
        let function = *self.functions.get(&function).ok_or(Code::InvalidHandle)?;
        let loaded = self.module(function.module)?;
        Ok((function, loaded, &loaded.module.kernels[function.kernel]))
    }
}

/// Tells the user what the interface has no place for.
pub(super) fn say(text: &str) {
    // There is nobody to tell if the terminal is gone.
    let _ = writeln!(std::io::stderr(), "emulated CUDA driver: {text}");
}

/// An attribute of a kernel by CUDA's number for it.
fn attribute(settings: &Settings, function: &Function, kernel: &Kernel) -> [i32; 10] {
    let (major, minor) = settings.capability;
    let most = kernel.max_threads.map_or(1024, |sizes| sizes.iter().product());
    // How many registers it takes is known to an assembler, which the emulator is not: 0.
    [
        most.min(1024) as i32,
        kernel.shared_bytes as i32,
        0,
        kernel.local_bytes as i32,
        0,
        10 * major + minor,
        10 * major + minor,
        0,
        function.most_dynamic as i32,
        -1,
    ]
}

exports! {
    fn cuModuleLoadData(module: Out<Handle>, image: Text) {
        in_context(|state| module.put(state.load_loudly(image.bytes()?)?))
    }

    fn cuModuleLoad(module: Out<Handle>, path: Text) {
        in_context(|state| {
            let path = str::from_utf8(path.bytes()?).map_err(|_| Code::InvalidValue)?;
            let image = std::fs::read(path).map_err(|_| Code::FileNotFound)?;
            module.put(state.load_loudly(&image)?)
        })
    }

    fn cuModuleLoadDataEx(
        module: Out<Handle>, image: Text, count: c_uint, names: List<c_uint>, values: List<usize>,
    ) {
        in_context(|state| {
            let (mut log, mut room) = (None, None);
            for number in 0..count as usize {
                match names.get(number)? {
                    ERROR_LOG => log = Some(raw::into(values.get(number)?)),
                    ERROR_LOG_BYTES => room = Some((number, values.get(number)? & 0xffff_ffff)),
                    _ => {}
                }
            }
            let loaded = state.load(image.bytes()?);
            let message = loaded.as_ref().err().map_or("", |(_, reason)| reason.as_str());
            if let (Some(log), Some((number, room @ 1..))) = (log, room) {
                let kept = message.len().min(room - 1);
                log.write(&[&message.as_bytes()[..kept], b"\0"].concat())?;
                values.set(number, kept)?;
            }
            module.put(loaded.map_err(|(code, _)| code)?)
        })
    }

    fn cuModuleUnload(module: Handle) {
        in_context(|state| {
            let loaded = state.modules.remove(&module).ok_or(Code::InvalidHandle)?;
            state.functions.retain(|_, function| function.module != module);
            loaded.variables.iter().try_for_each(|&address| state.memory.free(address))?;
            Ok(())
        })
    }

    fn cuModuleGetFunction(function: Out<Handle>, module: Handle, name: Text) {
        in_context(|state| {
            let name = name.bytes()?;
            let kernels = &state.module(module)?.module.kernels;
            let kernel = kernels.iter().position(|kernel| kernel.name.as_bytes() == name).ok_or(Code::NotFound)?;
            let most_dynamic = STATIC_SHARED.saturating_sub(kernels[kernel].shared_bytes);
            let handle = state.handle();
            state.functions.insert(handle, Function { module, kernel, most_dynamic });
            function.put(handle)
        })
    }

    fn cuModuleGetGlobal_v2(address: Out<u64>, bytes: Out<usize>, module: Handle, name: Text) {
        in_context(|state| {
            let (name, loaded) = (name.bytes()?, state.module(module)?);
            let mut variables = loaded.module.variables.iter().zip(&loaded.variables);
            let found = variables.find(|(variable, _)| variable.name.as_bytes() == name);
            let (variable, &at) = found.ok_or(Code::NotFound)?;
            address.put_if_wanted(at);
            bytes.put_if_wanted(variable.bytes.len());
            Ok(())
        })
    }

    fn cuFuncGetAttribute(value: Out<c_int>, number: c_uint, function: Handle) {
        in_context(|state| {
            let (function, _, kernel) = state.function(function)?;
            let values = attribute(&state.settings, &function, kernel);
            value.put(*values.get(number as usize).ok_or(Code::InvalidValue)?)
        })
    }

    fn cuFuncSetAttribute(function: Handle, number: c_uint, value: c_int) {
        in_context(|state| {
            let (_, _, kernel) = state.function(function)?;
            let most = MOST_SHARED - kernel.shared_bytes.min(MOST_SHARED);
            let function = state.functions.get_mut(&function).ok_or(Code::InvalidHandle)?;
            match (number, usize::try_from(value)) {
                (8, Ok(bytes)) if bytes <= most => function.most_dynamic = bytes,
                // How caches and shared memory divide what they share is a hint.
                (9, _) if (-1..=100).contains(&value) => {}
                _ => return Err(Code::InvalidValue),
            }
            Ok(())
        })
    }

    fn cuFuncSetCacheConfig(function: Handle, _config: c_uint) {
        in_context(|state| state.function(function).map(|_| ()))
    }
}
