//! Convolutions, pools and whatever else works on images.

use gradus::core::Window;
use gradus_kernels::Unary;

use super::{Case, case, uniform};

/// Windows of every kind, with the kernels that they are for.
fn windows() -> [(&'static str, [usize; 2], Window); 6] {
    let valid = Window::valid();
    [
        ("valid", [3, 2], valid),
        ("1 x 1", [1, 1], valid),
        ("with stride 2 and padding", [3, 3], valid.strided([2, 2]).padded([[1, 1], [1, 1]])),
        ("with asymmetric padding", [2, 3], valid.strided([1, 2]).padded([[0, 1], [2, 0]])),
        ("with dilation", [2, 2], valid.dilated([2, 3]).padded([[1, 0], [0, 2]])),
        ("same", [2, 2], Window::same([4, 5], [2, 2], [1, 1], [1, 1])),
    ]
}

/// Every case.
pub fn all() -> Vec<Case> {
    let mut cases = convolutions();
    cases.extend(pools());
    let x = uniform(&[2, 3, 4, 2], -1.0, 1.0);
    cases.extend([
        case("pad2d", &[&x], |x| x[0].pad2d([[1, 0], [2, 1]])),
        case("upsample_nearest2d", &[&x], |x| x[0].upsample_nearest2d([2, 3])),
        case("upsample_bilinear2d", &[&x], |x| x[0].upsample_bilinear2d([5, 3])),
        case("adaptive_avg_pool2d", &[&x], |x| x[0].adaptive_avg_pool2d([2, 3])),
    ]);
    cases
}

fn convolutions() -> Vec<Case> {
    let x = uniform(&[2, 4, 5, 2], -1.0, 1.0);
    let mut cases = Vec::new();
    for (name, [kh, kw], window) in windows() {
        for groups in [1, 2] {
            let (w, b) = (uniform(&[kh, kw, 2 / groups, 4], -1.0, 1.0), uniform(&[4], -1.0, 1.0));
            let name = format!("conv2d {name} in {groups} groups");
            cases.push(case(&name, &[&x, &w, &b], move |x| x[0].conv2d(&x[1], Some(&x[2]), &window, groups)));
        }
    }
    let (w, b) = (uniform(&[2, 2, 2, 3], -1.0, 1.0), uniform(&[3], -1.0, 1.0));
    for activation in [Unary::Tanh, Unary::Gelu] {
        let name = format!("conv2d with {}", activation.name());
        cases.push(case(&name, &[&x, &w, &b], move |x| {
            x[0].conv2d_activated(&x[1], Some(&x[2]), &Window::valid(), 1, Some(activation))
        }));
    }
    let small = uniform(&[2, 2, 3, 3], -1.0, 1.0);
    let strided = Window::valid().strided([2, 2]).padded([[1, 0], [0, 1]]);
    cases.extend([
        case("conv2d without a bias", &[&x, &w], |x| x[0].conv2d(&x[1], None, &Window::valid(), 1)),
        case("conv2d_transpose", &[&small, &w], |x| x[0].conv2d_transpose(&x[1], &Window::valid(), 1, None)),
        case("conv2d_transpose with stride", &[&small, &w], move |x| {
            x[0].conv2d_transpose(&x[1], &strided, 1, Some([4, 5]))
        }),
        case("conv1d", &[&uniform(&[2, 6, 2], -1.0, 1.0), &uniform(&[3, 2, 3], -1.0, 1.0)], |x| {
            x[0].conv1d(&x[1], None, &Window::valid().strided([1, 2]).padded([[0; 2], [1; 2]]), 1)
        }),
    ]);
    cases
}

fn pools() -> Vec<Case> {
    let x = uniform(&[2, 4, 5, 2], -1.0, 1.0);
    let mut cases = Vec::new();
    for (name, size, window) in windows() {
        if size[1] <= window.padding[1][0] {
            continue;
        }
        cases.push(case(&format!("max_pool2d {name}"), &[&x], move |x| x[0].max_pool2d(size, &window)));
        for count_padding in [true, false] {
            let name = format!("avg_pool2d {name}{}", if count_padding { ", padding counted" } else { "" });
            cases.push(case(&name, &[&x], move |x| x[0].avg_pool2d(size, &window, count_padding)));
        }
    }
    cases
}
