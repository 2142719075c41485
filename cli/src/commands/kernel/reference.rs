//! What a kernel of one's own is held against: an operation of the list, whose inputs it gets.

use gradus_emulator::Memory;
use nn::core::{DType, Tensor};
use nn::profile::{Operation, max_rel_error, show, to_shape};

use super::arguments::Array;
use super::{named, usage};
use crate::failure::{Failure, Kind};

/// An operation at a shape: its inputs, and which arrays hold its outputs.
pub struct Reference {
    operation: Operation,
    shape: Vec<usize>,
    inputs: Vec<Tensor>,
    /// What the processor computes, for the types and shapes.
    results: Vec<Tensor>,
    inputs_given: usize,
    outputs: Vec<Array>,
}

impl Reference {
    /// Reads `OP:SHAPE`, as in `matmul:128x128x128`.
    ///
    /// # Errors
    /// If there is no such operation, or it cannot have this shape.
    pub fn read(text: &str) -> Result<Reference, Failure> {
        let (name, shape) = text.split_once(':').ok_or_else(|| {
            let example = "write an operation and a shape, as in matmul:128x128x128 (`gradus kernel list` has both)";
            Failure::new(Kind::Usage, format!("--reference {text:?}: {example}"))
        })?;
        let mut operations = named(name)?;
        let operation = operations.pop().filter(|_| operations.is_empty()).ok_or_else(|| {
            Failure::new(Kind::Usage, format!("--reference {text:?}: name one operation, as in matmul:128x128x128"))
        })?;
        let shape = to_shape(shape).map_err(usage)?;
        let inputs = operation.inputs(&shape).map_err(usage)?;
        let results = operation.run(&mut inputs.clone()).map_err(usage)?;
        Ok(Reference { operation, shape, inputs, results, inputs_given: 0, outputs: Vec::new() })
    }

    /// What it is called: `matmul 128x128x128`.
    pub fn name(&self) -> String {
        format!("{} {}", self.operation.name, show(&self.shape))
    }

    /// The bytes of the next input, for this array.
    ///
    /// # Errors
    /// If there is none, or it is of another type or length.
    pub fn input(&mut self, array: &Array) -> Result<Vec<u8>, String> {
        let at = self.inputs_given;
        self.inputs_given += 1;
        let count = self.inputs.len();
        let input = self.inputs.get(at).ok_or_else(|| format!("{} has {count} inputs, not more", self.name()))?;
        self.fits("input", at, input, array)?;
        Ok(array.bytes_of(&input.to_f64_vec().map_err(|error| error.to_string())?))
    }

    /// Takes this array as the next output.
    ///
    /// # Errors
    /// If there is none, or it is of another type or length.
    pub fn output(&mut self, array: &Array) -> Result<(), String> {
        let (at, count) = (self.outputs.len(), self.results.len());
        let result = self.results.get(at).ok_or_else(|| format!("{} has {count} outputs, not more", self.name()))?;
        self.fits("output", at, result, array)?;
        self.outputs.push(*array);
        Ok(())
    }

    fn fits(&self, what: &str, at: usize, tensor: &Tensor, array: &Array) -> Result<(), String> {
        let wanted = type_of(tensor.dtype());
        match wanted == array.ty.name && tensor.len() == array.len() {
            true => Ok(()),
            false => Err(format!("{what} {at} of {} is {wanted}[{}]", self.name(), tensor.len())),
        }
    }

    /// Refuses a call that leaves an input or output out.
    ///
    /// # Errors
    /// Which is missing.
    pub fn is_complete(&self) -> Result<(), Failure> {
        let missing = |what: &str, tensor: &Tensor| {
            let (name, ty, len) = (self.name(), type_of(tensor.dtype()), tensor.len());
            let text = format!(
                "--reference: no argument is the next {what} of {name}: write {ty}[{len}]={what} where the kernel takes it"
            );
            Failure::new(Kind::Usage, text)
        };
        match (self.inputs.get(self.inputs_given), self.results.get(self.outputs.len())) {
            (Some(input), _) => Err(missing("input", input)),
            (None, Some(result)) => Err(missing("output", result)),
            (None, None) => Ok(()),
        }
    }

    /// The largest error of the arrays, held against the same computed in `f64`.
    ///
    /// # Errors
    /// If it is too large, or an element was never written, with the kind of a failed check.
    pub fn error(&self, memory: &Memory) -> Result<f64, Failure> {
        let outputs = self.outputs.iter().zip(&self.results).map(|(array, result)| {
            let numbers = array.numbers(memory).map_err(|at| {
                let text = format!("element {at} of the output {} was never written", array.name());
                Failure::new(Kind::Check, text)
            })?;
            let wide = Tensor::from_slice(&numbers, result.shape());
            wide.and_then(|wide| wide.to_dtype(result.dtype())).map_err(|error| usage(error.into()))
        });
        let outputs = outputs.collect::<Result<Vec<_>, Failure>>()?;
        let error = max_rel_error(&self.operation, &self.shape, &outputs).map_err(usage)?;
        if error <= self.operation.tolerance {
            return Ok(error);
        }
        Err(Failure::new(
            Kind::Check,
            format!(
                "no fault, but not {}: the error is {error:.1e}, and {:e} is the most that counts as right",
                self.name(),
                self.operation.tolerance
            ),
        ))
    }
}

/// How arguments call the type of these elements: truth values are bytes.
fn type_of(dtype: DType) -> &'static str {
    if dtype == DType::Bool { "u8" } else { dtype.name() }
}
