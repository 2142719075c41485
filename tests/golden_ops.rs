//! Every operation and its gradient against PyTorch: `tests/golden/ops.safetensors`, made by `tests/golden/ops.py`.

mod golden;

use golden::{Case, distance};
use gradus::core::{DType, Result, Tensor, Window};
use serde_json::Value;

/// Cases with a convention that differs on purpose, or an operation that gradus does not have.
fn left_out(case: &str, op: &str) -> Option<&'static str> {
    match (case, op) {
        (_, "cumprod") => Some("there is no cumprod"),
        ("cross_entropy/smooth", _) => Some("label smoothing belongs to the loss, not to the operation"),
        (case, _) if case.ends_with("/kink") && !["max/kink", "min/kink"].contains(&case) => {
            Some("the slope at a kink is a convention, documented at each function")
        }
        _ => None,
    }
}

impl Case {
    fn inputs(&self) -> Vec<Tensor> {
        (0..).map_while(|i| self.tensor(&format!("x{i}"))).collect()
    }

    fn int(&self, key: &str) -> isize {
        self.number(key) as isize
    }

    fn flag(&self, key: &str) -> bool {
        self.attributes[key].as_bool().unwrap_or(false)
    }

    fn list(&self, key: &str) -> Vec<isize> {
        match &self.attributes[key] {
            Value::Array(items) => items.iter().map(|item| item.as_i64().unwrap() as isize).collect(),
            Value::Null => Vec::new(),
            one => vec![one.as_i64().unwrap() as isize],
        }
    }
}

/// The operation of a case.
fn compute(op: &str, x: &[Tensor], case: &Case) -> Result<Tensor> {
    if let Some(result) = pointwise(op, x).or_else(|| reduction(op, x, case)).or_else(|| images(op, x, case)) {
        return result;
    }
    let sizes = |key: &str| case.list(key).into_iter().map(|size| size as usize).collect::<Vec<_>>();
    match op {
        "matmul" => x[0].matmul(&x[1]),
        "softmax" => x[0].softmax(case.int("axis")),
        "log_softmax" => x[0].log_softmax(case.int("axis")),
        "cross_entropy" => {
            let each = match x[1].dtype() {
                DType::I64 => x[0].cross_entropy(&x[1])?,
                _ => x[1].mul(&x[0].log_softmax(-1)?)?.sum(&[-1])?.neg()?,
            };
            match case.attributes["reduction"].as_str().unwrap() {
                "mean" => each.mean(&[]),
                "sum" => each.sum(&[]),
                _ => Ok(each),
            }
        }
        "binary_cross_entropy_logits" => x[0].softplus()?.sub(&x[0].mul(&x[1])?)?.mean(&[]),
        "cumsum" => x[0].cumsum(case.int("axis")),
        "sort" => Ok(x[0].sort(case.int("axis"), case.flag("descending"))?.0),
        "topk" if case.flag("largest") => Ok(x[0].topk(case.int("k") as usize, case.int("axis"))?.0),
        "topk" => x[0].sort(case.int("axis"), false)?.0.slice(case.int("axis"), 0, case.int("k") as usize),
        "gather" => x[0].gather(&x[1], case.int("axis")),
        "scatter_add" => x[0].scatter_add(&x[1], &x[2], case.int("axis")),
        "index_select" => x[0].index_select(&x[1], case.int("axis")),
        "embedding" => {
            let shape: Vec<usize> = x[1].shape().iter().chain(&x[0].shape()[1..]).copied().collect();
            x[0].index_select(&x[1].flatten(0, -1)?, 0)?.reshape(&shape)
        }
        "one_hot" => x[0].one_hot(case.int("classes") as usize, DType::F64),
        "where" => x[1].select(&x[0], &x[2]),
        "masked_fill" => x[0].masked_fill(&x[1], case.number("value")),
        "reshape" => x[0].reshape(&sizes("shape")),
        "permute" => x[0].permute(&case.list("axes")),
        "transpose" => x[0].transpose(case.list("axes")[0], case.list("axes")[1]),
        "slice" => {
            let step = case.list("step").first().map_or(1, |&step| step as usize);
            x[0].slice_step(case.int("axis"), case.int("start") as usize, case.int("end") as usize, step)
        }
        "broadcast_to" => x[0].broadcast_to(&sizes("shape")),
        "flip" => case.list("axes").into_iter().try_fold(x[0].clone(), |x, axis| x.flip(axis)),
        "roll" => x[0].roll(case.int("axis"), case.int("shift")),
        "pad" => {
            let value = case.number("value");
            let sides = case.attributes["padding"].as_array().unwrap();
            let pad = |x: Tensor, (axis, sides): (usize, &Value)| {
                x.pad(axis as isize, sides[0].as_u64().unwrap() as usize, sides[1].as_u64().unwrap() as usize)
            };
            sides.iter().enumerate().try_fold(x[0].add_scalar(-value)?, pad)?.add_scalar(value)
        }
        "tile" => sizes("repeats").into_iter().zip(0..).try_fold(x[0].clone(), |x, (count, axis)| x.tile(axis, count)),
        "repeat" => x[0].repeat_interleave(case.int("axis"), case.int("repeats") as usize),
        "diagonal" => {
            let rows = Tensor::arange(0.0, 3.0, 1.0, DType::I64, x[0].device())?.unsqueeze(1)?;
            x[0].gather(&rows, 1)?.squeeze(1)
        }
        "tril" => x[0].tril(case.int("diagonal")),
        "triu" => x[0].triu(case.int("diagonal")),
        "cat" => Tensor::cat(&x.iter().collect::<Vec<_>>(), case.int("axis")),
        "stack" => Tensor::stack(&x.iter().collect::<Vec<_>>(), case.int("axis")),
        "dense" => {
            let y = x[0].matmul(&x[1])?.add(&x[2])?;
            match case.attributes["activation"].as_str().unwrap() {
                "relu" => y.relu(),
                "softmax" => y.softmax(-1),
                "tanh" => y.tanh(),
                _ => Ok(y),
            }
        }
        "layer_norm" => {
            let centred = x[0].sub(&x[0].mean_keepdim(&[-1])?)?;
            let scale = centred.square()?.mean_keepdim(&[-1])?.add_scalar(case.number("epsilon"))?.rsqrt()?;
            centred.mul(&scale)?.mul(&x[1])?.add(&x[2])
        }
        "rms_norm" => {
            let scale = x[0].square()?.mean_keepdim(&[-1])?.add_scalar(case.number("epsilon"))?.rsqrt()?;
            x[0].mul(&scale)?.mul(&x[1])
        }
        "norm_p" => match case.number("order") {
            order if order.is_infinite() => x[0].abs()?.max(&[case.int("axis")]),
            order => x[0].abs()?.powf(order)?.sum(&[case.int("axis")])?.powf(1.0 / order),
        },
        "normalize" => x[0].div(&x[0].square()?.sum_keepdim(&[case.int("axis")])?.sqrt()?),
        "mlp" => {
            let hidden = x[0].matmul(&x[2])?.add(&x[3])?.leaky_relu(case.number("slope"))?;
            hidden.matmul(&x[4])?.add(&x[5])?.cross_entropy(&x[1])?.mean(&[])
        }
        other => panic!("{}: no such operation here: {other}", case.name),
    }
}

