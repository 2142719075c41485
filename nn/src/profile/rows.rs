//! The list of operations. A function of one or two numbers is here by its row in the kernels' own tables; any other
//! primitive has rows below, and a test names the primitive that has none.

mod images;
mod layers;

use super::operation::{Operation, Scale, bytes, indices, uniform};
use crate::core::kernels::{Binary, Compare, Unary};
use crate::core::ops::{binary, unary};
use crate::core::{DType, Distribution, RandomKey, Result, Tensor};

/// A million numbers, which fit into a cache.
const MILLION: &[usize] = &[1024, 1024];
/// Sixteen million, which do not.
const MANY: &[usize] = &[4096, 4096];

/// Sums of products: as many units in the last place as a few hundred additions may cost.
const OF_PRODUCTS: (Scale, f64) = (Scale::Magnitudes, 2e-6);

/// Every operation, by kind; the same list at every call.
pub fn operations() -> Vec<Operation> {
    let mut all = products();
    all.extend(pointwise());
    all.extend(others_pointwise());
    all.extend(reductions());
    all.extend(copies());
    all.extend(by_index());
    all.extend(layers::along_rows());
    all.extend(layers::dense());
    all.extend(layers::norms());
    all.extend(layers::steps());
    all.extend(images::convolutions());
    all.extend(images::pools());
    all
}

fn one(y: Result<Tensor>) -> Result<Vec<Tensor>> {
    Ok(vec![y?])
}

/// Even random numbers.
fn noise(shape: &[usize]) -> Result<Vec<Tensor>> {
    Ok(vec![uniform(shape, -3.0, 3.0, 1)?])
}

/// The same, twice.
fn pair(shape: &[usize]) -> Result<Vec<Tensor>> {
    matrices(shape, shape)
}

fn matrices(a: &[usize], b: &[usize]) -> Result<Vec<Tensor>> {
    Ok(vec![uniform(a, -3.0, 3.0, 1)?, uniform(b, -3.0, 3.0, 2)?])
}

fn products() -> Vec<Operation> {
    const PLAIN: &[&[usize]] = &[
        &[64, 64, 64],
        &[128, 128, 128],
        &[256, 256, 256],
        &[512, 512, 512],
        &[1024, 1024, 1024],
        &[2048, 2048, 2048],
        &[32, 784, 300],
        &[32, 300, 100],
        &[128, 784, 512],
        &[64, 576, 1024],
        &[1, 784, 300],
    ];
    let of = |name, dims, shapes, inputs: fn(&[usize]) -> Result<Vec<Tensor>>, run: fn(&Tensor, &Tensor) -> _| {
        Operation::new(name, "matmul", dims, shapes, inputs, move |x| one(run(&x[0], &x[1])))
            .exact_to(OF_PRODUCTS.0, OF_PRODUCTS.1)
            .counting(|shape| 2 * shape.iter().product::<usize>())
    };
    vec![
        of("matmul", "MxKxN", PLAIN, |s| matrices(&[s[0], s[1]], &[s[1], s[2]]), Tensor::matmul),
        of(
            "matmul_tn",
            "MxKxN",
            &[&[784, 32, 300], &[300, 32, 100]],
            |s| matrices(&[s[1], s[0]], &[s[1], s[2]]),
            |a, b| a.t()?.matmul(b),
        ),
        of(
            "matmul_nt",
            "MxKxN",
            &[&[32, 300, 784], &[32, 100, 300]],
            |s| matrices(&[s[0], s[1]], &[s[2], s[1]]),
            |a, b| a.matmul(&b.t()?),
        ),
        of(
            "matmul_batched",
            "BxMxKxN",
            &[&[64, 64, 64, 64]],
            |s| matrices(&[s[0], s[1], s[2]], &[s[0], s[2], s[3]]),
            Tensor::matmul,
        ),
    ]
}

/// Functions that the comparisons with other engines run on sixteen million numbers too.
const LARGE: &[&str] = &["relu", "exp", "tanh", "sigmoid", "gelu", "add", "mul"];

fn sizes(name: &str) -> &'static [&'static [usize]] {
    if LARGE.contains(&name) { &[MILLION, MANY] } else { &[MILLION] }
}

