//! What an optimizer remembers about each parameter.

use std::collections::BTreeMap;

use gradus_core::Tensor;

use crate::{Error, Param, Result};

/// `N` tensors for each parameter, by name: each starts as zeros.
#[derive(Debug)]
pub(super) struct States<const N: usize> {
    /// What each of the tensors is called.
    names: [&'static str; N],
    of: BTreeMap<String, Entry<N>>,
}

#[derive(Debug)]
struct Entry<const N: usize> {
    tensors: [Tensor; N],
    /// The last step that used the entry.
    step: u64,
}

impl<const N: usize> States<N> {
    pub fn new(names: [&'static str; N]) -> Self {
        Self { names, of: BTreeMap::new() }
    }

    /// The tensors of `param`, in step number `step`, which starts at 1.
    pub fn of(&mut self, param: &Param, step: u64) -> Result<&mut [Tensor; N]> {
        let name = param.name();
        if !self.of.contains_key(&name) {
            let zeros = param.value().zeros_like()?;
            self.of.insert(name.clone(), Entry { tensors: std::array::from_fn(|_| zeros.clone()), step: 0 });
        }
        match self.of.get_mut(&name) {
            Some(entry) if entry.step != step => {
                entry.step = step;
                Ok(&mut entry.tensors)
            }
            _ => {
                Err(Error::Config(format!("two parameters are called {name:?}; an optimizer tells them apart by name")))
            }
        }
    }

    /// Everything, as `PARAMETER/NAME`.
    pub fn save(&self) -> Vec<(String, Tensor)> {
        let named = |(param, entry): (&String, &Entry<N>)| {
            let path = |name: &str| format!("{param}/{name}");
            self.names.iter().zip(&entry.tensors).map(|(name, tensor)| (path(name), tensor.clone())).collect::<Vec<_>>()
        };
        self.of.iter().flat_map(named).collect()
    }

    /// Replaces everything by what [`States::save`] gave.
    pub fn load(&mut self, state: Vec<(String, Tensor)>) -> Result<()> {
        let mut found: BTreeMap<String, [Option<Tensor>; N]> = BTreeMap::new();
        for (path, tensor) in state {
            let place = path.rsplit_once('/').and_then(|(param, name)| {
                let at = self.names.iter().position(|&known| known == name)?;
                Some((param.to_string(), at))
            });
            let Some((param, at)) = place else {
                let known = self.names.map(|name| format!("PARAMETER/{name}")).join(", ");
                return Err(Error::Config(format!("optimizer state {path:?}: not one of step, {known}")));
            };
            found.entry(param).or_insert([const { None }; N])[at] = Some(tensor);
        }
        let mut complete = BTreeMap::new();
        for (param, tensors) in found {
            let names = self.names;
            let tensors: Vec<Tensor> = tensors.into_iter().flatten().collect();
            let Ok(tensors) = tensors.try_into() else {
                let what = format!("optimizer state: {param:?} needs each of {}", names.join(", "));
                return Err(Error::Config(what));
            };
            complete.insert(param, Entry { tensors, step: 0 });
        }
        self.of = complete;
        Ok(())
    }
}
