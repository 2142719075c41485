//! `[base]`: a trained model that another one starts from.

use super::value::{Place, Value};
use super::{LayerSpec, Recipe, Selection, Table, Writer};
use crate::{Error, Result};

/// What is taken from a trained model, and how it is trained on.
#[derive(Clone, Debug)]
pub struct BaseSpec {
    /// A run folder, a model file, or a recipe, whose newest run is meant.
    pub model: String,
    /// Which of the base's layers are left out; the recipe's own layers come in their place.
    pub drop: Cut,
    /// The layers of the whole new model that training leaves alone.
    pub freeze: Option<Selection>,
    /// After how many epochs they join in, with an optimizer that knows of nothing before.
    pub unfreeze_after: Option<usize>,
    /// Which of them join in; all if absent.
    pub unfreeze: Option<Selection>,
    /// Over how many of the training samples batch norms of the base are averaged whose own averages were folded away.
    pub calibrate: Option<usize>,
    /// Whether training goes on with what the base's optimizer remembers.
    pub optimizer: bool,
    /// Where it was written, for complaints.
    pub place: Place,
}

/// The end of a model that is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cut {
    /// So many layers.
    Last(usize),
    /// The layer of this name and all behind it.
    From(String),
}

impl BaseSpec {
    /// All of a model but its last layer, everything trained.
    pub fn new(model: impl Into<String>) -> Self {
        let (freeze, unfreeze_after, unfreeze) = (None, None, None);
        let (drop, calibrate, optimizer, place) = (Cut::Last(1), None, false, "[base]".into());
        Self { model: model.into(), drop, freeze, unfreeze_after, unfreeze, calibrate, optimizer, place }
    }

    pub(super) fn read(mut table: Table) -> Result<Self> {
        let wanted = "a run folder, a model file, or a recipe, whose newest run is meant";
        let model = table.need_if::<String>("model", wanted, |model| !model.is_empty())?;
        let mut spec = Self { place: table.place().clone(), ..Self::new(model) };
        if let Some(node) = table.take_node("drop") {
            spec.drop = match &node.value {
                Value::Integer(count @ 0..) => Cut::Last(*count as usize),
                Value::Text(name) => Cut::From(name.clone()),
                _ => {
                    let what =
                        "must be how many layers at the base's end are left out, or the name of the first of them";
                    return Err(table.refuse("drop", &node, what));
                }
            };
        }
        spec.freeze = table.take_named("freeze")?;
        let one = "a whole number of 1 or more";
        spec.unfreeze_after = table.take_if("unfreeze_after", one, |&epochs: &usize| epochs > 0)?;
        spec.unfreeze = table.take_named("unfreeze")?;
        let some = "how many training samples batch norms are averaged over, 1 or more";
        spec.calibrate = table.take_if("calibrate", some, |&samples: &usize| samples > 0)?;
        spec.optimizer = table.take("optimizer")?.unwrap_or(false);
        if spec.unfreeze_after.is_some() && spec.freeze.is_none() {
            return Err(table.complain("unfreeze_after without freeze: nothing is frozen; add freeze = \"..-1\""));
        }
        if spec.unfreeze.is_some() && spec.unfreeze_after.is_none() {
            return Err(table.complain("unfreeze without unfreeze_after: say after how many epochs"));
        }
        table.finish()?;
        Ok(spec)
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("base");
        out.put("model", self.model.as_str());
        match &self.drop {
            Cut::Last(count) => out.put_number("drop", count),
            Cut::From(name) => out.put("drop", name.as_str()),
        }
        if let Some(freeze) = &self.freeze {
            out.put_named("freeze", freeze);
        }
        if let Some(epochs) = self.unfreeze_after {
            out.put_number("unfreeze_after", epochs);
        }
        if let Some(unfreeze) = &self.unfreeze {
            out.put_named("unfreeze", unfreeze);
        }
        if let Some(samples) = self.calibrate {
            out.put_number("calibrate", samples);
        }
        if self.optimizer {
            out.put("optimizer", true);
        }
    }

    /// A complaint about the table.
    pub(crate) fn complain(&self, what: impl std::fmt::Display) -> Error {
        Error::Config(format!("{}: [base]: {what}", self.place))
    }

    /// The layers of `base` that stay.
    fn kept<'a>(&self, base: &'a Recipe) -> Result<&'a [LayerSpec]> {
        let layers = base.layers.as_slice();
        let kept = match &self.drop {
            Cut::Last(count) => layers.len().checked_sub(*count),
            Cut::From(name) => layers.iter().position(|layer| layer.name == *name),
        };
        match kept {
            Some(kept @ 1..) => Ok(&layers[..kept]),
            _ => {
                let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
                let drop = match &self.drop {
                    Cut::Last(count) => count.to_string(),
                    Cut::From(name) => format!("{name:?}"),
                };
                let why = format!("of the {} layers of {} ({})", layers.len(), self.model, names.join(", "));
                Err(self.complain(format!("drop = {drop} {why} none would be left, or there is no such layer")))
            }
        }
    }
}

impl Recipe {
    /// Whether the layers of the base still have to be put in front of the recipe's own, see [`Recipe::on`].
    pub fn lacks_base(&self) -> bool {
        self.base.is_some() && !self.layers.iter().any(|layer| layer.from_base)
    }

    /// The whole recipe of a model on top of `base`: the base's layers but the dropped ones, then the recipe's own.
    ///
    /// Layers that the user gave no name are numbered on behind those of the base, as Keras does. Where the recipe is whole
    /// already, or has no base, it is returned as it is.
    pub fn on(mut self, base: &Recipe) -> Result<Self> {
        let Some(spec) = self.base.as_ref().filter(|_| self.lacks_base()) else { return Ok(self) };
        if base.preset != self.preset {
            let (own, theirs) = (self.preset, base.preset);
            return Err(spec.complain(format!(
                "the base was written with preset = \"{theirs}\" and this recipe has \"{own}\"; give both the same"
            )));
        }
        let mut layers: Vec<LayerSpec> =
            spec.kept(base)?.iter().map(|layer| LayerSpec { from_base: true, ..layer.clone() }).collect();
        layers.append(&mut self.layers);
        self.layers = super::recipe::named(layers)?;
        Ok(self)
    }

    /// Refuses to calibrate a base that has no batch norms.
    pub(crate) fn check_calibration(&self) -> Result<()> {
        let is_norm = |layer: &LayerSpec| layer.from_base && layer.config.naming().kind == "batch_norm";
        match &self.base {
            Some(base) if base.calibrate.is_some() && !self.layers.iter().any(is_norm) => {
                Err(base.complain("calibrate: none of the layers from the base is a batch norm; leave it out"))
            }
            _ => Ok(()),
        }
    }

    /// The names of all layers, in order.
    pub fn layer_names(&self) -> Vec<&str> {
        self.layers.iter().map(|layer| layer.name.as_str()).collect()
    }
}
