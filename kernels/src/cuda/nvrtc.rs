//! CUDA C to PTX by NVRTC, NVIDIA's compiler as a library, where one is found: for kernels that users write. Those of gradus are
//! compiled already.
//!
//! `cudarc` knows NVRTC too, but looks for it under names that the packages of Python do not use, and cannot be told where it is.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

use libloading::Library;

use super::COMMON;

/// Why a source has not become PTX.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// No compiler.
    #[error("NVIDIA's compiler NVRTC is not here ({tried})")]
    Missing {
        /// Where it was looked for.
        tried: String,
    },
    /// A compiler that lacks a function, or fails.
    #[error("NVRTC: {0}")]
    Broken(String),
    /// What the compiler says to the source.
    #[error("{0}")]
    Source(String),
}

/// `nvrtcProgram`.
type Program = *mut c_void;
type Create = unsafe extern "C" fn(
    &mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type Size = unsafe extern "C" fn(Program, &mut usize) -> c_int;
type Text = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
type Destroy = unsafe extern "C" fn(&mut Program) -> c_int;

/// The names of the library, without and with a version, as toolkits and the packages of Python have them.
const NAMES: &[&str] = &["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"];

/// What a source may include beside its own: `common.h` of gradus.
const HEADER: &CStr = c"common.h";

/// The PTX of a source, which may include `common.h`.
///
/// The compiler is looked for in `folder`, if one is given; else where the system's loader looks, in `CUDA_HOME`, and in the packages of
/// the active virtual environment of Python. `name` stands in messages. Lines of the source stand in the PTX.
///
/// # Errors
/// If there is no compiler, or it refuses the source.
pub fn compile(source: &str, name: &str, architecture: &str, folder: Option<&Path>) -> Result<String, CompileError> {
    Nvrtc::find(folder)?.compile(source, name, architecture)
}

/// The library, which stays loaded as long as this lives, and its functions.
struct Nvrtc {
    create: Create,
    compile: Compile,
    log_size: Size,
    log: Text,
    ptx_size: Size,
    ptx: Text,
    destroy: Destroy,
    _libraries: Vec<Library>,
}

/// Where the library may be besides the loader's own places.
fn usual_folders() -> Vec<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let mut folders: Vec<PathBuf> =
        ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(variable).map(|home| home.join("lib64")).collect();
    if let Some(environment) = variable("VIRTUAL_ENV") {
        let versions = std::fs::read_dir(environment.join("lib")).into_iter().flatten().flatten();
        let packages = versions.map(|version| version.path().join("site-packages/nvidia"));
        folders.extend(packages.flat_map(|nvidia| ["cuda_nvrtc/lib", "cu13/lib"].map(|place| nvidia.join(place))));
    }
    folders.push(PathBuf::from("/usr/local/cuda/lib64"));
    folders
}

/// The files of a folder whose names begin so, in order: the one without a version first.
fn files(folder: &Path, start: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let begins = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(begins).collect();
    found.sort();
    found
}

/// Loads a library so that those loaded later find it.
fn load(path: &Path) -> Result<Library, CompileError> {
    #[cfg(unix)]
    // SAFETY: NVIDIA's library runs nothing when it is loaded but what prepares its own data.
    let library = unsafe {
        use libloading::os::unix;
        unix::Library::open(Some(path), unix::RTLD_NOW | unix::RTLD_GLOBAL).map(Library::from)
    };
    #[cfg(not(unix))]
    // SAFETY: as above.
    let library = unsafe { Library::new(path) };
    library.map_err(|error| CompileError::Broken(error.to_string()))
}

