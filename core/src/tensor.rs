//! The tensor: a cheap handle on shared, immutable memory.

use std::sync::Arc;

use gradus_kernels::layout::Dims;
use gradus_kernels::{Backend, Bool, Buffer, DType, Distribution, Element, Layout, RandomKey, Scalar, View};

use crate::grad::Node;
use crate::{Device, Error, Result};

/// An n-dimensional array of numbers, perhaps with a record of how it was computed.
///
/// Cloning copies a handle, not the memory. Views (transposed, sliced, broadcast tensors) share the memory of the tensor
/// they were made from. Nothing changes a tensor that somebody else can see: what looks like a change makes a new one, and
/// [`Tensor::make_mut`] copies first where the memory is shared.
#[derive(Clone)]
pub struct Tensor {
    buffer: Arc<Buffer>,
    layout: Layout,
    device: Device,
    node: Option<Arc<Node>>,
}

/// Making tensors.
impl Tensor {
    /// A tensor of `shape` with a copy of `values` in row-major order, on the CPU.
    ///
    /// ```
    /// # use gradus_core::Tensor;
    /// let x = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// assert_eq!(x.shape(), [2, 3]);
    /// # Ok::<(), gradus_core::Error>(())
    /// ```
    pub fn from_slice<T: Element>(values: &[T], shape: &[usize]) -> Result<Self> {
        let wanted = element_count("from_slice", shape)?;
        if wanted != values.len() {
            let what = format!("{} values do not fill shape {shape:?}, which takes {wanted}", values.len());
            return Err(Error::shape("from_slice", what));
        }
        Ok(Self::new(Buffer::from_slice(values), Layout::contiguous(shape), Device::CPU))
    }

    /// A tensor of truth values, on the CPU.
    pub fn from_bools(values: &[bool], shape: &[usize]) -> Result<Self> {
        Self::from_slice(&values.iter().map(|&x| Bool::from(x)).collect::<Vec<_>>(), shape)
    }

    /// A tensor over a buffer that already stands on `device`, in row-major order.
    pub fn from_buffer(buffer: Buffer, shape: &[usize], device: Device) -> Result<Self> {
        let wanted = element_count("from_buffer", shape)?;
        if wanted != buffer.len() {
            let what = format!("a buffer of {} does not fill shape {shape:?}, which takes {wanted}", buffer.len());
            return Err(Error::shape("from_buffer", what));
        }
        Ok(Self::new(buffer, Layout::contiguous(shape), device))
    }

    /// A tensor without dimensions, of the type of `value`, on the CPU.
    pub fn scalar<T: Element>(value: T) -> Self {
        Self::new(Buffer::from_slice(&[value]), Layout::contiguous(&[]), Device::CPU)
    }

    /// Every element `value`.
    pub fn full(shape: &[usize], value: impl Into<Scalar>, dtype: DType, device: Device) -> Result<Self> {
        let buffer = device.backend().full(dtype, element_count("full", shape)?, value.into())?;
        Ok(Self::new(buffer, Layout::contiguous(shape), device))
    }

    /// Every element 0.
    pub fn zeros(shape: &[usize], dtype: DType, device: Device) -> Result<Self> {
        Self::full(shape, 0i64, dtype, device)
    }

    /// Every element 1.
    pub fn ones(shape: &[usize], dtype: DType, device: Device) -> Result<Self> {
        Self::full(shape, 1i64, dtype, device)
    }

    /// Zeros like `self`: same shape, type and device.
    pub fn zeros_like(&self) -> Result<Self> {
        Self::zeros(self.shape(), self.dtype(), self.device)
    }

    /// Ones like `self`: same shape, type and device.
    pub fn ones_like(&self) -> Result<Self> {
        Self::ones(self.shape(), self.dtype(), self.device)
    }

    /// `value` as a tensor without dimensions, of the type and on the device of `self`.
    pub fn scalar_like(&self, value: impl Into<Scalar>) -> Result<Self> {
        Self::full(&[], value, self.dtype(), self.device)
    }

    /// `start`, `start + step`, … up to but without `end`, in one dimension.
    pub fn arange(start: f64, end: f64, step: f64, dtype: DType, device: Device) -> Result<Self> {
        if step == 0.0 || !(start.is_finite() && end.is_finite() && step.is_finite()) {
            let what =
                format!("from {start} to {end} in steps of {step} never ends; the step must be finite and not 0");
            return Err(Error::argument("arange", what));
        }
        let count = ((end - start) / step).ceil().max(0.0) as usize;
        Self::from_values("arange", count, |i| start + i as f64 * step, &[count], dtype, device)
    }

