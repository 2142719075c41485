//! What was computed from tensors, kept while these stay as they are.

use std::sync::{Mutex, PoisonError};

use gradus_core::Tensor;

use crate::Result;

/// Two tensors that were made of others: a layer that is frozen makes the same of its parameters in every pass.
#[derive(Debug, Default)]
pub(crate) struct Memo(Mutex<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    /// Handles, so that nobody can change these tensors in place.
    from: Vec<Tensor>,
    made: [Tensor; 2],
}

impl Memo {
    /// What `make` gives, or gave when it was last called for the very same tensors. Nothing is kept where gradients are wanted
    /// for one of them: it is about to change, which would take a copy as long as it is held here.
    pub fn of(&self, from: &[&Tensor], make: impl FnOnce() -> Result<[Tensor; 2]>) -> Result<[Tensor; 2]> {
        if from.iter().any(|tensor| tensor.is_tracked()) {
            return make();
        }
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |kept: &&Kept| {
            kept.from.len() == from.len() && kept.from.iter().zip(from).all(|(kept, now)| kept.is_same(now))
        };
        if let Some(kept) = slot.as_ref().filter(is_same) {
            return Ok(kept.made.clone());
        }
        let made = make()?;
        *slot = Some(Kept { from: from.iter().map(|&tensor| tensor.clone()).collect(), made: made.clone() });
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_tensors_are_computed_with_once() {
        let (memo, mut calls) = (Memo::default(), 0);
        let mut sum = |a: &Tensor, b: &Tensor| {
            let make = || {
                calls += 1;
                Ok([a.add(b)?, b.clone()])
            };
            let [sum, _] = memo.of(&[a, b], make).unwrap();
            (sum.item().unwrap(), calls)
        };
        let [one, two] = [1f32, 2.0].map(Tensor::scalar);
        assert_eq!(sum(&one, &two), (3.0, 1));
        assert_eq!(sum(&one, &two.clone()), (3.0, 1));
        // The same numbers elsewhere may be changed where they are.
        assert_eq!(sum(&one, &Tensor::scalar(2f32)), (3.0, 2));
        let mut changed = one.clone();
        changed.make_mut().unwrap().as_mut_slice::<f32>()[0] = 5.0;
        assert_eq!(sum(&changed, &two), (7.0, 3));
        let leaf = one.requires_grad();
        assert_eq!((sum(&leaf, &two), sum(&leaf, &two)), ((3.0, 4), (3.0, 5)));
    }
}
