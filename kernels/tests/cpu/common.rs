//! Views of every kind, with values in them, and the comparison of one backend's results with another's.

use gradus_kernels::random::{Philox, fill};
use gradus_kernels::{Bool, Buffer, DType, Distribution, Element, Layout, RandomKey, Scalar, View, with_element};

/// The float types.
pub const FLOATS: [DType; 4] = [DType::F32, DType::F64, DType::F16, DType::BF16];

/// Sizes that fill vector registers, blocks and chunks, and sizes that do not.
pub const SHAPES: &[&[usize]] = &[
    &[],
    &[0],
    &[1],
    &[3],
    &[7],
    &[17],
    &[33],
    &[100],
    &[1000],
    &[2100],
    &[3, 0, 2],
    &[7, 33],
    &[1, 9, 1],
    &[4, 5, 6],
    &[2, 3, 4, 5],
    &[40, 50],
    &[3, 1100],
];

/// The same shape in memory orders of every kind; each with the length of the buffer that it needs.
pub fn layouts(shape: &[usize]) -> Vec<(&'static str, Layout)> {
    let rank = shape.len();
    let backwards: Vec<usize> = (0..rank).rev().collect();
    let reversed: Vec<usize> = shape.iter().rev().copied().collect();
    let doubled: Vec<usize> = shape.iter().map(|size| 2 * size + 1).collect();
    let mut sliced = Layout::contiguous(&doubled);
    let mut flipped = Layout::contiguous(shape);
    for (axis, &size) in shape.iter().enumerate() {
        sliced = sliced.slice(axis, 1, size, 2);
        flipped = flipped.slice(axis, size.max(1) - 1, size, -1);
    }
    let mut all = vec![
        ("contiguous", Layout::contiguous(shape)),
        ("transposed", Layout::contiguous(&reversed).permute(&backwards)),
        ("sliced", sliced),
        ("flipped", flipped),
        ("overlapping", Layout::strided(shape, &vec![1; rank], 3)),
        ("one element", Layout::strided(shape, &vec![0; rank], 5)),
    ];
    if rank > 1 {
        let mut rows = Layout::contiguous(shape).strides().to_vec();
        rows[0] = 0;
        all.push(("repeated rows", Layout::strided(shape, &rows, 2)));
        let mut columns = Layout::contiguous(shape).strides().to_vec();
        columns[rank - 1] = 0;
        all.push(("repeated columns", Layout::strided(shape, &columns, 2)));
    }
    all
}

/// How many elements of a buffer `layout` spans.
pub fn span(layout: &Layout) -> usize {
    layout.positions().max().map_or(0, |last| last + 1)
}

/// Reproducible values for `layout`: normal numbers for floats, small whole ones else.
pub fn values(dtype: DType, layout: &Layout, seed: u64) -> Buffer {
    let len = span(layout);
    let mut normal = vec![0.0f64; len];
    fill(Distribution::Normal { mean: 0.0, std: 2.0 }, RandomKey::new(seed), 0, &mut normal);
    with_element!(dtype, T => {
        let scaled = normal.into_iter().map(|x| match dtype {
            DType::Bool => Scalar::from(x > 0.0),
            DType::U8 => Scalar::Float((40.0 * x).abs()),
            DType::I32 | DType::I64 => Scalar::Float(10.0 * x),
            _ => Scalar::Float(x),
        });
        Buffer::from_slice(&scaled.map(T::from_scalar).collect::<Vec<T>>())
    })
}

/// As [`values`], with a special value among every five floats, and ties and extremes among integers.
pub fn special_values(dtype: DType, layout: &Layout, seed: u64) -> Buffer {
    const SPECIAL: [f64; 12] =
        [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1.0, -1.0, 1e30, -1e30, 1e-42, 0.5, 300.0];
    let mut buffer = values(dtype, layout, seed);
    let mut generator = Philox::new(RandomKey::new(seed).named("special"));
    with_element!(dtype, T => for x in buffer.as_mut_slice::<T>() {
        if generator.below(5) == 0 {
            *x = T::from_scalar(Scalar::Float(SPECIAL[generator.below(12) as usize]));
        }
    });
    buffer
}

