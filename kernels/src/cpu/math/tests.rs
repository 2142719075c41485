//! The bounds that the functions state, over the whole range of `f32`.

use super::*;

/// The largest distance, in ulps of the exact result, over a sample of all `f32` and a dense one around 0; distances
/// up to `floor` do not count.
fn worst(name: &str, f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, bound: f64, floor: f64) {
    let sample = (0..u32::MAX / 4099).map(|i| f32::from_bits(i * 4099));
    let dense = (-100_000..100_000).map(|i| i as f32 * 1.0017e-3);
    let special = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MIN_POSITIVE, f32::MAX, f32::MIN];
    let (mut most, mut at) = (0.0, 0.0);
    for x in sample.chain(dense).chain(special) {
        let (y, exact) = (f(x), exact(f64::from(x)));
        let rounded = exact as f32;
        if rounded.is_nan() || rounded.is_infinite() || y.is_nan() {
            // Where the exact value is close to overflow, a bound in ulps allows the largest finite number too.
            let same = y == rounded || y.is_nan() && rounded.is_nan();
            assert!(same || y.abs() > 0.999_999 * f32::MAX, "{name}({x}) is {y}, not {exact}");
            continue;
        }
        let ulp = f64::from(f32::from_bits(rounded.abs().to_bits() + 1)) - f64::from(rounded.abs());
        let distance = (f64::from(y) - exact).abs();
        let error = distance / ulp;
        if error > most && distance > floor {
            (most, at) = (error, x);
        }
    }
    assert!(most <= bound, "{name}({at:e}) is {:e}: {most} ulp off", f(at));
}

fn all<const FMA: bool>() {
    use crate::Unary;
    let specified = |op: Unary| move |x| op.reference(x);
    worst("exp", exp::<FMA>, f64::exp, 2.0, 0.0);
    worst("expm1", expm1::<FMA>, f64::exp_m1, 3.0, 0.0);
    worst("log", log::<FMA>, f64::ln, 2.0, 0.0);
    worst("log2", log2::<FMA>, f64::log2, 3.0, 0.0);
    worst("log10", log10::<FMA>, f64::log10, 3.0, 0.0);
    worst("log1p", log1p::<FMA>, f64::ln_1p, 3.0, 0.0);
    worst("sigmoid", sigmoid::<FMA>, specified(Unary::Sigmoid), 4.0, 0.0);
    worst("tanh", tanh::<FMA>, f64::tanh, 5.0, 0.0);
    worst("softplus", softplus::<FMA>, specified(Unary::Softplus), 4.0, 0.0);
    worst("silu", silu::<FMA>, specified(Unary::Silu), 5.0, 1e-43);
    worst("mish", mish::<FMA>, specified(Unary::Mish), 5.0, 1e-43);
    worst("erf", erf::<FMA>, libm::erf, 6.0, 0.0);
    worst("gelu", gelu::<FMA>, specified(Unary::Gelu), 7.0, 1e-43);
    worst("gelu_tanh", gelu_tanh::<FMA>, specified(Unary::GeluTanh), 5.0, 1e-43);
    let near = |f: fn(f32) -> f32, exact: fn(f32) -> f32| move |x: f32| if x.abs() > FAR { exact(x) } else { f(x) };
    worst("sin", near(sin::<FMA>, f32::sin), f64::sin, 2.0, 0.0);
    worst("cos", near(cos::<FMA>, f32::cos), f64::cos, 2.0, 0.0);
    worst("tan", near(tan::<FMA>, f32::tan), f64::tan, 4.0, 0.0);
    worst("asin", asin::<FMA>, f64::asin, 3.0, 0.0);
    worst("acos", acos::<FMA>, f64::acos, 3.0, 0.0);
    worst("atan", atan::<FMA>, f64::atan, 3.0, 0.0);
    worst("sinh", sinh::<FMA>, f64::sinh, 3.0, 0.0);
    worst("cosh", cosh::<FMA>, f64::cosh, 3.0, 0.0);
    worst("asinh", asinh::<FMA>, f64::asinh, 3.0, 0.0);
    worst("acosh", acosh::<FMA>, f64::acosh, 3.0, 0.0);
    worst("atanh", atanh::<FMA>, f64::atanh, 3.0, 0.0);
    for exponent in [-3.0f32, 0.5, 7.3] {
        worst("pow", |x| pow::<FMA>(x, exponent), |x| x.powf(f64::from(exponent)), 2.0, 0.0);
    }
    for base in [0.3f32, -2.0, 1e-40] {
        worst("pow", |y| pow::<FMA>(base, y), |y| f64::from(base).powf(y), 2.0, 0.0);
    }
    for x in [-3.0f32, 0.7, 1e20] {
        worst("atan2", |y| atan2::<FMA>(y, x), |y| y.atan2(f64::from(x)), 3.0, 0.0);
    }
    specials::<FMA>();
}

