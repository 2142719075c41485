//! Functions of one number.

use gradus_kernels::{Backend, Buffer, Element, Layout, REFERENCE, Scalar, Unary, View};

use crate::gpu::{Arg, Gpu, assert_near, numbers, values};

const N: usize = 999;

/// Where a function is defined; elsewhere all of -4 to 4.
fn domain(op: Unary) -> (f64, f64) {
    match op {
        Unary::Sqrt | Unary::Rsqrt | Unary::Log | Unary::Log2 | Unary::Log10 | Unary::Powf(_) => (0.01, 4.0),
        Unary::Log1p => (-0.9, 4.0),
        Unary::Asin | Unary::Acos | Unary::Atanh => (-0.99, 0.99),
        Unary::Acosh => (1.01, 4.0),
        _ => (-4.0, 4.0),
    }
}

fn parameters(op: Unary) -> [f64; 2] {
    match op {
        Unary::LeakyRelu(p) | Unary::Elu(p) | Unary::Celu(p) | Unary::Powf(p) => [p, 0.0],
        Unary::Clamp(low, high) => [low, high],
        _ => [0.0, 0.0],
    }
}

/// Launches `op` on values of a type; its two parameters follow.
fn check<T: Element>(gpu: &mut Gpu, op: Unary, x: &[T], parameters: [Arg; 2], tolerance: f64) {
    let (buffer, layout) = (Buffer::from_slice(x), Layout::contiguous(&[x.len()]));
    let expected = REFERENCE.unary(op, View::new(&buffer, &layout)).unwrap();
    let (from, to) = (gpu.put(x), gpu.room(size_of_val(x)));
    let name = format!("unary_{}_{}", op.name(), T::DTYPE);
    let [p, q] = parameters;
    gpu.each(&name, x.len(), &[from.into(), to.into(), (x.len() as u32).into(), p, q]);
    assert_near(&name, &gpu.get::<T>(to, x.len()), expected.as_slice(), tolerance);
}

#[test]
fn every_function_of_one_number() {
    let mut gpu = Gpu::new("pointwise");
    for &op in Unary::ALL {
        let (low, high) = domain(op);
        let mut x: Vec<f64> = numbers(N, 1).iter().map(|&x| low + (high - low) * (f64::from(x) + 1.0) / 2.0).collect();
        x.extend([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 100.0, -100.0]);
        let narrow: Vec<f32> = x.iter().map(|&x| x as f32).collect();
        // Far from 0 an angle has lost its digits in single precision already, and GELU its small tail.
        check(&mut gpu, op, &narrow, parameters(op).map(|p| Arg::from(p as f32)), 1e-5);
        check(&mut gpu, op, &x, parameters(op).map(Arg::from), 1e-13);
    }
}

#[test]
fn angles_of_many_turns_and_powers_of_all_kinds() {
    let mut gpu = Gpu::new("pointwise");
    let angles: Vec<f64> = numbers(N, 2).iter().map(|&x| f64::from(x).powi(3) * 1e6).collect();
    for op in [Unary::Sin, Unary::Cos] {
        check(&mut gpu, op, &angles, [0.0, 0.0].map(Arg::from), 1e-12);
    }
    let bases = [0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 1e-300, 1e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    for p in [0.0, 1.0, -1.0, 2.0, 3.0, -3.0, 0.5, -0.5, 1e10, 301.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        check(&mut gpu, Unary::Powf(p), &bases, [Arg::from(p), Arg::from(0.0)], 1e-12);
    }
}

#[test]
fn functions_of_whole_numbers() {
    fn each<T: Element>(gpu: &mut Gpu, ends: [i64; 2]) {
        let mut x = values::<T>(200, 7, 40.0);
        x.extend(ends.map(|end| Scalar::Int(end).to::<T>()));
        let none = || [0, 0].map(|p: i64| Arg::from(p));
        for op in [Unary::Neg, Unary::Abs, Unary::Sign, Unary::Square] {
            check(gpu, op, &x, none(), 0.0);
        }
        // The second lies above all of `i32`, and its lower bound below all of `u8`.
        for (low, high) in [(-3.5, 7.9), (-1e3, 5e9)] {
            let (least, most) = (f64::ceil(low) as i64, f64::floor(high) as i64);
            check(gpu, Unary::Clamp(low, high), &x, [least.into(), most.into()], 0.0);
        }
    }
    let mut gpu = Gpu::new("pointwise");
    each::<i32>(&mut gpu, [i32::MIN.into(), i32::MAX.into()]);
    each::<i64>(&mut gpu, [i64::MIN, i64::MAX]);
    each::<u8>(&mut gpu, [0, 255]);
}
