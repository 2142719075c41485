//! `ckpt/` in a run folder: the newest states of a training, each in a file that is whole or not there.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use nn::models::Model;
use nn::spec::{CheckpointSpec, Every};
use nn::train::{Checkpoint, Trainer};

use crate::failure::{Failure, Kind};
use crate::terminal::Terminal;

/// The folder in a run folder.
pub const FOLDER: &str = "ckpt";

/// Saves a training now and then.
#[derive(Debug)]
pub struct Checkpoints<'a> {
    folder: PathBuf,
    spec: &'a CheckpointSpec,
    /// When the last was written, in time and in steps.
    last: (Instant, usize),
}

impl<'a> Checkpoints<'a> {
    /// Saves into the folder of `run`, as often as `spec` says, counting from a training of `steps` steps.
    pub fn new(run: &Path, spec: &'a CheckpointSpec, steps: usize) -> Checkpoints<'a> {
        Checkpoints { folder: run.join(FOLDER), spec, last: (Instant::now(), steps) }
    }

    /// Saves the training if it is time to.
    ///
    /// # Errors
    /// If the file cannot be written; the older ones are still there then.
    pub fn after_step(&mut self, trainer: &Trainer<'_>) -> Result<(), Failure> {
        let (time, steps) = self.last;
        let due = match self.spec.every {
            Every::Steps(every) => trainer.progress().history.steps >= steps + every,
            Every::Time(every) => time.elapsed() >= every,
        };
        if due { self.save(trainer) } else { Ok(()) }
    }

    /// Saves the training, and removes what is older than the newest few, or was left half written by a crash.
    ///
    /// # Errors
    /// If the file cannot be written; the older ones are still there then.
    pub fn save(&mut self, trainer: &Trainer<'_>) -> Result<(), Failure> {
        let steps = trainer.progress().history.steps;
        fs::create_dir_all(&self.folder).map_err(|error| Failure::io(self.folder.display(), &error))?;
        trainer.checkpoint().save(self.folder.join(format!("step-{steps:08}.safetensors")), BTreeMap::new())?;
        self.last = (Instant::now(), steps);
        let old = newest_first(&self.folder)?.into_iter().skip(self.spec.keep).map(|(_, old)| old);
        for file in old.chain(files(&self.folder)?.filter(|file| step(file).is_none())) {
            // One file too many harms nobody, and stopping a training for it would.
            let _ = fs::remove_file(file);
        }
        Ok(())
    }
}

/// Whether a run folder holds any training state.
///
/// # Errors
/// If the folder cannot be read.
pub fn are_there(run: &Path) -> Result<bool, Failure> {
    Ok(!newest_first(&run.join(FOLDER))?.is_empty())
}

/// The newest training state in a run folder that is whole, with its file; says which newer ones are not. `None` if the run
/// ended before its first.
///
/// # Errors
/// If all of them are damaged.
pub fn newest(run: &Path, terminal: &Terminal) -> Result<Option<(Checkpoint, PathBuf)>, Failure> {
    let files = newest_first(&run.join(FOLDER))?;
    let none_yet = files.is_empty();
    for (_, file) in files {
        match Checkpoint::load(&file) {
            Ok((checkpoint, _)) => return Ok(Some((checkpoint, file))),
            Err(error) => terminal.warn(format!("{error}; trying the one before")),
        }
    }
    if none_yet {
        return Ok(None);
    }
    let text = format!("--resume {}: none of its checkpoints can be read; start the run again", run.display());
    Err(Failure::new(Kind::Data, text))
}

/// Gives a model that lies in a run folder as `file` what the run remembers, where its newest whole checkpoint has the same weights: those
/// of a best epoch, or means of weights, are no place to go on from.
///
/// # Errors
/// If the folder cannot be read.
pub fn remember(model: &mut Model, file: &Path) -> Result<(), Failure> {
    let folder = file.parent().unwrap_or(Path::new("")).join(FOLDER);
    if !model.memory().is_empty() {
        return Ok(());
    }
    let newest = newest_first(&folder)?.into_iter().find_map(|(_, file)| Checkpoint::load(file).ok());
    if let Some(memory) = newest.and_then(|(checkpoint, _)| checkpoint.memory_of(model)) {
        model.set_memory(memory);
    }
    Ok(())
}

/// The checkpoints in a folder with their steps.
fn newest_first(folder: &Path) -> Result<Vec<(usize, PathBuf)>, Failure> {
    let mut found: Vec<_> = files(folder)?.filter_map(|path| Some((step(&path)?, path))).collect();
    found.sort_by_key(|&(step, _)| std::cmp::Reverse(step));
    Ok(found)
}

fn files(folder: &Path) -> Result<impl Iterator<Item = PathBuf>, Failure> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        entries => Some(entries.map_err(|error| Failure::io(folder.display(), &error))?),
    };
    Ok(entries.into_iter().flatten().filter_map(|entry| entry.ok().map(|entry| entry.path())))
}

/// After how many steps the checkpoint in this file was taken; `None` for any other file.
fn step(file: &Path) -> Option<usize> {
    file.file_name()?.to_str()?.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()
}
