//! The PTX in the repository is that of the sources beside it.

use std::process::Command;

use gradus_emulator::Module;
use gradus_kernels::cuda::{COMMON, FAMILIES};
use sha2::{Digest, Sha256};

#[test]
fn the_ptx_was_made_from_these_sources() {
    for family in FAMILIES {
        let digest = Sha256::new().chain_update(COMMON).chain_update(family.source).finalize();
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let says = family.ptx.lines().nth(1).unwrap();
        let name = family.name;
        let mend = format!("{name}.ptx is not that of {name}.cu and common.h: run kernels/cuda/build.py");
        assert_eq!(says, format!("// sources: sha256 {digest} of common.h and {name}.cu"), "{mend}");
    }
}

#[test]
fn compiling_again_gives_the_same_bytes() {
    let python = std::env::var("GRADUS_NVRTC_PYTHON");
    let Ok(python) = python else {
        println!("skipped: GRADUS_NVRTC_PYTHON names no Python with nvidia-cuda-nvrtc-cu11; see kernels/cuda/build.py");
        return;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/cuda/build.py");
    let output = Command::new(&python).arg(script).arg("--check").output().expect("this Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_emulator_reads_all_of_it() {
    for family in FAMILIES {
        let module = Module::parse(family.ptx).unwrap_or_else(|error| panic!("{}.ptx, {error}", family.name));
        let names: Vec<&str> = module.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
        assert!(family.kernels().eq(names), "{}", family.name);
        assert_eq!(module.version, "7.8", "newer PTX would ask for newer drivers");
        assert!(module.files.values().any(|file| *file == format!("/{}.cu", family.name)), "{:?}", module.files);
        for kernel in family.kernels() {
            let text = family.kernel(kernel).unwrap();
            assert!(text.starts_with(".visible .entry") && text.ends_with('}'), "{kernel}");
        }
    }
}