/// Whole numbers in `0..size`.
pub fn index_values(dtype: DType, layout: &Layout, size: usize, seed: u64) -> Buffer {
    let mut generator = Philox::new(RandomKey::new(seed).named("index"));
    let numbers = (0..span(layout)).map(|_| generator.below(size.max(1) as u64) as i64);
    if dtype == DType::I32 {
        return Buffer::from_slice(&numbers.map(|x| x as i32).collect::<Vec<_>>());
    }
    Buffer::from_slice(&numbers.collect::<Vec<_>>())
}

/// How far a result may be from the reference: so many units in the last place, or this distance.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub ulps: f64,
    pub distance: f64,
}

impl Bound {
    pub const EXACT: Bound = Bound::ulps(0.0);

    pub const fn ulps(ulps: f64) -> Self {
        Self { ulps, distance: 0.0 }
    }

    pub const fn or(self, distance: f64) -> Self {
        Self { distance, ..self }
    }

    /// The bound for a type, given that for `f32`; narrow results may differ by what rounding twice does to them.
    pub fn for_type(self, dtype: DType) -> Self {
        match dtype {
            DType::F16 | DType::BF16 if self.ulps > 0.0 => Self { ulps: 1.0, ..self },
            DType::F64 => Self { distance: self.distance * 1e-7, ..self },
            _ => self,
        }
    }
}

/// Fails, naming `what`, unless the buffers agree; NaN agrees with NaN alone, and zeros with each other.
pub fn assert_close(got: &Buffer, want: &Buffer, bound: Bound, what: impl Fn() -> String) {
    assert_eq!((got.dtype(), got.len()), (want.dtype(), want.len()), "{}", what());
    let bound = bound.for_type(got.dtype());
    with_element!(got.dtype(), T => {
        for (i, (got, want)) in got.as_slice::<T>().iter().zip(want.as_slice::<T>()).enumerate() {
            let (got, want) = (got.to_scalar(), want.to_scalar());
            let same = match (got, want) {
                (Scalar::Int(got), Scalar::Int(want)) => got == want,
                _ => is_close(got.as_f64(), want.as_f64(), T::DTYPE, bound),
            };
            assert!(same, "{}: element {i} is {got:?}, the reference has {want:?} ({bound:?})", what());
        }
    });
}

fn is_close(got: f64, want: f64, dtype: DType, bound: Bound) -> bool {
    if got == want || got.is_nan() && want.is_nan() {
        return true;
    }
    let (precision, least) = match dtype {
        DType::F16 => (11, -24),
        DType::BF16 => (8, -133),
        DType::F32 => (24, -149),
        _ => (53, -1074),
    };
    if got.is_infinite() && want.is_finite() || got.is_finite() && want.is_infinite() {
        // The largest number and infinity are neighbours.
        let largest = if dtype == DType::F16 { 65504.0 } else { 3e38 };
        return bound.ulps > 0.0 && got.abs().min(want.abs()) >= largest && got.signum() == want.signum();
    }
    let exponent = want.abs().max(f64::MIN_POSITIVE).log2().floor() as i32;
    let ulp = 2f64.powi((exponent + 1 - precision).max(least));
    (got - want).abs() <= (bound.ulps * ulp).max(bound.distance)
}

/// Calls `f(what, view)` for every layout of every shape.
pub fn for_views(dtype: DType, make: fn(DType, &Layout, u64) -> Buffer, mut f: impl FnMut(&str, View)) {
    for shape in SHAPES {
        for (name, layout) in layouts(shape) {
            let buffer = make(dtype, &layout, shape.len() as u64);
            f(&format!("{dtype} {shape:?} {name}"), View::new(&buffer, &layout));
        }
    }
}

/// A truth value for each element of `layout`'s span.
pub fn truths(layout: &Layout, seed: u64) -> Buffer {
    let mut generator = Philox::new(RandomKey::new(seed).named("truth"));
    Buffer::from_slice(&(0..span(layout)).map(|_| Bool::from(generator.below(2) == 1)).collect::<Vec<_>>())
}
