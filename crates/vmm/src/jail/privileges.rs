//! Users, capabilities, limits: the oldest layer.

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};
use rustix::{process, thread};
use ukernel_abi::layout::MAX_MEMORY_MIB;

type Applied = Result<(), String>;

fn why(what: &str) -> impl Fn(rustix::io::Errno) -> String {
    move |error| format!("{what}: {error}")
}

pub(super) fn no_new_privileges() -> Applied {
    set_no_new_privs(true).map_err(why("PR_SET_NO_NEW_PRIVS"))
}

/// The launcher's thread lives as long as any of its VMs is wanted, so this ties the VM
/// to the host process, without any cooperation of a hijacked VM process.
pub(super) fn die_with_parent() -> Applied {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(why("PR_SET_PDEATHSIG"))
}

pub(super) fn not_dumpable() -> Applied {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(why("PR_SET_DUMPABLE"))
}

pub(super) fn limit_resources() -> Applied {
    /// Standard streams, control, KVM, RAM, image, channel, and those beside a command.
    const FILES: u64 = 24;
    /// Largest guest, and as much as the process itself can want.
    const ADDRESS_SPACE: u64 = ((MAX_MEMORY_MIB as u64) << 20) + (1 << 30);
    /// The pages of the largest guest, with their table: a snapshot is the only file
    /// ever written.
    const FILE_SIZE: u64 = ((MAX_MEMORY_MIB as u64) << 20) + (16 << 20);
    for (resource, limit) in [
        (Resource::Nofile, FILES),
        (Resource::Fsize, FILE_SIZE),
        (Resource::As, ADDRESS_SPACE),
        (Resource::Nproc, 0),
        (Resource::Core, 0),
        (Resource::Memlock, 0),
        (Resource::Msgqueue, 0),
    ] {
        let limit = Rlimit {
            current: Some(limit),
            maximum: Some(limit),
        };
        setrlimit(resource, limit).map_err(|error| format!("{resource:?}: {error}"))?;
    }
    Ok(())
}

pub(super) fn become_user(user: u32) -> Applied {
    if !process::geteuid().is_root() {
        return Err("not started as root, so the user stays".to_owned());
    }
    // The bounding set can only be emptied before the user changes.
    empty_bounding_set()?;
    let group = thread::Gid::from_raw(user);
    let user = thread::Uid::from_raw(user);
    set_thread_groups(&[]).map_err(why("setgroups"))?;
    set_thread_res_gid(group, group, group).map_err(why("setresgid"))?;
    set_thread_res_uid(user, user, user).map_err(why("setresuid"))
}

fn empty_bounding_set() -> Applied {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            Ok(true) => {
                remove_capability_from_bounding_set(capability).map_err(why("PR_CAPBSET_DROP"))?
            }
            Ok(false) => {}
            // Past the last capability of this kernel.
            Err(_) => break,
        }
    }
    Ok(())
}

pub(super) fn drop_capabilities() -> Applied {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(why("capset"))?;
    let left = capabilities(None).map_err(why("capget"))?;
    if left.effective.is_empty() && left.permitted.is_empty() {
        Ok(())
    } else {
        Err("some capabilities stayed".to_owned())
    }
}
