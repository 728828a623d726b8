//! Randomness of the kernel after a fork: the only module with `unsafe`.

use rustix::ioctl::{Setter, ioctl, opcode};
use std::fs::File;
use std::io::Result;

/// `struct rand_pool_info` of random(4), with its bytes.
#[repr(C)]
struct Pool {
    entropy_bits: i32,
    bytes: i32,
    buffer: [u8; 32],
}

/// `_IOW('R', 0x03, int [2])`: the size in the code is that of two numbers, whatever follows them.
const RNDADDENTROPY: rustix::ioctl::Opcode = opcode::write::<[i32; 2]>(b'R', 0x03);
/// `_IO('R', 0x07)`.
const RNDRESEEDCRNG: rustix::ioctl::Opcode = opcode::none(b'R', 0x07);

/// Adds entropy and has the kernel's generator use it at once: clones are twins until then.
pub fn add(seed: [u8; 32]) -> Result<()> {
    let device = File::options().write(true).open("/dev/urandom")?;
    let pool = Pool {
        entropy_bits: 256,
        bytes: 32,
        buffer: seed,
    };
    // SAFETY: RNDADDENTROPY reads a `rand_pool_info`: two ints, then as many bytes as the second says, which `Pool` has.
    unsafe { ioctl(&device, Setter::<RNDADDENTROPY, Pool>::new(pool)) }?;
    // SAFETY: RNDRESEEDCRNG takes no argument.
    unsafe { ioctl(&device, rustix::ioctl::NoArg::<RNDRESEEDCRNG>::new()) }?;
    Ok(())
}
