//! Pointwise functions, copies, casts and random numbers.

use crate::common::*;
use gradus_kernels::cpu::CPU;
use gradus_kernels::{
    Backend, Binary, Buffer, Compare, DType, Distribution, Layout, REFERENCE, RandomKey, Scalar, Unary, View,
};

/// How far each function of `f32` may be from its specification.
fn unary_bound(op: Unary) -> Bound {
    match op {
        Unary::Neg | Unary::Abs | Unary::Sign | Unary::Square | Unary::Sqrt | Unary::Recip => Bound::EXACT,
        Unary::Floor | Unary::Ceil | Unary::Round | Unary::Trunc | Unary::Clamp(..) => Bound::EXACT,
        Unary::Relu | Unary::Relu6 | Unary::HardTanh => Bound::EXACT,
        Unary::Rsqrt | Unary::Sin | Unary::Cos => Bound::ulps(2.0),
        Unary::Powf(_) => Bound::ulps(2.0),
        Unary::Erf => Bound::ulps(6.0),
        // Adding 1/2 loses what the quotient had below its last place.
        Unary::HardSigmoid => Bound::ulps(2.0).or(1e-7),
        Unary::HardSwish => Bound::ulps(2.0).or(3e-7),
        Unary::Gelu => Bound::ulps(7.0).or(1e-43),
        Unary::Silu | Unary::Mish | Unary::GeluTanh => Bound::ulps(5.0).or(1e-43),
        _ => Bound::ulps(5.0),
    }
}

#[test]
fn unary_functions_agree() {
    for dtype in DType::ALL {
        for make in [values, special_values] {
            for_views(dtype, make, |what, x| {
                for &op in Unary::ALL {
                    match (CPU.unary(op, x), REFERENCE.unary(op, x)) {
                        (Ok(got), Ok(want)) => {
                            assert_close(&got, &want, unary_bound(op), || format!("{} of {what}", op.name()));
                        }
                        (got, want) => assert_eq!(got.err(), want.err(), "{} of {what}", op.name()),
                    }
                }
            });
        }
    }
}

/// Calls `f` for pairs of views of one shape in different memory orders.
fn for_pairs(dtype: DType, mut f: impl FnMut(&str, View, View)) {
    for shape in SHAPES {
        let layouts = layouts(shape);
        for (i, (name_a, layout_a)) in layouts.iter().enumerate() {
            // Each order meets itself, the plain one, and its neighbour in the list.
            for j in [i, 0, (i + 1) % layouts.len()] {
                let (name_b, layout_b) = &layouts[j];
                let (a, b) = (special_values(dtype, layout_a, 1), special_values(dtype, layout_b, 2));
                let what = format!("{dtype} {shape:?} {name_a} with {name_b}");
                f(&what, View::new(&a, layout_a), View::new(&b, layout_b));
            }
        }
    }
}

#[test]
fn binary_functions_agree() {
    for dtype in DType::ALL {
        for_pairs(dtype, |what, a, b| {
            for &op in Binary::ALL {
                let bound = match op {
                    Binary::Pow => Bound::ulps(2.0),
                    Binary::Atan2 => Bound::ulps(3.0),
                    // A sum, of which one part is a logarithm below 0.7; they cancel where the second number is no probability.
                    Binary::LogisticLoss => Bound::ulps(6.0).or(5e-7),
                    // One operation, rounded as the specification's.
                    _ => Bound::EXACT,
                };
                match (CPU.binary(op, a, b), REFERENCE.binary(op, a, b)) {
                    (Ok(got), Ok(want)) => assert_close(&got, &want, bound, || format!("{} of {what}", op.name())),
                    (got, want) => assert_eq!(got.err(), want.err(), "{} of {what}", op.name()),
                }
            }
        });
    }
}

#[test]
fn comparisons_and_selections_agree() {
    for dtype in DType::ALL {
        for_pairs(dtype, |what, a, b| {
            for &op in Compare::ALL {
                let (got, want) = (CPU.compare(op, a, b).unwrap(), REFERENCE.compare(op, a, b).unwrap());
                assert_close(&got, &want, Bound::EXACT, || format!("{} of {what}", op.name()));
            }
            for layout in [a.layout, b.layout] {
                let condition = truths(layout, 3);
                let condition = View::new(&condition, layout);
                let (got, want) = (CPU.select(condition, a, b).unwrap(), REFERENCE.select(condition, a, b).unwrap());
                assert_close(&got, &want, Bound::EXACT, || format!("select of {what}"));
            }
        });
    }
}

