//! Opening the KVM device, and saying why it does not work.

use crate::{Result, VmmError};
use kvm_ioctls::Kvm;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::fd::{FromRawFd, IntoRawFd};

/// The only version of the KVM interface there is.
const API_VERSION: i32 = 12;

/// Opens `/dev/kvm`. That it opens says nothing about what it can do: measure that.
///
/// # Errors
/// [`VmmError::KvmMissing`], [`VmmError::KvmPermission`], [`VmmError::KvmUnusable`].
pub fn open_kvm() -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => VmmError::KvmMissing,
            ErrorKind::PermissionDenied => VmmError::KvmPermission,
            _ => VmmError::KvmUnusable {
                cause: error.to_string(),
            },
        })?;
    let duplicate = file
        .try_clone()
        .map_err(|error| VmmError::os("dup of /dev/kvm", error))?;
    match from_file(duplicate).get_api_version() {
        API_VERSION => Ok(file),
        version => Err(VmmError::KvmUnusable {
            cause: format!("API version {version} instead of {API_VERSION}"),
        }),
    }
}

/// Takes an open KVM device.
pub(crate) fn from_file(file: File) -> Kvm {
    // SAFETY: the number is that of an open file that is given up here.
    unsafe { Kvm::from_raw_fd(file.into_raw_fd()) }
}
