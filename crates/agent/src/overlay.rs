//! The overlay's upper part: a file system in memory that grows when it fills.

use crate::init::{UPPER, UPPER_BYTES};
use rustix::fs::statvfs;
use rustix::mount::{MountFlags, mount_remount};
use std::ffi::CString;
use std::sync::{Mutex, PoisonError};

/// Grown when less than this is free, in bytes: more than a program writes until it is looked at again.
const LOW_BYTES: u64 = 48 << 20;

/// What it has and what it may have, in bytes.
static SIZE: Mutex<(u64, u64)> = Mutex::new((UPPER_BYTES, UPPER_BYTES));

/// Says what it may grow to.
pub fn set_limit(most: u64) {
    let mut size = SIZE.lock().unwrap_or_else(PoisonError::into_inner);
    size.1 = most.max(size.0);
}

/// Doubles it if it is nearly full and may grow.
pub fn grow() {
    let mut size = SIZE.lock().unwrap_or_else(PoisonError::into_inner);
    let (has, most) = *size;
    let Ok(status) = statvfs(UPPER) else { return };
    if has >= most || status.f_bavail.saturating_mul(status.f_frsize) >= LOW_BYTES {
        return;
    }
    let next = has.saturating_mul(2).min(most);
    let Ok(data) = CString::new(format!("size={next}")) else {
        return;
    };
    if mount_remount(UPPER, MountFlags::NODEV, data.as_c_str()).is_ok() {
        size.0 = next;
    }
}
