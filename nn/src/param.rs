//! Parameters: tensors with a name that layers and optimizers share.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use gradus_core::{DType, Tensor};

use crate::optim::{Constraint, Regularizer};
use crate::{Error, Result};

/// What a parameter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A weight: the loss tells how it should move.
    Weight,
    /// A state that the forward pass keeps, such as a moving average; never trained, but saved.
    State,
}

/// A named tensor that changes during training.
///
/// Cloning copies a handle: a layer, its model and two layers with shared weights all hold the same parameter.
#[derive(Clone)]
pub struct Param(Arc<Shared>);

struct Shared {
    kind: Kind,
    slot: Mutex<Slot>,
}

struct Slot {
    name: String,
    frozen: bool,
    regularizer: Option<Regularizer>,
    constraint: Option<Constraint>,
    /// A leaf exactly if the parameter is trainable.
    value: Tensor,
}

impl Slot {
    /// Makes `value` a new leaf or a constant, as `kind` and the flag say.
    fn mark(&mut self, kind: Kind) {
        let trainable = kind == Kind::Weight && !self.frozen;
        self.value = if trainable { self.value.requires_grad() } else { self.value.detach() };
    }
}

impl Param {
    /// A weight that starts as `value`.
    pub fn weight(name: impl Into<String>, value: Tensor) -> Self {
        Self::new(Kind::Weight, name.into(), value)
    }

    /// A state that starts as `value`.
    pub fn state(name: impl Into<String>, value: Tensor) -> Self {
        Self::new(Kind::State, name.into(), value)
    }

    fn new(kind: Kind, name: String, value: Tensor) -> Self {
        let mut slot = Slot { name, frozen: false, regularizer: None, constraint: None, value };
        slot.mark(kind);
        Self(Arc::new(Shared { kind, slot: Mutex::new(slot) }))
    }

    /// What the parameter is for.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The name: `kernel` in a layer on its own, `dense.kernel` in a model.
    pub fn name(&self) -> String {
        self.slot().name.clone()
    }

    /// Renames the parameter; a model calls it with the full path.
    pub fn set_name(&self, name: impl Into<String>) {
        self.slot().name = name.into();
    }

    /// The tensor: a leaf if the parameter is trainable, else a constant. The same leaf until the value changes.
    pub fn value(&self) -> Tensor {
        self.slot().value.clone()
    }

    /// The sizes of the dimensions.
    pub fn shape(&self) -> Vec<usize> {
        self.slot().value.shape().to_vec()
    }

    /// How many numbers the parameter holds.
    pub fn len(&self) -> usize {
        self.slot().value.len()
    }

    /// Whether the parameter holds no number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Puts `value` in the place of the old one; shape and element type must be the same.
    pub fn set(&self, value: Tensor) -> Result<()> {
        let mut slot = self.slot();
        if (value.shape(), value.dtype()) != (slot.value.shape(), slot.value.dtype()) {
            return Err(Error::Config(format!(
                "parameter {:?}: is {} {:?}, the new value is {} {:?}",
                slot.name,
                slot.value.dtype(),
                slot.value.shape(),
                value.dtype(),
                value.shape()
            )));
        }
        slot.value = value;
        slot.mark(self.0.kind);
        Ok(())
    }

    /// Converts the value, and with it all that the parameter's layer computes, to another type.
    pub fn to_dtype(&self, dtype: DType) -> Result<()> {
        let mut slot = self.slot();
        slot.value = slot.value.detach().to_dtype(dtype)?;
        slot.mark(self.0.kind);
        Ok(())
    }

    /// Lets `change` write into the value, in place where no graph needs the old one any more, see [`Tensor::make_mut`].
    ///
    /// The parameter is locked meanwhile: `change` must not ask it for anything, and must keep shape and element type.
    pub fn update<R>(&self, change: impl FnOnce(&mut Tensor) -> Result<R>) -> Result<R> {
        let mut slot = self.slot();
        let result = change(&mut slot.value);
        slot.mark(self.0.kind);
        result
    }

    /// [`Param::update`] of several parameters at once, none of which may be there twice.
    pub(crate) fn update_all<R>(params: &[&Param], change: impl FnOnce(Vec<&mut Tensor>) -> Result<R>) -> Result<R> {
        let mut slots: Vec<_> = params.iter().map(|param| param.slot()).collect();
        let result = change(slots.iter_mut().map(|slot| &mut slot.value).collect());
        slots.iter_mut().zip(params).for_each(|(slot, param)| slot.mark(param.0.kind));
        result
    }