    /// `count` numbers from `start` to `end`, both included, evenly spaced.
    pub fn linspace(start: f64, end: f64, count: usize, dtype: DType, device: Device) -> Result<Self> {
        let step = (end - start) / count.saturating_sub(1).max(1) as f64;
        let value = |i| if i + 1 == count && count > 1 { end } else { start + i as f64 * step };
        Self::from_values("linspace", count, value, &[count], dtype, device)
    }

    /// The identity matrix of `n` rows.
    pub fn eye(n: usize, dtype: DType, device: Device) -> Result<Self> {
        let count = element_count("eye", &[n, n])?;
        Self::from_values("eye", count, |i| if i % (n + 1) == 0 { 1.0 } else { 0.0 }, &[n, n], dtype, device)
    }

    /// Random numbers; the same `key` gives the same numbers on any device and at any thread count.
    pub fn random(
        shape: &[usize],
        distribution: Distribution,
        key: RandomKey,
        dtype: DType,
        device: Device,
    ) -> Result<Self> {
        let buffer = device.backend().random(dtype, element_count("random", shape)?, distribution, key)?;
        Ok(Self::new(buffer, Layout::contiguous(shape), device))
    }

    /// Uniform random numbers from 0 (included) to 1 (excluded).
    pub fn rand(shape: &[usize], key: RandomKey, dtype: DType, device: Device) -> Result<Self> {
        Self::random(shape, Distribution::Uniform { low: 0.0, high: 1.0 }, key, dtype, device)
    }

    /// Normal random numbers with mean 0 and standard deviation 1.
    pub fn randn(shape: &[usize], key: RandomKey, dtype: DType, device: Device) -> Result<Self> {
        Self::random(shape, Distribution::Normal { mean: 0.0, std: 1.0 }, key, dtype, device)
    }

    fn from_values(
        op: &'static str,
        count: usize,
        value: impl Fn(usize) -> f64,
        shape: &[usize],
        dtype: DType,
        device: Device,
    ) -> Result<Self> {
        if count > isize::MAX as usize / 8 {
            return Err(Error::argument(op, format!("{count} elements do not fit into memory")));
        }
        let values: Vec<f64> = (0..count).map(value).collect();
        Self::from_slice(&values, shape)?.to_dtype(dtype)?.to_device(device)
    }

    pub(crate) fn new(buffer: Buffer, layout: Layout, device: Device) -> Self {
        Self { buffer: Arc::new(buffer), layout, device, node: None }
    }

    /// The result of a primitive on this tensor's device.
    pub(crate) fn computed(&self, buffer: Buffer, shape: &[usize]) -> Result<Self> {
        Self::from_buffer(buffer, shape, self.device)
    }

    /// The same memory seen through another layout, without a record.
    pub(crate) fn with_layout(&self, layout: Layout) -> Self {
        debug_assert!(layout.fits(self.buffer.len()));
        Self { buffer: self.buffer.clone(), layout, device: self.device, node: None }
    }

    /// The same tensor, recorded as the result of `node`.
    pub(crate) fn with_node(mut self, node: Option<Arc<Node>>) -> Self {
        self.node = node;
        self
    }
}

