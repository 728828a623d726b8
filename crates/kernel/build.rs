//! Hands the linker the kernel's memory map.

fn main() {
    // Linkers run in this folder. A whole path would stay in the cache that checkouts share.
    println!("cargo:rustc-link-arg-bins=-Tkernel.ld");
    println!("cargo:rerun-if-changed=kernel.ld");
    println!("cargo:rerun-if-changed=src/stub/stub.s");
}
