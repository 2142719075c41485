//! Elements and slices by index.

use gradus_kernels::{Backend, Buffer, Element, Layout, REFERENCE, View};

use crate::gpu::{Gpu, assert_near, list, values};

const OUTER: usize = 3;
const SIZE: usize = 7;
const COUNT: usize = 5;
const INNER: usize = 4;
const TABLE: usize = OUTER * SIZE * INNER;
const SLICES: usize = OUTER * COUNT * INNER;

/// Room for an index that is outside, with the flag cleared.
fn no_bad(gpu: &mut Gpu) -> u64 {
    gpu.put(&[0i64; 4])
}

/// Both tables of the device and the reference: what is read or added to, and what is added.
struct Tables {
    table: Buffer,
    slices: Buffer,
    at_table: Layout,
    at_slices: Layout,
}

impl Tables {
    fn new<T: Element>() -> Tables {
        let (table, slices) = (values::<T>(TABLE, 22, 50.0), values::<T>(SLICES, 23, 50.0));
        let (at_table, at_slices) = ([OUTER, SIZE, INNER], [OUTER, COUNT, INNER]);
        Tables {
            table: Buffer::from_slice(&table),
            slices: Buffer::from_slice(&slices),
            at_table: Layout::contiguous(&at_table),
            at_slices: Layout::contiguous(&at_slices),
        }
    }

    fn x(&self) -> View<'_> {
        View::new(&self.table, &self.at_table)
    }

    fn source(&self) -> View<'_> {
        View::new(&self.slices, &self.at_slices)
    }
}

/// The indices of slices, and those of elements, as one type.
fn indices<I: Element>() -> [Buffer; 2] {
    let wrap = |values: Vec<i64>| Buffer::from_slice(&values.into_iter().map(I::wrap).collect::<Vec<I>>());
    [wrap(vec![6, 0, 2, 2, 6]), wrap((0..SLICES as i64).map(|i| i * i % SIZE as i64).collect())]
}

fn reads<T: Element, I: Element>(gpu: &mut Gpu) {
    let tables = Tables::new::<T>();
    let [lines, elements] = indices::<I>();
    let row = Layout::contiguous(&[COUNT]);
    let (x, bad, y) = (gpu.put(tables.table.as_slice::<T>()), no_bad(gpu), gpu.room(SLICES * size_of::<T>()));
    let selected = REFERENCE.index_select(tables.x(), View::new(&lines, &row), 1).unwrap();
    let gathered = REFERENCE.gather(tables.x(), View::new(&elements, &tables.at_slices), 1).unwrap();
    for (kernel, index, expected) in [("index_select", &lines, selected), ("gather", &elements, gathered)] {
        let name = format!("{kernel}_{}_{}", 8 * size_of::<T>(), I::DTYPE);
        let index = gpu.put(index.as_slice::<I>());
        let sizes = [SIZE as u32, COUNT as u32, INNER as u32];
        gpu.each(&name, SLICES, list![x, index, y, SLICES as u32, sizes[0], sizes[1], sizes[2], bad]);
        assert_near(&name, &gpu.get::<T>(y, SLICES), expected.as_slice(), 0.0);
    }
    assert_eq!(gpu.get::<i64>(bad, 4), [0; 4]);
}

fn adds<T: Element, I: Element>(gpu: &mut Gpu) {
    let tables = Tables::new::<T>();
    let [lines, elements] = indices::<I>();
    let row = Layout::contiguous(&[COUNT]);
    let (source, bad) = (gpu.put(tables.slices.as_slice::<T>()), no_bad(gpu));
    let added = REFERENCE.index_add(tables.x(), View::new(&lines, &row), tables.source(), 1).unwrap();
    let view = View::new(&elements, &tables.at_slices);
    let scattered = REFERENCE.scatter_add(tables.x(), view, tables.source(), 1).unwrap();
    let n = OUTER * INNER;
    for (kernel, index, expected) in [("index_add", &lines, &added), ("scatter_add", &elements, &scattered)] {
        let name = format!("{kernel}_{}_{}", T::DTYPE, I::DTYPE);
        let index = gpu.put(index.as_slice::<I>());
        // A part of the slices for each block, and all for one.
        for parts in [1, 3, 9] {
            let y = gpu.put(tables.table.as_slice::<T>());
            let args = list![index, source, y, n as u32, SIZE as u32, COUNT as u32, INNER as u32, bad];
            gpu.launch(&name, [1, parts, 1], [32, 1, 1], args);
            assert_near(&name, &gpu.get::<T>(y, TABLE), expected.as_slice(), 1e-5);
        }
    }
    if T::DTYPE == gradus_kernels::DType::F32 {
        let name = format!("index_add_atomic_f32_{}", I::DTYPE);
        let (index, y) = (gpu.put(lines.as_slice::<I>()), gpu.put(tables.table.as_slice::<T>()));
        let sizes = [SIZE as u32, COUNT as u32, INNER as u32];
        gpu.each(&name, SLICES, list![index, source, y, SLICES as u32, sizes[0], sizes[1], sizes[2], bad]);
        assert_near(&name, &gpu.get::<T>(y, TABLE), added.as_slice(), 1e-5);
    }
    assert_eq!(gpu.get::<i64>(bad, 4), [0; 4]);
}

