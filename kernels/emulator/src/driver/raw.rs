//! The pointers that cross the driver's interface.
//!
//! A value of these types comes from a caller of the driver, who promises by the interface what each pointer leads to; nothing
//! else can make one. So their methods are safe, and the promise is named where it is used.

use std::ffi::{CStr, c_char, c_void};

use super::error::Code;

/// Where a result goes.
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// Puts the result there; a null pointer is an invalid value.
    pub(super) fn put(self, value: T) -> Result<(), Code> {
        if self.0.is_null() {
            return Err(Code::InvalidValue);
        }
        // SAFETY: the caller of the driver gave room for a result of this type.
        unsafe { self.0.write_unaligned(value) };
        Ok(())
    }

    /// Puts the result there unless the caller does not want it.
    pub(super) fn put_if_wanted(self, value: T) {
        let _: Result<(), Code> = self.put(value);
    }

    /// What stands there.
    pub(super) fn get(&self) -> Result<T, Code>
    where
        T: Copy,
    {
        if self.0.is_null() {
            return Err(Code::InvalidValue);
        }
        // SAFETY: the caller of the driver gave a value of this type.
        Ok(unsafe { self.0.read_unaligned() })
    }
}

/// A text that ends with a zero.
#[repr(transparent)]
pub struct Text(*const c_char);

impl Text {
    pub(super) fn bytes(&self) -> Result<&[u8], Code> {
        if self.0.is_null() {
            return Err(Code::InvalidValue);
        }
        // SAFETY: the caller of the driver gave a text that ends with a zero and stays until the call returns.
        Ok(unsafe { CStr::from_ptr(self.0) }.to_bytes())
    }
}

/// Memory of the host that is read.
#[repr(transparent)]
pub struct Source(*const c_void);

impl Source {
    pub(super) fn address(&self) -> usize {
        self.0.addr()
    }

    pub(super) fn bytes(&self, len: usize) -> Result<&[u8], Code> {
        match len {
            0 => Ok(&[]),
            _ if self.0.is_null() => Err(Code::InvalidValue),
            // SAFETY: the caller of the driver gave so many bytes, which stay until the call returns.
            _ => Ok(unsafe { std::slice::from_raw_parts(self.0.cast(), len) }),
        }
    }
}

/// Memory of the host that is written.
#[repr(transparent)]
pub struct Target(*mut c_void);

impl Target {
    pub(super) fn address(&self) -> usize {
        self.0.addr()
    }

    pub(super) fn write(&self, bytes: &[u8]) -> Result<(), Code> {
        if bytes.is_empty() {
            return Ok(());
        }
        if self.0.is_null() {
            return Err(Code::InvalidValue);
        }
        // SAFETY: the caller of the driver gave room for so many bytes, and no memory of the emulator is among them.
        unsafe { self.0.cast::<u8>().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }
}

/// The values of a kernel's parameters: a pointer to each.
#[repr(transparent)]
pub struct Values(*const *const c_void);

impl Values {
    /// The bytes of a parameter of this size.
    pub(super) fn get(&self, number: usize, size: usize) -> Result<&[u8], Code> {
        if self.0.is_null() {
            return Err(Code::InvalidValue);
        }
        // SAFETY: the caller of the driver gave a pointer for each parameter of the kernel.
        let value = unsafe { self.0.add(number).read() };
        if value.is_null() {
            return Err(Code::InvalidValue);
        }
        // SAFETY: each of them leads to a value of the parameter's size.
        Ok(unsafe { std::slice::from_raw_parts(value.cast(), size) })
    }
}

/// Options: so many names and so many values.
#[repr(transparent)]
pub struct List<T>(*mut T);

impl<T: Copy> List<T> {
    pub(super) fn get(&self, number: usize) -> Result<T, Code> {
        if self.0.is_null() {
            return Err(Code::InvalidValue);
        }
        // SAFETY: the caller of the driver gave as many elements as there are options.
        Ok(unsafe { self.0.add(number).read() })
    }

    pub(super) fn set(&self, number: usize, value: T) -> Result<(), Code> {
        if self.0.is_null() {
            return Err(Code::InvalidValue);
        }
        // SAFETY: the caller of the driver gave as many elements as there are options.
        unsafe { self.0.add(number).write(value) };
        Ok(())
    }
}

/// Memory of the host whose address stands among options.
pub(super) fn into(address: usize) -> Target {
    Target(std::ptr::with_exposed_provenance_mut(address))
}
