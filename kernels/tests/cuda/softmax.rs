//! Softmax, its logarithm, their gradients, and the loss.

use gradus_kernels::{Backend, Buffer, Layout, REFERENCE, View};

use crate::gpu::{Gpu, assert_close, list, numbers};

#[test]
fn softmax_and_its_logarithm_with_gradients() {
    let mut gpu = Gpu::new("softmax");
    for [rows, columns] in [[1usize, 1usize], [5, 10], [3, 32], [9, 1000]] {
        let n = rows * columns;
        let x: Vec<f32> = numbers(n, 12).iter().map(|x| 90.0 + 20.0 * x).collect();
        let dy = numbers(n, 13);
        let layout = Layout::contiguous(&[rows, columns]);
        let (from, slopes) = (Buffer::from_slice(&x), Buffer::from_slice(&dy));
        let (x, dy) = (gpu.put(&x), gpu.put(&dy));
        let (grid, block) = ([(rows as u32).div_ceil(4), 1, 1], [128, 1, 1]);
        let shape = [rows as u32, columns as u32];
        for name in ["softmax", "log_softmax"] {
            let (y, dx) = (gpu.room(4 * n), gpu.room(4 * n));
            gpu.launch(name, grid, block, list![x, y, shape[0], shape[1]]);
            gpu.launch(&format!("{name}_grad"), grid, block, list![y, dy, dx, shape[0], shape[1]]);
            let view = View::new(&from, &layout);
            let plain = if name == "softmax" { REFERENCE.softmax(view, 1) } else { REFERENCE.log_softmax(view, 1) };
            let plain = plain.unwrap();
            let (y_view, dy_view) = (View::new(&plain, &layout), View::new(&slopes, &layout));
            let grad = match name {
                "softmax" => REFERENCE.softmax_grad(y_view, dy_view, 1),
                _ => REFERENCE.log_softmax_grad(y_view, dy_view, 1),
            };
            assert_close(name, &gpu.get(y, n), plain.as_slice(), 3e-6);
            assert_close(name, &gpu.get(dx, n), grad.unwrap().as_slice(), 1e-5);
        }
    }
}

#[test]
fn cross_entropy_with_its_gradient() {
    let mut gpu = Gpu::new("softmax");
    let (rows, columns) = (7, 10);
    let x: Vec<f32> = numbers(70, 14).iter().map(|x| 30.0 * x).collect();
    let labels: Vec<i64> = (0..7).map(|row| row * 3 % 10).collect();
    let slopes = numbers(7, 15);
    let (logits, classes, dy) = (Buffer::from_slice(&x), Buffer::from_slice(&labels), Buffer::from_slice(&slopes));
    let (at, row) = (Layout::contiguous(&[rows, columns]), Layout::contiguous(&[rows]));
    let (logits, classes, dy) = (View::new(&logits, &at), View::new(&classes, &row), View::new(&dy, &row));
    let (loss, grad) = REFERENCE.cross_entropy_with_grad(logits, classes).unwrap();
    let (from, known, to, dx) = (gpu.put(&x), gpu.put(&labels), gpu.room(28), gpu.room(280));
    let (bad, none) = (gpu.put(&[0i64; 4]), 0u64);
    let (grid, block) = ([4, 1, 1], [64, 1, 1]);
    gpu.launch("cross_entropy", grid, block, list![from, known, to, dx, 7u32, 10u32, bad]);
    assert_close("loss", &gpu.get(to, 7), loss.as_slice(), 1e-6);
    assert_close("gradient", &gpu.get(dx, 70), grad.as_slice(), 1e-6);
    let alone = gpu.room(28);
    gpu.launch("cross_entropy", grid, block, list![from, known, alone, none, 7u32, 10u32, bad]);
    assert_eq!(gpu.get::<f32>(alone, 7), gpu.get::<f32>(to, 7));
    let slopes = gpu.put(&slopes);
    gpu.launch("cross_entropy_grad", grid, block, list![from, known, slopes, dx, 7u32, 10u32, bad]);
    let grad = REFERENCE.cross_entropy_grad(logits, classes, dy).unwrap();
    assert_close("gradient", &gpu.get(dx, 70), grad.as_slice(), 1e-6);
    assert_eq!(gpu.get::<i64>(bad, 4), [0; 4]);
}

#[test]
fn a_label_outside_is_reported() {
    let mut gpu = Gpu::new("softmax");
    let (from, labels) = (gpu.put(&numbers(70, 14)), gpu.put(&[0i64, 1, 2, 10, 4, 5, 6]));
    let (to, dx, dy) = (gpu.room(28), gpu.room(280), gpu.put(&[1f32; 7]));
    for kernel in ["cross_entropy", "cross_entropy_grad"] {
        let bad = gpu.put(&[0i64; 4]);
        let args = match kernel {
            "cross_entropy" => list![from, labels, to, dx, 7u32, 10u32, bad],
            _ => list![from, labels, dy, dx, 7u32, 10u32, bad],
        };
        gpu.launch(kernel, [4, 1, 1], [64, 1, 1], args);
        assert_eq!(gpu.get::<i64>(bad, 4), [1, 3, 10, 10], "{kernel}");
    }
    let losses = gpu.get::<f32>(to, 7);
    let wrong: Vec<usize> = (0..7).filter(|&row| losses[row].is_nan()).collect();
    assert_eq!(wrong, [3], "no silent number");
}
