//! The rows of what layers, losses and optimizers do in few passes.

use super::{MILLION, noise, one};
use crate::core::kernels::backend::{Adjust, Normalize, Rule};
use crate::core::kernels::{Unary, View};
use crate::core::ops::step::{Step, update};
use crate::core::{Buffer, Result, Tensor};
use crate::profile::operation::{Operation, Scale, bytes, indices, uniform};

/// Softmax, and the losses that contain it.
pub fn along_rows() -> Vec<Operation> {
    const WIDE: &[usize] = &[256, 1000];
    type Gradient = fn(&Tensor, View, View) -> crate::core::kernels::Result<Buffer>;
    let along = |name, shapes, run: fn(&Tensor) -> Result<Tensor>| {
        Operation::new(name, name, "ROWSxCOLUMNS", shapes, noise, move |x| one(run(&x[0])))
    };
    // From the output `y` and its gradient.
    let backwards = |name, y: fn(&Tensor) -> Result<Tensor>, of: Gradient| {
        let inputs = move |s: &[usize]| Ok(vec![y(&uniform(s, -3.0, 3.0, 1)?)?, uniform(s, -1.0, 1.0, 2)?]);
        Operation::new(name, name, "ROWSxCOLUMNS", &[WIDE], inputs, move |x| {
            one(Tensor::from_buffer(of(&x[0], x[0].view(), x[1].view())?, x[0].shape(), x[0].device()))
        })
    };
    fn labelled(s: &[usize]) -> Result<Vec<Tensor>> {
        Ok(vec![uniform(s, -3.0, 3.0, 1)?, indices(&[s[0]], s[1])?, uniform(&[s[0]], 0.0, 1.0, 3)?])
    }
    let loss = |name, run: fn(&mut [Tensor]) -> Result<Vec<Tensor>>| {
        Operation::new(name, name, "ROWSxCLASSES", &[&[32, 10], WIDE], labelled, run)
    };
    let rows = vec![
        along("softmax", &[WIDE, MILLION], |x| x.softmax(1)),
        along("log_softmax", &[WIDE, MILLION], |x| x.log_softmax(1)),
        backwards("softmax_grad", |x| x.softmax(1), |x, y, dy| x.device().backend().softmax_grad(y, dy, 1)),
        backwards("log_softmax_grad", |x| x.log_softmax(1), |x, y, dy| x.device().backend().log_softmax_grad(y, dy, 1)),
        loss("cross_entropy", |x| one(x[0].cross_entropy(&x[1]))),
        loss("cross_entropy_with_grad", |x| {
            let (losses, slopes) = x[0].device().backend().cross_entropy_with_grad(x[0].view(), x[1].view())?;
            let losses = Tensor::from_buffer(losses, x[1].shape(), x[0].device())?;
            Ok(vec![losses, Tensor::from_buffer(slopes, x[0].shape(), x[0].device())?])
        }),
        loss("cross_entropy_grad", |x| {
            let slopes = x[0].device().backend().cross_entropy_grad(x[0].view(), x[1].view(), x[2].view())?;
            one(Tensor::from_buffer(slopes, x[0].shape(), x[0].device()))
        }),
    ];
    rows.into_iter().map(|row| row.exact_to(Scale::Largest, 2e-6)).collect()
}

