//! Models of other programs: Keras' and PyTorch's files, read into gradus' models and written from them.
//!
//! [`open`] recognises a file by its content, never by its ending. Files of Keras with a model become a recipe and its weights;
//! files of weights alone need a recipe with the same layers. What a file has and gradus lacks is refused by name.

mod keras;
#[cfg(test)]
mod memory_tests;
mod state;
#[cfg(test)]
mod tests;
mod torch;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use crate::data::{Input, npz_names, read_npz};
use crate::format::archive::Archive;
use crate::format::hdf5::Hdf5;
use crate::format::npz::npz;
use crate::format::{safetensors, write_atomic};
use crate::models::Model;
use crate::spec::Recipe;
use crate::spec::preset::suggest;
use crate::{Error, Result};

/// The `source` in the `[data]` of a model whose file does not say what it was trained on.
pub const UNKNOWN_DATA: &str = "unknown";

/// A form in which models and weights are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// gradus' own: weights and recipe in safetensors.
    Gradus,
    /// Keras 3: an archive with description and weights.
    Keras,
    /// Keras' older form: description and weights in HDF5.
    KerasH5,
    /// Keras 3: weights alone, in HDF5.
    KerasWeights,
    /// Weights alone, under gradus' names, as NumPy's arrays.
    Npz,
    /// Weights alone, under PyTorch's names and in its orders, in safetensors.
    Torch,
}

impl Format {
    /// What users write.
    pub const NAMES: &[&str] = &["gradus", "keras", "h5", "weights.h5", "npz", "torch"];

    const ALL: &[Format] =
        &[Format::Gradus, Format::Keras, Format::KerasH5, Format::KerasWeights, Format::Npz, Format::Torch];

    /// The usual form of a file of this name, to write it.
    pub fn of_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_lowercase();
        let endings = [
            (".keras", Format::Keras),
            (".weights.h5", Format::KerasWeights),
            (".h5", Format::KerasH5),
            (".hdf5", Format::KerasH5),
            (".npz", Format::Npz),
            (".safetensors", Format::Gradus),
        ];
        endings.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| format)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = Self::ALL.iter().position(|format| format == self).unwrap_or(0);
        f.write_str(Self::NAMES[place])
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let place = Self::NAMES.iter().position(|name| *name == text);
        let unknown = || Error::Config(format!("unknown format {text:?}{}", suggest(text, Self::NAMES)));
        place.map(|place| Self::ALL[place]).ok_or_else(unknown)
    }
}

/// The layers for a file that holds weights alone.
#[derive(Clone, Debug)]
pub struct Architecture {
    /// The layers.
    pub recipe: Recipe,
    /// The shape of a sample.
    pub input: Vec<usize>,
    /// Names of layers in the file with those of the recipe's layers, where neither equal names nor shapes tell.
    pub names: Vec<(String, String)>,
}

/// A model from a file.
#[derive(Debug)]
pub struct Opened {
    /// The model.
    pub model: Model,
    /// What a file of gradus says besides.
    pub metadata: BTreeMap<String, String>,
    /// Whose file it is, in words: `Keras 3`.
    pub origin: &'static str,
    /// What users should know about how it was read.
    pub remarks: Vec<String>,
}

/// Reads a model, or weights for the layers of `architecture`.
///
/// Fails with [`Error::Data`] where the file is damaged, hostile, or not what it claims, where layers are missing, left over or
/// unknown to gradus, and where weights of another program are not finite; with [`Error::Config`] where layers are needed and not
/// given, or given and not needed.
pub fn open(path: impl AsRef<Path>, architecture: Option<&Architecture>) -> Result<Opened> {
    let path = path.as_ref();
    let name = path.display().to_string();
    let source = Source { name: &name, architecture };
    match Content::of(path, &name)? {
        Content::Safetensors => {
            let (weights, metadata) = safetensors::load(path)?;
            if Model::is_saved(&metadata) {
                let (model, metadata) = Model::restore(weights, metadata, &name)?;
                return source.whole("gradus", model, metadata, Vec::new());
            }
            source.weigh("safetensors", |model, map| state::give(model, weights, map, &name))
        }
        Content::Keras => {
            let (model, remarks) = keras::read_archive(path)?;
            source.foreign("Keras", model, remarks)
        }
        Content::Hdf5 => {
            let mut bytes = Vec::new();
            let mut input = Input::open(path)?;
            input.read_to_end(&mut bytes).map_err(|error| input.failed("the file", &error))?;
            let file = Hdf5::new(&name, bytes)?;
            if keras::has_model(&file)? {
                let (model, remarks) = keras::read_h5(&file, &name)?;
                return source.foreign("Keras", model, remarks);
            }
            source.weigh("Keras", |model, map| keras::read_weights(&file, &name, model, map))
        }
        Content::Torch => {
            let tensors = torch::read(path)?;
            source.weigh("PyTorch", |model, map| state::give(model, tensors, map, &name))
        }
        Content::Npz => {
            let names = npz_names(path)?;
            let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
            let arrays = read_npz(path, &wanted)?;
            source.weigh("NumPy", |model, map| state::give(model, names.into_iter().zip(arrays).collect(), map, &name))
        }
    }
}

/// Whether a file is one of safetensors, gradus' or another's.
pub fn is_safetensors(path: impl AsRef<Path>) -> bool {
    matches!(Content::of(path.as_ref(), ""), Ok(Content::Safetensors))
}

