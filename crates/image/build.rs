//! Takes the digests of what images are built from, so that a program knows its images' keys
//! without reading any source.

#[path = "src/inputs.rs"]
mod inputs;

use std::path::Path;

fn main() {
    let folder = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let root = Path::new(&folder).join("../..");
    for (name, places) in [
        ("UKERNEL_KERNEL_SOURCES", &inputs::KERNEL[..]),
        ("UKERNEL_AGENT_SOURCES", &inputs::AGENT[..]),
        ("UKERNEL_COMPONENT_SOURCES", &inputs::COMPONENT[..]),
    ] {
        let digest = inputs::digest(&root, places).expect("the project's sources are there");
        println!("cargo:rustc-env={name}={digest}");
        for place in places {
            println!("cargo:rerun-if-changed={}", root.join(place).display());
        }
    }
}
