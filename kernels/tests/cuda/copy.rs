//! Copies, constants, and conversions between types.

use gradus_kernels::{Backend, Buffer, DType, Element, Layout, REFERENCE, Scalar, View, with_element};

use crate::gpu::{Gpu, list, numbers};

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

/// What rounding and limits are about, as values of a type.
fn hard_values<T: Element>() -> Vec<T> {
    let mut hard: Vec<f64> = numbers(200, 4).iter().map(|&x| f64::from(x) * 300.0).collect();
    hard.extend([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 0.5, -0.5, 2.5, 1e-40, 1e-6, 1e-300, 1e300]);
    hard.extend([65519.9, 65520.0, 3e9, -3e9, 1e20, -1e20, 255.0, 256.0, -1.0, 2f64.powi(-25), 3.4028236e38]);
    // Just beside the middle between two narrow numbers, from both sides.
    for bits in [8, 11, 24] {
        for tiny in [-40, 40] {
            let middle = 1.0 + 2f64.powi(-bits);
            hard.extend([middle + 2f64.powi(-40) * f64::from(tiny).signum(), -middle, middle + 2f64.powi(1 - bits)]);
        }
    }
    let whole = [i64::MAX, i64::MIN, (1 << 24) + 1, (1 << 53) + 1, 0x00ff_8000_0001, 2049, 257, 0x0101_0001, 70_001];
    let whole = whole.into_iter().flat_map(|x| [Scalar::Int(x), Scalar::Int(x.wrapping_neg())]);
    hard.into_iter().map(Scalar::Float).chain(whole).map(Scalar::to).collect()
}

#[test]
fn conversions_of_all_types_to_all() {
    let mut gpu = Gpu::new("cast");
    for (from, to) in DType::ALL.into_iter().flat_map(|from| DType::ALL.map(|to| (from, to))) {
        let (values, source) = with_element!(from, T => {
            let values = hard_values::<T>();
            (Buffer::from_slice(&values), gpu.put(&values))
        });
        // From behind, in two columns.
        let half = values.len() / 2;
        let layout = Layout::strided(&[half, 2], &[-1, -(half as isize)], 2 * half - 1);
        let expected = REFERENCE.cast(View::new(&values, &layout), to).unwrap();
        let into = gpu.room(expected.bytes().len());
        let first = source + (layout.offset() * from.size()) as u64;
        gpu.each(&format!("cast_{from}_{to}"), 2 * half, list![first, &layout, into, 2 * half as u32]);
        with_element!(to, T => {
            for (i, (found, expected)) in gpu.get::<T>(into, 2 * half).iter().zip(expected.as_slice::<T>()).enumerate() {
                let at = layout.positions().nth(i).unwrap();
                let x = with_element!(from, F => values.as_slice::<F>()[at].to_scalar());
                let (a, b) = (found.to_scalar(), expected.to_scalar());
                let nan = a.as_f64().is_nan() && b.as_f64().is_nan();
                assert!(a == b || nan, "{from} to {to}, {x:?}: {a:?} is not {b:?}");
            }
        });
    }
}

#[test]
fn any_byte_but_0_is_true() {
    let mut gpu = Gpu::new("cast");
    let (bytes, to) = (gpu.put(&[0u8, 1, 2, 128, 255]), gpu.room(40));
    let row = Layout::contiguous(&[5]);
    gpu.each("cast_bool_i64", 5, list![bytes, &row, to, 5u32]);
    assert_eq!(gpu.get::<i64>(to, 5), [0, 1, 1, 1, 1]);
    gpu.each("cast_bool_bool", 5, list![bytes, &row, to, 5u32]);
    assert_eq!(gpu.get::<u8>(to, 5), [0, 1, 1, 1, 1]);
}
