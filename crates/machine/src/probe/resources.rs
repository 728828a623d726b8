//! How much there is: processors, memory, disk, limits.

use super::Finding;
use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Processors, memory and limits of this process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Resources {
    /// Processors this process may use.
    pub cores: usize,
    /// Memory of the host, in bytes, if it says.
    pub memory_bytes: Option<u64>,
    /// Memory that can be had without swapping, in bytes, if it says.
    pub memory_available_bytes: Option<u64>,
    /// Limits of this process.
    pub limits: Limits,
}

/// Limits of a process; `None` is none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// Open files.
    pub open_files: Option<u64>,
    /// Processes and threads of this user.
    pub processes: Option<u64>,
    /// Size of a file, in bytes.
    pub file_bytes: Option<u64>,
    /// Address space, in bytes.
    pub address_space_bytes: Option<u64>,
}

/// Room in a file system.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Disk {
    /// The folder looked at: the state folder or the nearest one above it that exists.
    pub path: PathBuf,
    /// What this user may still write, in bytes.
    pub free_bytes: u64,
    /// Its size, in bytes.
    pub total_bytes: u64,
}

/// What the kernel and one image with its template need, in bytes.
const LEAST_FREE_BYTES: u64 = 1 << 30;

pub(super) fn disk(state_dir: &Path) -> Finding<Disk> {
    let Some(path) = state_dir.ancestors().find(|folder| folder.is_dir()) else {
        return Finding::missing(
            format!("{} is nowhere", state_dir.display()),
            "give an absolute state folder",
        );
    };
    let room = match statvfs(path) {
        Ok(room) => room,
        Err(error) => {
            return Finding::denied(
                format!("{} cannot be looked at ({error})", path.display()),
                "choose another state folder",
            );
        }
    };
    let disk = Disk {
        path: path.to_owned(),
        free_bytes: room.f_bavail.saturating_mul(room.f_frsize),
        total_bytes: room.f_blocks.saturating_mul(room.f_frsize),
    };
    if disk.free_bytes < LEAST_FREE_BYTES {
        return Finding::missing(
            format!(
                "{} MiB are free in {}",
                disk.free_bytes >> 20,
                path.display()
            ),
            "make 1 GiB free, or choose another state folder",
        );
    }
    Finding::Ok(disk)
}

pub(super) fn resources() -> Resources {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Resources {
        cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        memory_bytes: memory_line(&memory, "MemTotal:"),
        memory_available_bytes: memory_line(&memory, "MemAvailable:"),
        limits: Limits {
            open_files: getrlimit(Resource::Nofile).current,
            processes: getrlimit(Resource::Nproc).current,
            file_bytes: getrlimit(Resource::Fsize).current,
            address_space_bytes: getrlimit(Resource::As).current,
        },
    }
}

fn memory_line(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_still_to_be_made_is_looked_at_where_it_will_be() {
        match disk(Path::new("/tmp/nobody/has/made/this")) {
            Finding::Ok(disk) => {
                assert_eq!(disk.path, Path::new("/tmp"));
                assert!(disk.total_bytes >= disk.free_bytes);
            }
            other => println!("{}", other.trouble()),
        }
    }

    #[test]
    fn this_host_has_something() {
        let resources = resources();
        assert!(
            resources.cores > 0 && resources.memory_bytes > Some(0),
            "{resources:?}"
        );
    }
}
