//! The stand-in driver, through a binding that was made for the real one.
//!
//! The binding asks for `libcuda.so` and gets this crate's library. What changes the device, or breaks it for good, runs in a process
//! of its own: the same test, started again.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::sync::Arc;

use cudarc::driver::{
    CudaContext, CudaFunction, CudaSlice, CudaStream, DriverError, LaunchConfig, PushKernelArg, result, sys,
};
use cudarc::nvrtc::Ptx;
use gradus_emulator::driver::{Counts, StandIn, load_stand_in};
use sys::cudaError_enum::*;

/// `y[i] = x[i] + table[0]` below `n`, and a kernel for each way to go wrong.
const PTX: &str = "\
.version 7.8
.target sm_70
.address_size 64
.global .align 4 .b8 table[8] = {5, 0, 0, 0, 6};
.visible .entry add(.param .u64 x, .param .u64 y, .param .u32 n)
{
.reg .pred %p; .reg .b32 %r<8>; .reg .b64 %l<8>;
ld.param.u64 %l0, [x]; ld.param.u64 %l1, [y]; ld.param.u32 %r0, [n];
mov.u32 %r1, %ctaid.x; mov.u32 %r2, %ntid.x; mov.u32 %r3, %tid.x; mad.lo.u32 %r1, %r1, %r2, %r3;
setp.ge.u32 %p, %r1, %r0;
@%p bra $end;
mul.wide.u32 %l2, %r1, 4; add.u64 %l0, %l0, %l2; add.u64 %l1, %l1, %l2;
mov.u64 %l3, table; ld.global.u32 %r4, [%l3];
ld.global.u32 %r5, [%l0]; add.u32 %r5, %r5, %r4; st.global.u32 [%l1], %r5;
$end:
ret;
}
.visible .entry beyond(.param .u64 x)
.maxntid 64, 1, 1
{
.reg .b32 %r; .reg .b64 %l;
.shared .align 4 .b8 own[1024];
ld.param.u64 %l, [x];
ld.global.u32 %r, [%l+4096];
ret;
}
.visible .entry askew(.param .u64 x)
{
.reg .b32 %r; .reg .b64 %l;
ld.param.u64 %l, [x];
ld.global.u32 %r, [%l+2];
ret;
}
.visible .entry endless(.param .u64 x)
{
$again:
bra.uni $again;
}
";

fn stand_in() -> StandIn {
    load_stand_in().unwrap_or_else(|error| panic!("{error}"))
}

fn device() -> (StandIn, Arc<CudaContext>, Arc<CudaStream>) {
    let stand_in = stand_in();
    let context = CudaContext::new(0).unwrap();
    let stream = context.default_stream();
    (stand_in, context, stream)
}

fn function(context: &Arc<CudaContext>, name: &str) -> CudaFunction {
    context.load_module(Ptx::from_src(PTX)).unwrap().load_function(name).unwrap()
}

fn grid(blocks: u32, threads: u32) -> LaunchConfig {
    LaunchConfig { grid_dim: (blocks, 1, 1), block_dim: (threads, 1, 1), shared_mem_bytes: 0 }
}

fn launch(
    stream: &Arc<CudaStream>,
    f: &CudaFunction,
    x: &CudaSlice<u32>,
    how: LaunchConfig,
) -> Result<(), DriverError> {
    // SAFETY: the kernel takes one pointer.
    unsafe { stream.launch_builder(f).arg(x).launch(how) }.map(drop)
}

fn code<T>(result: Result<T, DriverError>) -> sys::CUresult {
    result.err().map_or(CUDA_SUCCESS, |error| error.0)
}

