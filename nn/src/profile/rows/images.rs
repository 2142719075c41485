//! The rows of convolutions and pools: the sizes of the labs' networks.

use super::{OF_PRODUCTS, one};
use crate::core::kernels::Unary;
use crate::core::{Buffer, Result, Tensor, Window};
use crate::profile::operation::{Operation, Scale, bytes, uniform};

/// Images, channels, filters and the kernel's side.
const DIMS: &str = "NxHxWxCxOxK";

/// A convolution of a row.
#[derive(Clone, Copy)]
struct Kind {
    same: bool,
    depthwise: bool,
}

impl Kind {
    fn window(self, s: &[usize]) -> Window {
        let (input, kernel) = ([s[1], s[2]], [s[5]; 2]);
        if self.same { Window::same(input, kernel, [1; 2], [1; 2]) } else { Window::valid() }
    }

    fn groups(self, s: &[usize]) -> usize {
        if self.depthwise { s[3] } else { 1 }
    }

    /// The images, the weights, a bias and the gradient of the result. A shape that has no result has an empty one.
    fn inputs(self, s: &[usize]) -> Result<Vec<Tensor>> {
        let &[n, h, w, c, o, k] = s else { unreachable!("shapes were checked") };
        let [oh, ow] = self.window(s).output([h, w], [k; 2]).unwrap_or_default();
        Ok(vec![
            uniform(&[n, h, w, c], -1.0, 1.0, 1)?,
            uniform(&[k, k, c / self.groups(s).max(1), o], -0.5, 0.5, 2)?,
            uniform(&[o], -1.0, 1.0, 3)?,
            uniform(&[n, oh, ow, o], -1.0, 1.0, 4)?,
        ])
    }

    fn window_of(self, x: &[Tensor]) -> (Window, usize) {
        let (images, weights) = (x[0].shape(), x[1].shape());
        let s = [images[0], images[1], images[2], images[3], weights[3], weights[0]];
        (self.window(&s), self.groups(&s))
    }

    fn forward(self, x: &[Tensor], activation: Option<Unary>) -> Result<Tensor> {
        let (window, groups) = self.window_of(x);
        x[0].conv2d_activated(&x[1], Some(&x[2]), &window, groups, activation)
    }

    fn grad_input(self, x: &[Tensor]) -> Result<Tensor> {
        let ((window, groups), input) = (self.window_of(x), [x[0].shape()[1], x[0].shape()[2]]);
        let backend = x[0].device().backend();
        let dx = backend.conv2d_grad_input(x[3].view(), x[1].view(), input, &window, groups)?;
        Tensor::from_buffer(dx, x[0].shape(), x[0].device())
    }

    fn grad_weight(self, x: &[Tensor]) -> Result<Tensor> {
        let ((window, groups), kernel) = (self.window_of(x), [x[1].shape()[0], x[1].shape()[1]]);
        let backend = x[0].device().backend();
        let dw = backend.conv2d_grad_weight(x[0].view(), x[3].view(), kernel, &window, groups)?;
        Tensor::from_buffer(dw, x[1].shape(), x[0].device())
    }

    /// Everything that a training step computes: the result, and the gradients of images, weights and bias.
    fn step(self, x: &[Tensor]) -> Result<Vec<Tensor>> {
        let (y, (window, groups)) = (self.forward(x, None)?, self.window_of(x));
        let device = x[0].device();
        let grads =
            device.backend().conv2d_grads([x[0].view(), x[1].view(), x[3].view()], [true; 3], &window, groups)?;
        let grads = grads.into_iter().zip([x[0].shape(), x[1].shape(), &x[1].shape()[3..]]);
        let grads = grads.map(|(grad, shape)| Tensor::from_buffer(grad.expect("it was wanted"), shape, device));
        [Ok(y)].into_iter().chain(grads).collect()
    }
}

/// Multiply-adds of each result, times results, times two.
fn flops<const SAME: bool, const DEPTHWISE: bool>(s: &[usize]) -> usize {
    let kind = Kind { same: SAME, depthwise: DEPTHWISE };
    let [oh, ow] = kind.window(s).output([s[1], s[2]], [s[5]; 2]).unwrap_or_default();
    2 * s[0] * oh * ow * s[4] * s[5] * s[5] * s[3] / kind.groups(s).max(1)
}