/// The dense layer: the product with bias and activation, and the way back through the activation.
pub fn dense() -> Vec<Operation> {
    const LAYERS: &[&[usize]] = &[&[32, 784, 300], &[32, 300, 100], &[256, 784, 128]];
    fn inputs(s: &[usize]) -> Result<Vec<Tensor>> {
        Ok(vec![
            uniform(&[s[0], s[1]], -1.0, 1.0, 1)?,
            uniform(&[s[1], s[2]], -0.1, 0.1, 2)?,
            uniform(&s[2..], -1.0, 1.0, 3)?,
        ])
    }
    let linear = |name, activation: Option<Unary>| {
        Operation::new(name, "linear", "MxKxN", LAYERS, inputs, move |x| {
            one(x[0].linear(&x[1], Some(&x[2]), activation))
        })
        .exact_to(Scale::Magnitudes, 2e-6)
        .counting(|shape| 2 * shape.iter().product::<usize>())
    };
    let slopes = |s: &[usize]| Ok(vec![uniform(s, 0.0, 1.0, 1)?, uniform(s, -1.0, 1.0, 2)?]);
    // The step of a weight as its gradient is computed: `w += scale * x^T dy`.
    fn weights(s: &[usize]) -> Result<Vec<Tensor>> {
        Ok(vec![
            uniform(&[s[0], s[2]], -1.0, 1.0, 1)?,
            uniform(&[s[1], s[0]], -1.0, 1.0, 2)?,
            uniform(&s[1..], -1.0, 1.0, 3)?,
        ])
    }
    vec![
        Operation::new("add_product_tn", "add_product", "MxKxN", &[&[784, 32, 300], &[300, 32, 100]], weights, |x| {
            let [w, x, dy] = x else { unreachable!("three inputs were made") };
            let (backend, x) = (w.device().backend(), x.t()?);
            backend.add_product(w.make_mut()?, 1e-3, x.view(), dy.view())?;
            Ok(vec![w.clone()])
        })
        .exact_to(Scale::Magnitudes, 2e-6)
        .counting(|shape| 2 * shape.iter().product::<usize>()),
        linear("linear", None),
        linear("linear_relu", Some(Unary::Relu)),
        Operation::new("activation_grad", "activation_grad", "ROWSxCOLUMNS", &[&[32, 300], MILLION], slopes, |x| {
            let (dx, bias) = x[0].device().backend().activation_grad(Unary::Sigmoid, x[0].view(), x[1].view())?;
            let columns = &x[0].shape()[1..];
            let dx = Tensor::from_buffer(dx, x[0].shape(), x[0].device())?;
            Ok(vec![dx, Tensor::from_buffer(bias, columns, x[0].device())?])
        })
        .exact_to(Scale::Largest, 2e-6),
    ]
}

