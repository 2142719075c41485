//! Functions of one and of two numbers, copies, conversions.

use gradus_kernels::Backend;
use gradus_kernels::{Binary, Bool, Buffer, Compare, DType, Element, Layout, REFERENCE, Unary, View, with_element};

use crate::gpu::{Gpu, assert_close, list, numbers};

const N: usize = 999;

fn contiguous(values: &[f32]) -> (Buffer, Layout) {
    (Buffer::from_slice(values), Layout::contiguous(&[values.len()]))
}

/// Where a function is defined; elsewhere all of -4 to 4.
fn domain(op: Unary) -> (f32, f32) {
    match op {
        Unary::Sqrt | Unary::Rsqrt | Unary::Log | Unary::Log2 | Unary::Log10 | Unary::Powf(_) => (0.01, 4.0),
        Unary::Log1p => (-0.9, 4.0),
        Unary::Asin | Unary::Acos | Unary::Atanh => (-0.99, 0.99),
        Unary::Acosh => (1.01, 4.0),
        _ => (-4.0, 4.0),
    }
}

fn parameters(op: Unary) -> (f32, f32) {
    match op {
        Unary::LeakyRelu(p) | Unary::Elu(p) | Unary::Celu(p) | Unary::Powf(p) => (p as f32, 0.0),
        Unary::Clamp(low, high) => (low as f32, high as f32),
        _ => (0.0, 0.0),
    }
}

#[test]
fn every_function_of_one_number() {
    let mut gpu = Gpu::new("pointwise");
    for &op in Unary::ALL {
        let (low, high) = domain(op);
        let mut x: Vec<f32> = numbers(N, 1).iter().map(|x| low + (high - low) * (x + 1.0) / 2.0).collect();
        x.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, 100.0, -100.0]);
        let (buffer, layout) = contiguous(&x);
        let expected = REFERENCE.unary(op, View::new(&buffer, &layout)).unwrap();
        let (from, to) = (gpu.put(&x), gpu.room(4 * x.len()));
        let (p, q) = parameters(op);
        gpu.each(&format!("unary_{}", op.name()), x.len(), list![from, to, x.len() as u32, p, q]);
        for ((&x, found), &expected) in x.iter().zip(gpu.get::<f32>(to, x.len())).zip(expected.as_slice::<f32>()) {
            let near = (found - expected).abs() <= 1e-5 * expected.abs().max(1e-2);
            // Far from 0 an angle has lost its digits in single precision already, and GELU its small tail.
            let same = found == expected || found.is_nan() && expected.is_nan();
            assert!(same || near, "{}({x}) is {found}, not {expected}", op.name());
        }
    }
}

/// A matrix that is read by columns, and a row that is repeated.
fn operands() -> [(Buffer, Layout); 2] {
    let a = Buffer::from_slice(&numbers(35, 2).iter().map(|x| x * 3.0).collect::<Vec<f32>>());
    let b = Buffer::from_slice(&numbers(7, 3).iter().map(|x| x * 2.0 + 2.1).collect::<Vec<f32>>());
    [(a, Layout::strided(&[5, 7], &[1, 5], 0)), (b, Layout::strided(&[5, 7], &[0, -1], 6))]
}

/// The address of a view's first element, and its layout.
fn seen(gpu: &mut Gpu, (buffer, layout): &(Buffer, Layout)) -> (u64, Layout) {
    (gpu.put(buffer.as_slice::<f32>()) + 4 * layout.offset() as u64, layout.clone())
}

