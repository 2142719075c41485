//! Elements and slices by index.

use gradus_kernels::{Backend, Buffer, Layout, REFERENCE, View};

use crate::gpu::{Gpu, assert_close, list, numbers};

const OUTER: usize = 3;
const SIZE: usize = 7;
const COUNT: usize = 5;
const INNER: usize = 4;

#[test]
fn slices_are_selected_and_added() {
    let mut gpu = Gpu::new("index");
    let (x, source) = (numbers(OUTER * SIZE * INNER, 22), numbers(OUTER * COUNT * INNER, 23));
    let index: Vec<i64> = vec![6, 0, 2, 2, 6];
    let [bx, bsource] = [&x, &source].map(|values| Buffer::from_slice(values));
    let bindex = Buffer::from_slice(&index);
    let (at_x, at_source) = (Layout::contiguous(&[OUTER, SIZE, INNER]), Layout::contiguous(&[OUTER, COUNT, INNER]));
    let row = Layout::contiguous(&[COUNT]);
    let expected = REFERENCE.index_select(View::new(&bx, &at_x), View::new(&bindex, &row), 1).unwrap();
    let sizes = [SIZE as u32, COUNT as u32, INNER as u32];
    let (from, at, y) = (gpu.put(&x), gpu.put(&index), gpu.room(4 * source.len()));
    gpu.each("index_select", source.len(), list![from, at, y, source.len() as u32, sizes[0], sizes[1], sizes[2]]);
    assert_eq!(gpu.get::<f32>(y, source.len()), expected.as_slice::<f32>());
    let view = View::new(&bsource, &at_source);
    let expected = REFERENCE.index_add(View::new(&bx, &at_x), View::new(&bindex, &row), view, 1).unwrap();
    for (kernel, n) in [("index_add", OUTER * INNER), ("index_add_atomic", source.len())] {
        let (y, added) = (gpu.put(&x), gpu.put(&source));
        gpu.each(kernel, n, list![at, added, y, n as u32, sizes[0], sizes[1], sizes[2]]);
        assert_close(kernel, &gpu.get(y, x.len()), expected.as_slice(), 1e-6);
    }
}

#[test]
fn elements_are_gathered_and_scattered() {
    let mut gpu = Gpu::new("index");
    let (x, source) = (numbers(OUTER * SIZE * INNER, 24), numbers(OUTER * COUNT * INNER, 25));
    let index: Vec<i64> = (0..source.len() as i64).map(|i| i * i % SIZE as i64).collect();
    let [bx, bsource] = [&x, &source].map(|values| Buffer::from_slice(values));
    let bindex = Buffer::from_slice(&index);
    let (at_x, at) = (Layout::contiguous(&[OUTER, SIZE, INNER]), Layout::contiguous(&[OUTER, COUNT, INNER]));
    let views = (View::new(&bx, &at_x), View::new(&bindex, &at));
    let sizes = [SIZE as u32, COUNT as u32, INNER as u32];
    let (from, places, y) = (gpu.put(&x), gpu.put(&index), gpu.room(4 * source.len()));
    gpu.each("gather", source.len(), list![from, places, y, source.len() as u32, sizes[0], sizes[1], sizes[2]]);
    let expected = REFERENCE.gather(views.0, views.1, 1).unwrap();
    assert_eq!(gpu.get::<f32>(y, source.len()), expected.as_slice::<f32>());
    let expected = REFERENCE.scatter_add(views.0, views.1, View::new(&bsource, &at), 1).unwrap();
    let (y, added) = (gpu.put(&x), gpu.put(&source));
    let lines = (OUTER * INNER) as u32;
    gpu.each("scatter_add", OUTER * INNER, list![places, added, y, lines, sizes[0], sizes[1], sizes[2]]);
    assert_close("scatter_add", &gpu.get(y, x.len()), expected.as_slice(), 1e-6);
}
