//! One list of cases for every operation. The gradient check, the comparison of devices and the benches all run over it, so
//! an operation that is added here is tested everywhere.
//!
//! Pointwise functions come from the kernels' own tables: a new row is a new case without a line here.

mod images;

use gradus::core::ops::{binary, unary};
use gradus::core::{DType, Device, Distribution, RandomKey, Result, Tensor};
use gradus_kernels::{Binary, Unary};

/// What a case computes from its inputs.
pub type Function = Box<dyn Fn(&[Tensor]) -> Result<Tensor> + Send + Sync>;

/// An operation at given inputs.
pub struct Case {
    /// Unique.
    pub name: String,
    /// `f64`, in row-major order.
    pub inputs: Vec<Tensor>,
    /// The operation.
    pub compute: Function,
}

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases = pointwise();
    cases.extend(reductions());
    cases.extend(shapes());
    cases.extend(products_and_indices());
    cases.extend(layers());
    cases.extend(images::all());
    cases
}

/// Random numbers from `low` to `high`; the same for the same shape.
pub fn uniform(shape: &[usize], low: f64, high: f64) -> Tensor {
    let stream = shape.iter().fold(7, |hash: u64, &size| hash.wrapping_mul(31).wrapping_add(size as u64));
    let distribution = Distribution::Uniform { low, high };
    Tensor::random(shape, distribution, RandomKey::new(42).numbered(stream), DType::F64, Device::CPU).unwrap()
}

/// Class numbers `0, 1, …`, starting again at `classes`.
fn labels(count: usize, classes: usize) -> Tensor {
    let numbers: Vec<i64> = (0..count).map(|i| (i * 7 % classes) as i64).collect();
    Tensor::from_slice(&numbers, &[count]).unwrap()
}

fn case(name: &str, inputs: &[&Tensor], compute: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static) -> Case {
    Case { name: name.into(), inputs: inputs.iter().map(|&x| x.clone()).collect(), compute: Box::new(compute) }
}

/// Where a function is defined and smooth; the table holds those that are not so from -2 to 2.
fn domain(f: Unary) -> (f64, f64) {
    match f {
        Unary::Sqrt | Unary::Rsqrt | Unary::Recip | Unary::Log | Unary::Log2 | Unary::Log10 | Unary::Powf(_) => {
            (0.3, 3.0)
        }
        Unary::Log1p => (-0.7, 3.0),
        Unary::Asin | Unary::Acos | Unary::Atanh => (-0.9, 0.9),
        Unary::Acosh => (1.2, 3.0),
        Unary::Tan => (-1.2, 1.2),
        Unary::Relu6 | Unary::HardSigmoid | Unary::HardSwish => (-7.0, 7.0),
        _ => (-2.0, 2.0),
    }
}

fn pointwise() -> Vec<Case> {
    let functions = Unary::ALL.iter().map(|&f| {
        let (low, high) = domain(f);
        case(f.name(), &[&uniform(&[4, 7], low, high)], move |x| unary::pointwise(&x[0], f))
    });
    let pairs = Binary::ALL.iter().flat_map(|&f| {
        let low = if matches!(f, Binary::Pow | Binary::Div | Binary::Remainder) { 0.4 } else { -2.0 };
        let (a, b) = (uniform(&[4, 7], low, 3.0), uniform(&[7, 4], low, 2.0).t().unwrap().contiguous().unwrap());
        let row = uniform(&[7], low, 2.5);
        [
            case(f.name(), &[&a, &b], move |x| binary::combine(f, &x[0], &x[1])),
            case(&format!("{} with a row", f.name()), &[&a, &row], move |x| binary::combine(f, &x[0], &x[1])),
        ]
    });
    let condition = uniform(&[4, 7], -1.0, 1.0).gt_scalar(0.0).unwrap();
    let select = case("select", &[&uniform(&[4, 7], -2.0, 2.0), &uniform(&[4, 1], -2.0, 2.0)], move |x| {
        x[0].select(&condition.to_device(x[0].device())?, &x[1])
    });
    functions.chain(pairs).chain([select]).collect()
}