    /// Whether training moves the parameter: a weight that is not frozen.
    pub fn trainable(&self) -> bool {
        self.0.kind == Kind::Weight && !self.is_frozen()
    }

    /// Whether the parameter must stay as it is, be it a weight or a state.
    pub fn is_frozen(&self) -> bool {
        self.slot().frozen
    }

    /// Freezes the parameter, or lets it change again.
    ///
    /// A frozen state stands still as well: batch norm then uses its moving statistics even in training, as Keras does for
    /// `layer.trainable = False`.
    pub fn set_trainable(&self, trainable: bool) {
        let mut slot = self.slot();
        slot.frozen = !trainable;
        slot.mark(self.0.kind);
    }

    /// The penalty that training adds to the loss.
    pub fn regularizer(&self) -> Option<Regularizer> {
        self.slot().regularizer.clone()
    }

    /// Lets training add a penalty to the loss, or no longer.
    pub fn set_regularizer(&self, regularizer: Option<Regularizer>) {
        self.slot().regularizer = regularizer;
    }

    /// The limit that training brings the value back within.
    pub fn constraint(&self) -> Option<Constraint> {
        self.slot().constraint.clone()
    }

    /// Lets training bring the value back within a limit after every step, or no longer.
    pub fn set_constraint(&self, constraint: Option<Constraint>) {
        self.slot().constraint = constraint;
    }

    /// Whether both handles are of one parameter.
    pub fn is_same(&self, other: &Param) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Puts a tensor of any type, tracked or not, in the place of the value, as it is: for gradient checks in `f64`.
    #[cfg(test)]
    pub(crate) fn replace_by(&self, value: impl FnOnce(&Tensor) -> Tensor) {
        let mut slot = self.slot();
        slot.value = value(&slot.value);
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.0.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Param {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = self.slot();
        write!(f, "{} {} {:?}", slot.name, slot.value.dtype(), slot.value.shape())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(values: &[f32]) -> Tensor {
        Tensor::from_slice(values, &[values.len()]).unwrap()
    }

    #[test]
    fn only_an_unfrozen_weight_is_a_leaf() {
        let (weight, state) = (Param::weight("w", vector(&[1.0])), Param::state("s", vector(&[1.0])));
        assert!(weight.value().is_tracked() && !state.value().is_tracked());
        weight.set_trainable(false);
        assert!(!weight.value().is_tracked() && !weight.trainable());
        weight.set_trainable(true);
        state.set_trainable(true);
        assert!(weight.value().is_tracked() && !state.value().is_tracked() && !state.trainable());
    }

    #[test]
    fn all_handles_see_a_change() {
        let param = Param::weight("w", vector(&[1.0, 2.0]));
        let other = param.clone();
        other.set(vector(&[3.0, 4.0])).unwrap();
        assert_eq!(param.value().to_vec::<f32>().unwrap(), [3.0, 4.0]);
        assert!(param.is_same(&other) && !param.is_same(&Param::weight("w", vector(&[3.0, 4.0]))));
    }

    #[test]
    fn the_leaf_is_the_same_until_the_value_changes() {
        let param = Param::weight("w", vector(&[2.0]));
        let gradients = param.value().square().unwrap().sum(&[]).unwrap().backward().unwrap();
        assert_eq!(gradients.get(&param.value()).unwrap().item().unwrap(), 4.0);
        param.set(vector(&[5.0])).unwrap();
        assert!(gradients.get(&param.value()).is_err());
    }

    #[test]
    fn an_update_happens_in_place_unless_somebody_holds_the_old_value() {
        let param = Param::weight("w", vector(&[1.0; 64]));
        let address = || param.value().view().buffer.as_slice::<f32>().as_ptr();
        let touch = |value: &mut Tensor| {
            value.make_mut()?;
            Ok(())
        };
        let before = address();
        param.update(touch).unwrap();
        assert_eq!(before, address());
        let held = param.value();
        param.update(touch).unwrap();
        assert_ne!(before, address());
        assert!(held.is_tracked() && param.value().is_tracked());
    }

    #[test]
    fn another_shape_is_refused_by_name() {
        let param = Param::weight("dense.kernel", vector(&[1.0, 2.0]));
        let error = param.set(vector(&[1.0])).unwrap_err().to_string();
        assert_eq!(error, "parameter \"dense.kernel\": is f32 [2], the new value is f32 [1]");
    }
}