fn pointwise() -> Vec<Operation> {
    let functions = Unary::ALL.iter().map(|&f| {
        let (low, high) = match f {
            Unary::Sqrt | Unary::Rsqrt | Unary::Recip | Unary::Log | Unary::Log2 | Unary::Log10 | Unary::Powf(_) => {
                (0.1, 10.0)
            }
            Unary::Log1p => (-0.9, 3.0),
            Unary::Asin | Unary::Acos | Unary::Atanh => (-0.99, 0.99),
            Unary::Acosh => (1.1, 10.0),
            Unary::Tan => (-1.5, 1.5),
            _ => (-3.0, 3.0),
        };
        let inputs = move |s: &[usize]| Ok(vec![uniform(s, low, high, 1)?]);
        let operation =
            Operation::new(f.name(), "unary", "..", sizes(f.name()), inputs, move |x| one(unary::pointwise(&x[0], f)));
        match f {
            // They add a half to what may be nearly minus a half.
            Unary::HardSigmoid | Unary::HardSwish => operation.exact_to(Scale::Largest, 2e-6),
            _ => operation,
        }
    });
    let pairs = Binary::ALL.iter().map(|&f| {
        let low = if matches!(f, Binary::Pow | Binary::Div | Binary::Remainder) { 0.1 } else { -3.0 };
        let inputs = move |s: &[usize]| Ok(vec![uniform(s, low, 3.0, 1)?, uniform(s, low, 3.0, 2)?]);
        let operation = Operation::new(f.name(), "binary", "..", sizes(f.name()), inputs, move |x| {
            one(binary::combine(f, &x[0], &x[1]))
        });
        match f {
            // What remains jumps where the quotient is a whole number, and sums may cancel to nothing.
            Binary::Add | Binary::Sub | Binary::LogisticLoss | Binary::Remainder => {
                operation.exact_to(Scale::Largest, 2e-6)
            }
            _ => operation,
        }
    });
    functions.chain(pairs).collect()
}

fn others_pointwise() -> Vec<Operation> {
    let written = |_: &[Tensor], outputs: &[Tensor]| bytes(outputs);
    vec![
        Operation::new("mul_scalar", "binary", "..", &[MILLION, MANY], noise, |x| one(x[0].mul_scalar(1.5))),
        Operation::new("gt", "compare", "..", &[MILLION], pair, |x| {
            let (a, b) = (&x[0], &x[1]);
            let buffer = a.device().backend().compare(Compare::Gt, a.view(), b.view())?;
            one(Tensor::from_buffer(buffer, a.shape(), a.device()))
        }),
        Operation::new(
            "select",
            "select",
            "..",
            &[MILLION],
            |s| {
                let mut inputs = pair(s)?;
                inputs.push(inputs[0].gt(&inputs[1])?);
                Ok(inputs)
            },
            |x| one(x[0].select(&x[2], &x[1])),
        ),
        Operation::new("cast_f16", "cast", "..", &[MILLION], noise, |x| one(x[0].to_dtype(DType::F16))),
        Operation::new(
            "scaled_bytes",
            "scaled_bytes",
            "ROWSxCOLUMNS",
            &[&[32, 784], MILLION],
            |s| Ok(vec![uniform(s, 0.0, 255.0, 1)?.to_dtype(DType::U8)?]),
            |x| one(x[0].scaled_bytes(255.0)),
        ),
        Operation::new("zeros", "full", "..", &[MILLION], noise, |x| {
            one(Tensor::zeros(x[0].shape(), x[0].dtype(), x[0].device()))
        })
        .moving(written),
        Operation::new("randn", "random", "..", &[MILLION], noise, |x| {
            let normal = Distribution::Normal { mean: 0.0, std: 1.0 };
            one(Tensor::random(x[0].shape(), normal, RandomKey::new(3), DType::F32, x[0].device()))
        })
        .moving(written),
    ]
}

fn reductions() -> Vec<Operation> {
    type Function = fn(&Tensor) -> Result<Tensor>;
    const FUNCTIONS: &[(&str, &str, Function)] = &[
        ("sum", "reduce", |x| x.sum(&[])),
        ("sum_axis0", "reduce", |x| x.sum(&[0])),
        ("sum_axis1", "reduce", |x| x.sum(&[1])),
        ("mean_axis1", "reduce", |x| x.mean(&[1])),
        ("prod_axis1", "reduce", |x| x.prod(&[1])),
        ("max_axis0", "reduce", |x| x.max(&[0])),
        ("max_axis1", "reduce", |x| x.max(&[1])),
        ("min_axis1", "reduce", |x| x.min(&[1])),
        ("argmax_axis0", "arg_reduce", |x| x.argmax(0)),
        ("argmax_axis1", "arg_reduce", |x| x.argmax(1)),
        ("cumsum_axis1", "cumsum", |x| x.cumsum(1)),
        ("sort_axis1", "sort", |x| Ok(x.sort(1, false)?.0)),
        ("topk_axis1", "sort", |x| Ok(x.topk(10.min(x.shape()[1]), 1)?.0)),
    ];
    let row = |&(name, primitive, function): &(&'static str, &'static str, Function)| {
        // Products of many numbers only stay numbers if all are about 1.
        let (low, high) = if name.starts_with("prod") { (0.9, 1.1) } else { (-3.0, 3.0) };
        let inputs = move |s: &[usize]| Ok(vec![uniform(s, low, high, 1)?]);
        let shapes: &[&[usize]] = if name.starts_with("sum") { &[MILLION, MANY] } else { &[MILLION] };
        let dims = if name == "sum" { ".." } else { "ROWSxCOLUMNS" };
        let operation = Operation::new(name, primitive, dims, shapes, inputs, move |x| one(function(&x[0])));
        match name {
            "prod_axis1" => operation.exact_to(Scale::Each, 2e-5),
            _ => operation.exact_to(Scale::Magnitudes, 2e-6),
        }
    };
    FUNCTIONS.iter().map(row).collect()
}

