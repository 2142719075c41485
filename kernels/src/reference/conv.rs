//! Convolution and pooling of images.

use super::{floats, write};
use crate::window::{Axis, Window};
use crate::{Buffer, Result, Unary, View};

/// One product of a convolution: where its input, weight and result stand, in row-major order.
struct Term {
    x: usize,
    w: usize,
    y: usize,
}

/// Calls `f` for every product of a convolution of `[n, h, w, c]` with `[kh, kw, c / groups, o]`.
fn terms([n, _, _, c]: [usize; 4], o: usize, [height, width]: [Axis; 2], groups: usize, mut f: impl FnMut(Term)) {
    let (c_group, o_group) = (c / groups, o / groups);
    for image in 0..n {
        for (oh, ow) in (0..height.output).flat_map(|oh| (0..width.output).map(move |ow| (oh, ow))) {
            for (kh, ih) in height.taps(oh) {
                for (kw, iw) in width.taps(ow) {
                    let x = ((image * height.input + ih) * width.input + iw) * c;
                    let w = (kh * width.kernel + kw) * c_group * o;
                    let y = ((image * height.output + oh) * width.output + ow) * o;
                    for (filter, i) in (0..o).flat_map(|filter| (0..c_group).map(move |i| (filter, i))) {
                        f(Term { x: x + filter / o_group * c_group + i, w: w + i * o + filter, y: y + filter });
                    }
                }
            }
        }
    }
}

fn shape(x: View) -> [usize; 4] {
    x.shape().try_into().expect("images have four dimensions")
}

fn axes(window: &Window, input: [usize; 2], kernel: [usize; 2]) -> [Axis; 2] {
    window.axes(input, kernel).expect("callers check that the kernel fits")
}

pub fn conv2d(
    x: View,
    w: View,
    bias: Option<View>,
    activation: Option<Unary>,
    window: &Window,
    groups: usize,
) -> Result<Buffer> {
    let ([n, h, width, c], [kh, kw, _, o]) = (shape(x), shape(w));
    let axes = axes(window, [h, width], [kh, kw]);
    let dtype = x.dtype();
    let (x, w) = (floats("conv2d", x)?, floats("conv2d", w)?);
    let bias = bias.map_or(Ok(vec![0.0; o]), |bias| floats("conv2d", bias))?;
    let mut y = vec![0.0; n * axes[0].output * axes[1].output * o];
    terms([n, h, width, c], o, axes, groups, |at| y[at.y] += x[at.x] * w[at.w]);
    for (y, bias) in y.iter_mut().zip(bias.iter().cycle()) {
        *y += bias;
    }
    Ok(write(dtype, y.into_iter().map(|y| activation.map_or(y, |activation| activation.reference(y)))))
}

pub fn conv2d_grad_input(dy: View, w: View, input: [usize; 2], window: &Window, groups: usize) -> Result<Buffer> {
    let ([n, ..], [kh, kw, c_group, o]) = (shape(dy), shape(w));
    let (dtype, c) = (dy.dtype(), c_group * groups);
    let (dy, w) = (floats("conv2d_grad_input", dy)?, floats("conv2d_grad_input", w)?);
    let mut dx = vec![0.0; n * input[0] * input[1] * c];
    let axes = axes(window, input, [kh, kw]);
    terms([n, input[0], input[1], c], o, axes, groups, |at| dx[at.x] += dy[at.y] * w[at.w]);
    Ok(write(dtype, dx))
}

pub fn conv2d_grad_weight(x: View, dy: View, kernel: [usize; 2], window: &Window, groups: usize) -> Result<Buffer> {
    let ([n, h, width, c], [.., o]) = (shape(x), shape(dy));
    let dtype = dy.dtype();
    let (x, dy) = (floats("conv2d_grad_weight", x)?, floats("conv2d_grad_weight", dy)?);
    let mut dw = vec![0.0; kernel[0] * kernel[1] * (c / groups) * o];
    let axes = axes(window, [h, width], kernel);
    terms([n, h, width, c], o, axes, groups, |at| dw[at.w] += dy[at.y] * x[at.x]);
    Ok(write(dtype, dw))
}

