//! What host and VM process say to each other on the control socket.
//!
//! One message is one packet: a version, postcard, and file descriptors beside it, whose
//! meaning and order each command fixes. The socket is `SEQPACKET`, so a message is
//! whole or not there.

use crate::devices::Phases;
use crate::exit::Ending;
use crate::jail::JailReport;
use crate::memory::MemoryLayout;
use crate::snapshot::working_set::WorkingSet;
use crate::vm::Counters;
use crate::{Result, VmmError};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Largest message, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 128 << 10;

/// Most file descriptors beside one message.
pub const MAX_FDS: usize = 5;

const VERSION: u16 = 1;

/// Asked of a VM process.
#[derive(Debug, Serialize, Deserialize)]
pub enum Command {
    /// Comes first: make VM and vCPU, then lock yourself in. File: `/dev/kvm`.
    Prepare {
        /// User and group to become, when started as root.
        user: u32,
    },
    /// Boots a kernel. Files: kernel, RAM, image if the layout has one, channel if said.
    Boot {
        /// Sizes of RAM and image.
        layout: MemoryLayout,
        /// Added to the kernel's command line.
        command_line: String,
        /// A channel is among the files.
        has_channel: bool,
    },
    /// Brings a VM back. Files: template, image if the layout has one, pages if said,
    /// channel if said.
    Restore {
        /// An encoded [`VmState`](crate::snapshot::VmState).
        state: Vec<u8>,
        /// Pages to make present first.
        working_set: WorkingSet,
        /// A page file is among the files.
        has_pages: bool,
        /// A channel is among the files.
        has_channel: bool,
        /// Wait for [`Command::Resume`] before running.
        paused: bool,
    },
    /// Makes the file the channel.
    AttachChannel,
    /// Stops the guest.
    Pause,
    /// Lets it go on.
    Resume,
    /// Interrupts the program that runs, where its runtime can be: see
    /// [`ukernel_abi::interrupt`].
    Interrupt,
    /// Reads the state of a paused VM. File, if said: where written pages go.
    Snapshot {
        /// A file for the written pages is there.
        with_pages: bool,
    },
    /// Lists the pages a fork has written so far.
    WorkingSet,
    /// Asks for [`Stats`].
    Stats,
    /// Ends the VM.
    Stop,
}

/// Counters and times of a VM process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// When the boot phases were reached, in microseconds since boot.
    pub phases: Phases,
    /// Exits and their causes.
    pub counters: Counters,
    /// Proportional set size of the process with its guest, in bytes, where known.
    pub pss_bytes: Option<u64>,
    /// Memory only this process has, in bytes, where known.
    pub private_bytes: Option<u64>,
}

/// How long the parts of a start took inside the VM process, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartTimes {
    /// Mapping memory and putting kept pages into it.
    pub map_us: u64,
    /// Making the working set present.
    pub populate_us: u64,
    /// Memory slots, kernel or state into KVM.
    pub state_us: u64,
}

/// An answer to a command.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To [`Command::Prepare`].
    Ready {
        /// What confines the process.
        jail: JailReport,
    },
    /// Done, nothing to tell.
    Done,
    /// To [`Command::Boot`] and [`Command::Restore`].
    Started(StartTimes),
    /// To [`Command::Snapshot`].
    State {
        /// The encoded state.
        state: Vec<u8>,
        /// Pages written to the file.
        pages: u64,
    },
    /// To [`Command::Interrupt`]: whether the runtime can be interrupted.
    Interrupted(bool),
    /// To [`Command::WorkingSet`].
    WorkingSet(WorkingSet),
    /// To [`Command::Stats`].
    Stats(Stats),
    /// The command was not followed; the VM is as it was.
    Failed(String),
    /// The same, because it was not the moment for it: it may be, later.
    NotNow(String),
}

/// Said by a VM process.
#[derive(Debug, Serialize, Deserialize)]
pub enum Notice {
    /// Answers the command before.
    Reply(Reply),
    /// The VM has ended, and the process ends with it.
    Exited(Ending),
}

/// Encodes a message.
///
/// # Errors
/// [`VmmError::Protocol`] if it is too large.
pub fn encode<M: Serialize>(message: &M) -> Result<Vec<u8>> {
    let bytes = postcard::to_extend(message, VERSION.to_le_bytes().to_vec()).map_err(|_| {
        VmmError::Protocol {
            cause: "a message cannot be encoded",
        }
    })?;
    if bytes.len() > MAX_MESSAGE_BYTES {
        return Err(VmmError::Protocol {
            cause: "a message is too large",
        });
    }
    Ok(bytes)
}

