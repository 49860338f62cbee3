//! Says how the binary is to be linked.

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if loader_knows_packed_relocations() {
        // They take a megabyte of each process otherwise, which is read once, when it starts.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// glibc does from 2.36 on. What is built for another machine than this one may meet any.
fn loader_knows_packed_relocations() -> bool {
    let is = |name: &str, want: &str| env::var(name).is_ok_and(|value| value == want);
    let is_glibc = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    is_glibc && env::var("HOST") == env::var("TARGET") && glibc() >= Some((2, 36))
}

fn glibc() -> Option<(u32, u32)> {
    let said = Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let said = String::from_utf8(said.ok()?.stdout).ok()?;
    let (major, minor) = said.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
