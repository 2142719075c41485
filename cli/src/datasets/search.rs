//! Where a data set lies: one order of places, the same for every command.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::catalog::{File, Form, SOURCES, Source};
use super::content::{Verdict, compare_path};
use super::embedded;
use crate::failure::{Failure, Kind};

/// The environment variable that names a folder with data sets.
pub const VARIABLE: &str = "GRADUS_DATA";

/// The folder that Debian's packages put data sets into.
const DEBIAN: &str = "/usr/share/datasets";

/// A data set that was found.
#[derive(Debug)]
pub struct Found {
    /// What was found.
    pub source: &'static Source,
    /// Who keeps it there, in a few words.
    pub place: &'static str,
    /// Where its files are.
    pub at: At,
}

/// Where the files of a data set are.
#[derive(Debug)]
pub enum At {
    /// One path for each file of the source, in its order.
    Files(Vec<PathBuf>),
    /// One NPZ file holding all parts, as Keras keeps it.
    Npz(PathBuf),
    /// Sheets of images in a folder, in order: `train_00.png`, …, and `test_00.png`, ….
    Sheets {
        /// Those to train on.
        train: Vec<PathBuf>,
        /// Those to test on.
        test: Vec<PathBuf>,
    },
    /// Inside the binary, in the order of the source's files.
    Embedded(Vec<&'static [u8]>),
}

impl Found {
    /// The folder, if it is not inside the binary.
    pub fn folder(&self) -> Option<&Path> {
        match &self.at {
            At::Files(paths) | At::Sheets { train: paths, .. } => paths.first()?.parent(),
            At::Npz(path) => path.parent(),
            At::Embedded(_) => None,
        }
    }

