//! How something from outside gets a running vCPU back: a signal that only `KVM_RUN`
//! lets through.
//!
//! The signal is blocked in the thread and unblocked by KVM for the time it runs the
//! guest (`KVM_SET_SIGNAL_MASK`). So no handler ever runs, and a signal that comes
//! between looking at a socket and entering the guest is not lost: it stays pending and
//! ends the next `KVM_RUN` at once. The kernel sends it by itself whenever a watched
//! socket gets something to read (`O_ASYNC`).

use crate::{Result, VmmError};
use kvm_ioctls::VcpuFd;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use vmm_sys_util::ioctl::ioctl_with_ref;
use vmm_sys_util::ioctl_iow_nr;

/// The signal `O_ASYNC` sends, and the alarm.
pub(crate) const SIGNAL: i32 = libc::SIGIO;

// Values of `linux/fcntl.h` that the libc crate lacks for this target.
const F_SETOWN_EX: i32 = 15;
const OWNER_THREAD: i32 = 0;

/// `struct kvm_signal_mask` with the kernel's `sigset_t` behind it.
#[repr(C)]
struct KvmSignalMask {
    length: u32,
    mask: [u8; 8],
}

// The request number counts the length field only (`linux/kvm.h`).
ioctl_iow_nr!(KVM_SET_SIGNAL_MASK, 0xae, 0x8b, u32);

/// Proof that the signal is blocked in this thread.
#[derive(Debug)]
pub struct Kick {
    set: libc::sigset_t,
}

impl Kick {
    /// Blocks the signal in the calling thread, which must be the one to run the vCPU.
    ///
    /// # Errors
    /// [`VmmError::Os`].
    pub fn block() -> Result<Self> {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set it is given.
        let set = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), SIGNAL);
            set.assume_init()
        };
        // SAFETY: a valid set, and no old set is asked for.
        let code =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if code != 0 {
            return Err(VmmError::os(
                "pthread_sigmask",
                io::Error::from_raw_os_error(code),
            ));
        }
        Ok(Self { set })
    }

    /// Lets the signal through while `vcpu` runs the guest.
    ///
    /// # Errors
    /// [`VmmError::Os`].
    pub fn arm(&self, vcpu: &VcpuFd) -> Result<()> {
        // An empty mask: nothing is blocked while the guest runs.
        let mask = KvmSignalMask {
            length: 8,
            mask: [0; 8],
        };
        // SAFETY: the structure is laid out as the kernel expects and outlives the call.
        let code = unsafe { ioctl_with_ref(vcpu, KVM_SET_SIGNAL_MASK(), &mask) };
        if code < 0 {
            return Err(VmmError::os(
                "KVM_SET_SIGNAL_MASK",
                io::Error::last_os_error(),
            ));
        }
        Ok(())
    }

    /// Has the kernel send the signal to this thread when `socket` gets something to
    /// read, and makes the socket non-blocking.
    ///
    /// # Errors
    /// [`VmmError::Os`].
    pub fn watch(&self, socket: impl AsFd) -> Result<()> {
        let socket = socket.as_fd();
        let owner = Owner {
            kind: OWNER_THREAD,
            id: rustix::thread::gettid().as_raw_nonzero().get(),
        };
        // SAFETY: the structure is laid out as the kernel expects and outlives the call.
        let code = unsafe { libc::fcntl(socket.as_raw_fd(), F_SETOWN_EX, &raw const owner) };
        if code < 0 {
            return Err(VmmError::os(
                "fcntl(F_SETOWN_EX)",
                io::Error::last_os_error(),
            ));
        }
        let flags = fcntl_getfl(socket).map_err(|error| VmmError::os("fcntl(F_GETFL)", error))?;
        let async_ = OFlags::from_bits_retain(libc::O_ASYNC.cast_unsigned());
        fcntl_setfl(socket, flags | OFlags::NONBLOCK | async_)
            .map_err(|error| VmmError::os("fcntl(F_SETFL)", error))
    }

    /// Takes a pending signal away. Look at the sockets *after* this.
    pub fn consume(&self) {
        let now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: valid set and time; no details are asked for. Failing means that there
        // was none.
        unsafe { libc::sigtimedwait(&raw const self.set, std::ptr::null_mut(), &raw const now) };
    }
}

/// `struct f_owner_ex`.
#[repr(C)]
struct Owner {
    kind: i32,
    id: i32,
}
