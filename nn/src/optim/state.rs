//! What an optimizer remembers about each parameter.

use std::collections::BTreeMap;

use gradus_core::Tensor;

use crate::{Error, Param, Result};

/// Some tensors for each parameter, by name.
#[derive(Debug)]
pub(super) struct States {
    /// What each of the tensors is called.
    names: Vec<&'static str>,
    of: BTreeMap<String, Vec<Tensor>>,
}

impl States {
    pub fn new(names: Vec<&'static str>) -> Self {
        Self { names, of: BTreeMap::new() }
    }

    /// The tensors of each of `params`, whose names differ, in order; where there are none yet, tensors full of `start`.
    pub fn of<'a>(
        &mut self,
        params: impl Iterator<Item = (&'a str, &'a Param)> + Clone,
        start: f64,
    ) -> Result<Vec<&mut [Tensor]>> {
        for (name, param) in params.clone() {
            if !self.of.contains_key(name) {
                let fresh = param.value().zeros_like()?.add_scalar(start)?;
                self.of.insert(name.into(), vec![fresh; self.names.len()]);
            }
        }
        let mut all: BTreeMap<&str, &mut Vec<Tensor>> =
            self.of.iter_mut().map(|(name, tensors)| (&**name, tensors)).collect();
        Ok(params.filter_map(|(name, _)| all.remove(name)).map(Vec::as_mut_slice).collect())
    }

    /// Everything, as `PARAMETER/NAME`.
    pub fn save(&self) -> Vec<(String, Tensor)> {
        let named = |(param, tensors): (&String, &Vec<Tensor>)| {
            let path = |name: &str| format!("{param}/{name}");
            self.names.iter().zip(tensors).map(|(name, tensor)| (path(name), tensor.clone())).collect::<Vec<_>>()
        };
        self.of.iter().flat_map(named).collect()
    }

    /// Replaces everything by what [`States::save`] gave.
    pub fn load(&mut self, state: Vec<(String, Tensor)>) -> Result<()> {
        let mut found: BTreeMap<String, Vec<Option<Tensor>>> = BTreeMap::new();
        for (path, tensor) in state {
            let place = path.rsplit_once('/').and_then(|(param, name)| {
                let at = self.names.iter().position(|&known| known == name)?;
                Some((param.to_string(), at))
            });
            let Some((param, at)) = place else {
                let known: String = self.names.iter().map(|name| format!(", PARAMETER/{name}")).collect();
                return Err(Error::Config(format!("optimizer state {path:?}: not one of step{known}")));
            };
            found.entry(param).or_insert_with(|| vec![None; self.names.len()])[at] = Some(tensor);
        }
        let mut complete = BTreeMap::new();
        for (param, tensors) in found {
            let Some(tensors) = tensors.into_iter().collect() else {
                let what = format!("optimizer state: {param:?} needs each of {}", self.names.join(", "));
                return Err(Error::Config(what));
            };
            complete.insert(param, tensors);
        }
        self.of = complete;
        Ok(())
    }
}