    /// Where it is, in words.
    pub fn describe(&self) -> String {
        match self.folder() {
            Some(folder) => format!("{} ({})", folder.display(), self.place),
            None => self.place.to_owned(),
        }
    }
}

/// One folder to look into, and who keeps data there.
#[derive(Debug)]
pub struct Candidate {
    /// In a few words.
    pub place: &'static str,
    /// The folder, or a file.
    pub path: PathBuf,
}

/// The folder that downloads go to: `$XDG_CACHE_HOME/gradus/datasets` or what stands for it on this system.
pub fn cache_folder() -> Option<PathBuf> {
    let base = match cfg!(windows) {
        true => folder_of("LOCALAPPDATA")?,
        false => folder_of("XDG_CACHE_HOME").or_else(|| Some(home()?.join(".cache")))?,
    };
    Some(base.join("gradus").join("datasets"))
}

/// Every place that is searched, in order; `--data` comes first and alone, since whoever names a folder means it.
pub fn candidates(source: &Source, data: Option<&Path>) -> Vec<Candidate> {
    let mut all = Vec::new();
    let mut look = |place, path: Option<PathBuf>| all.extend(path.map(|path| Candidate { place, path }));
    if let Some(root) = data {
        below(root, source).into_iter().for_each(|path| look("--data", Some(path)));
        return all;
    }
    for root in folder_of(VARIABLE).iter() {
        below(root, source).into_iter().for_each(|path| look(VARIABLE, Some(path)));
    }
    look("cache", cache_folder().map(|cache| cache.join(source.name)));
    let unpacked = source.archive.as_ref().zip(cache_folder());
    look("cache", unpacked.map(|(archive, cache)| cache.join(source.name).join(archive.folder)));
    look("Debian package", Some(Path::new(DEBIAN).join(source.name)));
    let keras = folder_of("KERAS_HOME").or_else(|| Some(home()?.join(".keras"))).map(|keras| keras.join("datasets"));
    look("Keras", keras.as_ref().map(|keras| keras.join(source.name)));
    look("Keras", keras.zip(source.npz).map(|(keras, npz)| keras.join(npz)));
    look("torchvision", source.torchvision.map(|name| Path::new("data").join(name).join("raw")));
    all
}

/// Finds a data set.
///
/// # Errors
/// If it is nowhere, with all that was searched and the three ways to get it; or if `--data` names a place without it.
pub fn find(source: &'static Source, data: Option<&Path>) -> Result<Found, Failure> {
    let candidates = candidates(source, data);
    let mut remarks = Vec::new();
    for candidate in &candidates {
        match look(source, &candidate.path) {
            Look::Found(at) => return Ok(Found { source, place: candidate.place, at }),
            Look::Remark(remark) => remarks.push(remark),
            Look::Nothing => {}
        }
    }
    let bundled: Option<Vec<_>> = source.files.iter().map(|file| embedded::file(source.name, file.name)).collect();
    match (data, bundled) {
        (Some(root), _) => Err(Failure::new(Kind::Data, not_at(source, root, &remarks))),
        (None, Some(files)) => Ok(Found { source, place: "inside the binary", at: At::Embedded(files) }),
        (None, None) => Err(Failure::new(Kind::Data, nowhere(source, &candidates, &remarks))),
    }
}

/// The names that a file may have in a folder: packed or not, with the dots of the first publication or without.
fn spellings(file: &File) -> Vec<String> {
    let dotted = file.name.replace("-idx", ".idx");
    let mut names = vec![format!("{}.gz", file.name), file.name.to_owned()];
    if dotted != file.name {
        names.extend([format!("{dotted}.gz"), dotted]);
    }
    names
}

/// The folders below a root that the user names in which the set may lie: the root may hold it, or many sets.
fn below(root: &Path, source: &Source) -> Vec<PathBuf> {
    let mut folders = vec![root.join(source.name)];
    if let Some(name) = source.torchvision {
        folders.extend([root.join(name).join("raw"), root.join(name)]);
    }
    if let Some(archive) = &source.archive {
        folders.extend([root.join(source.name).join(archive.folder), root.join(archive.folder)]);
    }
    folders.push(root.to_owned());
    folders.push(root.join("raw"));
    folders.extend(source.npz.map(|npz| root.join(npz)));
    folders
}

enum Look {
    Found(At),
    /// Something is there, though not what was looked for.
    Remark(String),
    Nothing,
}

fn look(source: &'static Source, path: &Path) -> Look {
    if path.is_file() {
        return look_at_file(source, path);
    }
    let found: Vec<Result<PathBuf, &File>> = source
        .files
        .iter()
        .map(|file| {
            let mut paths = spellings(file).into_iter().map(|name| path.join(name));
            paths.find(|path| path.is_file()).ok_or(file)
        })
        .collect();
    let missing: Vec<&str> = found.iter().filter_map(|found| found.as_ref().err().map(|file| file.name)).collect();
    if missing.len() == source.files.len() {
        return if source.form == Form::Cifar { look_for_sheets(path) } else { Look::Nothing };
    }
    if !missing.is_empty() {
        let names = missing.join(", ");
        return Look::Remark(format!("{} holds a part of {} but lacks {names}", path.display(), source.name));
    }
    let paths: Vec<PathBuf> = found.into_iter().flatten().collect();
    match another(source, &paths) {
        Some(other) => Look::Remark(format!("{} holds {}, not {}", path.display(), other.name, source.name)),
        None => Look::Found(At::Files(paths)),
    }
}

/// Sheets of images, numbered without a gap.
fn look_for_sheets(folder: &Path) -> Look {
    let sheets = |part: &str| -> Vec<PathBuf> {
        let paths = (0..100).map(|number| folder.join(format!("{part}_{number:02}.png")));
        paths.take_while(|path| path.is_file()).collect()
    };
    match (sheets("train"), sheets("test")) {
        (train, test) if train.is_empty() && test.is_empty() => Look::Nothing,
        (train, test) if train.is_empty() || test.is_empty() => {
            let lacking = if train.is_empty() { "train_00.png" } else { "test_00.png" };
            Look::Remark(format!("{} holds sheets of images but lacks {lacking}", folder.display()))
        }
        (train, test) => Look::Found(At::Sheets { train, test }),
    }
}

/// What a file that the user names is: the NPZ of all parts, or the only file of the set.
fn look_at_file(source: &Source, path: &Path) -> Look {
    let is_npz = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz"));
    match source.files {
        _ if is_npz && source.form == Form::Idx => Look::Found(At::Npz(path.to_owned())),
        [_] if !is_npz => Look::Found(At::Files(vec![path.to_owned()])),
        _ => Look::Nothing,
    }
}

/// The other known set that these files are, if they are one: MNIST and Fashion-MNIST give their files the same names. The
/// smallest file tells them apart.
fn another(source: &Source, paths: &[PathBuf]) -> Option<&'static Source> {
    let smallest = |source: &Source| (0..source.files.len()).min_by_key(|&i| source.files[i].bytes);
    let path = &paths[smallest(source)?];
    let others = SOURCES.iter().filter(|other| other.name != source.name && other.form == source.form);
    others.into_iter().find(|other| {
        smallest(other).is_some_and(|i| matches!(compare_path(&other.files[i], path), Ok(Verdict::Genuine)))
    })
}

