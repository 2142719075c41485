//! From files to samples.

use std::path::{Path, PathBuf};

use nn::core::Tensor;
use nn::data::{
    Column, CsvOptions, Dataset, Labels, read_cifar10, read_csv, read_csv_bytes, read_idx, read_idx_bytes, read_npy,
    read_npz,
};
use nn::interop::UNKNOWN_DATA;
use nn::spec::DataSpec;
use serde::Serialize;

use super::catalog::{Form, SOURCES, Source, named};
use super::search::{At, Found, find};
use super::{Piece, images, pieces};
use crate::failure::{Failure, Kind};

/// The parts of a data set, as its makers cut it.
#[derive(Debug)]
pub struct Parts {
    /// What to train on, validation data included.
    pub train: Dataset,
    /// What to test on, where the makers set something aside.
    pub test: Option<Dataset>,
    /// Where it came from.
    pub origin: Origin,
}

/// Where data came from, for `data.json`.
#[derive(Debug, Serialize)]
pub struct Origin {
    /// What the recipe calls it.
    pub source: String,
    /// Where it was found, in words.
    pub place: String,
    /// Its files.
    pub files: Vec<Piece>,
}

/// Formats of the user's own files.
const FORMATS: [&str; 4] = ["csv", "idx", "npy", "folder"];

/// Reads what a recipe asks for; `data` is the user's `--data`. `values` says whether targets are numbers to come close to,
/// not classes.
///
/// # Errors
/// If it is not there, or not what its name promises.
pub fn load(spec: &DataSpec, data: Option<&Path>, values: bool) -> Result<Parts, Failure> {
    if FORMATS.contains(&spec.source.as_str()) {
        return own(spec, data, values);
    }
    if spec.source == UNKNOWN_DATA {
        let text = "data: the model's file does not say what data it takes; add --set data.source=mnist, or another name of `gradus data \
                    list`, and --set data.scale=255 where it learnt from numbers up to 1";
        return Err(Failure::new(Kind::Usage, text));
    }
    let source = named(&spec.source).map_err(|failure| {
        Failure::new(failure.kind(), format!("{failure} Files of your own have the source csv, idx, npy or folder."))
    })?;
    let found = find(source, data)?;
    let (train, test) = match source.form {
        Form::Idx => idx_images(&found)?,
        Form::Table { shape } => (table(&found, shape)?, None),
        Form::Cifar => cifar(&found)?,
        Form::Text => {
            let text = format!("data: {} is a text, and no layer of this version reads texts", source.name);
            return Err(Failure::new(Kind::Usage, text));
        }
    };
    let origin = Origin { source: source.name.to_owned(), place: found.describe(), files: pieces(&found) };
    Ok(Parts { train, test, origin })
}

/// The shape of one sample as a network sees it, where that is known without reading any: from a named set, or from the size that
/// images get. `None` as well if the recipe wants to prepare samples that are no images: reading them says so.
pub fn known_shape(spec: &DataSpec) -> Option<Vec<usize>> {
    let images = &spec.images;
    match SOURCES.iter().find(|source| source.name == spec.source) {
        Some(source) => images.shape(source.sample_shape()?).ok(),
        None => images.shape(&[&images.size?[..], &[images.channels?]].concat()).ok(),
    }
}

fn idx_images(found: &Found) -> Result<(Dataset, Option<Dataset>), Failure> {
    let tensors: Vec<Tensor> = match &found.at {
        At::Files(paths) => paths.iter().map(read_idx).collect::<nn::Result<_>>()?,
        At::Npz(path) => read_npz(path, &["x_train", "y_train", "x_test", "y_test"])?,
        At::Embedded(files) => {
            let named = found.source.files.iter().zip(files);
            named.map(|(file, bytes)| read_idx_bytes(&file.remote_name(), bytes)).collect::<nn::Result<_>>()?
        }
        At::Sheets { .. } => return Err(strange(found)),
    };
    let [train_images, train_labels, test_images, test_labels] = <[Tensor; 4]>::try_from(tensors).map_err(|all| {
        Failure::new(Kind::Data, format!("data: {} has {} parts instead of 4", found.source.name, all.len()))
    })?;
    let set = |part: &str, images, labels| {
        Dataset::new(format!("{} ({part})", found.source.name), images, labels, classes(found.source))
    };
    Ok((set("training", train_images, train_labels)?, Some(set("test", test_images, test_labels)?)))
}

fn table(found: &Found, shape: &[usize]) -> Result<Dataset, Failure> {
    let options = CsvOptions { header: Some(false), ..CsvOptions::default() };
    let set = match &found.at {
        At::Files(paths) => read_csv(&paths[0], &options)?,
        At::Embedded(files) => read_csv_bytes(&found.source.files[0].remote_name(), files[0], &options)?,
        At::Npz(_) | At::Sheets { .. } => return Err(strange(found)),
    };
    let rows: Vec<usize> = std::iter::once(set.len()).chain(shape.iter().copied()).collect();
    let inputs = set.inputs.reshape(&rows).map_err(nn::Error::from)?;
    Ok(Dataset::new(found.source.name, inputs, set.targets, classes(found.source))?)
}

