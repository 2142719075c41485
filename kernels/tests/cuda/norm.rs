//! Normalisation along rows and of columns, with gradients.

use gradus_kernels::backend::Normalize;
use gradus_kernels::{Backend, Buffer, Layout, REFERENCE, Unary, View};

use crate::conv_tiles::joined;
use crate::gpu::{Gpu, assert_close, list, numbers};
use crate::matmul_any::activation;

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
        // In parts of different lengths, and together.
        let parts = m.min(3);
        let [some_means, some_variances] = [0; 2].map(|_| gpu.room(4 * columns * parts as usize));
        let [mean_of_all, variance_of_all] = [0; 2].map(|_| gpu.room(4 * columns));
        gpu.launch("moments", [grid[0], parts, 1], block, list![x, some_means, some_variances, m, c]);
        let args = list![some_means, some_variances, mean_of_all, variance_of_all, m, c, parts];
        gpu.each("moments_join", columns, args);
        assert_close("means", &gpu.get(mean_of_all, columns), means.as_slice(), 1e-6);
        assert_close("variances", &gpu.get(variance_of_all, columns), variances.as_slice(), 1e-5);
        let (y, dx) = (gpu.room(4 * n), gpu.room(4 * n));
        gpu.each("normalize", n, list![x, mean, variance, gamma, beta, y, n as u32, c, 1u32, 1e-3f32]);
        assert_close("normalize", &gpu.get(y, n), REFERENCE.normalize(wide(&bx), 1, &how).unwrap().as_slice(), 2e-5);
        gpu.launch("normalize_grad_params", grid, block, list![x, dy, mean, variance, dgamma, dbeta, m, c, 1e-3f32]);
        let [plain_dx, plain_dgamma, plain_dbeta] = REFERENCE.batch_norm_grad(wide(&bx), wide(&bdy), 1, &how).unwrap();
        let [some_dgamma, some_dbeta] = [0; 2].map(|_| gpu.room(4 * columns * parts as usize));
        let args = list![x, dy, mean, variance, some_dgamma, some_dbeta, m, c, 1e-3f32];
        gpu.launch("normalize_grad_params", [grid[0], parts, 1], block, args);
        for (address, expected) in [(some_dgamma, &plain_dgamma), (some_dbeta, &plain_dbeta)] {
            let sums = joined(&gpu.get(address, columns * parts as usize), columns);
            assert_close("sums of parts", &sums, expected.as_slice(), 2e-5);
        }
        assert_close("dgamma", &gpu.get(dgamma, columns), plain_dgamma.as_slice(), 2e-5);
        assert_close("dbeta", &gpu.get(dbeta, columns), plain_dbeta.as_slice(), 2e-6);
        let args = list![x, dy, mean, variance, gamma, dgamma, dbeta, dx, n as u32, m, c, 1u32, 1e-3f32];
        gpu.each("normalize_grad_input", n, args);
        assert_close("dx", &gpu.get(dx, n), plain_dx.as_slice(), 5e-5);
        let constant = list![x, dy, mean, variance, gamma, 0u64, 0u64, dx, n as u32, m, c, 1u32, 1e-3f32];
        gpu.each("normalize_grad_input", n, constant);
        let plain_dx = REFERENCE.normalize_grad_input(wide(&bx), wide(&bdy), 1, &how, None).unwrap();
        assert_close("dx of constants", &gpu.get(dx, n), plain_dx.as_slice(), 5e-5);
    }
}