/// Batch and layer normalisation; features lie along the columns.
pub fn norms() -> Vec<Operation> {
    const EPSILON: f64 = 1e-3;
    const BATCHES: &[&[usize]] = &[&[32, 784], &[32, 300], MILLION];
    // The input, its gradient, and for each feature: mean, variance, gamma, beta and the gradients of the last two.
    fn inputs(s: &[usize]) -> Result<Vec<Tensor>> {
        let features = &s[1..];
        Ok(vec![
            uniform(s, -3.0, 3.0, 1)?,
            uniform(s, -1.0, 1.0, 2)?,
            uniform(features, -0.1, 0.1, 3)?,
            uniform(features, 2.0, 4.0, 4)?,
            uniform(features, 0.5, 1.5, 5)?,
            uniform(features, -1.0, 1.0, 6)?,
            uniform(features, -1.0, 1.0, 7)?,
            uniform(features, -1.0, 1.0, 8)?,
        ])
    }
    fn how(x: &[Tensor]) -> Normalize<'_> {
        let [_, _, mean, variance, gamma, beta, ..] = x else { unreachable!("eight inputs were made") };
        let [mean, variance, gamma, beta] = [mean, variance, gamma, beta].map(Tensor::view);
        Normalize { mean, variance, gamma, beta, epsilon: EPSILON }
    }
    fn of_features(buffer: Buffer, x: &[Tensor]) -> Result<Tensor> {
        Tensor::from_buffer(buffer, &x[0].shape()[1..], x[0].device())
    }
    fn of_input(buffer: Buffer, x: &[Tensor]) -> Result<Tensor> {
        Tensor::from_buffer(buffer, x[0].shape(), x[0].device())
    }
    let row = |name, primitive, run: fn(&mut [Tensor]) -> Result<Vec<Tensor>>| {
        Operation::new(name, primitive, "ROWSxCOLUMNS", BATCHES, inputs, run).exact_to(Scale::Largest, 2e-6)
    };
    // The rest of the inputs is as good as nothing beside these.
    let one_and_out = |x: &[Tensor], y: &[Tensor]| bytes(&x[..1]) + bytes(y);
    let two_and_out = |x: &[Tensor], y: &[Tensor]| bytes(&x[..2]) + bytes(y);
    vec![
        row("layer_norm", "layer_norm", |x| one(x[0].layer_norm(&x[4], &x[5], EPSILON))).moving(one_and_out),
        row("batch_norm", "batch_norm", |x| Ok(x[0].batch_norm(&x[4], &x[5], 1, EPSILON)?.into())).moving(one_and_out),
        row("batch_norm_grad", "batch_norm_grad", |x| {
            let [dx, dgamma, dbeta] = x[0].device().backend().batch_norm_grad(x[0].view(), x[1].view(), 1, &how(x))?;
            Ok(vec![of_input(dx, x)?, of_features(dgamma, x)?, of_features(dbeta, x)?])
        })
        .moving(two_and_out),
        row("batch_norm_relu6", "batch_norm_activated", |x| {
            Ok(x[0].batch_norm_activated(&x[4], &x[5], 1, EPSILON, Some(Unary::Relu6))?.into())
        })
        .moving(one_and_out),
        row("batch_norm_relu6_grad", "batch_norm_activated_grad", |x| {
            let (backend, how, [mean, variance, gamma, beta]) =
                (x[0].device().backend(), how(x), [2, 3, 4, 5].map(|i| &x[i]));
            let at_once = backend.batch_norm_activated_grad(x[0].view(), x[1].view(), 1, &how, Unary::Relu6)?;
            let [dx, dgamma, dbeta] = match at_once {
                Some(all) => all,
                None => {
                    let y = x[0].normalize([mean, variance], [gamma, beta], 1, EPSILON)?;
                    let inside = y.gt_scalar(0.0)?.logical_and(&y.lt_scalar(6.0)?)?;
                    let dy = x[1].select(&inside, &x[1].zeros_like()?)?;
                    backend.batch_norm_grad(x[0].view(), dy.view(), 1, &how)?
                }
            };
            Ok(vec![of_input(dx, x)?, of_features(dgamma, x)?, of_features(dbeta, x)?])
        })
        .moving(two_and_out),
        row("normalize_relu6", "normalize_activated", |x| {
            one(x[0].normalize_activated([&x[2], &x[3]], [&x[4], &x[5]], 1, EPSILON, Some(Unary::Relu6)))
        })
        .moving(one_and_out),
        row("moments", "moments", |x| {
            let (mean, variance) = x[0].device().backend().moments(x[0].view(), 1)?;
            Ok(vec![of_features(mean, x)?, of_features(variance, x)?])
        })
        .moving(one_and_out),
        row("normalize", "normalize", |x| {
            one(of_input(x[0].device().backend().normalize(x[0].view(), 1, &how(x))?, x))
        })
        .moving(one_and_out),
        row("normalize_grad_params", "normalize_grad_params", |x| {
            let backend = x[0].device().backend();
            let (gamma, beta) = backend.normalize_grad_params(x[0].view(), x[1].view(), 1, &how(x))?;
            Ok(vec![of_features(gamma, x)?, of_features(beta, x)?])
        })
        .moving(two_and_out),
        row("normalize_grad_input", "normalize_grad_input", |x| {
            let (backend, params) = (x[0].device().backend(), (x[6].view().buffer, x[7].view().buffer));
            one(of_input(backend.normalize_grad_input(x[0].view(), x[1].view(), 1, &how(x), Some(params))?, x))
        })
        .moving(two_and_out),
    ]
}

/// What optimizers do to their weights.
pub fn steps() -> Vec<Operation> {
    // The first layer of the labs' dense networks, and a million weights.
    const WEIGHTS: &[&[usize]] = &[&[784, 300], MILLION];
    const SGD: Rule = Rule::Descend { rate: 1e-3 };
    const HEAVY: Rule = Rule::Momentum { momentum: 0.9, inner: 1e-3, outer: 1.0, nesterov: false };
    const ADAM: Rule =
        Rule::Moments { beta1: 0.9, beta2: 0.999, rate_m: 1e-3, rate_g: 0.0, root: 1.0, epsilon: 1e-7, largest: false };
    // Weights, gradient and state; the last of four is a mean of squares.
    let row = |name, count, rule| {
        let inputs =
            move |s: &[usize]| (0..count).map(|i| uniform(s, if i == 3 { 0.0 } else { -1.0 }, 1.0, i)).collect();
        let run = move |x: &mut [Tensor]| {
            let [weights, gradient, states @ ..] = x else { unreachable!("two inputs or more were made") };
            update(vec![Step { weights, gradient, states, adjust: Adjust::NOTHING, rule }])?;
            Ok(std::iter::once(&*weights).chain(&*states).cloned().collect())
        };
        Operation::new(name, "update", "..", WEIGHTS, inputs, run).exact_to(Scale::Largest, 2e-6)
    };
    vec![row("sgd", 2, SGD), row("sgd_momentum", 3, HEAVY), row("adam", 4, ADAM)]
}
