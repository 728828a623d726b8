//! Control groups: which controllers there are, and whether groups may be made.

use super::Finding;
use rustix::fs::{Access, access};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The controllers that bound a VM process.
const WANTED: [&str; 3] = ["cpu", "memory", "pids"];

/// Control groups of this process.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cgroups {
    /// 1 if the wanted controllers are hierarchies of their own, 2 if they are unified.
    pub version: u8,
    /// Those of `cpu`, `memory` and `pids` that are there.
    pub controllers: Vec<String>,
    /// Folder new groups would be made in.
    pub path: PathBuf,
}

pub(super) fn probe() -> Finding<Cgroups> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mounts = read("/proc/self/mounts");
    let own = read("/proc/self/cgroup");
    let found = unified(&mounts, &own).or_else(|| hierarchies(&mounts, &own));
    let Some(found) = found else {
        return Finding::missing(
            "no control groups with cpu, memory or pids are mounted",
            "VMs run without them; mount cgroup2 to bound what each may use",
        );
    };
    if access(&found.path, Access::WRITE_OK).is_ok() {
        Finding::Ok(found)
    } else {
        Finding::denied(
            format!("groups may not be made in {}", found.path.display()),
            "VMs run without them; have the folder delegated to this user",
        )
    }
}

/// Version 2, if it has any controller wanted.
fn unified(mounts: &str, own: &str) -> Option<Cgroups> {
    let mount = mount_points(mounts, "cgroup2", None).next()?;
    let group = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let path = group_folder(mount, group);
    let text = std::fs::read_to_string(path.join("cgroup.controllers")).ok()?;
    let controllers: Vec<String> = WANTED
        .iter()
        .filter(|name| text.split_whitespace().any(|word| word == **name))
        .map(|name| (*name).to_owned())
        .collect();
    (!controllers.is_empty()).then_some(Cgroups {
        version: 2,
        controllers,
        path,
    })
}

/// Version 1: the hierarchy of `memory` stands for all, `pids` or `cpu` where it is absent.
fn hierarchies(mounts: &str, own: &str) -> Option<Cgroups> {
    let mut controllers = Vec::new();
    let mut path = None;
    for name in ["memory", "pids", "cpu"] {
        let Some(mount) = mount_points(mounts, "cgroup", Some(name)).next() else {
            continue;
        };
        controllers.push(name.to_owned());
        let group = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let names = fields.next()?;
            let group = fields.next()?;
            names.split(',').any(|word| word == name).then_some(group)
        });
        path.get_or_insert_with(|| group_folder(mount, group.unwrap_or("/")));
    }
    controllers.sort();
    Some(Cgroups {
        version: 1,
        controllers,
        path: path?,
    })
}

/// Where a group is; inside a container its path may not be visible.
fn group_folder(mount: &str, group: &str) -> PathBuf {
    let folder = Path::new(mount).join(group.trim_start_matches('/'));
    if folder.is_dir() {
        folder
    } else {
        mount.into()
    }
}

fn mount_points<'a>(
    mounts: &'a str,
    kind: &'a str,
    option: Option<&'a str>,
) -> impl Iterator<Item = &'a str> {
    mounts.lines().filter_map(move |line| {
        let mut fields = line.split_whitespace().skip(1);
        let (place, of, options) = (fields.next()?, fields.next()?, fields.next()?);
        let has = |name| options.split(',').any(|word| word == name);
        (of == kind && option.is_none_or(has)).then_some(place)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_version_1_are_found() {
        let mounts = "cgroup /nowhere/memory cgroup rw,nosuid,memory 0 0\n\
                      cgroup /nowhere/cpu cgroup rw,cpu,cpuacct 0 0\n\
                      cgroup2 /nowhere/unified cgroup2 rw 0 0\n";
        let own = "5:memory:/a\n3:cpu,cpuacct:/b\n0::/\n";
        assert_eq!(unified(mounts, own), None);
        let found = hierarchies(mounts, own).expect("version 1");
        assert_eq!(found.controllers, ["cpu", "memory"]);
        assert_eq!(found.path, Path::new("/nowhere/memory"));
        assert_eq!(hierarchies("", own), None);
    }
}