#[test]
fn features_in_the_middle_are_normalised_with_gradients() {
    let mut gpu = Gpu::new("norm");
    for shape in [[1usize, 1, 2], [3, 5, 7], [2, 40, 33]] {
        let [outer, c, inner] = shape;
        let (n, rows) = (outer * c * inner, outer * inner);
        let x: Vec<f32> = numbers(n, 18).iter().map(|x| 10.0 + x).collect();
        let (dy, gamma, beta) = (numbers(n, 19), numbers(c, 20), numbers(c, 21));
        let (at, row) = (Layout::contiguous(&shape), Layout::contiguous(&[c]));
        let [bx, bdy, bgamma, bbeta] = [&x, &dy, &gamma, &beta].map(|values| Buffer::from_slice(values));
        let (view, slopes) = (View::new(&bx, &at), View::new(&bdy, &at));
        let (means, variances) = REFERENCE.moments(view, 1).unwrap();
        let [plain_mean, plain_variance, plain_gamma, plain_beta] =
            [&means, &variances, &bgamma, &bbeta].map(|buffer| View::new(buffer, &row));
        let how = Normalize {
            mean: plain_mean,
            variance: plain_variance,
            gamma: plain_gamma,
            beta: plain_beta,
            epsilon: 1e-3,
        };
        let [x, dy, gamma, beta] = [&x, &dy, &gamma, &beta].map(|values| gpu.put(values));
        let [mean, variance, dgamma, dbeta] = [0; 4].map(|_| gpu.room(4 * c));
        let (grid, block) = ([c as u32, 1, 1], [64, 1, 1]);
        let (m, i) = (rows as u32, inner as u32);
        gpu.launch("moments_inner", grid, block, list![x, mean, variance, m, i]);
        assert_close("means", &gpu.get(mean, c), means.as_slice(), 1e-6);
        assert_close("variances", &gpu.get(variance, c), variances.as_slice(), 1e-5);
        let (y, dx) = (gpu.room(4 * n), gpu.room(4 * n));
        gpu.each("normalize", n, list![x, mean, variance, gamma, beta, y, n as u32, c as u32, i, 1e-3f32]);
        assert_close("normalize", &gpu.get(y, n), REFERENCE.normalize(view, 1, &how).unwrap().as_slice(), 2e-5);
        let args = list![x, dy, mean, variance, dgamma, dbeta, m, i, 1e-3f32];
        gpu.launch("normalize_grad_params_inner", grid, block, args);
        let [plain_dx, plain_dgamma, plain_dbeta] = REFERENCE.batch_norm_grad(view, slopes, 1, &how).unwrap();
        assert_close("dgamma", &gpu.get(dgamma, c), plain_dgamma.as_slice(), 2e-5);
        assert_close("dbeta", &gpu.get(dbeta, c), plain_dbeta.as_slice(), 2e-6);
        let args = list![x, dy, mean, variance, gamma, dgamma, dbeta, dx, n as u32, m, c as u32, i, 1e-3f32];
        gpu.each("normalize_grad_input", n, args);
        assert_close("dx", &gpu.get(dx, n), plain_dx.as_slice(), 5e-5);
    }
}

#[test]
fn gradients_pass_through_activations() {
    let mut gpu = Gpu::new("norm");
    let (rows, columns) = (50, 35);
    let n = rows * columns;
    let layout = Layout::contiguous(&[rows, columns]);
    for &op in Unary::ALL.iter().filter(|op| op.slope_at(0.5).is_some()) {
        let y: Vec<f32> = numbers(n, 24).iter().map(|&x| op.reference(f64::from(2.0 * x)) as f32).collect();
        let dy = numbers(n, 25);
        let [plain_y, plain_dy] = [&y, &dy].map(|values| Buffer::from_slice(values));
        let (expected, sums) =
            REFERENCE.activation_grad(op, View::new(&plain_y, &layout), View::new(&plain_dy, &layout)).unwrap();
        let (y, dy, dx, (number, p)) = (gpu.put(&y), gpu.put(&dy), gpu.room(4 * n), activation(op.into()));
        for parts in [1, 3] {
            let to = gpu.room(4 * columns * parts);
            let args = list![y, dy, dx, to, rows as u32, columns as u32, number, p as f32];
            gpu.launch("activation_grad", [(columns as u32).div_ceil(32), parts as u32, 1], [32, 8, 1], args);
            assert_close(op.name(), &gpu.get(dx, n), expected.as_slice(), 1e-6);
            assert_close(op.name(), &joined(&gpu.get(to, columns * parts), columns), sums.as_slice(), 2e-6);
        }
    }
}