/// Calls `f` for every result of a pool over `[n, h, w, c]`, in row-major order: with its row and column, and with the
/// places of the elements that its window holds, as `h * w` and as row-major positions.
fn windows([n, _, _, c]: [usize; 4], [height, width]: [Axis; 2], mut f: impl FnMut([usize; 2], &[(usize, usize)])) {
    for image in 0..n {
        for (oh, ow) in (0..height.output).flat_map(|oh| (0..width.output).map(move |ow| (oh, ow))) {
            for channel in 0..c {
                let rows = height.taps(oh).flat_map(|(_, ih)| width.taps(ow).map(move |(_, iw)| (ih, iw)));
                let places: Vec<_> = rows
                    .map(|(ih, iw)| ih * width.input + iw)
                    .map(|place| (place, (image * height.input * width.input + place) * c + channel))
                    .collect();
                f([oh, ow], &places);
            }
        }
    }
}

pub fn max_pool2d(x: View, size: [usize; 2], window: &Window) -> Result<(Buffer, Buffer)> {
    let (dtype, [n, h, w, c]) = (x.dtype(), shape(x));
    let x = floats("max_pool2d", x)?;
    let (mut y, mut places) = (Vec::new(), Vec::new());
    windows([n, h, w, c], axes(window, [h, w], size), |_, window| {
        let larger = |best: (usize, usize), next: (usize, usize)| {
            let (a, b) = (x[best.1], x[next.1]);
            if b > a || b.is_nan() && !a.is_nan() { next } else { best }
        };
        let best = window.iter().copied().reduce(larger).expect("callers check that every window holds an element");
        y.push(x[best.1]);
        places.push(best.0 as i32);
    });
    Ok((write(dtype, y), Buffer::from_slice(&places)))
}

pub fn max_pool2d_grad(
    dy: View,
    places: View,
    input: [usize; 2],
    _size: [usize; 2],
    _window: &Window,
) -> Result<Buffer> {
    let (dtype, [n, oh, ow, c]) = (dy.dtype(), shape(dy));
    let (dy, places) = (floats("max_pool2d_grad", dy)?, super::read(places));
    let mut dx = vec![0.0; n * input[0] * input[1] * c];
    for (i, (dy, place)) in dy.iter().zip(places).enumerate() {
        let image = i / (oh * ow * c);
        dx[(image * input[0] * input[1] + place.as_i64() as usize) * c + i % c] += dy;
    }
    Ok(write(dtype, dx))
}

/// By how much a window's sum is divided.
fn divisor(axes: [Axis; 2], held: usize, count_padding: bool) -> f64 {
    if count_padding { (axes[0].kernel * axes[1].kernel) as f64 } else { held as f64 }
}

pub fn avg_pool2d(x: View, size: [usize; 2], window: &Window, count_padding: bool) -> Result<Buffer> {
    let (dtype, [n, h, w, c]) = (x.dtype(), shape(x));
    let x = floats("avg_pool2d", x)?;
    let axes = axes(window, [h, w], size);
    let mut y = Vec::new();
    windows([n, h, w, c], axes, |_, window| {
        let sum: f64 = window.iter().map(|&(_, at)| x[at]).sum();
        y.push(sum / divisor(axes, window.len(), count_padding));
    });
    Ok(write(dtype, y))
}

pub fn avg_pool2d_grad(
    dy: View,
    input: [usize; 2],
    size: [usize; 2],
    window: &Window,
    count_padding: bool,
) -> Result<Buffer> {
    let (dtype, [n, _, _, c]) = (dy.dtype(), shape(dy));
    let dy = floats("avg_pool2d_grad", dy)?;
    let axes = axes(window, input, size);
    let mut dx = vec![0.0; n * input[0] * input[1] * c];
    let mut dy = dy.into_iter();
    windows([n, input[0], input[1], c], axes, |_, window| {
        let share = dy.next().unwrap_or(0.0) / divisor(axes, window.len(), count_padding);
        for &(_, at) in window {
            dx[at] += share;
        }
    });
    Ok(write(dtype, dx))
}
