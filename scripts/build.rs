//! Lets programs and tests find libtorch where they were built against it, without an environment variable; keeps it out
//! of the program that does without.

fn main() {
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    if let Ok(libtorch) = std::env::var("LIBTORCH") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{libtorch}/lib");
    }
    let on_linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if on_linux && std::env::var("CARGO_PKG_NAME").is_ok_and(|name| name == "templar-neurons") {
        // tch's wrapper defines inline functions that libtorch has too. While the linker exports them it keeps them,
        // and libtorch for their sake, though nothing calls them.
        println!("cargo:rustc-link-arg-bin=templar=-Wl,--exclude-libs,ALL");
    }
}