#[test]
fn every_function_of_two_numbers_and_every_comparison() {
    let mut gpu = Gpu::new("pointwise");
    let operands = operands();
    let views = [0, 1].map(|i| View::new(&operands[i].0, &operands[i].1));
    let [(a, at_a), (b, at_b)] = [seen(&mut gpu, &operands[0]), seen(&mut gpu, &operands[1])];
    for &op in Binary::ALL {
        let to = gpu.room(4 * 35);
        gpu.each(&format!("binary_{}", op.name()), 35, list![a, &at_a, b, &at_b, to, 35u32]);
        let expected = REFERENCE.binary(op, views[0], views[1]).unwrap();
        assert_close(op.name(), &gpu.get(to, 35), expected.as_slice(), 2e-6);
    }
    for &op in Compare::ALL {
        let to = gpu.room(35);
        gpu.each(&format!("compare_{}", op.name()), 35, list![a, &at_a, b, &at_b, to, 35u32]);
        let expected = REFERENCE.compare(op, views[0], views[1]).unwrap();
        assert_eq!(gpu.get::<u8>(to, 35), expected.bytes(), "{}", op.name());
    }
    let condition: Vec<u8> = (0..35).map(|i| u8::from(i % 3 == 0)).collect();
    let (which, to) = (gpu.put(&condition), gpu.room(4 * 35));
    let row_major = Layout::contiguous(&[5, 7]);
    gpu.each("select", 35, list![which, &row_major, a, &at_a, b, &at_b, to, 35u32]);
    let bools: Vec<Bool> = condition.iter().map(|&bit| Bool::from(bit == 1)).collect();
    let condition = Buffer::from_slice(&bools);
    let expected = REFERENCE.select(View::new(&condition, &row_major), views[0], views[1]).unwrap();
    assert_eq!(gpu.get::<f32>(to, 35), expected.as_slice::<f32>());
}

#[test]
fn copies_through_strides_of_every_size() {
    fn check<T: Element + PartialEq>(gpu: &mut Gpu, bits: usize) {
        let values: Vec<T> = (0..120).map(|i| T::wrap(i * 37 % 251)).collect();
        let layout = Layout::strided(&[2, 3, 4, 5], &[5, 40, -10, 1], 30);
        let buffer = Buffer::from_slice(&values);
        let first = 30 * size_of::<T>() as u64;
        let (from, to) = (gpu.put(&values), gpu.room(120 * size_of::<T>()));
        gpu.each(&format!("copy_{bits}"), 120, list![from + first, &layout, to, 120u32]);
        let expected = REFERENCE.copy(View::new(&buffer, &layout)).unwrap();
        assert_eq!(gpu.get::<T>(to, 120), expected.as_slice::<T>());
        let back = gpu.room(120 * size_of::<T>());
        gpu.each(&format!("copy_into_{bits}"), 120, list![to, back + first, &layout, 120u32]);
        assert_eq!(gpu.get::<T>(back, 120), values, "into the places that it came from");
    }
    let mut gpu = Gpu::new("copy");
    check::<u8>(&mut gpu, 8);
    check::<half::f16>(&mut gpu, 16);
    check::<i32>(&mut gpu, 32);
    check::<i64>(&mut gpu, 64);
    let to = gpu.room(4 * 77);
    gpu.each("fill_32", 77, list![to, 1.5f32.to_bits(), 77u32]);
    assert_eq!(gpu.get::<f32>(to, 77), [1.5; 77]);
}

#[test]
fn conversions_round_and_saturate() {
    use DType::{BF16, Bool, F16, F32, F64, I32, I64, U8};
    let pairs = [
        (F32, BF16),
        (BF16, F32),
        (F32, F16),
        (F16, F32),
        (F32, F64),
        (F64, F32),
        (F32, I32),
        (I32, F32),
        (F32, I64),
        (I64, F32),
        (I32, I64),
        (F32, U8),
        (U8, F32),
        (F32, Bool),
        (Bool, F32),
    ];
    let mut x = numbers(300, 4).iter().map(|x| x * 300.0).collect::<Vec<f32>>();
    x.extend([
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        0.0,
        -0.0,
        0.5,
        2.5,
        1e-40,
        65519.9,
        65520.0,
        3e9,
        -3e9,
        1e20,
        1e-6,
    ]);
    let (floats, layout) = contiguous(&x);
    let mut gpu = Gpu::new("copy");
    for (from, to) in pairs {
        let values = REFERENCE.cast(View::new(&floats, &layout), from).unwrap();
        let expected = REFERENCE.cast(View::new(&values, &layout), to).unwrap();
        let source = with_element!(from, T => gpu.put(values.as_slice::<T>()));
        let into = gpu.room(expected.bytes().len());
        gpu.each(&format!("cast_{from}_{to}"), x.len(), list![source, into, x.len() as u32]);
        with_element!(to, T => {
            let found = gpu.get::<T>(into, x.len());
            for (i, (found, expected)) in found.iter().zip(expected.as_slice::<T>()).enumerate() {
                let (a, b) = (found.to_scalar().as_f64(), expected.to_scalar().as_f64());
                assert!(a == b || a.is_nan() && b.is_nan(), "{from} to {to}, {}: {a} is not {b}", x[i]);
            }
        });
    }
}
