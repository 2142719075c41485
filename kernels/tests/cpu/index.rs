//! Reading and adding by index.

use gradus_kernels::cpu::CPU;
use gradus_kernels::{Backend, Buffer, DType, Error, Layout, REFERENCE, View};

use crate::common::*;

#[test]
fn gathering_and_scattering_agree() {
    for dtype in DType::ALL {
        for_views(dtype, values, |what, x| {
            for axis in 0..x.shape().len() {
                for count in [0, 1, 5] {
                    let mut shape = x.shape().to_vec();
                    if shape[axis] == 0 && count > 0 {
                        continue;
                    }
                    let size = std::mem::replace(&mut shape[axis], count);
                    for (order, layout) in layouts(&shape) {
                        let index = index_values(if count == 1 { DType::I32 } else { DType::I64 }, &layout, size, 20);
                        let source = values(dtype, &layout, 21);
                        let (index, source) = (View::new(&index, &layout), View::new(&source, &layout));
                        let what = || format!("{what} along {axis}, {count} {order}");
                        let (got, want) = (CPU.gather(x, index, axis), REFERENCE.gather(x, index, axis));
                        assert_close(&got.unwrap(), &want.unwrap(), Bound::EXACT, what);
                        let got = CPU.scatter_add(x, index, source, axis).unwrap();
                        let want = REFERENCE.scatter_add(x, index, source, axis).unwrap();
                        assert_close(&got, &want, Bound::ulps(4.0).or(4e-6), what);
                    }
                }
            }
        });
    }
}

#[test]
fn selecting_and_adding_slices_agree() {
    for dtype in DType::ALL {
        for_views(dtype, values, |what, x| {
            for axis in 0..x.shape().len() {
                for count in [0, 1, 9] {
                    let mut shape = x.shape().to_vec();
                    if shape[axis] == 0 && count > 0 {
                        continue;
                    }
                    let size = std::mem::replace(&mut shape[axis], count);
                    let flat = Layout::contiguous(&[count]);
                    let index = index_values(DType::I64, &flat, size, 22);
                    let index = View::new(&index, &flat);
                    let (got, want) = (CPU.index_select(x, index, axis), REFERENCE.index_select(x, index, axis));
                    let what = || format!("{what} along {axis}, {count}");
                    assert_close(&got.unwrap(), &want.unwrap(), Bound::EXACT, what);
                    for (_, layout) in layouts(&shape) {
                        let source = values(dtype, &layout, 23);
                        let source = View::new(&source, &layout);
                        let got = CPU.index_add(x, index, source, axis).unwrap();
                        let want = REFERENCE.index_add(x, index, source, axis).unwrap();
                        assert_close(&got, &want, Bound::ulps(4.0).or(4e-6), what);
                    }
                }
            }
        });
    }
}

#[test]
fn an_index_outside_is_an_error_with_its_place() {
    let layout = Layout::contiguous(&[3]);
    let x = Buffer::from_slice(&[1.0f32, 2.0, 3.0]);
    let x = View::new(&x, &layout);
    for (wrong, index) in [(2, [0i64, 1, 3]), (1, [0, -1, 2])] {
        let expected = |op| Error::Index { op, index: index[wrong], position: wrong, size: 3 };
        let index = Buffer::from_slice(&index);
        let index = View::new(&index, &layout);
        for backend in [&CPU as &dyn Backend, &REFERENCE] {
            assert_eq!(backend.gather(x, index, 0).unwrap_err(), expected("gather"));
            assert_eq!(backend.scatter_add(x, index, x, 0).unwrap_err(), expected("scatter_add"));
            assert_eq!(backend.index_select(x, index, 0).unwrap_err(), expected("index_select"));
            assert_eq!(backend.index_add(x, index, x, 0).unwrap_err(), expected("index_add"));
            let rows = Layout::contiguous(&[3, 1]);
            let logits = View::new(x.buffer, &rows);
            assert!(backend.cross_entropy(logits, index).is_err());
        }
    }
    let refused = CPU.gather(x, x, 0).unwrap_err().to_string();
    assert!(refused.contains("must be i64 or i32"), "{refused}");
}
