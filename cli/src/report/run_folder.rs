//! `runs/NNNN-name/`: everything that is known about a run, in files that are whole or not there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::tensorboard::EventFile;
use crate::failure::{Failure, Kind};

/// The file with the weights and the model.
pub const MODEL: &str = "model.safetensors";
/// The file with the weights of the best epoch, where the recipe says what is best.
pub const BEST: &str = "best.safetensors";
/// The file with the complete recipe.
pub const CONFIG: &str = "config.toml";

/// The file that says which data a run was trained on.
pub const DATA: &str = "data.json";

/// The folder of one run.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    log: File,
    events: EventFile,
}

impl RunFolder {
    /// Makes the next folder below `parent`: `0001-name`, `0002-name`, ….
    ///
    /// # Errors
    /// If `parent` cannot be made or written.
    pub fn create(parent: &Path, name: &str) -> Result<RunFolder> {
        let refused = |error: io::Error| {
            let text = format!("--out {}: the output folder cannot be written: {error}", parent.display());
            Failure::new(Kind::Run, text + "; name another with --out DIR or GRADUS_RUNS")
        };
        fs::create_dir_all(parent).map_err(refused)?;
        let mut number = last_number(parent).map_err(refused)? + 1;
        let path = loop {
            let path = parent.join(format!("{number:04}-{name}"));
            match fs::create_dir(&path) {
                Ok(()) => break path,
                // Another run took the number since we looked.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(refused(error)),
            }
        };
        RunFolder::open(path).map_err(refused)
    }

    /// The folder of a run that goes on; its log grows.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(path: PathBuf) -> io::Result<RunFolder> {
        let log = OpenOptions::new().create(true).append(true).open(path.join("log.jsonl"))?;
        let events = EventFile::create(&path.join("tb"))?;
        Ok(RunFolder { path, log, events })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds one line to `log.jsonl`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn log(&mut self, event: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(event).map_err(io::Error::from).and_then(|line| writeln!(self.log, "{line}"));
        line.map_err(|error| Failure::io(self.path.join("log.jsonl").display(), &error))
    }

    /// Adds to the events for TensorBoard.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn events(&mut self, write: impl FnOnce(&mut EventFile) -> io::Result<()>) -> Result<()> {
        write(&mut self.events).map_err(|error| Failure::io(self.path.join("tb").display(), &error))
    }

    /// Writes one file of the folder.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        super::write_file(&self.path.join(name), content.as_ref())
    }

    /// Writes one file of the folder as JSON.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value);
        let text = text.map_err(|error| Failure::io(self.path.join(name).display(), &error.into()))?;
        self.write(name, text + "\n")
    }
}

type Result<T> = std::result::Result<T, Failure>;

/// The highest number that a folder below `parent` begins with.
fn last_number(parent: &Path) -> io::Result<u32> {
    let mut last = 0;
    for entry in fs::read_dir(parent)? {
        let name = entry?.file_name();
        let number = name.to_string_lossy().split_once('-').and_then(|(number, _)| number.parse().ok());
        last = last.max(number.unwrap_or(0));
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_grow_past_gaps_and_strangers() {
        let parent = tempfile::tempdir().unwrap();
        let next = |name: &str| {
            let folder = RunFolder::create(parent.path(), name).unwrap();
            folder.path().file_name().unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(next("digits"), "0001-digits");
        fs::create_dir(parent.path().join("0041-mnist")).unwrap();
        fs::create_dir(parent.path().join("notes-2026")).unwrap();
        assert_eq!(next("digits"), "0042-digits");
        assert_eq!(next("mnist"), "0043-mnist");
    }

    #[test]
    fn a_file_in_the_way_is_told() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "").unwrap();
        let failure = RunFolder::create(&file, "digits").unwrap_err();
        assert_eq!(failure.kind(), Kind::Run);
        assert!(failure.to_string().contains("the output folder cannot be written"), "{failure}");
    }
}
