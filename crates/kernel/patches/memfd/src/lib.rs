//! Empty on purpose: see the patch section of the kernel's Cargo.toml.
#![no_std]
