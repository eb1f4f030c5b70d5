//! One thing: a build with the second opinions links although two crates replace `clock_gettime` and `getrandom`.
//!
//! madsim replaces them for its own world, `rt::interpose` for every world. The linker takes the first it meets, which is
//! ours: a program's own crate stands before its dependencies. `interpose` has a test that ours answers.
#![expect(clippy::disallowed_macros, reason = "cargo reads what a build script prints")]

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let on = |name: &str| std::env::var_os(name).is_some();
    if on("CARGO_FEATURE_SECOND_OPINIONS") && on("CARGO_CFG_MADSIM") {
        println!("cargo::rustc-link-arg=-Wl,--allow-multiple-definition");
    }
}
