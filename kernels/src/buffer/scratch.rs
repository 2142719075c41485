//! Working memory of kernels, from the pool.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, cast_slice, cast_slice_mut};

use super::memory::Block;

/// Plain values that a kernel needs while it works: what `Vec` would be, without asking the system for memory each time.
#[derive(Debug)]
pub struct Scratch<T> {
    /// `None` for no values.
    block: Option<Block>,
    len: usize,
    values: PhantomData<T>,
}

impl<T> Scratch<T> {
    /// No values, and no memory.
    pub const fn new() -> Self {
        Self { block: None, len: 0, values: PhantomData }
    }
}

impl<T: Pod> Scratch<T> {
    /// `len` times `value`.
    pub fn filled(len: usize, value: T) -> Self {
        let block = (len > 0).then(|| Block::take(len * size_of::<T>()));
        let mut scratch = Self { block, len, values: PhantomData };
        scratch.fill(value);
        scratch
    }
}

impl<T: Pod> Deref for Scratch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.block.as_ref().map_or(&[], |block| cast_slice(&block.bytes()[..self.len * size_of::<T>()]))
    }
}

impl<T: Pod> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let bytes = self.len * size_of::<T>();
        self.block.as_mut().map_or(&mut [], |block| cast_slice_mut(&mut block.bytes_mut()[..bytes]))
    }
}
