//! Stretches of epochs in which the same layers are trained.

use crate::models::Model;
use crate::optim::Update;
use crate::spec::{Recipe, Selection};
use crate::{Error, Result};

/// A stretch of epochs in which the same layers are trained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    /// Its first epoch, from 1.
    pub first: usize,
    /// Which layers are trained, in the order of the recipe.
    pub trainable: Vec<bool>,
}

impl Phase {
    /// The phases of a recipe: one, or two where some layers join in later.
    ///
    /// Fails with [`Error::Config`] if `freeze` or `unfreeze` chooses no layer.
    pub fn all(recipe: &Recipe) -> Result<Vec<Phase>> {
        let own: Vec<bool> = recipe.layers.iter().map(|layer| layer.trainable).collect();
        let Some(base) = &recipe.base else { return Ok(vec![Phase { first: 1, trainable: own }]) };
        let names = recipe.layer_names();
        let choose = |key: &str, selection: &Option<Selection>| match selection {
            Some(selection) => selection.of(&names).map(Some).map_err(|error| base.complain(format!("{key}: {error}"))),
            None => Ok(None),
        };
        let Some(frozen) = choose("freeze", &base.freeze)? else {
            return Ok(vec![Phase { first: 1, trainable: own }]);
        };
        let joins = choose("unfreeze", &base.unfreeze)?.unwrap_or_else(|| frozen.clone());
        let trained = |is_frozen: &dyn Fn(usize) -> bool| (0..own.len()).map(|i| own[i] && !is_frozen(i)).collect();
        let mut phases = vec![Phase { first: 1, trainable: trained(&|i| frozen[i]) }];
        if let Some(epochs) = base.unfreeze_after {
            phases.push(Phase { first: epochs + 1, trainable: trained(&|i| frozen[i] && !joins[i]) });
        }
        Ok(phases)
    }

    /// The phase that `epoch` lies in.
    pub fn at(phases: &[Phase], epoch: usize) -> Option<&Phase> {
        phases.iter().rev().find(|phase| phase.first <= epoch)
    }

    /// To be called at the beginning of every epoch, from 1: layers of `model` that its recipe unfreezes now join in.
    ///
    /// Gives the optimizer to go on with where a new phase begins: what the old one remembers belongs to other weights, and its
    /// steps were counted for another task. Fails with [`Error::Config`] if no weight is left to train.
    pub fn begin(model: &Model, epoch: usize) -> Result<Option<Update>> {
        let mut fresh = None;
        if let Some(recipe) = model.recipe().filter(|recipe| recipe.base.is_some()) {
            let phases = Phase::all(recipe)?;
            // With one phase alone the model was built for it; whoever froze more since then meant it.
            if let Some(phase) = Phase::at(&phases, epoch).filter(|_| phases.len() > 1) {
                model.train_only(&phase.trainable);
                fresh = (epoch > 1 && phase.first == epoch).then(|| recipe.optimizer.build());
            }
        }
        match model.counts().trainable {
            0 => Err(Error::Config(format!("epoch {epoch}: every weight is frozen, so there is nothing to train"))),
            _ => Ok(fresh),
        }
    }
}