/// Runs the body in a process of its own with these variables, and gives what that wrote on the terminal.
fn alone(name: &str, variables: &[(&str, &str)], body: impl FnOnce()) -> String {
    if std::env::var("GRADUS_TEST_ALONE").is_ok_and(|alone| alone == name) {
        body();
        return String::new();
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", name, "--nocapture"]).env("GRADUS_TEST_ALONE", name).envs(variables.iter().copied());
    let output = again.output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    text
}

/// Whether this is the process that only starts the other one.
fn is_outside() -> bool {
    std::env::var("GRADUS_TEST_ALONE").is_err()
}

#[test]
fn a_kernel_runs_and_its_calls_are_counted() {
    alone("a_kernel_runs_and_its_calls_are_counted", &[], || {
        let (stand_in, context, stream) = device();
        let add = function(&context, "add");
        let before = stand_in.counts();
        let x = stream.clone_htod(&(0..1000u32).collect::<Vec<_>>()).unwrap();
        let mut y = stream.alloc_zeros::<u32>(1000).unwrap();
        for _ in 0..3 {
            let n = 999u32;
            // SAFETY: two pointers and the number of elements, which both have.
            unsafe { stream.launch_builder(&add).arg(&x).arg(&mut y).arg(&n).launch(LaunchConfig::for_num_elems(n)) }
                .unwrap();
        }
        let counted = stand_in.counts();
        assert_eq!(counted.launches - before.launches, 3);
        assert_eq!((counted.copies_in - before.copies_in, counted.fills - before.fills), (1, 1));
        assert_eq!(counted.synchronisations, before.synchronisations, "nothing has to wait so far");
        assert_eq!(counted.live - before.live, 2);
        let z = stream.clone_dtod(&y).unwrap();
        let back = stream.clone_dtoh(&z).unwrap();
        assert!(back[..999].iter().enumerate().all(|(i, &y)| y == i as u32 + 5));
        assert_eq!(back[999], 0);
        let Counts { copies_out, copies_within, synchronisations, copies_unwritten, .. } = stand_in.counts();
        assert_eq!((copies_out, copies_within, copies_unwritten), (1, 1, 0));
        assert_eq!(synchronisations, before.synchronisations + 1, "memory that is not pinned has to be waited for");
        // SAFETY: nobody reads it but the test.
        let fresh = unsafe { stream.alloc::<u32>(4) }.unwrap();
        // SAFETY: u32 may be anything.
        let mut pinned = unsafe { context.alloc_pinned::<u32>(4) }.unwrap();
        stream.memcpy_dtoh(&fresh, &mut pinned).unwrap();
        assert_eq!(stand_in.counts().copies_unwritten, 1, "nobody wrote it");
        assert_eq!(stand_in.counts().synchronisations, before.synchronisations + 1, "pinned memory needs no waiting");
        stream.synchronize().unwrap();
        assert_eq!(stand_in.counts().synchronisations, before.synchronisations + 2);
    });
}

#[test]
fn the_device_says_what_it_is() {
    let (_, context, stream) = device();
    assert_eq!(context.name().unwrap(), "gradus emulator");
    assert_eq!(context.compute_capability(), Ok((8, 0)));
    assert_eq!(CudaContext::device_count(), Ok(1));
    assert_eq!(code(CudaContext::new(1)), CUDA_ERROR_INVALID_DEVICE);
    assert!(context.has_async_alloc());
    let second = context.new_stream().unwrap();
    let (start, end) = (context.new_event(None).unwrap(), context.new_event(None).unwrap());
    let flags = Some(sys::CUevent_flags::CU_EVENT_DEFAULT);
    let (first, last) = (stream.record_event(flags).unwrap(), second.record_event(flags).unwrap());
    stream.wait(&last).unwrap();
    assert!(first.elapsed_ms(&last).unwrap() >= 0.0);
    assert_eq!(code(start.elapsed_ms(&end)), CUDA_ERROR_INVALID_HANDLE, "never recorded, and without a time");
    let add = function(&context, "add");
    assert_eq!(add.occupancy_max_active_blocks_per_multiprocessor(256, 0, None), Ok(8));
    assert_eq!(function(&context, "beyond").max_threads_per_block(), Ok(64));
    let error = CudaContext::new(7).err().unwrap();
    assert_eq!(error.error_name().unwrap(), c"CUDA_ERROR_INVALID_DEVICE");
    assert_eq!(error.error_string().unwrap(), c"invalid device ordinal");
}

#[test]
fn wrong_use_is_answered_with_the_code_for_it() {
    let (_, context, stream) = device();
    let module = context.load_module(Ptx::from_src(PTX)).unwrap();
    assert_eq!(code(module.load_function("nobody")), CUDA_ERROR_NOT_FOUND);
    assert_eq!(code(context.load_module(Ptx::from_src("not PTX"))), CUDA_ERROR_INVALID_PTX);
    assert_eq!(code(context.load_module(Ptx::from_src(PTX.replace("7.8", "8.1")))), CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
    assert_eq!(code(context.load_module(Ptx::from_src(PTX.replace("sm_70", "sm_90")))), CUDA_ERROR_INVALID_PTX);
    let (x, add, beyond) =
        (stream.alloc_zeros::<u32>(4).unwrap(), function(&context, "add"), function(&context, "beyond"));
    for (how, expected) in [
        (grid(0, 1), CUDA_ERROR_INVALID_VALUE),
        (grid(1, 1025), CUDA_ERROR_INVALID_VALUE),
        (grid(1, 65), CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES),
        (LaunchConfig { grid_dim: (1, 70_000, 1), ..grid(1, 1) }, CUDA_ERROR_INVALID_VALUE),
        (LaunchConfig { shared_mem_bytes: (47 << 10) + 4, ..grid(1, 1) }, CUDA_ERROR_INVALID_VALUE),
    ] {
        assert_eq!(code(launch(&stream, &beyond, &x, how)), expected, "{how:?}");
    }
    let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
    assert_eq!(add.set_attribute(attribute, 99 << 10), Ok(()));
    assert_eq!(code(beyond.set_attribute(attribute, 99 << 10)), CUDA_ERROR_INVALID_VALUE, "it has 1 KiB of its own");
    // SAFETY: these handles were never given, and the driver looks them up.
    unsafe {
        let wrong = std::ptr::without_provenance_mut::<std::ffi::c_void>(0x123450);
        assert_eq!(code(result::stream::synchronize(wrong.cast())), CUDA_ERROR_INVALID_HANDLE);
        assert_eq!(code(result::event::destroy(wrong.cast())), CUDA_ERROR_INVALID_HANDLE);
        assert_eq!(code(result::module::unload(wrong.cast())), CUDA_ERROR_INVALID_HANDLE);
        assert_eq!(
            code(result::launch_kernel(wrong.cast(), (1, 1, 1), (1, 1, 1), 0, std::ptr::null_mut(), &mut [])),
            CUDA_ERROR_INVALID_HANDLE
        );
        assert_eq!(code(result::free_sync(0x1234)), CUDA_ERROR_INVALID_VALUE);
        assert_eq!(code(result::memcpy_htod_sync(0x1234, &[1u8])), CUDA_ERROR_INVALID_VALUE);
        assert_eq!(code(result::malloc_sync(0)), CUDA_ERROR_INVALID_VALUE);
    }
}

#[test]
fn bad_ptx_is_explained_in_the_log() {
    let (_, _context, _stream) = device();
    let text = std::ffi::CString::new(PTX.replace("mov.u64 %l3, table", "mov.u64 %l3, chair")).unwrap();
    let mut log = [1u8; 200];
    let mut names = [sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER, sys::CUjit_option::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    let mut values = [log.as_mut_ptr().cast(), std::ptr::without_provenance_mut(log.len())];
    let mut module = std::ptr::null_mut();
    // SAFETY: two options with a value each, and the log has the length that is given.
    let answer = unsafe {
        sys::cuModuleLoadDataEx(&mut module, text.as_ptr().cast(), 2, names.as_mut_ptr(), values.as_mut_ptr())
    };
    assert_eq!(answer, CUDA_ERROR_INVALID_PTX);
    let log = std::ffi::CStr::from_bytes_until_nul(&log).unwrap().to_str().unwrap();
    assert!(log.starts_with("PTX line 13: nothing is called chair"), "{log}");
    assert_eq!(values[1].addr(), log.len());
}

#[test]
fn a_faulty_kernel_breaks_the_context_for_good() {
    let name = "a_faulty_kernel_breaks_the_context_for_good";
    let text = alone(name, &[], || {
        let (_, context, stream) = device();
        let x = stream.alloc_zeros::<u32>(4).unwrap();
        let beyond = function(&context, "beyond");
        assert_eq!(launch(&stream, &beyond, &x, grid(2, 32)), Ok(()), "the launch itself does not wait");
        assert_eq!(code(stream.synchronize()), CUDA_ERROR_ILLEGAL_ADDRESS);
        assert_eq!(code(stream.clone_dtoh(&x)), CUDA_ERROR_ILLEGAL_ADDRESS);
        assert_eq!(code(stream.alloc_zeros::<u32>(4)), CUDA_ERROR_ILLEGAL_ADDRESS);
        assert_eq!(code(launch(&stream, &beyond, &x, grid(1, 1))), CUDA_ERROR_ILLEGAL_ADDRESS);
    });
    if is_outside() {
        assert_eq!(text.matches("a read of 4 bytes").count(), 1, "{text}");
        assert!(text.contains("kernel beyond, PTX line 24, block (0, 0, 0), thread (0, 0, 0)"), "{text}");
    }
}

#[test]
fn each_kind_of_fault_has_its_code() {
    for (kernel, expected) in [("askew", CUDA_ERROR_MISALIGNED_ADDRESS), ("endless", CUDA_ERROR_LAUNCH_TIMEOUT)] {
        let variables = [("GRADUS_TEST_KERNEL", kernel), ("GRADUS_EMULATED_STEPS", "1000")];
        alone("each_kind_of_fault_has_its_code", &variables, || {
            if std::env::var("GRADUS_TEST_KERNEL").unwrap() == kernel {
                let (_, context, stream) = device();
                let x = stream.alloc_zeros::<u32>(4).unwrap();
                launch(&stream, &function(&context, kernel), &x, grid(1, 1)).unwrap();
                assert_eq!(code(stream.synchronize()), expected);
            }
        });
    }
}

#[test]
fn memory_runs_out() {
    alone("memory_runs_out", &[("GRADUS_EMULATED_MEMORY", "1000000")], || {
        let (_, context, stream) = device();
        assert_eq!(context.total_mem(), Ok(1_000_000));
        let x = stream.alloc_zeros::<u8>(600_000).unwrap();
        assert_eq!(context.mem_get_info(), Ok((400_000, 1_000_000)));
        assert_eq!(code(stream.alloc_zeros::<u8>(400_001)), CUDA_ERROR_OUT_OF_MEMORY);
        drop(x);
        assert!(stream.alloc_zeros::<u8>(1_000_000).is_ok(), "and nothing is lost");
    });
}

#[test]
fn devices_can_be_missing_or_old() {
    alone("devices_can_be_missing_or_old", &[("GRADUS_EMULATED_DEVICES", "0")], || {
        stand_in();
        assert_eq!(code(CudaContext::new(0)), CUDA_ERROR_NO_DEVICE);
    });
}
