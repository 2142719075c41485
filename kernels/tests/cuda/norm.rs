//! Normalisation along rows and of columns, with gradients.

use gradus_kernels::backend::Normalize;
use gradus_kernels::{Backend, Buffer, Layout, REFERENCE, View};

use crate::gpu::{Gpu, assert_close, list, numbers};

#[test]
fn rows_are_normalised() {
    let mut gpu = Gpu::new("norm");
    for [rows, columns] in [[1usize, 1usize], [6, 50], [3, 300]] {
        let n = rows * columns;
        let x: Vec<f32> = numbers(n, 15).iter().map(|x| 100.0 + x).collect();
        let (gamma, beta) = (numbers(columns, 16), numbers(columns, 17));
        let layouts = [Layout::contiguous(&[rows, columns]), Layout::contiguous(&[columns])];
        let buffers = [&x, &gamma, &beta].map(|values| Buffer::from_slice(values));
        let view = |i: usize| View::new(&buffers[i], &layouts[i.min(1)]);
        let expected = REFERENCE.layer_norm(view(0), view(1), view(2), 1e-3).unwrap();
        let [x, gamma, beta] = [&x, &gamma, &beta].map(|values| gpu.put(values));
        let y = gpu.room(4 * n);
        gpu.launch("layer_norm", [rows as u32, 1, 1], [96, 1, 1], list![x, gamma, beta, y, columns as u32, 1e-3f32]);
        assert_close("layer_norm", &gpu.get(y, n), expected.as_slice(), 2e-5);
    }
}

#[test]
fn columns_are_normalised_with_gradients() {
    let mut gpu = Gpu::new("norm");
    for [rows, columns] in [[2usize, 1usize], [32, 33], [100, 70]] {
        let n = rows * columns;
        let (m, c) = (rows as u32, columns as u32);
        let x: Vec<f32> = numbers(n, 18).iter().map(|x| 10.0 + x).collect();
        let (dy, gamma, beta) = (numbers(n, 19), numbers(columns, 20), numbers(columns, 21));
        let (at, row) = (Layout::contiguous(&[rows, columns]), Layout::contiguous(&[columns]));
        let [bx, bdy, bgamma, bbeta] = [&x, &dy, &gamma, &beta].map(|values| Buffer::from_slice(values));
        let wide = |buffer| View::new(buffer, &at);
        let (means, variances) = REFERENCE.moments(wide(&bx), 1).unwrap();
        let of = |buffer| View::new(buffer, &row);
        let how = Normalize {
            mean: of(&means),
            variance: of(&variances),
            gamma: of(&bgamma),
            beta: of(&bbeta),
            epsilon: 1e-3,
        };
        let [x, dy, gamma, beta] = [&x, &dy, &gamma, &beta].map(|values| gpu.put(values));
        let [mean, variance, dgamma, dbeta] = [0; 4].map(|_| gpu.room(4 * columns));
        let (grid, block) = ([c.div_ceil(32), 1, 1], [32, 8, 1]);
        gpu.launch("moments", grid, block, list![x, mean, variance, m, c]);
        assert_close("means", &gpu.get(mean, columns), means.as_slice(), 1e-6);
        assert_close("variances", &gpu.get(variance, columns), variances.as_slice(), 1e-5);
        let (y, dx) = (gpu.room(4 * n), gpu.room(4 * n));
        gpu.each("normalize", n, list![x, mean, variance, gamma, beta, y, n as u32, c, 1e-3f32]);
        assert_close("normalize", &gpu.get(y, n), REFERENCE.normalize(wide(&bx), 1, &how).unwrap().as_slice(), 2e-5);
        gpu.launch("normalize_grad_params", grid, block, list![x, dy, mean, variance, dgamma, dbeta, m, c, 1e-3f32]);
        let [plain_dx, plain_dgamma, plain_dbeta] = REFERENCE.batch_norm_grad(wide(&bx), wide(&bdy), 1, &how).unwrap();
        assert_close("dgamma", &gpu.get(dgamma, columns), plain_dgamma.as_slice(), 2e-5);
        assert_close("dbeta", &gpu.get(dbeta, columns), plain_dbeta.as_slice(), 2e-6);
        let args = list![x, dy, mean, variance, gamma, dgamma, dbeta, dx, n as u32, m, c, 1e-3f32];
        gpu.each("normalize_grad_input", n, args);
        assert_close("dx", &gpu.get(dx, n), plain_dx.as_slice(), 5e-5);
    }
}