#[test]
fn copies_and_casts_agree() {
    for from in DType::ALL {
        for_views(from, special_values, |what, x| {
            assert_close(&CPU.copy(x).unwrap(), &REFERENCE.copy(x).unwrap(), Bound::EXACT, || {
                format!("copy of {what}")
            });
            for to in DType::ALL {
                let (got, want) = (CPU.cast(x, to).unwrap(), REFERENCE.cast(x, to).unwrap());
                assert_close(&got, &want, Bound::EXACT, || format!("cast of {what} to {to}"));
            }
        });
    }
}

#[test]
fn large_transposes_agree() {
    for (shape, order) in [
        (&[300, 500][..], &[1, 0][..]),
        (&[5, 37, 130], &[0, 2, 1]),
        (&[5, 37, 130], &[2, 0, 1]),
        (&[3, 4, 50, 60], &[1, 3, 0, 2]),
    ] {
        let layout = Layout::contiguous(shape);
        let x = values(DType::F32, &layout, 4);
        let layout = layout.permute(order);
        let view = View::new(&x, &layout);
        let what = || format!("{shape:?} as {order:?}");
        assert_close(&CPU.copy(view).unwrap(), &REFERENCE.copy(view).unwrap(), Bound::EXACT, what);
    }
}

#[test]
fn writing_into_places_agrees() {
    for dtype in [DType::F32, DType::F64, DType::F16, DType::U8] {
        for shape in SHAPES {
            for (from_name, from) in layouts(shape) {
                for (to_name, to) in layouts(shape) {
                    let distinct =
                        !["overlapping", "one element", "repeated rows", "repeated columns"].contains(&to_name);
                    if !distinct {
                        continue;
                    }
                    let x = values(dtype, &from, 5);
                    let mut got = Buffer::full(dtype, span(&to), Scalar::Int(7));
                    let mut want = got.clone();
                    CPU.copy_into(View::new(&x, &from), &mut got, &to).unwrap();
                    REFERENCE.copy_into(View::new(&x, &from), &mut want, &to).unwrap();
                    let what = || format!("copy_into {dtype} {shape:?} {from_name} to {to_name}");
                    assert_close(&got, &want, Bound::EXACT, what);
                }
            }
        }
    }
}

#[test]
fn random_numbers_agree() {
    let key = RandomKey { seed: 11, stream: 3 };
    for dtype in FLOATS {
        for distribution in [
            Distribution::Uniform { low: -2.0, high: 1.0 },
            Distribution::Normal { mean: 1.0, std: 0.1 },
            Distribution::TruncatedNormal { mean: 0.0, std: 0.02 },
            Distribution::Bernoulli { probability: 0.1 },
        ] {
            for len in [0, 1, 5, 100_001] {
                let got = CPU.random(dtype, len, distribution, key).unwrap();
                let want = REFERENCE.random(dtype, len, distribution, key).unwrap();
                assert_close(&got, &want, Bound::EXACT, || format!("{len} of {distribution:?}"));
            }
        }
    }
    let refused = CPU.random(DType::I64, 1, Distribution::Uniform { low: 0.0, high: 1.0 }, key);
    assert!(refused.unwrap_err().to_string().contains("draw f32 and cast"));
}

#[test]
fn functions_that_are_called_non_decreasing_are() {
    let falls =
        |op: Unary| (-800..800).map(|i| f64::from(i) / 64.0).any(|x| op.reference(x + 1.0 / 64.0) < op.reference(x));
    let of_activations = [Unary::Relu, Unary::Relu6, Unary::Sigmoid, Unary::Tanh, Unary::LeakyRelu(0.0)];
    assert!(of_activations.iter().all(|op| op.is_non_decreasing()));
    let named: Vec<Unary> = Unary::ALL.iter().copied().filter(|op| op.is_non_decreasing()).collect();
    assert!(named.len() > 8 && !named.iter().any(|&op| falls(op)), "{named:?}");
    for op in [Unary::Gelu, Unary::Silu, Unary::LeakyRelu(-0.1), Unary::Elu(-1.0)] {
        assert!(falls(op) && !op.is_non_decreasing(), "{op:?}");
    }
}