#[test]
fn elements_and_slices_of_every_size_are_read() {
    let mut gpu = Gpu::new("index");
    reads::<u8, i32>(&mut gpu);
    reads::<half::f16, i64>(&mut gpu);
    reads::<f32, i32>(&mut gpu);
    reads::<f32, i64>(&mut gpu);
    reads::<i64, i64>(&mut gpu);
}

#[test]
fn elements_and_slices_of_every_type_are_added() {
    let mut gpu = Gpu::new("index");
    adds::<f32, i64>(&mut gpu);
    adds::<f32, i32>(&mut gpu);
    adds::<f64, i64>(&mut gpu);
    adds::<i32, i32>(&mut gpu);
    adds::<i64, i64>(&mut gpu);
}

#[test]
fn an_index_outside_is_reported_and_skipped() {
    let mut gpu = Gpu::new("index");
    let table: Vec<f32> = (0..TABLE).map(|i| i as f32).collect();
    for wrong in [SIZE as i64, -1, 1 << 40] {
        let index = gpu.put(&[6, 0, wrong, 2, 6]);
        let (x, y, bad) = (gpu.put(&table), gpu.room(4 * SLICES), no_bad(&mut gpu));
        let sizes = [SIZE as u32, COUNT as u32, INNER as u32];
        gpu.each("index_select_32_i64", SLICES, list![x, index, y, SLICES as u32, sizes[0], sizes[1], sizes[2], bad]);
        assert_eq!(gpu.get::<i64>(bad, 4), [1, 2, wrong, SIZE as i64]);
        let y = gpu.get::<f32>(y, SLICES);
        assert_eq!(y[2 * INNER..3 * INNER], [0.0; INNER]);
        assert_eq!(y[..INNER], table[6 * INNER..7 * INNER], "the others are right");
        // A second one changes nothing until the host has seen the first.
        let other = gpu.put(&[99i64, 0, 0, 0, 0]);
        let (slices, lines) = (gpu.put(&table[..SLICES]), (OUTER * INNER) as u32);
        gpu.launch(
            "index_add_f32_i64",
            [1, 2, 1],
            [32, 1, 1],
            list![other, slices, x, lines, sizes[0], sizes[1], sizes[2], bad],
        );
        assert_eq!(gpu.get::<i64>(bad, 4), [1, 2, wrong, SIZE as i64]);
        assert_eq!(gpu.get::<f32>(x, TABLE)[4 * INNER..SIZE * INNER], table[4 * INNER..SIZE * INNER]);
    }
}

#[test]
fn an_index_of_an_element_is_reported_where_it_stands() {
    let mut gpu = Gpu::new("index");
    let (table, source) = (values::<f32>(TABLE, 22, 1.0), values::<f32>(SLICES, 23, 1.0));
    let mut index: Vec<i32> = (0..SLICES as i32).map(|i| i % SIZE as i32).collect();
    let wrong = SLICES - 2;
    index[wrong] = -3;
    let (index, source, sizes) = (gpu.put(&index), gpu.put(&source), [SIZE as u32, COUNT as u32, INNER as u32]);
    for kernel in ["gather_32_i32", "scatter_add_f32_i32"] {
        let (x, y, bad) = (gpu.put(&table), gpu.room(4 * SLICES), no_bad(&mut gpu));
        if kernel == "gather_32_i32" {
            gpu.each(kernel, SLICES, list![x, index, y, SLICES as u32, sizes[0], sizes[1], sizes[2], bad]);
            assert_eq!(gpu.get::<f32>(y, SLICES)[wrong], 0.0);
        } else {
            let lines = (OUTER * INNER) as u32;
            gpu.each(kernel, OUTER * INNER, list![index, source, x, lines, sizes[0], sizes[1], sizes[2], bad]);
        }
        assert_eq!(gpu.get::<i64>(bad, 4), [1, wrong as i64, -3, SIZE as i64], "{kernel}");
    }
}
