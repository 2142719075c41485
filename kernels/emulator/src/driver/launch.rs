//! Launches.

use std::ffi::{c_uint, c_void};

use super::error::Code;
use super::exports;
use super::module::say;
use super::raw::Values;
use super::state::{Handle, State, in_context};
use crate::fault::{Fault, FaultKind};
use crate::launch::{Launch, Limits};

/// How much shared memory a block has without asking, and with.
pub(super) const STATIC_SHARED: usize = 48 << 10;
pub(super) const MOST_SHARED: usize = 99 << 10;

impl State {
    fn launch(
        &mut self,
        function: Handle,
        grid: [c_uint; 3],
        block: [c_uint; 3],
        dynamic_shared: usize,
        values: &Values,
    ) -> Result<(), Code> {
        // Taken out and put back, so that the memory can change while the module is read.
        let module = self.function(function)?.0.module;
        let loaded = self.modules.remove(&module).ok_or(Code::InvalidHandle)?;
        let function = self.functions[&function];
        let kernel = &loaded.module.kernels[function.kernel];
        let mut run = || {
            if dynamic_shared > function.most_dynamic {
                let most = function.most_dynamic;
                let reason = format!("{dynamic_shared} bytes of shared memory are added, and {most} are allowed");
                return Err(Refusal::Launch(reason));
            }
            let args = kernel.params.iter().enumerate().map(|(number, param)| values.get(number, param.size));
            let args = args.collect::<Result<Vec<_>, _>>().map_err(Refusal::Code)?;
            let mut launch = Launch::new(&loaded.module, kernel, grid, block, &args)?;
            launch.variables = &loaded.variables;
            launch.dynamic_shared = dynamic_shared;
            launch.limits = Limits { shared: MOST_SHARED, steps: self.settings.steps, ..Limits::default() };
            Ok(launch.run(&mut self.memory)?)
        };
        let ran = run();
        let threads = block.iter().map(|&size| u64::from(size)).product::<u64>();
        let most = kernel.max_threads.map_or(u64::MAX, |sizes| sizes.iter().map(|&size| u64::from(size)).product());
        let result = match ran {
            Ok(_) => Ok(()),
            Err(Refusal::Code(code)) => Err(code),
            Err(Refusal::Launch(reason)) => {
                say(&format!("a launch was refused: {reason}"));
                let is_too_much = (most + 1..=1024).contains(&threads);
                Err(if is_too_much { Code::LaunchOutOfResources } else { Code::InvalidValue })
            }
            Err(Refusal::Fault(fault)) => {
                say(&fault.to_string());
                // A GPU would still be at it when the launch returns: what comes after hears of it.
                self.fault = Some(Code::of(&fault.kind));
                Ok(())
            }
        };
        self.modules.insert(module, loaded);
        self.counts.launches += u64::from(result.is_ok());
        result
    }
}

/// Why a kernel did not run to its end.
enum Refusal {
    Code(Code),
    /// It was not begun.
    Launch(String),
    Fault(Box<Fault>),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault.kind {
            FaultKind::Launch(_) => Refusal::Launch(fault.to_string()),
            _ => Refusal::Fault(Box::new(fault)),
        }
    }
}

exports! {
    fn cuLaunchKernel(
        function: Handle,
        grid_x: c_uint, grid_y: c_uint, grid_z: c_uint,
        block_x: c_uint, block_y: c_uint, block_z: c_uint,
        dynamic_shared: c_uint,
        stream: Handle,
        values: Values,
        extra: *const *const c_void,
    ) {
        in_context(|state| {
            state.stream(stream)?;
            // The other way to hand over parameters, as one block of bytes.
            if !extra.is_null() {
                return Err(Code::NotSupported);
            }
            let (grid, block) = ([grid_x, grid_y, grid_z], [block_x, block_y, block_z]);
            state.launch(function, grid, block, dynamic_shared as usize, &values)
        })
    }
}
