//! The guest's alarm: a timer whose signal takes the vCPU out of the guest, as [`crate::kick`] does.

use crate::kick::SIGNAL;
use crate::{Result, VmmError};
use std::io;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// Shortest time taken; a guest that asks for less gets this.
const MIN: Duration = Duration::from_micros(100);

/// A timer of the thread that made it. It goes off once each time it is set.
#[derive(Debug)]
pub(crate) struct Alarm {
    timer: libc::timer_t,
    due: Option<Instant>,
}

impl Alarm {
    /// Makes the timer for the calling thread, which must be the one to run the vCPU.
    ///
    /// # Errors
    /// [`VmmError::Os`].
    pub(crate) fn create() -> Result<Self> {
        // SAFETY: all zeroes are a valid `sigevent`.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = SIGNAL;
        event.sigev_notify_thread_id = rustix::thread::gettid().as_raw_nonzero().get();
        let mut timer = MaybeUninit::uninit();
        // SAFETY: both structures outlive the call, which fills the second one.
        let code = unsafe {
            libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, timer.as_mut_ptr())
        };
        if code != 0 {
            return Err(VmmError::os("timer_create", io::Error::last_os_error()));
        }
        Ok(Self {
            // SAFETY: the call above succeeded.
            timer: unsafe { timer.assume_init() },
            due: None,
        })
    }

    /// Has the signal sent after so many microseconds, and not at the time set before.
    ///
    /// # Errors
    /// [`VmmError::Os`].
    pub(crate) fn set(&mut self, microseconds: u32) -> Result<()> {
        let after = Duration::from_micros(microseconds.into()).max(MIN);
        let time = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: libc::timespec {
                tv_sec: after.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: after.subsec_nanos().into(),
            },
        };
        self.due = Some(Instant::now() + after);
        // SAFETY: a timer of this process, and a structure that outlives the call.
        if unsafe { libc::timer_settime(self.timer, 0, &raw const time, std::ptr::null_mut()) } != 0
        {
            return Err(VmmError::os("timer_settime", io::Error::last_os_error()));
        }
        Ok(())
    }

    /// Whether its time has come; once.
    pub(crate) fn take_due(&mut self) -> bool {
        self.due.take_if(|due| *due <= Instant::now()).is_some()
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: a timer of this process that nobody uses any more.
        unsafe { libc::timer_delete(self.timer) };
    }
}
