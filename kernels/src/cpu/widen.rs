//! `f16` and `bf16`: stored narrow, computed in `f32`. Every kernel that computes gets them through here.

use std::array;

use super::copy::cast;
use crate::{Buffer, DType, Layout, Result, View};

fn is_narrow(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// What `f` makes of `views`, the narrow ones of which it gets as `f32`; a result in `f32` is rounded to their type.
pub fn widen<const N: usize>(views: [View; N], f: impl FnOnce([View; N]) -> Result<Buffer>) -> Result<Buffer> {
    widen_to(views, |views| Ok([f(views)?])).map(|[y]| y)
}

/// [`widen`] for kernels with two results.
pub fn widen_pair<const N: usize>(
    views: [View; N],
    f: impl FnOnce([View; N]) -> Result<(Buffer, Buffer)>,
) -> Result<(Buffer, Buffer)> {
    widen_to(views, |views| f(views).map(|(y, z)| [y, z])).map(|[y, z]| (y, z))
}

/// [`widen`] for kernels with several results.
pub fn widen_to<const N: usize, const M: usize>(
    views: [View; N],
    f: impl FnOnce([View; N]) -> Result<[Buffer; M]>,
) -> Result<[Buffer; M]> {
    let all = widen_some(views, |views| Ok(f(views)?.map(Some)))?;
    Ok(all.map(|y| y.expect("`f` made all of them")))
}

/// [`widen`] for kernels with several results, of which some may be missing.
pub fn widen_some<const N: usize, const M: usize>(
    views: [View; N],
    f: impl FnOnce([View; N]) -> Result<[Option<Buffer>; M]>,
) -> Result<[Option<Buffer>; M]> {
    let Some(narrow) = views.iter().map(View::dtype).find(|&dtype| is_narrow(dtype)) else {
        return f(views);
    };
    let wide =
        views.map(|view| is_narrow(view.dtype()).then(|| (cast(view, DType::F32), Layout::contiguous(view.shape()))));
    let results = f(array::from_fn(|i| match &wide[i] {
        Some((buffer, layout)) => View::new(buffer, layout),
        None => views[i],
    }))?;
    let rounded = |y: Buffer| {
        let layout = Layout::contiguous(&[y.len()]);
        if y.dtype() == DType::F32 { cast(View::new(&y, &layout), narrow) } else { y }
    };
    Ok(results.map(|y| y.map(rounded)))
}
