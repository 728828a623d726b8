//! The three streams of an execution: pipes, of which the agent has one end.

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use std::io::Result;
use std::os::fd::OwnedFd;

/// The agent's ends.
pub struct Ours {
    /// Where input goes; `None` where it has ended.
    pub input: Option<OwnedFd>,
    /// Standard output and standard error; `None` where they have ended.
    pub outputs: [Option<OwnedFd>; 2],
}

/// The program's ends: standard input, output, error.
pub struct Theirs(pub [OwnedFd; 3]);

/// Makes them. Without input the program finds it at its end.
pub fn make(has_input: bool) -> Result<(Ours, Theirs)> {
    let nonblocking = |fd: &OwnedFd| rustix::fs::fcntl_setfl(fd, OFlags::NONBLOCK);
    let (stdin, input) = if has_input {
        let (stdin, input) = pipe_with(PipeFlags::CLOEXEC)?;
        nonblocking(&input)?;
        // What a program does not read is lost when it ends: little of it.
        fcntl_setpipe_size(&input, 4096)?;
        (stdin, Some(input))
    } else {
        (null()?, None)
    };
    let (out, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
    let (err, stderr) = pipe_with(PipeFlags::CLOEXEC)?;
    nonblocking(&out)?;
    nonblocking(&err)?;
    let ours = Ours {
        input,
        outputs: [Some(out), Some(err)],
    };
    // User code opens them by name, too: /dev/stdout.
    for end in [&stdin, &stdout, &stderr] {
        let _ = rustix::fs::fchown(
            end,
            Some(rustix::fs::Uid::from_raw(crate::launch::USER)),
            None,
        );
    }
    Ok((ours, Theirs([stdin, stdout, stderr])))
}

/// Nothing to read, and a place for what nobody reads.
pub fn null() -> Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/dev/null", flags, Mode::empty())?)
}

/// Reads what there is now. `None`: the end. Zero bytes: nothing now.
pub fn read_now(fd: &OwnedFd, buffer: &mut [u8]) -> Option<usize> {
    match rustix::io::read(fd, buffer) {
        Ok(0) => None,
        Ok(count) => Some(count),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Some(0),
        Err(_) => None,
    }
}

/// Reads what nobody wants, until its last writer is gone.
pub fn drain(fd: OwnedFd) {
    let drained = std::thread::Builder::new()
        .stack_size(64 << 10)
        .spawn(move || {
            let mut buffer = [0; 16 << 10];
            let flags = OFlags::empty();
            let _ = rustix::fs::fcntl_setfl(&fd, flags);
            while let Ok(1..) | Err(rustix::io::Errno::INTR) = rustix::io::read(&fd, &mut buffer) {}
        });
    // Without a thread the writer meets a closed pipe.
    drop(drained);
}