fn copies() -> Vec<Operation> {
    let square: &[usize] = &[2048, 2048];
    vec![
        Operation::new("transpose", "copy", "ROWSxCOLUMNS", &[square], noise, |x| one(x[0].t()?.contiguous())),
        Operation::new("permute_201", "copy", "AxBxC", &[&[64, 128, 128]], noise, |x| {
            one(x[0].permute(&[2, 0, 1])?.contiguous())
        }),
        Operation::new("cat_axis1", "copy_into", "ROWSxCOLUMNS", &[MILLION], noise, |x| {
            one(Tensor::cat(&[&x[0], &x[0]], 1))
        })
        .moving(|_, outputs| 2 * bytes(outputs)),
    ]
}

fn by_index() -> Vec<Operation> {
    // What is read of `x` is as much as is written.
    let picked = |inputs: &[Tensor], outputs: &[Tensor]| bytes(&inputs[1..2]) + 2 * bytes(outputs);
    // One row of a table for each of 16,384 words, or one class for each sample.
    const TABLE: &[&[usize]] = &[&[16_384, 100]];
    let table = |s: &[usize]| Ok(vec![uniform(s, -3.0, 3.0, 1)?, indices(&[s[0]], s[0])?]);
    let places = |s: &[usize]| Ok(vec![uniform(s, -3.0, 3.0, 1)?, indices(s, s[1])?]);
    let source = |inputs: Result<Vec<Tensor>>, shape: &[usize]| {
        let mut inputs = inputs?;
        inputs.push(uniform(shape, -3.0, 3.0, 3)?);
        Ok(inputs)
    };
    let added = |operation: Operation| operation.exact_to(Scale::Magnitudes, 2e-6);
    vec![
        Operation::new("index_select", "index_select", "ROWSxCOLUMNS", TABLE, table, |x| {
            one(x[0].index_select(&x[1], 0))
        })
        .moving(picked),
        added(Operation::new(
            "index_add",
            "index_add",
            "ROWSxCOLUMNS",
            TABLE,
            move |s| source(table(s), s),
            |x| one(x[0].index_add(&x[1], &x[2], 0)),
        )),
        Operation::new("gather_axis1", "gather", "ROWSxCOLUMNS", &[MILLION], places, |x| one(x[0].gather(&x[1], 1)))
            .moving(picked),
        added(Operation::new(
            "scatter_add_axis1",
            "scatter_add",
            "ROWSxCOLUMNS",
            &[MILLION],
            move |s| source(places(s), s),
            |x| one(x[0].scatter_add(&x[1], &x[2], 1)),
        )),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::profile::{Bench, Variant};

    #[test]
    fn names_are_unique_and_every_primitive_is_measured() {
        let all = operations();
        let mut names = HashSet::new();
        for operation in &all {
            assert!(names.insert(operation.name), "two operations are called {}", operation.name);
            for shape in &operation.shapes {
                operation.check(shape).unwrap();
            }
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernels/src/backend.rs");
        let text = std::fs::read_to_string(path).unwrap();
        let of_trait = text.split("pub trait Backend").nth(1).unwrap();
        let measured: HashSet<_> = all.iter().map(|operation| operation.primitive).collect();
        let names = of_trait.lines().filter_map(|line| line.strip_prefix("    fn ")?.split('(').next());
        for primitive in names.filter(|name| !["name", "figures", "upload", "download"].contains(name)) {
            assert!(measured.contains(primitive), "{primitive} has no row in nn/src/profile/rows.rs: add one");
        }
    }

    #[test]
    fn every_operation_is_right_at_a_small_shape() {
        // Neither a multiple of a register nor of a thread's share.
        let error = |operation: &Operation| {
            let shape = operation.shape_of(5_003);
            let error = Bench::verify(operation, &shape, Variant::current(), 2).unwrap().max_rel_error.unwrap();
            (error > operation.tolerance).then(|| format!("{} {shape:?}: {error:e}", operation.name))
        };
        let wrong: Vec<String> = operations().iter().filter_map(error).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