fn pointwise(op: &str, x: &[Tensor]) -> Option<Result<Tensor>> {
    use gradus::core::ops::{binary, unary};
    use gradus_kernels::{Binary, Unary};
    if let Some(&f) = Unary::ALL.iter().find(|f| f.name() == op) {
        // The stored cases use the typical parameters, which stand in the table's list as well.
        return Some(unary::pointwise(&x[0], f));
    }
    if let Some(&f) = Binary::ALL.iter().find(|f| f.name() == op) {
        return Some(binary::combine(f, &x[0], &x[1]));
    }
    Some(match op {
        "eq" => x[0].eq(&x[1]),
        "ne" => x[0].ne(&x[1]),
        "lt" => x[0].lt(&x[1]),
        "le" => x[0].le(&x[1]),
        "gt" => x[0].gt(&x[1]),
        "ge" => x[0].ge(&x[1]),
        _ => return None,
    })
}

fn reduction(op: &str, x: &[Tensor], case: &Case) -> Option<Result<Tensor>> {
    let axes = || case.list("axis");
    let plain = match op {
        "sum" => x[0].sum(&axes()),
        "mean" => x[0].mean(&axes()),
        "prod" => x[0].prod(&axes()),
        "max" => x[0].max(&axes()),
        "min" => x[0].min(&axes()),
        "logsumexp" => x[0].logsumexp(&axes()),
        "norm" => x[0].norm(&axes()),
        "var" => x[0].var(&axes(), case.int("correction") as usize),
        "std" => x[0].std(&axes(), case.int("correction") as usize),
        "argmax" => x[0].argmax(case.int("axis")),
        "argmin" => x[0].argmin(case.int("axis")),
        _ => return None,
    };
    if !case.flag("keepdim") {
        return Some(plain);
    }
    let kept = |shape: &[usize]| -> Vec<usize> {
        let rank = shape.len() as isize;
        let gone = |axis: usize| axes().is_empty() || axes().iter().any(|&a| a.rem_euclid(rank) == axis as isize);
        shape.iter().enumerate().map(|(axis, &size)| if gone(axis) { 1 } else { size }).collect()
    };
    Some(plain.and_then(|y| y.reshape(&kept(x[0].shape()))))
}