impl Nvrtc {
    fn find(folder: Option<&Path>) -> Result<Nvrtc, CompileError> {
        let folders = folder.map_or_else(usual_folders, |folder| vec![folder.to_owned()]);
        for folder in &folders {
            if let Some(path) = files(folder, "libnvrtc.so").first() {
                // The compiler asks for these by their bare name, and finds them if they are loaded.
                let mut libraries = files(folder, "libnvrtc-builtins.so")
                    .iter()
                    .map(|path| load(path))
                    .collect::<Result<Vec<_>, _>>()?;
                libraries.push(load(path)?);
                return Nvrtc::of(libraries);
            }
        }
        let by_name = NAMES.iter().filter(|_| folder.is_none()).find_map(|name| load(Path::new(name)).ok());
        by_name.map(|library| Nvrtc::of(vec![library])).unwrap_or_else(|| {
            let tried: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
            let tried = format!("looked for libnvrtc.so in {}", tried.join(", "));
            Err(CompileError::Missing { tried })
        })
    }

    /// The functions of the last library, which needs the others.
    fn of(libraries: Vec<Library>) -> Result<Nvrtc, CompileError> {
        fn function<T: Copy>(libraries: &[Library], name: &CStr) -> Result<T, CompileError> {
            let broken = |error: libloading::Error| CompileError::Broken(error.to_string());
            let library = libraries.last().ok_or_else(|| CompileError::Broken("no library".into()))?;
            // SAFETY: the types above are those of NVRTC's documentation, which no version has changed; whoever keeps the function
            // keeps the library.
            unsafe { library.get::<T>(name.to_bytes_with_nul()) }.map(|found| *found).map_err(broken)
        }
        Ok(Nvrtc {
            create: function(&libraries, c"nvrtcCreateProgram")?,
            compile: function(&libraries, c"nvrtcCompileProgram")?,
            log_size: function(&libraries, c"nvrtcGetProgramLogSize")?,
            log: function(&libraries, c"nvrtcGetProgramLog")?,
            ptx_size: function(&libraries, c"nvrtcGetPTXSize")?,
            ptx: function(&libraries, c"nvrtcGetPTX")?,
            destroy: function(&libraries, c"nvrtcDestroyProgram")?,
            _libraries: libraries,
        })
    }

    fn compile(&self, source: &str, name: &str, architecture: &str) -> Result<String, CompileError> {
        let text = |what: &str, text: &str| {
            CString::new(text).map_err(|_| CompileError::Source(format!("the {what} has a character of code 0")))
        };
        let (source, name, header) = (text("source", source)?, text("name", name)?, text("header", COMMON)?);
        let options = [&format!("--gpu-architecture={architecture}"), "-std=c++17", "-lineinfo"];
        let options = options.into_iter().map(|option| text("option", option)).collect::<Result<Vec<_>, _>>()?;
        let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program: Program = std::ptr::null_mut();
        // SAFETY: all texts end in a zero and live until the end of the function, and there is one header with one name.
        let code = unsafe {
            (self.create)(&mut program, source.as_ptr(), name.as_ptr(), 1, &header.as_ptr(), &HEADER.as_ptr())
        };
        if code != 0 {
            return Err(CompileError::Broken(format!("nvrtcCreateProgram failed with code {code}")));
        }
        // SAFETY: the program was made above, and the options live as long as their pointers.
        let code = unsafe { (self.compile)(program, options.len() as c_int, options.as_ptr()) };
        let answer = match code {
            0 => self.text(program, self.ptx_size, self.ptx),
            _ => self.text(program, self.log_size, self.log).and_then(|log| Err(CompileError::Source(log))),
        };
        // SAFETY: the program was made above, and is not used after this.
        unsafe { (self.destroy)(&mut program) };
        answer
    }

    /// One of the program's texts.
    fn text(&self, program: Program, size: Size, get: Text) -> Result<String, CompileError> {
        let mut len = 0;
        // SAFETY: the program exists, and the function writes one number.
        let code = unsafe { size(program, &mut len) };
        let mut bytes = vec![0u8; len];
        // SAFETY: the function writes as many bytes as it has said.
        let code = if code == 0 { unsafe { get(program, bytes.as_mut_ptr().cast()) } } else { code };
        if code != 0 {
            return Err(CompileError::Broken(format!("reading what it made failed with code {code}")));
        }
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\0').to_owned())
    }
}
