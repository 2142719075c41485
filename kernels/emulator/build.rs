//! Names the stand-in driver as CUDA programs ask for it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Once a library of this name is loaded, a later search for `libcuda.so` ends at it.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libcuda.so");
    }
}