#[test]
fn functions_keep_their_bounds_without_fused_products() {
    all::<false>();
}

#[test]
fn functions_keep_their_bounds_with_fused_products() {
    all::<true>();
}

#[test]
fn functions_of_vectors_keep_the_same_bounds_wherever_a_number_stands() {
    use crate::Unary;
    let bounds = [
        (Unary::Exp, 2.0, 0.0),
        (Unary::Sigmoid, 5.0, 3e-39),
        (Unary::Silu, 5.0, 3e-37),
        (Unary::Tanh, 5.0, 0.0),
        (Unary::Gelu, 7.0, 1e-43),
    ];
    for (op, bound, floor) in bounds {
        let Some(run) = wide::of(op) else { continue };
        let one = |x: f32| {
            let mut y = [0.0];
            run(&[x], &mut y);
            y[0]
        };
        worst(op.name(), one, |x| op.reference(x), bound, floor);
        let x: Vec<f32> = (0..53).map(|i| (i as f32 - 26.0) * 0.37).collect();
        let mut y = vec![0.0; x.len()];
        run(&x, &mut y);
        assert!(x.iter().map(|&x| one(x)).eq(y.iter().copied()), "{}", op.name());
        assert!(op != Unary::Sigmoid || one(0.0) == 0.5 && one(f32::NEG_INFINITY) == 0.0, "sigmoid(0) is {}", one(0.0));
        let sign = |x: f32| (one(x) == 0.0).then(|| one(x).is_sign_negative());
        assert_eq!(
            [sign(0.0), sign(-0.0)].map(|sign| sign.unwrap_or(true)),
            match op {
                Unary::Exp | Unary::Sigmoid => [true, true],
                _ => [false, true],
            }
        );
    }
}

#[test]
fn a_row_of_exponentials_has_their_sum() {
    for len in [1, 16, 37, 1024, 1030, 5000] {
        let x: Vec<f32> = (0..len).map(|i| -((i * 7919 % 1000) as f32) * 0.02).collect();
        let mut e = vec![0.0; len];
        let Some(sum) = f32::exp_row(&x, 0.5, &mut e) else { return };
        let exact: f64 = x.iter().map(|&x| f64::from(x - 0.5).exp()).sum();
        assert!((sum - exact).abs() < 5e-7 * exact, "{len}: {sum} for {exact}");
        assert!(x.iter().zip(&e).all(|(&x, &e)| (e - (x - 0.5).exp()).abs() <= 3e-7 * e), "{len}");
    }
}

/// Signs of zeros, and what infinities and NaN make of two arguments.
fn specials<const FMA: bool>() {
    type Function = (&'static str, fn(f32) -> f32);
    let odd: [Function; 9] = [
        ("sin", sin::<FMA>),
        ("tan", tan::<FMA>),
        ("asin", asin::<FMA>),
        ("atan", atan::<FMA>),
        ("sinh", sinh::<FMA>),
        ("tanh", tanh::<FMA>),
        ("asinh", asinh::<FMA>),
        ("atanh", atanh::<FMA>),
        ("erf", erf::<FMA>),
    ];
    for (name, f) in odd {
        for x in [0.0f32, 1e-45, 1e-38, 0.25, 0.9, 3.0, f32::INFINITY] {
            let (plus, minus) = (f(x), f(-x));
            assert!(plus == -minus && plus.to_bits() != minus.to_bits() || minus.is_nan(), "{name} of {x}: {minus}");
        }
    }
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let values = [0.0, 1.0, 2.0, 3.0, 0.5, 2.5, 1e-40, 1e30, 16_777_217.0, inf, nan];
    let values = values.iter().flat_map(|&x| [x, -x]).collect::<Vec<_>>();
    for &a in &values {
        for &b in &values {
            let pairs = [("pow", pow::<FMA>(a, b), a.powf(b)), ("atan2", atan2::<FMA>(a, b), a.atan2(b))];
            for (name, got, want) in pairs {
                let near = got == want && got.is_sign_negative() == want.is_sign_negative()
                    || (got - want).abs() <= 1e-6 * want.abs()
                    || got.is_nan() && want.is_nan();
                assert!(near, "{name}({a}, {b}) is {got}, not {want}");
            }
        }
    }
}
