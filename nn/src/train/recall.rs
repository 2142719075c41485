//! Going on with what another training remembers.

use std::collections::BTreeMap;

use super::Trainer;
use crate::core::{Device, Tensor};
use crate::models::Model;
use crate::optim::memory::OPTIMIZER;
use crate::spec::Recipe;
use crate::{Error, Result};

impl Trainer<'_> {
    /// Goes on with what the training that made `base` remembers, the model from which this one has its weights: the next step is the
    /// one that would have been made there. `from` is what complaints call it.
    ///
    /// The step size is that of the recipe where it differs from the base's. Fails with [`Error::Config`] if nothing is remembered, or
    /// not all that this model's optimizer needs.
    pub fn recall(&mut self, base: &Model, from: &str) -> Result<()> {
        let afresh = "; begin afresh with --set base.optimizer=false";
        let memory = base.memory();
        let (Some(recipe), Some(before)) = (self.model.recipe(), base.recipe()) else { return Ok(()) };
        if memory.is_empty() {
            return Err(Error::Config(format!(
                "{from}: what its optimizer remembers was not saved with the model{afresh}"
            )));
        }
        self.check_memory(recipe, memory).map_err(|what| {
            Error::Config(format!("{from}: what its optimizer remembers does not go on here: {what}{afresh}"))
        })?;
        let device = self.model.params().first().map_or(Device::CPU, |param| param.value().device());
        let moved = memory.iter().map(|(name, tensor)| Ok((name.clone(), tensor.to_device(device)?)));
        self.update.load_state(moved.collect::<Result<_>>()?)?;
        let (now, then) = (recipe.optimizer.learning_rate(), before.optimizer.learning_rate());
        if now != then {
            self.update.set_learning_rate(now);
        }
        Ok(())
    }

    /// What is wrong with `memory` for the optimizer of `recipe`.
    fn check_memory(&self, recipe: &Recipe, memory: &[(String, Tensor)]) -> std::result::Result<(), String> {
        let there: BTreeMap<&str, &Tensor> = memory.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let (kind, states) = (recipe.optimizer.kind(), recipe.optimizer.kind.states());
        let known =
            |name: &str| name == "step" || name.rsplit_once('/').is_some_and(|(_, state)| states.contains(&state));
        if let Some(name) = there.keys().filter_map(|name| name.strip_prefix(OPTIMIZER)).find(|name| !known(name)) {
            return Err(format!("{name} means nothing to {kind} as the recipe has it"));
        }
        for param in self.model.params().iter().filter(|param| param.trainable()) {
            for state in &states {
                let name = format!("{}/{state}", param.name());
                match there.get(format!("{OPTIMIZER}{name}").as_str()) {
                    None => return Err(format!("{kind} needs {name}, which is not there")),
                    Some(tensor) if tensor.shape() != param.shape() => {
                        return Err(format!(
                            "{name} has shape {:?}, and the weight {:?}",
                            tensor.shape(),
                            param.shape()
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }
}
