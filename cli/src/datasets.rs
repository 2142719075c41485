//! Data sets that have names: what they are, where they lie, how they come here.

pub mod catalog;
pub mod content;
mod embedded;
#[cfg(feature = "fetch")]
pub mod fetch;
pub mod images;
pub mod load;
pub mod search;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use catalog::Source;
use content::Verdict;
use search::{At, Found};

/// The bundled copy of a file, as its package ships it.
pub use embedded::file as bundled;

/// A file of a data set as it was found, for reports.
#[derive(Debug, serde::Serialize)]
pub struct Piece {
    /// Its name in the catalog, or the NPZ that holds all.
    pub name: String,
    /// Its path; none inside the binary.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// How many bytes it takes as it lies there.
    pub bytes: u64,
    /// SHA-256 of these bytes, where somebody asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// Adds the hashes of files, so that a run can say exactly what it was trained on.
///
/// # Errors
/// If a file cannot be read.
pub fn add_hashes(source: &str, pieces: &mut [Piece]) -> Result<(), Failure> {
    for piece in pieces {
        let hashed = match (&piece.path, bundled(source, &piece.name)) {
            (Some(path), _) => File::open(path).and_then(content::hash).map_err(|error| Failure::io(path, &error))?,
            (None, Some(bytes)) => content::hash(bytes).map_err(|error| Failure::io(&piece.name, &error))?,
            (None, None) => continue,
        };
        piece.sha256 = Some(hashed.1);
    }
    Ok(())
}

/// The files of a set that was found.
pub fn pieces(found: &Found) -> Vec<Piece> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |metadata| metadata.len());
    let sheet = |path: &PathBuf| Piece {
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        path: Some(path.display().to_string()),
        bytes: length(path),
        sha256: None,
    };
    let names = found.source.files.iter().map(|file| file.name.to_owned());
    match &found.at {
        At::Files(paths) => names
            .zip(paths)
            .map(|(name, path)| Piece {
                name,
                path: Some(path.display().to_string()),
                bytes: length(path),
                sha256: None,
            })
            .collect(),
        At::Sheets { train, test } => train.iter().chain(test).map(sheet).collect(),
        At::Npz(path) => vec![Piece {
            name: found.source.npz.unwrap_or_default().to_owned(),
            path: Some(path.display().to_string()),
            bytes: length(path),
            sha256: None,
        }],
        At::Embedded(files) => names
            .zip(files)
            .map(|(name, file)| Piece { name, path: None, bytes: file.len() as u64, sha256: None })
            .collect(),
    }
}

/// Compares every file with the catalog; none for an NPZ or for sheets, which hold the same arrays in another form, and none
/// where no hashes are known.
///
/// # Errors
/// If a file cannot be read.
pub fn verify(found: &Found) -> Result<Vec<(&'static str, Verdict)>, Failure> {
    let compare = |i: usize, read: &mut dyn Read| content::compare(&found.source.files[i], read);
    let verdict = |i: usize| -> io::Result<Verdict> {
        match &found.at {
            At::Files(paths) => compare(i, &mut File::open(&paths[i])?),
            At::Embedded(files) => compare(i, &mut &files[i][..]),
            At::Npz(_) | At::Sheets { .. } => Ok(Verdict::Genuine),
        }
    };
    let files = match found.at {
        At::Npz(_) | At::Sheets { .. } => &[],
        _ if found.source.files.iter().any(|file| file.sha256.is_none()) => &[],
        _ => found.source.files,
    };
    let named = files.iter().enumerate().map(|(i, file)| {
        let verdict = verdict(i).map_err(|error| Failure::io(format!("{} of {}", file.name, found.describe()), &error));
        verdict.map(|verdict| (file.name, verdict))
    });
    named.collect()
}

/// Whether the binary holds all files of a set.
pub fn is_bundled(source: &Source) -> bool {
    source.files.iter().all(|file| bundled(source.name, file.name).is_some())
}