/// The rows of convolutions.
pub fn convolutions() -> Vec<Operation> {
    const VALID: &[&[usize]] = &[&[32, 28, 28, 1, 32, 3], &[32, 13, 13, 32, 64, 3], &[32, 56, 56, 96, 24, 1]];
    const SAME: &[&[usize]] = &[&[32, 8, 8, 64, 64, 3], &[32, 32, 32, 64, 64, 3], &[32, 96, 96, 3, 32, 3]];
    const DEPTHWISE: &[&[usize]] = &[&[32, 7, 7, 24, 24, 3], &[32, 56, 56, 96, 96, 3]];
    type Run = fn(Kind, &[Tensor]) -> Result<Vec<Tensor>>;
    let forward: Run = |kind, x| one(kind.forward(x, None));
    let relu: Run = |kind, x| one(kind.forward(x, Some(Unary::Relu)));
    let input: Run = |kind, x| one(kind.grad_input(x));
    let weight: Run = |kind, x| one(kind.grad_weight(x));
    let [valid, same] = [false, true].map(|same| Kind { same, depthwise: false });
    let depthwise = Kind { same: true, depthwise: true };
    let row = |name, primitive, kind: Kind, run: Run| {
        let (shapes, flops): (_, fn(&[usize]) -> usize) = match kind {
            Kind { depthwise: true, .. } => (DEPTHWISE, flops::<true, true>),
            Kind { same: true, .. } => (SAME, flops::<true, false>),
            _ => (VALID, flops::<false, false>),
        };
        Operation::new(name, primitive, DIMS, shapes, move |s| kind.inputs(s), move |x| run(kind, x))
            .exact_to(OF_PRODUCTS.0, OF_PRODUCTS.1)
            .counting(flops)
    };
    // The gradients of images and weights take as many products as the result.
    let step = |name, kind: Kind| {
        let flops: fn(&[usize]) -> usize = match kind {
            Kind { depthwise: true, .. } => |s| 3 * flops::<true, true>(s),
            Kind { same: true, .. } => |s| 3 * flops::<true, false>(s),
            _ => |s| 3 * flops::<false, false>(s),
        };
        row(name, "conv2d_grads", kind, Kind::step).counting(flops)
    };
    vec![
        row("conv2d", "conv2d", valid, forward),
        row("conv2d_relu", "conv2d", valid, relu),
        row("conv2d_same", "conv2d", same, forward),
        row("conv2d_grad_input", "conv2d_grad_input", valid, input),
        row("conv2d_grad_weight", "conv2d_grad_weight", valid, weight),
        step("conv2d_step", valid),
        row("conv2d_same_grad_input", "conv2d_grad_input", same, input),
        row("conv2d_same_grad_weight", "conv2d_grad_weight", same, weight),
        step("conv2d_same_step", same),
        row("depthwise", "conv2d", depthwise, forward),
        row("depthwise_grad_input", "conv2d_grad_input", depthwise, input),
        row("depthwise_grad_weight", "conv2d_grad_weight", depthwise, weight),
        step("depthwise_step", depthwise),
    ]
}

/// The rows of pools: windows of 2 x 2 side by side, and of 3 x 3 that overlap.
pub fn pools() -> Vec<Operation> {
    const SHAPES: &[&[usize]] = &[&[64, 26, 26, 32], &[32, 112, 112, 64]];
    const HALVES: Window = Window::valid().strided([2; 2]);
    const OVERLAPPING: Window = HALVES.padded([[1; 2]; 2]);
    fn like(buffer: Buffer, x: &Tensor) -> Result<Tensor> {
        Tensor::from_buffer(buffer, x.shape(), x.device())
    }
    let inputs = |size: usize, window: Window| {
        move |s: &[usize]| {
            let [oh, ow] = window.output([s[1], s[2]], [size; 2]).unwrap_or_default();
            let (x, dy) = (uniform(s, -3.0, 3.0, 1)?, uniform(&[s[0], oh, ow, s[3]], -1.0, 1.0, 2)?);
            // Images that are smaller than the window have no places; the run says so.
            let places = match dy.is_empty() {
                true => dy.clone(),
                false => like(x.device().backend().max_pool2d(x.view(), [size; 2], &window)?.1, &dy)?,
            };
            Ok(vec![x, dy, places])
        }
    };
    let row = |name, primitive, size, window, run: fn(&mut [Tensor]) -> Result<Vec<Tensor>>| {
        Operation::new(name, primitive, "NxHxWxC", SHAPES, inputs(size, window), run).exact_to(Scale::Largest, 2e-6)
    };
    // The other inputs are for gradients.
    let forward = |x: &[Tensor], y: &[Tensor]| bytes(&x[..1]) + bytes(y);
    vec![
        row("max_pool2d", "max_pool2d", 2, HALVES, |x| one(x[0].max_pool2d([2; 2], &HALVES))).moving(forward),
        row("max_pool2d_3x3", "max_pool2d", 3, OVERLAPPING, |x| one(x[0].max_pool2d([3; 2], &OVERLAPPING)))
            .moving(forward),
        row("max_pool2d_grad", "max_pool2d_grad", 2, HALVES, |x| {
            let (backend, input) = (x[0].device().backend(), [x[0].shape()[1], x[0].shape()[2]]);
            one(like(backend.max_pool2d_grad(x[1].view(), x[2].view(), input, [2; 2], &HALVES)?, &x[0]))
        })
        .moving(|x, y| bytes(&x[1..]) + bytes(y)),
        row("avg_pool2d", "avg_pool2d", 2, HALVES, |x| one(x[0].avg_pool2d([2; 2], &HALVES, true))).moving(forward),
        row("avg_pool2d_grad", "avg_pool2d_grad", 2, HALVES, |x| {
            let (backend, input) = (x[0].device().backend(), [x[0].shape()[1], x[0].shape()[2]]);
            one(like(backend.avg_pool2d_grad(x[1].view(), input, [2; 2], &HALVES, true)?, &x[0]))
        })
        .moving(|x, y| bytes(&x[1..2]) + bytes(y)),
    ]
}