/// Asking about tensors.
impl Tensor {
    /// The sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.layout.rank()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.layout.len()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.layout.is_empty()
    }

    /// The size of one dimension; negative axes count from the end.
    pub fn size(&self, axis: isize) -> Result<usize> {
        Ok(self.shape()[self.axis("size", axis)?])
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.buffer.dtype()
    }

    /// Where the tensor lives.
    pub fn device(&self) -> Device {
        self.device
    }

    /// How the elements stand in memory.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The elements in row-major order.
    ///
    /// The type must be the tensor's; [`Tensor::to_dtype`] converts.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        if T::DTYPE != self.dtype() {
            let what = format!("the tensor holds {}, not {}; convert it with to_dtype first", self.dtype(), T::DTYPE);
            return Err(Error::dtype("to_vec", what));
        }
        let packed = self.backend().copy(self.view())?;
        Ok(self.backend().download(&packed)?.as_slice::<T>().to_vec())
    }

    /// The elements of any type as `f64`, in row-major order.
    pub fn to_f64_vec(&self) -> Result<Vec<f64>> {
        // On the host, where every type can be converted and nothing larger has to be copied.
        let here = if self.buffer.is_on_host() { self.detach() } else { self.detach().to_device(Device::CPU)? };
        here.to_dtype(DType::F64)?.to_vec()
    }

    /// The one element of a tensor that has one, as `f64`.
    pub fn item(&self) -> Result<f64> {
        match self.to_f64_vec()?.as_slice() {
            &[value] => Ok(value),
            _ => {
                let what = format!("a tensor of shape {:?} has {} elements, not one", self.shape(), self.len());
                Err(Error::shape("item", what))
            }
        }
    }

    /// The memory, for reading: together with [`Tensor::layout`] what a kernel takes.
    pub fn view(&self) -> View<'_> {
        View::new(&self.buffer, &self.layout)
    }

    /// The device's arithmetic.
    pub(crate) fn backend(&self) -> &'static dyn Backend {
        self.device.backend()
    }

    /// The memory, for writing in place: copied first if any other tensor or a recorded operation still needs it, and
    /// made row-major. The tensor becomes one without a record.
    ///
    /// Only optimizers and other owners of a tensor want this; operations make new tensors.
    pub fn make_mut(&mut self) -> Result<&mut Buffer> {
        if !self.layout.is_contiguous() || self.layout.len() != self.buffer.len() {
            let packed = self.backend().copy(self.view())?;
            *self = Self::new(packed, Layout::contiguous(self.shape()), self.device);
        }
        self.node = None;
        if Arc::get_mut(&mut self.buffer).is_none() {
            self.buffer = Arc::new(self.backend().copy(self.view())?);
        }
        // Nobody else has what was just copied.
        Arc::get_mut(&mut self.buffer).ok_or_else(|| Error::argument("make_mut", "the memory is shared"))
    }

    /// A dimension's number from one that may be negative, which counts from the end.
    pub(crate) fn axis(&self, op: &'static str, axis: isize) -> Result<usize> {
        let rank = self.rank() as isize;
        if axis < -rank || axis >= rank {
            let what =
                format!("axis {axis} is out of range for shape {:?}; it must lie in {}..{rank}", self.shape(), -rank);
            return Err(Error::argument(op, what));
        }
        Ok(axis.rem_euclid(rank) as usize)
    }

    /// Several dimensions' numbers, ascending; none given means all. A repeat is an error.
    pub(crate) fn axes(&self, op: &'static str, axes: &[isize]) -> Result<Dims> {
        if axes.is_empty() {
            return Ok((0..self.rank()).collect());
        }
        let mut out = axes.iter().map(|&axis| self.axis(op, axis)).collect::<Result<Dims>>()?;
        out.sort_unstable();
        if out.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::argument(op, format!("axes {axes:?} name a dimension twice")));
        }
        Ok(out)
    }
}

/// Records.
impl Tensor {
    /// The same values as a leaf: a tensor that gradients are wanted for.
    ///
    /// ```
    /// # use gradus_core::Tensor;
    /// let x = Tensor::scalar(3f64).requires_grad();
    /// let gradients = (&x * &x).backward()?;
    /// assert_eq!(gradients.get(&x)?.item()?, 6.0);
    /// # Ok::<(), gradus_core::Error>(())
    /// ```
    pub fn requires_grad(&self) -> Self {
        self.detach().with_node(Some(Node::leaf()))
    }

    /// The same values without a record: a constant to all that follows.
    pub fn detach(&self) -> Self {
        Self { node: None, ..self.clone() }
    }

    /// Whether both are handles on the same elements, which cannot change while one of them is held.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.buffer, &other.buffer) && self.layout == other.layout
    }

    /// Whether gradients flow through this tensor.
    pub fn is_tracked(&self) -> bool {
        self.node.is_some()
    }

    /// The record of how the tensor was computed.
    pub(crate) fn node(&self) -> Option<&Arc<Node>> {
        self.node.as_ref()
    }

    /// Takes the record out, for consuming it.
    pub(crate) fn take_node(&mut self) -> Option<Arc<Node>> {
        self.node.take()
    }
}

/// How many elements `shape` has, or an error where the bytes could not even be counted.
pub(crate) fn element_count(op: &'static str, shape: &[usize]) -> Result<usize> {
    let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    count
        .filter(|&count| count <= isize::MAX as usize / 8)
        .ok_or_else(|| Error::shape(op, format!("shape {shape:?} has more elements than memory can hold")))
}