fn not_at(source: &Source, root: &Path, remarks: &[String]) -> String {
    let why = match remarks {
        _ if !root.exists() => "there is no such file or folder".to_owned(),
        [] => {
            let names: Vec<String> = source.files.iter().map(File::remote_name).collect();
            let entries = fs::read_dir(root).map_or(0, Iterator::count);
            format!("none of its {entries} entries is one of {} (packed or not)", names.join(", "))
        }
        remarks => remarks.join("; "),
    };
    format!(
        "data: {} is not in {}: {why}. Without --data the usual places are searched; `gradus data info {}` shows them.",
        source.name,
        root.display(),
        source.name
    )
}

fn nowhere(source: &Source, candidates: &[Candidate], remarks: &[String]) -> String {
    let mut text = format!("data: {} was not found. Searched:", source.name);
    for candidate in candidates {
        text += &format!("\n  {} ({})", candidate.path.display(), candidate.place);
    }
    for remark in remarks {
        text += &format!("\nNote: {remark}.");
    }
    let names: Vec<String> = source.files.iter().map(File::remote_name).collect();
    if let Some(archive) = &source.archive {
        let (address, folder) = (archive.address, archive.folder);
        return text
            + &format!(
                "\nTo get it, download {address}, unpack it, and name the folder that holds {folder} by --data DIR or \
                 {VARIABLE}=DIR; or put {folder} into {}",
                cache_folder().unwrap_or_default().join(source.name).display()
            );
    }
    let package = match source.torchvision {
        Some("FashionMNIST") => "install Debian's package: apt install dataset-fashion-mnist".to_owned(),
        Some(name) => {
            format!("let Keras or torchvision download it: torchvision.datasets.{name}('data', download=True)")
        }
        None => format!("copy it into {}", cache_folder().unwrap_or_default().join(source.name).display()),
    };
    text + &format!(
        "\nThree ways to get it:\n  1. gradus data fetch {0}\n  2. --data DIR or {VARIABLE}=DIR, where DIR holds {1}\n  3. {package}",
        source.name,
        names.join(", "),
    )
}

fn home() -> Option<PathBuf> {
    folder_of(if cfg!(windows) { "USERPROFILE" } else { "HOME" })
}

fn folder_of(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::super::catalog::named;
    use super::*;

    /// The labels of the test part are small, so tests can write them; the other files only need their names.
    fn fill(folder: &Path, labels: &[u8]) {
        fs::create_dir_all(folder).unwrap();
        for name in ["train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz", "t10k-images.idx3-ubyte"] {
            fs::write(folder.join(name), b"").unwrap();
        }
        fs::write(folder.join("t10k-labels-idx1-ubyte.gz"), labels).unwrap();
    }

    #[test]
    fn a_root_may_hold_the_set_or_many_sets() {
        let mnist = named("mnist").unwrap();
        for inner in ["", "mnist", "MNIST/raw", "raw"] {
            let root = tempfile::tempdir().unwrap();
            fill(&root.path().join(inner), b"");
            let found = find(mnist, Some(root.path())).unwrap();
            assert_eq!(found.place, "--data");
            assert_eq!(found.folder().unwrap(), root.path().join(inner).components().collect::<PathBuf>());
        }
    }

    #[test]
    fn a_half_set_is_named_and_not_taken() {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), b"");
        fs::remove_file(root.path().join("t10k-labels-idx1-ubyte.gz")).unwrap();
        let failure = find(named("mnist").unwrap(), Some(root.path())).unwrap_err();
        assert_eq!(failure.kind(), Kind::Data);
        assert!(failure.to_string().contains("but lacks t10k-labels-idx1-ubyte"), "{failure}");
    }

    #[cfg(feature = "bundled-data")]
    #[test]
    fn one_mnist_is_not_taken_for_the_other() {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), embedded::file("fashion-mnist", "t10k-labels-idx1-ubyte").unwrap());
        let failure = find(named("mnist").unwrap(), Some(root.path())).unwrap_err();
        assert!(failure.to_string().contains("holds fashion-mnist, not mnist"), "{failure}");
        assert!(find(named("fashion-mnist").unwrap(), Some(root.path())).is_ok());
    }

    #[test]
    fn an_npz_is_found_by_folder_and_by_name() {
        let root = tempfile::tempdir().unwrap();
        let npz = root.path().join("mnist.npz");
        fs::write(&npz, b"").unwrap();
        for path in [root.path(), &npz] {
            let found = find(named("mnist").unwrap(), Some(path)).unwrap();
            assert!(matches!(&found.at, At::Npz(path) if *path == npz));
        }
    }
}
