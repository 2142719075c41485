//! CUDA's codes for what went wrong, with its names and texts.

use std::ffi::{CStr, c_char, c_uint};

use super::exports;
use super::raw::Out;
use crate::fault::FaultKind;

macro_rules! codes {
    ($($name:ident = $number:literal, $cuda:literal, $text:literal;)*) => {
        /// A code other than success.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code {
            $($name = $number,)*
        }

        /// The name and the text of a code.
        fn describe(code: c_uint) -> Option<(&'static CStr, &'static CStr)> {
            match code {
                0 => Some((c"CUDA_SUCCESS", c"no error")),
                $($number => Some(($cuda, $text)),)*
                _ => None,
            }
        }
    };
}

codes! {
    InvalidValue = 1, c"CUDA_ERROR_INVALID_VALUE", c"invalid argument";
    OutOfMemory = 2, c"CUDA_ERROR_OUT_OF_MEMORY", c"out of memory";
    NotInitialized = 3, c"CUDA_ERROR_NOT_INITIALIZED", c"initialization error";
    NoDevice = 100, c"CUDA_ERROR_NO_DEVICE", c"no CUDA-capable device is detected";
    InvalidDevice = 101, c"CUDA_ERROR_INVALID_DEVICE", c"invalid device ordinal";
    InvalidImage = 200, c"CUDA_ERROR_INVALID_IMAGE", c"device kernel image is invalid";
    InvalidContext = 201, c"CUDA_ERROR_INVALID_CONTEXT", c"invalid device context";
    NoBinaryForGpu = 209, c"CUDA_ERROR_NO_BINARY_FOR_GPU", c"no kernel image is available for execution on the device";
    InvalidPtx = 218, c"CUDA_ERROR_INVALID_PTX", c"a PTX JIT compilation failed";
    UnsupportedPtxVersion = 222, c"CUDA_ERROR_UNSUPPORTED_PTX_VERSION", c"the provided PTX was compiled with an unsupported toolchain.";
    FileNotFound = 301, c"CUDA_ERROR_FILE_NOT_FOUND", c"file not found";
    InvalidHandle = 400, c"CUDA_ERROR_INVALID_HANDLE", c"invalid resource handle";
    NotFound = 500, c"CUDA_ERROR_NOT_FOUND", c"named symbol not found";
    IllegalAddress = 700, c"CUDA_ERROR_ILLEGAL_ADDRESS", c"an illegal memory access was encountered";
    LaunchOutOfResources = 701, c"CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", c"too many resources requested for launch";
    LaunchTimeout = 702, c"CUDA_ERROR_LAUNCH_TIMEOUT", c"the launch timed out and was terminated";
    ContextIsDestroyed = 709, c"CUDA_ERROR_CONTEXT_IS_DESTROYED", c"context is destroyed";
    MisalignedAddress = 716, c"CUDA_ERROR_MISALIGNED_ADDRESS", c"misaligned address";
    LaunchFailed = 719, c"CUDA_ERROR_LAUNCH_FAILED", c"unspecified launch failure";
    NotSupported = 801, c"CUDA_ERROR_NOT_SUPPORTED", c"operation not supported";
    Unknown = 999, c"CUDA_ERROR_UNKNOWN", c"unknown error";
}

impl Code {
    /// What a GPU says to a fault; what only the emulator notices is an unspecified failure.
    pub fn of(fault: &FaultKind) -> Self {
        match fault {
            FaultKind::OutOfBounds { .. } => Self::IllegalAddress,
            FaultKind::Misaligned { .. } => Self::MisalignedAddress,
            FaultKind::StepLimit { .. } => Self::LaunchTimeout,
            FaultKind::Launch(_) => Self::InvalidValue,
            FaultKind::Unwritten { .. }
            | FaultKind::InFlight { .. }
            | FaultKind::SharedRace { .. }
            | FaultKind::GlobalRace { .. }
            | FaultKind::DivergentBarrier { .. }
            | FaultKind::DivergentWarp { .. } => Self::LaunchFailed,
        }
    }
}

exports! {
    fn cuGetErrorName(error: c_uint, text: Out<*const c_char>) {
        text.put(describe(error).ok_or(Code::InvalidValue)?.0.as_ptr())
    }

    fn cuGetErrorString(error: c_uint, text: Out<*const c_char>) {
        text.put(describe(error).ok_or(Code::InvalidValue)?.1.as_ptr())
    }
}
