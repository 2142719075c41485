//! Typed memory, and views into it.

use bytemuck::{cast_slice, cast_slice_mut};

use crate::{DType, Element, Layout, Scalar, with_element};

pub mod memory;
pub(crate) mod scratch;

/// Owned memory for `len` elements of one type: on the host, aligned to 64 bytes and taken from [`memory`]'s pool, or on a GPU.
///
/// All bytes are initialised, though with leftovers where [`Buffer::unspecified`] made it.
#[derive(Debug)]
pub struct Buffer {
    dtype: DType,
    len: usize,
    place: Place,
}

/// Where the memory is.
#[derive(Debug)]
enum Place {
    Host(memory::Block),
    #[cfg(feature = "cuda")]
    Gpu(crate::cuda::Memory),
}

impl Buffer {
    /// A buffer whose values are unspecified: for callers that overwrite every element.
    pub fn unspecified(dtype: DType, len: usize) -> Self {
        let bytes = len.checked_mul(dtype.size()).expect("callers check sizes before taking memory");
        Self { dtype, len, place: Place::Host(memory::Block::take(bytes)) }
    }

    /// A buffer over memory of a GPU.
    #[cfg(feature = "cuda")]
    pub(crate) fn on_device(dtype: DType, len: usize, memory: crate::cuda::Memory) -> Self {
        Self { dtype, len, place: Place::Gpu(memory) }
    }

    /// The memory, if it is on a GPU.
    #[cfg(feature = "cuda")]
    pub(crate) fn device_memory(&self) -> Option<&crate::cuda::Memory> {
        match &self.place {
            Place::Host(_) => None,
            Place::Gpu(memory) => Some(memory),
        }
    }

    /// Whether the memory is the host's. Other memory is read through [`Backend::download`](crate::Backend::download) alone.
    pub fn is_on_host(&self) -> bool {
        matches!(self.place, Place::Host(_))
    }

    /// A buffer of `len` equal values.
    pub fn full(dtype: DType, len: usize, value: Scalar) -> Self {
        let mut buffer = Self::unspecified(dtype, len);
        with_element!(dtype, T => buffer.as_mut_slice::<T>().fill(T::from_scalar(value)));
        buffer
    }

    /// A buffer of `value(0)`, `value(1)`, … up to `len`.
    pub fn from_fn<T: Element>(len: usize, mut value: impl FnMut(usize) -> T) -> Self {
        let mut buffer = Self::unspecified(T::DTYPE, len);
        buffer.as_mut_slice::<T>().iter_mut().enumerate().for_each(|(i, y)| *y = value(i));
        buffer
    }

    /// A buffer with a copy of `values`.
    pub fn from_slice<T: Element>(values: &[T]) -> Self {
        let mut buffer = Self::unspecified(T::DTYPE, values.len());
        buffer.as_mut_slice::<T>().copy_from_slice(values);
        buffer
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The memory as bytes, in the machine's byte order.
    ///
    /// # Panics
    /// If the memory is on a GPU: a fault in the caller, which has to bring it to the host first.
    pub fn bytes(&self) -> &[u8] {
        match &self.place {
            Place::Host(block) => &block.bytes()[..self.len * self.dtype.size()],
            #[cfg(feature = "cuda")]
            Place::Gpu(_) => panic!("memory of a GPU is read through a download"),
        }
    }

    /// The memory as bytes, for writing.
    ///
    /// # Panics
    /// If the memory is on a GPU.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.place {
            Place::Host(block) => &mut block.bytes_mut()[..self.len * self.dtype.size()],
            #[cfg(feature = "cuda")]
            Place::Gpu(_) => panic!("memory of a GPU is written by its kernels"),
        }
    }

    /// The elements.
    ///
    /// # Panics
    /// If `T` is not the element type: a fault in the calling kernel, never of a user's input.
    pub fn as_slice<T: Element>(&self) -> &[T] {
        assert_eq!(T::DTYPE, self.dtype, "buffer holds {}, kernel reads {}", self.dtype, T::DTYPE);
        cast_slice(self.bytes())
    }

    /// The elements, for writing.
    ///
    /// # Panics
    /// If `T` is not the element type.
    pub fn as_mut_slice<T: Element>(&mut self) -> &mut [T] {
        assert_eq!(T::DTYPE, self.dtype, "buffer holds {}, kernel writes {}", self.dtype, T::DTYPE);
        cast_slice_mut(self.bytes_mut())
    }
}

/// A copy on the host, of a buffer on the host; [`Backend::copy`](crate::Backend::copy) copies on any device.
impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut copy = Self::unspecified(self.dtype, self.len);
        copy.bytes_mut().copy_from_slice(self.bytes());
        copy
    }
}

/// A buffer seen through a layout; what primitives take.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The memory.
    pub buffer: &'a Buffer,
    /// Which elements of it, in which order.
    pub layout: &'a Layout,
}

impl<'a> View<'a> {
    /// `buffer` seen through `layout`.
    pub fn new(buffer: &'a Buffer, layout: &'a Layout) -> Self {
        debug_assert!(layout.fits(buffer.len()), "{layout:?} reaches outside a buffer of {}", buffer.len());
        Self { buffer, layout }
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.buffer.dtype()
    }

    /// The sizes of the dimensions.
    pub fn shape(&self) -> &'a [usize] {
        self.layout.shape()
    }

    /// The number of elements seen.
    pub fn len(&self) -> usize {
        self.layout.len()
    }

    /// Whether no element is seen.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements as one slice, where they stand in row-major order without gaps.
    pub fn contiguous<T: Element>(&self) -> Option<&'a [T]> {
        // An empty view may begin anywhere, even behind the buffer's end.
        let start = if self.is_empty() { 0 } else { self.layout.offset() };
        self.layout.is_contiguous().then(|| &self.buffer.as_slice::<T>()[start..start + self.len()])
    }
}
