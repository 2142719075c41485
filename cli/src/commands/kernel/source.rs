//! The PTX of a kernel to run: a family of gradus, a file, or what the compiler makes of CUDA C.

use std::fs;
use std::path::Path;

use nn::core::kernels::cuda::{FAMILIES, Family, family_of};

use crate::args::KernelRun;
use crate::failure::{Failure, Kind, did_you_mean};

/// The PTX to run, and the name of the kernel in it if one is known.
///
/// # Errors
/// If there is no such kernel or file, or CUDA C cannot be compiled.
pub fn read(args: &KernelRun) -> Result<(String, Option<String>), Failure> {
    if let Some(family) = family_of(&args.source) {
        return Ok((family.ptx.to_owned(), Some(args.source.clone())));
    }
    let path = Path::new(&args.source);
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if !["cu", "ptx"].contains(&ending) {
        return Err(unknown(&args.source));
    }
    let text =
        fs::read_to_string(path).map_err(|error| Failure::new(Kind::Data, format!("{}: {error}", path.display())))?;
    let text = if ending == "cu" { compile(&text, path, args)? } else { text };
    Ok((text, args.kernel.clone()))
}

/// That there is no kernel or family of this name.
pub fn unknown(name: &str) -> Failure {
    let names = FAMILIES.iter().flat_map(|family: &Family| family.kernels().chain([family.name]));
    let nearest = did_you_mean(name, names);
    let text = format!("there is no CUDA kernel or family {name:?}; `gradus kernel show` names them all.{nearest}");
    Failure::new(Kind::Usage, text)
}

#[cfg(feature = "cuda")]
fn compile(text: &str, path: &Path, args: &KernelRun) -> Result<String, Failure> {
    use nn::core::kernels::cuda::nvrtc::{CompileError, compile};

    let file = path.display();
    compile(text, &file.to_string(), &args.arch, args.nvrtc.as_deref()).map_err(|error| match error {
        CompileError::Missing { .. } => Failure::new(
            Kind::Device,
            format!(
                "{file}: {error}. `pip install nvidia-cuda-nvrtc-cu11==11.8.89` in a virtual environment brings it, without a GPU or \
                 a toolkit: activate the environment, or name the folder with --nvrtc; or compile elsewhere, `nvcc -ptx {file}`, \
                 and run {}",
                path.with_extension("ptx").display()
            ),
        ),
        CompileError::Broken(_) => Failure::new(Kind::Device, format!("{file}: {error}")),
        CompileError::Source(log) => {
            Failure::new(Kind::Usage, format!("{file} does not compile:\n{}", log.trim_end()))
        }
    })
}

#[cfg(not(feature = "cuda"))]
fn compile(_: &str, path: &Path, _: &KernelRun) -> Result<String, Failure> {
    let (file, ptx) = (path.display(), path.with_extension("ptx"));
    let text = format!(
        "{file}: this gradus was built without the feature `cuda`, and does not compile CUDA C: `nvcc -ptx {file}`, then run {}",
        ptx.display()
    );
    Err(Failure::new(Kind::Device, text))
}
