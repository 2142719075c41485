//! An emulated device with the kernels of one family.

use gradus_emulator::{Counters, Fault, Launch, Memory, Module};
use gradus_kernels::cuda::Family;
use gradus_kernels::{Buffer, Element, Layout, Scalar};

/// The most dimensions of a strided operand; `RANK` in `common.h`.
const RANK: usize = 6;

/// The device.
pub struct Gpu {
    module: Module,
    memory: Memory,
    variables: Vec<u64>,
}

/// An argument as the bytes that a driver would copy.
#[derive(Clone)]
pub struct Arg(Vec<u8>);

impl Arg {
    /// A number of any type.
    pub fn of<T: Element>(value: T) -> Arg {
        Arg(bytemuck::bytes_of(&value).to_vec())
    }

    /// A structure of 32-bit numbers.
    pub fn words(words: impl IntoIterator<Item = u32>) -> Arg {
        Arg(words.into_iter().flat_map(u32::to_le_bytes).collect())
    }
}

macro_rules! args {
    ($($T:ty),*) => {$(
        impl From<$T> for Arg {
            fn from(value: $T) -> Arg {
                Arg(value.to_le_bytes().to_vec())
            }
        }
    )*};
}

args!(u8, u16, u32, u64, i64, f32, f64);

impl From<&Layout> for Arg {
    fn from(layout: &Layout) -> Arg {
        let mut words = vec![layout.rank() as u32];
        let filled = |value: &dyn Fn(usize) -> u32| {
            (0..RANK).map(|axis| if axis < layout.rank() { value(axis) } else { 0 }).collect::<Vec<_>>()
        };
        words.extend(filled(&|axis| layout.shape()[axis] as u32));
        words.extend(filled(&|axis| layout.strides()[axis] as i32 as u32));
        Arg::words(words)
    }
}

impl From<[f32; 6]> for Arg {
    fn from(values: [f32; 6]) -> Arg {
        Arg(values.into_iter().flat_map(f32::to_le_bytes).collect())
    }
}

/// Arguments of different types.
macro_rules! list {
    ($($arg:expr),* $(,)?) => { &[$($crate::gpu::Arg::from($arg)),*] };
}
pub(crate) use list;

/// The family of this name.
pub fn named(family: &str) -> Family {
    Family::named(family).expect("a family")
}

impl Gpu {
    pub fn new(family: &str) -> Gpu {
        Gpu::with_ptx(named(family).ptx)
    }

    pub fn with_ptx(ptx: &str) -> Gpu {
        let module = Module::parse(ptx).unwrap_or_else(|error| panic!("{error}"));
        let mut memory = Memory::default();
        let variables = module.place(&mut memory).unwrap();
        Gpu { module, memory, variables }
    }

    /// The same memory with the kernels of another family, of which none has variables.
    pub fn with_kernels_of(self, family: &str) -> Gpu {
        Gpu { memory: self.memory, ..Gpu::new(family) }
    }

    /// Memory with these elements.
    pub fn put<T: Element>(&mut self, values: &[T]) -> u64 {
        let buffer = Buffer::from_slice(values);
        let address = self.room(buffer.bytes().len());
        self.memory.write(address, buffer.bytes()).unwrap();
        address
    }

    /// So many bytes that nobody has written.
    pub fn room(&mut self, bytes: usize) -> u64 {
        self.memory.allocate(bytes as u64).unwrap()
    }

    /// The elements at an address, all of which somebody must have written.
    pub fn get<T: Element>(&self, address: u64, len: usize) -> Vec<T> {
        self.try_get(address, len).expect("the kernel left something out")
    }

    /// The elements at an address; nothing if some of them nobody has written.
    pub fn try_get<T: Element>(&self, address: u64, len: usize) -> Option<Vec<T>> {
        let mut buffer = Buffer::unspecified(T::DTYPE, len);
        let bytes = buffer.bytes_mut();
        if self.memory.unwritten(address, bytes.len()).unwrap().is_some() {
            return None;
        }
        self.memory.read(address, bytes).unwrap();
        Some(buffer.as_slice().to_vec())
    }

    pub fn try_launch(
        &mut self,
        kernel: &str,
        grid: [u32; 3],
        block: [u32; 3],
        args: &[Arg],
    ) -> Result<Counters, Fault> {
        let found = self.module.kernel(kernel).unwrap_or_else(|| panic!("there is no kernel {kernel}"));
        let args: Vec<&[u8]> = args.iter().map(|arg| arg.0.as_slice()).collect();
        let mut launch = Launch::new(&self.module, found, grid, block, &args)?;
        launch.variables = &self.variables;
        launch.limits.steps = 2_000_000;
        launch.run(&mut self.memory)
    }

    pub fn launch(&mut self, kernel: &str, grid: [u32; 3], block: [u32; 3], args: &[Arg]) -> Counters {
        self.try_launch(kernel, grid, block, args).unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// Launches a kernel that goes over `n` elements, with fewer threads than elements.
    pub fn each(&mut self, kernel: &str, n: usize, args: &[Arg]) -> Counters {
        self.launch(kernel, [(n as u32).div_ceil(128).clamp(1, 5), 1, 1], [64, 1, 1], args)
    }
}

/// Numbers between -1 and 1, the same each time.
pub fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9) | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Fails where values differ by more than `tolerance` of the largest one, or one is NaN.
pub fn assert_close(what: &str, found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected.iter().fold(1e-30f32, |most, x| if x.is_finite() { most.max(x.abs()) } else { most });
    for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        let same = found == expected || found.is_nan() && expected.is_nan();
        assert!(
            same || (found - expected).abs() <= tolerance * scale,
            "{what}: element {i} is {found}, not {expected}"
        );
    }
}

/// Fails where whole numbers differ at all, and others by more than `tolerance` of the expected one, or of 0.01 where that is
/// smaller. NaN is like NaN.
pub fn assert_near<T: Element>(what: &str, found: &[T], expected: &[T], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let near = match (found.to_scalar(), expected.to_scalar()) {
            (Scalar::Float(a), Scalar::Float(b)) => {
                a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= tolerance * b.abs().max(0.01)
            }
            (a, b) => a == b,
        };
        assert!(near, "{what}: element {i} is {found:?}, not {expected:?}");
    }
}

/// Numbers of any type: those of [`numbers`] times `scale`, and where the type has them, its ends and what is no number.
pub fn values<T: Element>(len: usize, seed: u32, scale: f64) -> Vec<T> {
    let mut values: Vec<T> = numbers(len, seed).iter().map(|&x| Scalar::Float(f64::from(x) * scale).to()).collect();
    let special = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0, -1.0];
    for (value, special) in values.iter_mut().step_by(11).zip(special) {
        *value = Scalar::Float(special).to();
    }
    values
}