fn reductions() -> Vec<Case> {
    type Method = fn(&Tensor, &[isize]) -> Result<Tensor>;
    const METHODS: [(&str, Method); 9] = [
        ("sum", Tensor::sum),
        ("mean", Tensor::mean),
        ("prod", Tensor::prod),
        ("max", Tensor::max),
        ("min", Tensor::min),
        ("sum_keepdim", Tensor::sum_keepdim),
        ("logsumexp", Tensor::logsumexp),
        ("norm", Tensor::norm),
        ("var", |x, axes| x.var(axes, 1)),
    ];
    let x = uniform(&[3, 4, 5], -2.0, 2.0);
    let over = [vec![], vec![0], vec![1], vec![-1], vec![0, 2], vec![1, 2]];
    let mut cases: Vec<Case> = METHODS
        .iter()
        .flat_map(|&(name, method)| over.clone().into_iter().map(move |axes| (name, method, axes)))
        .map(|(name, method, axes)| case(&format!("{name} over {axes:?}"), &[&x], move |x| method(&x[0], &axes)))
        .collect();
    cases.extend((0..3).flat_map(|axis| {
        [
            case(&format!("softmax along {axis}"), &[&x], move |x| x[0].softmax(axis)),
            case(&format!("log_softmax along {axis}"), &[&x], move |x| x[0].log_softmax(axis)),
            case(&format!("cumsum along {axis}"), &[&x], move |x| x[0].cumsum(axis)),
            case(&format!("sort along {axis}"), &[&x], move |x| Ok(x[0].sort(axis, axis == 1)?.0)),
            case(&format!("topk along {axis}"), &[&x], move |x| Ok(x[0].topk(2, axis)?.0)),
        ]
    }));
    let zeros = Tensor::from_slice(&[0.0, 2.0, 3.0, 0.0, 0.0, 1.5], &[2, 3]).unwrap();
    cases.push(case("prod with zeros", &[&zeros], |x| x[0].prod(&[1])));
    cases
}

fn shapes() -> Vec<Case> {
    let x = uniform(&[3, 4, 5], -2.0, 2.0);
    let one = |name: &str, compute: fn(&Tensor) -> Result<Tensor>| case(name, &[&x], move |x| compute(&x[0]));
    let mut cases = vec![
        one("reshape", |x| x.reshape(&[6, 10])),
        one("reshape of a transposed tensor", |x| x.t()?.reshape(&[60])),
        one("permute", |x| x.permute(&[2, 0, 1])),
        one("flatten", |x| x.flatten(0, 1)),
        one("slice", |x| x.slice(1, 1, 3)),
        one("slice_step", |x| x.slice_step(2, 0, 5, 2)),
        one("flip", |x| x.flip(1)),
        one("unsqueeze", |x| x.unsqueeze(-1)),
        one("broadcast_to", |x| x.broadcast_to(&[2, 3, 4, 5])),
        one("contiguous", |x| x.t()?.contiguous()),
        one("pad", |x| x.pad(2, 1, 2)),
        one("tile", |x| x.tile(1, 3)),
        one("repeat_interleave", |x| x.repeat_interleave(1, 3)),
        one("roll", |x| x.roll(2, -2)),
        one("tril", |x| x.tril(1)),
        one("triu", |x| x.triu(0)),
        one("to_dtype", |x| x.to_dtype(x.dtype())),
        one("a tensor used twice", |x| x.mul(&x.exp()?)),
    ];
    let other = uniform(&[3, 2, 5], -2.0, 2.0);
    cases.push(case("cat", &[&x, &other], |x| Tensor::cat(&[&x[0], &x[1], &x[0]], 1)));
    cases.push(case("stack", &[&x, &x], |x| Tensor::stack(&[&x[0], &x[1]], 1)));
    cases
}

fn products_and_indices() -> Vec<Case> {
    let matmul = |name: &str, a: &[usize], b: &[usize]| {
        case(&format!("matmul {name}"), &[&uniform(a, -1.0, 1.0), &uniform(b, -1.0, 1.0)], |x| x[0].matmul(&x[1]))
    };
    let mut cases = vec![
        matmul("of matrices", &[5, 7], &[7, 3]),
        matmul("of a vector and a matrix", &[7], &[7, 3]),
        matmul("of a matrix and a vector", &[5, 7], &[7]),
        matmul("of vectors", &[7], &[7]),
        matmul("of batches", &[2, 3, 4], &[2, 4, 5]),
        matmul("with broadcast batches", &[2, 1, 3, 4], &[3, 4, 2]),
        matmul("over nothing", &[2, 0], &[0, 3]),
        case("matmul of transposed matrices", &[&uniform(&[7, 5], -1.0, 1.0), &uniform(&[3, 7], -1.0, 1.0)], |x| {
            x[0].t()?.matmul(&x[1].t()?)
        }),
    ];
    let table = uniform(&[6, 5], -2.0, 2.0);
    let (rows, picks) = (labels(4, 6), labels(8, 5).reshape(&[4, 2]).unwrap());
    let (part, source) = (table.slice(0, 0, 4).unwrap().contiguous().unwrap(), uniform(&[4, 2], -1.0, 1.0));
    let on = |index: &Tensor, x: &Tensor| index.to_device(x.device());
    let (r, p) = (rows.clone(), picks.clone());
    cases.push(case("index_select", &[&table], move |x| x[0].index_select(&on(&r, &x[0])?, 0)));
    cases.push(case("gather", &[&part], move |x| x[0].gather(&on(&p, &x[0])?, 1)));
    let p = picks.clone();
    cases.push(case("scatter_add", &[&part, &source], move |x| x[0].scatter_add(&on(&p, &x[0])?, &x[1], 1)));
    let r = rows.clone();
    cases.push(case("index_add", &[&table, &part], move |x| x[0].index_add(&on(&r, &x[0])?, &x[1], 0)));
    let classes = labels(6, 5);
    cases.push(case("cross_entropy", &[&table], move |x| x[0].cross_entropy(&on(&classes, &x[0])?)));
    cases
}