/// Decodes a message. Total: any bytes give a message or an error.
///
/// # Errors
/// [`VmmError::Protocol`].
pub fn decode<M: DeserializeOwned>(bytes: &[u8]) -> Result<M> {
    let bad = |cause| VmmError::Protocol { cause };
    let (version, body) = bytes
        .split_first_chunk::<2>()
        .ok_or(bad("a message is cut short"))?;
    if u16::from_le_bytes(*version) != VERSION {
        return Err(bad("the other side is of another version"));
    }
    let (message, rest) =
        postcard::take_from_bytes(body).map_err(|_| bad("a message makes no sense"))?;
    if !rest.is_empty() {
        return Err(bad("a message has bytes left over"));
    }
    Ok(message)
}

/// Sends one message with `files` beside it.
///
/// # Errors
/// [`VmmError::Protocol`], [`VmmError::Os`].
pub fn send<M: Serialize>(
    socket: BorrowedFd<'_>,
    message: &M,
    files: &[BorrowedFd<'_>],
) -> Result<()> {
    let bytes = encode(message)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(VmmError::Protocol {
            cause: "too many files beside a message",
        });
    }
    loop {
        match sendmsg(
            socket,
            &[IoSlice::new(&bytes)],
            &mut beside,
            SendFlags::NOSIGNAL,
        ) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(VmmError::os("sending on the control socket", error)),
        }
    }
}

/// Receives one message and the files beside it; `None` at the end of the socket.
///
/// # Errors
/// [`VmmError::Protocol`], [`VmmError::Os`] (also when nothing is there on a socket that
/// does not block).
pub fn receive<M: DeserializeOwned>(
    socket: BorrowedFd<'_>,
) -> Result<Option<(M, std::vec::IntoIter<OwnedFd>)>> {
    let Some(length) = next_length(socket)? else {
        return Ok(None);
    };
    let mut bytes = vec![0; length];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut beside,
        RecvFlags::CMSG_CLOEXEC,
    )
    .map_err(|error| VmmError::os("receiving on the control socket", error))?;
    let files: Vec<OwnedFd> = beside
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        })
        .flatten()
        .collect();
    if received.bytes == 0 {
        return Ok(None);
    }
    if received
        .flags
        .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
    {
        return Err(VmmError::Protocol {
            cause: "a message is too large",
        });
    }
    let message = decode(bytes.get(..received.bytes).unwrap_or_default())?;
    Ok(Some((message, files.into_iter())))
}

/// Length of the next message; `None` at the end of the socket. Looking first keeps the
/// buffer as small as the message: touching a large one costs a VM memory and time.
fn next_length(socket: BorrowedFd<'_>) -> Result<Option<usize>> {
    let flags = RecvFlags::PEEK | RecvFlags::TRUNC;
    let mut byte = [0; 1];
    let length = loop {
        match recv(socket, &mut byte, flags) {
            Ok((_, length)) => break length,
            Err(Errno::INTR) => {}
            Err(Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(VmmError::os("receiving on the control socket", error)),
        }
    };
    if length > MAX_MESSAGE_BYTES {
        return Err(VmmError::Protocol {
            cause: "a message is too large",
        });
    }
    Ok((length > 0).then_some(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::pages::PageRange;
    use proptest::prelude::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn pair() -> (OwnedFd, OwnedFd) {
        socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .expect("socketpair")
    }

    #[test]
    fn a_message_arrives_with_its_files() {
        let (one, two) = pair();
        let (mut near, far) = UnixStream::pair().expect("pair");
        send(one.as_fd(), &Command::AttachChannel, &[far.as_fd()]).expect("send");
        drop(far);
        let (command, mut files) = receive::<Command>(two.as_fd())
            .expect("receive")
            .expect("one");
        assert!(matches!(command, Command::AttachChannel));
        let mut far = UnixStream::from(files.next().expect("a file"));
        far.write_all(b"x").expect("write");
        let mut seen = [0];
        near.read_exact(&mut seen).expect("read");
        drop(one);
        assert!(receive::<Command>(two.as_fd()).expect("end").is_none());
    }

    #[test]
    fn the_largest_restore_fits_a_message() {
        let range = PageRange {
            start: 700_000,
            count: 20,
        };
        let ranges = vec![range; crate::snapshot::working_set::MAX_RANGES];
        let command = Command::Restore {
            state: vec![0xff; crate::snapshot::MAX_STATE_BYTES],
            working_set: WorkingSet { written: ranges },
            has_pages: true,
            has_channel: true,
            paused: false,
        };
        let (one, two) = pair();
        send(one.as_fd(), &command, &[]).expect("fits");
        assert!(receive::<Command>(two.as_fd()).expect("receive").is_some());
    }

    proptest! {
        /// Total, in both directions.
        #[test]
        fn any_bytes_are_decided(body in proptest::collection::vec(any::<u8>(), 0..300), framed in any::<bool>()) {
            let mut bytes = if framed { VERSION.to_le_bytes().to_vec() } else { Vec::new() };
            bytes.extend_from_slice(&body);
            let _ = decode::<Command>(&bytes);
            let _ = decode::<Notice>(&bytes);
        }
    }
}
