//! Functions of two numbers, comparisons, choices.

use gradus_kernels::{Backend, Binary, Bool, Buffer, Compare, DType, Element, Layout, REFERENCE, View, with_element};

use crate::gpu::{Gpu, assert_near, list, numbers, values};

const N: usize = 5 * 23;

/// A matrix that is read by columns, and a row that is repeated; or twice what has no gaps.
fn layouts() -> [[Layout; 2]; 2] {
    let whole = || Layout::contiguous(&[N]);
    [[Layout::strided(&[5, 23], &[1, 5], 0), Layout::strided(&[5, 23], &[0, -1], 22)], [whole(), whole()]]
}

/// Two operands on the device and for the reference.
struct Operands {
    buffers: [Buffer; 2],
    addresses: [u64; 2],
}

impl Operands {
    fn new<T: Element>(gpu: &mut Gpu) -> Operands {
        let both = [values::<T>(N, 2, 9.0), values::<T>(N, 3, 5.0)];
        let addresses = [0, 1].map(|i| gpu.put(&both[i]));
        Operands { buffers: both.map(|values| Buffer::from_slice(&values)), addresses }
    }

    fn view<'a>(&'a self, i: usize, layouts: &'a [Layout; 2]) -> View<'a> {
        View::new(&self.buffers[i], &layouts[i])
    }

    /// The address of the first element that a layout names.
    fn first(&self, i: usize, layouts: &[Layout; 2]) -> u64 {
        self.addresses[i] + (layouts[i].offset() * self.buffers[i].dtype().size()) as u64
    }
}

/// The types with arithmetic of their own; `f16` and `bf16` are computed in `f32`.
const TYPES: [DType; 6] = [DType::F32, DType::F64, DType::I32, DType::I64, DType::U8, DType::Bool];

#[test]
fn every_function_of_every_type() {
    for dtype in TYPES {
        let mut gpu = Gpu::new("binary");
        let operands = with_element!(dtype, T => Operands::new::<T>(&mut gpu));
        for &op in Binary::ALL {
            if !dtype.is_float() && op.reference_int(0, 0).is_none() {
                continue;
            }
            let name = format!("binary_{}_{dtype}", op.name());
            for at in &layouts() {
                let expected = REFERENCE.binary(op, operands.view(0, at), operands.view(1, at)).unwrap();
                let [a, b] = [0, 1].map(|i| operands.first(i, at));
                let to = gpu.room(expected.bytes().len());
                gpu.each(&name, N, list![a, &at[0], b, &at[1], to, N as u32]);
                let tolerance = if dtype == DType::F64 { 1e-13 } else { 1e-5 };
                with_element!(dtype, T => assert_near(&name, &gpu.get::<T>(to, N), expected.as_slice(), tolerance));
            }
        }
    }
}

#[test]
fn every_comparison_of_every_type() {
    for dtype in TYPES {
        let mut gpu = Gpu::new("binary");
        let operands = with_element!(dtype, T => Operands::new::<T>(&mut gpu));
        for &op in Compare::ALL {
            let name = format!("compare_{}_{dtype}", op.name());
            for at in &layouts() {
                let expected = REFERENCE.compare(op, operands.view(0, at), operands.view(1, at)).unwrap();
                let [a, b] = [0, 1].map(|i| operands.first(i, at));
                let to = gpu.room(N);
                gpu.each(&name, N, list![a, &at[0], b, &at[1], to, N as u32]);
                assert_eq!(gpu.get::<u8>(to, N), expected.bytes(), "{name}");
            }
        }
    }
}

#[test]
fn remainders_of_the_ends_of_a_type() {
    let mut gpu = Gpu::new("binary");
    let row = Layout::contiguous(&[4]);
    let (a, b) = (gpu.put(&[i32::MIN, i32::MIN, i32::MAX, i32::MIN]), gpu.put(&[-1, i32::MAX, i32::MIN, 0]));
    let to = gpu.room(32);
    gpu.each("binary_remainder_i32", 4, list![a, &row, b, &row, to, 4u32]);
    assert_eq!(gpu.get::<i32>(to, 4), [0, i32::MAX - 1, -1, 0]);
    let (a, b) = (gpu.put(&[i64::MIN, i64::MIN, i64::MAX, i64::MIN]), gpu.put(&[-1, i64::MAX, i64::MIN, 0]));
    gpu.each("binary_remainder_i64", 4, list![a, &row, b, &row, to, 4u32]);
    assert_eq!(gpu.get::<i64>(to, 4), [0, i64::MAX - 1, -1, 0]);
}

#[test]
fn any_byte_but_0_is_true() {
    let mut gpu = Gpu::new("binary");
    let (a, b, to) = (gpu.put(&[0u8, 1, 2, 2]), gpu.put(&[0u8, 2, 255, 0]), gpu.room(4));
    let row = Layout::contiguous(&[4]);
    for (name, expected) in [("compare_eq_bool", [1, 1, 1, 0]), ("binary_mul_bool", [0, 1, 1, 0])] {
        gpu.each(name, 4, list![a, &row, b, &row, to, 4u32]);
        assert_eq!(gpu.get::<u8>(to, 4), expected, "{name}");
    }
}

#[test]
fn choices_of_every_size() {
    fn check<T: Element>(gpu: &mut Gpu) {
        let operands = Operands::new::<T>(gpu);
        let condition: Vec<Bool> = numbers(N, 5).iter().map(|&x| Bool::from(x > 0.3)).collect();
        let (which, to) = (gpu.put(&condition), gpu.room(N * size_of::<T>()));
        let condition = Buffer::from_slice(&condition);
        for at in &layouts() {
            let shape = at[0].shape();
            let plain = Layout::contiguous(shape);
            let view = View::new(&condition, &plain);
            let expected = REFERENCE.select(view, operands.view(0, at), operands.view(1, at)).unwrap();
            let [a, b] = [0, 1].map(|i| operands.first(i, at));
            let name = format!("select_{}", 8 * size_of::<T>());
            gpu.each(&name, N, list![which, &plain, a, &at[0], b, &at[1], to, N as u32]);
            assert_near(&name, &gpu.get::<T>(to, N), expected.as_slice(), 0.0);
        }
    }
    let mut gpu = Gpu::new("binary");
    check::<u8>(&mut gpu);
    check::<half::bf16>(&mut gpu);
    check::<f32>(&mut gpu);
    check::<i64>(&mut gpu);
}
