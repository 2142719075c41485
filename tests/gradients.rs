//! Every operation's gradient against finite differences, to second order; and what the walk promises.

mod cases;

use gradus::core::grad::check::check_gradient;
use gradus::core::grad::{Grads, Op, Saved, apply};
use gradus::core::{DType, Device, Result, Tensor, grad, no_grad};

/// The same values seen through layouts that are not row-major: transposed, and every second one of a flipped tensor.
fn other_views(x: &Tensor) -> Vec<Tensor> {
    let last = x.rank().max(1) as isize - 1;
    let mut views = Vec::new();
    if x.rank() >= 2 {
        views.push(x.transpose(0, last).unwrap().contiguous().unwrap().transpose(0, last).unwrap());
    }
    if x.rank() >= 1 {
        let spread =
            Tensor::stack(&[x, x], -1).unwrap().flatten(-2, -1).unwrap().flip(-1).unwrap().contiguous().unwrap();
        views.push(spread.flip(-1).unwrap().slice_step(-1, 0, 2 * x.shape()[last as usize], 2).unwrap());
    }
    views
}

#[test]
fn gradients_of_every_operation_to_second_order() {
    let mut failures = Vec::new();
    for case in cases::all() {
        if let Err(error) = check_gradient(&case.compute, &case.inputs, 2) {
            failures.push(format!("{}: {error}", case.name));
        }
        let views: Vec<Vec<Tensor>> = case.inputs.iter().map(other_views).collect();
        for (view, _) in views[0].iter().enumerate() {
            let inputs: Vec<Tensor> =
                views.iter().zip(&case.inputs).map(|(v, x)| v.get(view).unwrap_or(x).clone()).collect();
            if let Err(error) = check_gradient(&case.compute, &inputs, 1) {
                failures.push(format!("{}, input in another layout ({view}): {error}", case.name));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// A wrong rule: what the check must catch.
#[derive(Debug)]
struct Wrong;

impl Op for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }
    fn forward(&self, x: &[&Tensor]) -> Result<Tensor> {
        x[0].square()
    }
    fn backward(&self, _: &Saved<'_>, dy: &Tensor, grads: &mut Grads<'_>) -> Result<()> {
        grads.wrt(0, || Ok(dy.clone()))
    }
}

#[test]
fn the_check_catches_a_wrong_rule() {
    let x = cases::uniform(&[5], 0.5, 2.0);
    let error = check_gradient(|x| apply(Wrong, &[&x[0]]), std::slice::from_ref(&x), 1).unwrap_err().to_string();
    assert!(error.contains("gradient of order 1") && error.contains("differences say"), "{error}");
    // First order right, second wrong: the rule hands out a value that it detached.
    let cut = |x: &[Tensor]| x[0].square()?.add(&x[0].detach().square()?.mul(&x[0].detach())?.mul_scalar(0.0)?);
    check_gradient(cut, std::slice::from_ref(&x), 2).unwrap();
    let detached = |x: &[Tensor]| x[0].detach().mul(&x[0]);
    assert!(check_gradient(detached, &[x], 1).is_err());
}

#[test]
fn a_chain_of_a_million_operations_neither_overflows_in_backward_nor_in_drop() {
    let one = Tensor::scalar(1f64);
    let chain = |x: &Tensor| (0..1_000_000).try_fold(x.clone(), |y, _| y.add(&one)).unwrap();
    let x = Tensor::scalar(2f64).requires_grad();
    let gradients = chain(&x).backward().unwrap();
    assert_eq!(gradients.get(&x).unwrap().item().unwrap(), 1.0);
    drop(chain(&x));
}

#[test]
fn backward_frees_nodes_while_it_walks_and_grad_keeps_them() {
    let x = Tensor::ones(&[3], DType::F64, Device::CPU).unwrap().requires_grad();
    let y = x.exp().unwrap().sum(&[]).unwrap();
    assert_eq!(grad(&[&y], &[&x], false).unwrap()[0].to_f64_vec().unwrap(), [1f64.exp(); 3]);
    assert_eq!(grad(&[&y], &[&x], false).unwrap()[0].to_f64_vec().unwrap(), [1f64.exp(); 3]);
    let gradients = y.backward().unwrap();
    assert_eq!(gradients.len(), 1);
}

#[test]
fn gradients_of_inputs_that_are_no_leaves() {
    let x = Tensor::scalar(3f64).requires_grad();
    let middle = x.square().unwrap();
    let y = middle.mul(&x).unwrap();
    let both = grad(&[&y], &[&middle, &x], false).unwrap();
    assert_eq!((both[0].item().unwrap(), both[1].item().unwrap()), (3.0, 27.0));
}

#[test]
fn hooks_see_and_replace_gradients() {
    let x = Tensor::scalar(3f64).requires_grad();
    let y = x.square().unwrap();
    y.register_hook(|dy| dy.mul_scalar(10.0)).unwrap();
    assert_eq!(y.backward().unwrap().get(&x).unwrap().item().unwrap(), 60.0);
    let error = x.detach().register_hook(|dy| Ok(dy.clone())).unwrap_err();
    assert_eq!(error.to_string(), "register_hook: a constant never gets a gradient; call requires_grad on it first");
}

#[test]
fn nothing_is_recorded_where_nothing_is_wanted() {
    let x = Tensor::scalar(3f64).requires_grad();
    assert!(!no_grad(|| x.square()).unwrap().is_tracked());
    assert!(!x.detach().square().unwrap().is_tracked());
    assert!(!x.gt_scalar(1.0).unwrap().is_tracked());
    assert!(x.square().unwrap().is_tracked());
}

#[test]
fn a_missing_gradient_is_an_error_with_a_reason() {
    let (x, y) = (Tensor::scalar(3f64).requires_grad(), Tensor::scalar(1f64).requires_grad());
    let text = |result: Result<Tensor>| result.unwrap_err().to_string();
    let gradients = x.square().unwrap().backward().unwrap();
    assert!(text(gradients.get(&y).cloned()).contains("the scalar was not computed from it"));
    assert!(text(gradients.get(&x.detach()).cloned()).contains("call requires_grad on it first"));
    let constant = x.detach().square().unwrap().backward().map(|_| x.clone());
    assert!(text(constant).starts_with("backward: nothing was recorded"));
    let vector = Tensor::ones(&[2], DType::F64, Device::CPU).unwrap().requires_grad();
    assert!(text(vector.backward().map(|_| x.clone())).contains("starts at a scalar, not at shape [2]"));
    assert!(text(grad(&[&x], &[&y], false).map(|_| x.clone())).contains("do not depend on the input"));
}
