//! How the functions are linked for release: the build script of each of them. DESIGN.md says why.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "that is how build scripts and cargo talk")]

fn main() {
    println!("cargo:rerun-if-changed=../link.rs");
    println!("cargo:rerun-if-changed=../link.ld");
    let is = |variable, value| std::env::var(variable).is_ok_and(|own| own == value);
    if is("PROFILE", "release") && is("CARGO_CFG_TARGET_OS", "linux") {
        let script = std::fs::canonicalize("../link.ld").expect("it lies beside the functions");
        println!("cargo:rustc-link-arg-bins=-no-pie");
        println!("cargo:rustc-link-arg-bins=-T");
        println!("cargo:rustc-link-arg-bins={}", script.display());
    }
}