fn images(op: &str, x: &[Tensor], case: &Case) -> Option<Result<Tensor>> {
    // PyTorch takes one number for height and width, or two.
    let pair = |key: &str| match case.list(key)[..] {
        [both] => [both as usize; 2],
        [height, width] => [height as usize, width as usize],
        _ => panic!("{}: {key} is no pair", case.name),
    };
    let sides = || -> [[usize; 2]; 2] {
        let sides = case.attributes["padding"].as_array().unwrap();
        [0, 1].map(|axis| [0, 1].map(|side| sides[axis][side].as_u64().unwrap() as usize))
    };
    let groups = || case.int("groups") as usize;
    let around = || pair("padding").map(|both| [both; 2]);
    let pool = || Window { stride: pair("stride"), dilation: pair("dilation"), padding: around() };
    Some(match op {
        "conv2d" => {
            let window = Window { stride: pair("stride"), dilation: pair("dilation"), padding: sides() };
            x[0].conv2d(&x[1], x.get(2), &window, groups())
        }
        "conv2d_same" => {
            let (input, kernel) = ([x[0].shape()[1], x[0].shape()[2]], [x[1].shape()[0], x[1].shape()[1]]);
            x[0].conv2d(&x[1], None, &Window::same(input, kernel, [1; 2], pair("dilation")), 1)
        }
        "conv2d_transpose" => {
            // PyTorch's size is the smallest, larger by `output_padding`.
            let smallest = x[0].conv2d_transpose(&x[1], &pool(), groups(), None).ok()?;
            let size = [1, 2].map(|axis| smallest.shape()[axis] + case.int("output_padding") as usize);
            x[0].conv2d_transpose(&x[1], &pool(), groups(), Some(size))
        }
        "conv1d" => {
            let window = Window::valid().strided(pair("stride")).padded(around());
            x[0].conv1d(&x[1], None, &window, 1)
        }
        "max_pool2d" => x[0].max_pool2d(pair("size"), &pool()),
        "avg_pool2d" => x[0].avg_pool2d(pair("size"), &pool(), case.flag("count_padding")),
        "adaptive_avg_pool2d" => x[0].adaptive_avg_pool2d(pair("output")),
        "upsample_nearest2d" => x[0].upsample_nearest2d(pair("scale")),
        "upsample_bilinear2d" => x[0].upsample_bilinear2d(pair("output")),
        _ => return None,
    })
}

fn check(op: &str, case: &Case) -> Result<Option<String>> {
    let given = case.inputs();
    let inputs: Vec<Tensor> =
        given.iter().map(|x| if x.dtype() == DType::F64 { x.requires_grad() } else { x.clone() }).collect();
    let y = compute(op, &inputs, case)?;
    let mut worst = ("y".to_owned(), distance(&y, &case.tensor("y").expect("every case has a result")));
    if let Some(dy) = case.tensor("dy") {
        let gradients = y.mul(&dy)?.sum(&[])?.backward()?;
        for (i, x) in inputs.iter().enumerate() {
            if let Some(theirs) = case.tensor(&format!("dx{i}")) {
                let apart = distance(gradients.get(x)?, &theirs);
                if apart > worst.1 {
                    worst = (format!("dx{i}"), apart);
                }
            }
        }
    }
    let bound = match case.name.as_str() {
        // PyTorch's slope of 1/6 is rounded to single precision.
        name if name.starts_with("hard_sigmoid") => 1e-8,
        // The mean of numbers around 1e6 is known to 1e-10 only.
        "var/large" => 1e-10,
        _ => 1e-12,
    };
    Ok((worst.1 > bound).then(|| format!("{} is {:e} apart", worst.0, worst.1)))
}

#[test]
fn operations_agree_with_pytorch() {
    let cases = golden::read(include_bytes!("golden/ops.safetensors"));
    let mut failures = Vec::new();
    let mut ran = 0;
    for case in &cases {
        let (name, op) = (&case.name, &case.op);
        if left_out(name, op).is_some() {
            continue;
        }
        ran += 1;
        match check(op, case) {
            Ok(None) => {}
            Ok(Some(difference)) => failures.push(format!("{name}: {difference}")),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{} of {ran} differ:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(ran, 491, "of {} stored cases; the front page names the number", cases.len());
}
