//! The channel's device: a virtio-serial port, of which one side may come and go.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use ukernel_abi::frame::encode;
use ukernel_abi::message::GuestMessage;

/// Where the kernel lists ports, and the name of ours.
const PORTS: &str = "/sys/class/virtio-ports";
const NAME: &str = "ukernel";
/// How often a host that is not there is looked for: only a template and a VM nobody has greeted wait so.
const LOOK: Duration = Duration::from_millis(2);

/// How long the kernel may take to find the port.
const FOUND: Duration = Duration::from_secs(20);

/// The port, read by one thread and written by many.
pub struct Port {
    reader: File,
    writer: Mutex<File>,
}

impl Port {
    /// Opens it, as soon as the kernel has found it. A port can be opened once.
    pub fn open() -> Result<Self> {
        let began = Instant::now();
        let device = loop {
            match find() {
                Some(device) => break device,
                None if began.elapsed() < FOUND => std::thread::sleep(LOOK),
                None => return Err(Error::other("there is no channel to the host")),
            }
        };
        let opened = File::options().read(true).write(true).open(&device);
        let reader =
            opened.map_err(|error| Error::other(format!("{}: {error}", device.display())))?;
        let writer = Mutex::new(reader.try_clone()?);
        Ok(Self { reader, writer })
    }

    /// Reads what there is, waiting for it. `None`: the host has gone, or has not come yet.
    pub fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        let mut fds = [PollFd::new(&self.reader, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !fds[0].revents().contains(PollFlags::IN) {
            std::thread::sleep(LOOK);
            return Ok(None);
        }
        match (&self.reader).read(buffer) {
            Ok(0) => Ok(None),
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a message. What cannot be sent has nobody who would hear of it.
    pub fn send(&self, message: &GuestMessage) {
        let mut frame = Vec::new();
        if encode(message, &mut frame).is_ok() {
            let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = writer.write_all(&frame);
        }
    }
}

/// The device of the port.
fn find() -> Option<PathBuf> {
    let mut ports = fs::read_dir(PORTS).ok()?.flatten();
    let port = ports.find(|port| {
        fs::read_to_string(port.path().join("name")).is_ok_and(|name| name.trim() == NAME)
    })?;
    let device = Path::new("/dev").join(port.file_name());
    device.exists().then_some(device)
}

/// Waits until one of these can be used, at most so long.
pub fn wait(fds: &mut [PollFd<'_>], limit: Duration) -> Result<()> {
    let limit = rustix::event::Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    };
    match poll(fds, Some(&limit)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(Error::from(error)),
    }
}

/// Whether something can be read now, or its other end is gone.
pub fn is_readable(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    wait(&mut fds, Duration::ZERO).is_ok() && !fds[0].revents().is_empty()
}
