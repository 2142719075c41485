//! How a test gets the stand-in driver.

use std::path::PathBuf;

use libloading::Library;

use super::state::Counts;

/// Why there is no stand-in driver.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It was not built, or is elsewhere.
    #[error("the stand-in driver {} is in none of {folders:?}", LIBRARY)]
    Missing {
        /// Where it was looked for.
        folders: Vec<PathBuf>,
    },
    /// It cannot be loaded.
    #[error("the stand-in driver {} cannot be loaded: {source}", path.display())]
    Broken {
        /// Where it is.
        path: PathBuf,
        /// What the loader says.
        source: libloading::Error,
    },
}

/// The loaded stand-in driver, which stays until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct StandIn(extern "C" fn(&mut Counts) -> std::ffi::c_uint);

impl StandIn {
    /// What has been asked of it so far.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        (self.0)(&mut counts);
        counts
    }
}

const LIBRARY: &str = "libgradus_emulator.so";

/// Loads the stand-in driver, so that whoever asks for `libcuda.so` from now on gets it, whether the machine has a driver or not.
///
/// Call it before anything looks for a driver. It takes the shared library of this crate, which cargo builds beside the tests
/// and programs that depend on the crate: in the folder of the running program, the one above, or `deps` in one of these.
///
/// # Errors
/// If the library is in none of these places, or cannot be loaded.
pub fn load_stand_in() -> Result<StandIn, LoadError> {
    let program = std::env::current_exe().unwrap_or_default();
    let near: Vec<PathBuf> = program.ancestors().skip(1).take(2).map(PathBuf::from).collect();
    let folders: Vec<PathBuf> = near.iter().flat_map(|folder| [folder.clone(), folder.join("deps")]).collect();
    let Some(path) = folders.iter().map(|folder| folder.join(LIBRARY)).find(|path| path.is_file()) else {
        return Err(LoadError::Missing { folders });
    };
    let broken = |source| LoadError::Broken { path: path.clone(), source };
    // SAFETY: loading the library of this crate runs no code of it.
    let library = unsafe { Library::new(&path) }.map_err(broken)?;
    // SAFETY: the function has this type, with a pointer for the reference.
    let counts = *unsafe { library.get(b"gradus_emulator_counts\0") }.map_err(broken)?;
    // It stays loaded, so that it is found and the function stays.
    std::mem::forget(library);
    Ok(StandIn(counts))
}