fn cifar(found: &Found) -> Result<(Dataset, Option<Dataset>), Failure> {
    let source = found.source;
    let name = |part: &str| format!("{} ({part})", source.name);
    let (train, test) = match &found.at {
        At::Files(paths) => {
            let (test, train) = paths.split_last().ok_or_else(|| strange(found))?;
            let read = |part: &str, paths: &[PathBuf]| read_cifar10(&name(part), paths, classes(source));
            (read("training", train)?, read("test", std::slice::from_ref(test))?)
        }
        At::Sheets { train, test } => {
            let read = |part: &str, paths: &[PathBuf]| images::sheets(&name(part), paths, classes(source));
            (read("training", train)?, read("test", test)?)
        }
        At::Npz(_) | At::Embedded(_) => return Err(strange(found)),
    };
    Ok((train, Some(test)))
}

/// A form in which the set is not kept.
fn strange(found: &Found) -> Failure {
    let text = format!("data: {} does not hold {} in a form that can be read", found.describe(), found.source.name);
    Failure::new(Kind::Data, text)
}

fn classes(source: &Source) -> Vec<String> {
    source.classes.iter().map(|&class| class.to_owned()).collect()
}

/// Reads the files that a recipe names itself.
fn own(spec: &DataSpec, data: Option<&Path>, values: bool) -> Result<Parts, Failure> {
    let mut files = Vec::new();
    let mut read = |part: &str, names: &[String]| -> Result<Dataset, Failure> {
        let paths: Vec<PathBuf> = names.iter().map(|name| data.map_or(name.into(), |data| data.join(name))).collect();
        for path in &paths {
            let bytes = path.metadata().map_or(0, |metadata| metadata.len());
            files.push(Piece { name: part.to_owned(), path: Some(path.display().to_string()), bytes, sha256: None });
        }
        read_own(spec, &paths, values)
    };
    if spec.source == "folder" {
        return folders(spec, data);
    }
    if spec.train_files.is_empty() {
        let text = format!(
            "[data] source = \"{0}\": which files? Add them below [data], as in files.train = [\"train.{0}\"]",
            spec.source
        );
        return Err(Failure::new(Kind::Usage, text));
    }
    let train = read("train", &spec.train_files)?;
    let test = if spec.test_files.is_empty() { None } else { Some(read("test", &spec.test_files)?) };
    if let Some(test) = &test
        && test.sample_shape() != train.sample_shape()
    {
        let (test, train) = (test.sample_shape(), train.sample_shape());
        let text = format!("data: samples for training are {train:?}, those for the test {test:?}; they must be alike");
        return Err(Failure::new(Kind::Data, text));
    }
    Ok(Parts {
        train,
        test,
        origin: Origin { source: spec.source.clone(), place: "files of the recipe".into(), files },
    })
}

/// Reads folders of images: those that the recipe names, or `train` and `test` below `--data`, or `--data` itself.
fn folders(spec: &DataSpec, data: Option<&Path>) -> Result<Parts, Failure> {
    let path = |name: &String| data.map_or(name.into(), |data| data.join(name));
    let (train, test) = match (spec.train_files.as_slice(), data) {
        ([train], _) => (path(train), spec.test_files.first().map(path)),
        ([], Some(root)) if root.join("train").is_dir() => {
            (root.join("train"), Some(root.join("test")).filter(|test| test.is_dir()))
        }
        ([], Some(root)) => (root.to_owned(), None),
        _ => {
            let text = "[data] source = \"folder\": which one? Give --data DIR, or files.train = [\"DIR\"] below [data]; each \
                        folder in it is a class of images";
            return Err(Failure::new(Kind::Usage, text));
        }
    };
    let mut files = Vec::new();
    let train = images::folder(&train, spec, None, &mut files)?;
    let test = test.map(|test| images::folder(&test, spec, Some(&train), &mut files)).transpose()?;
    let origin = Origin { source: spec.source.clone(), place: "folders of images".into(), files };
    Ok(Parts { train, test, origin })
}

fn read_own(spec: &DataSpec, paths: &[PathBuf], values: bool) -> Result<Dataset, Failure> {
    let name = paths[0].display().to_string();
    if spec.source == "csv" {
        let [path] = paths else {
            let text =
                "[data] files: a csv holds inputs and targets in one file; `label` names the column of the targets";
            return Err(Failure::new(Kind::Usage, text));
        };
        let options = CsvOptions {
            header: spec.header,
            label: Some(spec.label.as_deref().map_or(Column::Number(-1), Column::parse)),
            labels: if values { Labels::Values } else { Labels::Classes },
            ..CsvOptions::default()
        };
        return Ok(read_csv(path, &options)?);
    }
    let read = |path: &PathBuf| if spec.source == "idx" { read_idx(path) } else { read_npy(path) };
    let inputs = read(&paths[0])?;
    // One file alone is its own target, as an autoencoder wants it.
    let targets = if paths.len() > 1 { read(&paths[1])? } else { inputs.clone() };
    Ok(Dataset::new(name, inputs, targets, Vec::new())?)
}