/// Whether a file is one of HDF5.
pub fn is_hdf5(path: impl AsRef<Path>) -> bool {
    matches!(Content::of(path.as_ref(), ""), Ok(Content::Hdf5))
}

/// Writes a model, or its weights alone, in any form; `metadata` goes into files of gradus only. Gives what users should know about
/// what the form has no place for.
///
/// Fails with [`Error::Config`] where the form has no place for a layer.
pub fn save(
    model: &Model,
    path: impl AsRef<Path>,
    format: Format,
    metadata: BTreeMap<String, String>,
) -> Result<Vec<String>> {
    let path = path.as_ref();
    let (bytes, remarks) = match format {
        Format::Gradus => return model.save(path, metadata).map(|()| Vec::new()),
        Format::Torch => {
            return safetensors::save(path, &state::dictionary(model)?, &torch_metadata()).map(|()| Vec::new());
        }
        Format::Keras => keras::archive(model)?,
        Format::KerasH5 => keras::h5(model)?,
        Format::KerasWeights => (keras::weights_h5(model)?, Vec::new()),
        Format::Npz => (npz(&model.weights())?, Vec::new()),
    };
    write_atomic(path, |writer| writer.write_all(&bytes))?;
    Ok(remarks)
}

fn torch_metadata() -> BTreeMap<String, String> {
    [("format".to_string(), "pt".to_string())].into()
}

/// A file and the layers that the user has for it.
struct Source<'a> {
    name: &'a str,
    architecture: Option<&'a Architecture>,
}

impl Source<'_> {
    /// A model that needs no layers of the user's.
    fn whole(
        &self,
        origin: &'static str,
        model: Model,
        metadata: BTreeMap<String, String>,
        remarks: Vec<String>,
    ) -> Result<Opened> {
        match self.architecture {
            None => Ok(Opened { model, metadata, origin, remarks }),
            Some(_) => {
                Err(Error::Config(format!("{}: the file has layers of its own; leave the recipe out", self.name)))
            }
        }
    }

    /// [`Source::whole`] from another program.
    fn foreign(&self, origin: &'static str, model: Model, remarks: Vec<String>) -> Result<Opened> {
        finite(&model, self.name)?;
        self.whole(origin, model, BTreeMap::new(), remarks)
    }

    /// The model of the user's layers, to which `give` gives the weights of the file.
    fn weigh(
        &self,
        origin: &'static str,
        give: impl FnOnce(&mut Model, &[(String, String)]) -> Result<Vec<String>>,
    ) -> Result<Opened> {
        let Some(Architecture { recipe, input, names }) = self.architecture else {
            return Err(Error::Config(format!(
                "{}: the file holds weights and no layers; name a recipe with the same layers: --recipe NAME|FILE.toml",
                self.name
            )));
        };
        let mut model = Model::build(recipe, input)?;
        let remarks = give(&mut model, names)?;
        finite(&model, self.name)?;
        Ok(Opened { model, metadata: BTreeMap::new(), origin, remarks })
    }
}

/// Refuses weights that are no numbers: nothing that such a model says means anything.
fn finite(model: &Model, name: &str) -> Result<()> {
    for (weight, tensor) in model.weights() {
        let bad = tensor.to_f64_vec()?.iter().filter(|x| !x.is_finite()).count();
        if bad > 0 {
            return Err(Error::Data(format!(
                "{name}: {bad} of the {} numbers of {weight} are NaN or infinite; the training that made the file ran away",
                tensor.len()
            )));
        }
    }
    Ok(())
}

/// What a file is by its first bytes, and what an archive is by its members.
enum Content {
    Safetensors,
    Keras,
    Hdf5,
    Torch,
    Npz,
}

impl Content {
    fn of(path: &Path, name: &str) -> Result<Self> {
        // Input knows the texts for missing files and folders.
        drop(Input::open(path)?);
        let mut start = Vec::new();
        let read = File::open(path).and_then(|file| file.take(9).read_to_end(&mut start));
        read.map_err(|error| Error::io(path, error))?;
        match start.as_slice() {
            [0x89, b'H', b'D', b'F', ..] => Ok(Content::Hdf5),
            [b'P', b'K', 3, 4, ..] => Self::of_members(path, name),
            [_, _, _, _, _, _, _, _, b'{'] => Ok(Content::Safetensors),
            [0x80, 2..=5, ..] => Err(Error::Data(format!(
                "{name}: a bare pickle, the form of PyTorch before 1.6, which can run any code when it is read. Load it where you trust it, \
                 and save it again: torch.save(model.state_dict(), ...)"
            ))),
            _ => Err(Error::Data(format!(
                "{name}: no model file: it is neither safetensors nor HDF5 nor a zip archive, as the files of gradus, Keras, PyTorch and \
                 NumPy are"
            ))),
        }
    }

    fn of_members(path: &Path, name: &str) -> Result<Self> {
        let members = Archive::open(path, "model")?.members()?;
        if keras::is_archive(&members) {
            Ok(Content::Keras)
        } else if torch::pickle_of(&members).is_some() {
            Ok(Content::Torch)
        } else if !members.is_empty() && members.iter().all(|member| member.ends_with(".npy")) {
            Ok(Content::Npz)
        } else {
            let some: Vec<&str> = members.iter().take(10).map(String::as_str).collect();
            Err(Error::Data(format!(
                "{name}: a zip archive, but of none of Keras, PyTorch and NumPy; it has {}",
                some.join(", ")
            )))
        }
    }
}
