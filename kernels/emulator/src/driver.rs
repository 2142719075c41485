//! A stand-in for NVIDIA's driver: the functions of `libcuda`, answered by the emulator.
//!
//! Built as a shared library this crate can be loaded in place of the driver, so that a program which talks to a GPU runs, unchanged,
//! on a machine without one: see [`load_stand_in`]. It knows what a program with one device and its memory pool asks for. Wrong use
//! is answered with CUDA's own codes. Each call has ended when it returns, which is an order that a GPU may choose too; a fault
//! of a kernel is reported on the terminal where it happens, and to the program by the calls after the launch, as on a GPU.
//!
//! These variables of the environment make the device that a test needs; they are read by `cuInit`:
//!
//! | variable | meaning | without it |
//! |---|---|---|
//! | `GRADUS_EMULATED_MEMORY` | the device's memory in bytes | 8 GiB |
//! | `GRADUS_EMULATED_CAPABILITY` | its compute capability | `8.0` |
//! | `GRADUS_EMULATED_DRIVER` | the version of CUDA that the driver knows | `12000` |
//! | `GRADUS_EMULATED_DEVICES` | how many devices there are, 0 or 1 | 1 |
//! | `GRADUS_EMULATED_STEPS` | how many instructions the warps of a block may execute | 2^32 |

mod device;
mod error;
mod launch;
mod load;
mod memory;
mod module;
mod occupancy;
mod raw;
mod settings;
mod state;
mod stream;

pub use load::{LoadError, StandIn, load_stand_in};
pub use state::Counts;

use std::ffi::c_uint;
use std::panic::{AssertUnwindSafe, catch_unwind};

use error::Code;

/// Defines functions of the driver. A body answers with a code if it fails, and a panic ends in it.
macro_rules! exports {
    ($(fn $name:ident($($arg:ident: $T:ty),* $(,)?) $body:block)*) => {$(
        // SAFETY: the name is one of the driver's interface, and the library that exports it stands in for the driver.
        #[unsafe(no_mangle)]
        #[allow(non_snake_case)] // the name is NVIDIA's
        pub extern "C" fn $name($($arg: $T),*) -> std::ffi::c_uint {
            crate::driver::answer(|| $body)
        }
    )*};
}
use exports;

/// What the driver returns for this result.
fn answer(f: impl FnOnce() -> Result<(), Code>) -> c_uint {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(())) => 0,
        Ok(Err(code)) => code as c_uint,
        Err(_) => Code::Unknown as c_uint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_code() {
        assert_eq!(answer(|| Ok(())), 0);
        assert_eq!(answer(|| Err(Code::InvalidHandle)), 400);
        assert_eq!(answer(|| panic!("this panic is part of the test")), 999);
    }
}