/// Operations that are whole layers.
fn layers() -> Vec<Case> {
    let (x, w, b) = (uniform(&[2, 3, 5], -1.0, 1.0), uniform(&[5, 4], -1.0, 1.0), uniform(&[4], -1.0, 1.0));
    let functions = Unary::ALL.iter().filter(|f| f.slope_at(0.5).is_some()).map(|&f| Some(f));
    let mut cases: Vec<Case> = functions
        .chain([None, Some(Unary::Gelu)])
        .map(|f| {
            let name = format!("linear with {}", f.map_or("nothing", Unary::name));
            case(&name, &[&x, &w, &b], move |x| x[0].linear(&x[1], Some(&x[2]), f))
        })
        .collect();
    cases.push(case("linear without a bias", &[&x, &w], |x| x[0].linear(&x[1], None, Some(Unary::Tanh))));
    let (none, rows) = (uniform(&[2, 0], -1.0, 1.0), uniform(&[0, 4], -1.0, 1.0));
    cases
        .push(case("linear over nothing", &[&none, &rows, &b], |x| x[0].linear(&x[1], Some(&x[2]), Some(Unary::Relu))));
    for axis in 0..3 {
        let features = x.shape()[axis];
        let (gamma, beta) = (uniform(&[features], 0.5, 1.5), uniform(&[features], -1.0, 1.0));
        let (mean, variance) = (uniform(&[features], -0.3, 0.4), uniform(&[features], 0.4, 2.0));
        cases.push(case(&format!("batch_norm along {axis}"), &[&x, &gamma, &beta], move |x| {
            Ok(x[0].batch_norm(&x[1], &x[2], axis as isize, 1e-3)?[0].clone())
        }));
        // Results far from the corners of an activation, since there the last digit of a narrow type decides on the slope.
        let (apart, beta_near) = ((x.sign().unwrap() + &x * 0.1).detach(), (&beta * 0.1).detach());
        for activation in [Unary::Relu6, Unary::Sigmoid, Unary::Gelu] {
            let (name, inputs) = (activation.name(), [&apart, &gamma, &beta_near]);
            cases.push(case(&format!("batch_norm with {name} along {axis}"), &inputs, move |x| {
                Ok(x[0].batch_norm_activated(&x[1], &x[2], axis as isize, 1e-3, Some(activation))?[0].clone())
            }));
            let moments = [mean.clone(), variance.clone()];
            cases.push(case(&format!("normalize with {name} along {axis}"), &inputs, move |x| {
                let on = |row: &Tensor| row.to_dtype(x[0].dtype())?.to_device(x[0].device());
                let [mean, variance] = [on(&moments[0])?, on(&moments[1])?];
                x[0].normalize_activated([&mean, &variance], [&x[1], &x[2]], axis as isize, 1e-3, Some(activation))
            }));
        }
        cases.push(case(&format!("normalize along {axis}"), &[&x, &gamma, &beta], move |x| {
            let on = |row: &Tensor| row.to_dtype(x[0].dtype())?.to_device(x[0].device());
            x[0].normalize([&on(&mean)?, &on(&variance)?], [&x[1], &x[2]], axis as isize, 1e-3)
        }));
    }
    let (gamma, beta) = (uniform(&[5], 0.5, 1.5), uniform(&[5], -1.0, 1.0));
    cases.push(case("layer_norm", &[&x, &gamma, &beta], |x| x[0].layer_norm(&x[1], &x[2], 1e-3)));
    cases
}
