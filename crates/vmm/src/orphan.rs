//! Children that do not outlive whoever started them, and leave nothing of a guest's memory behind.

use rustix::process::{
    Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit,
};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the kernel kill the child when the *thread* that spawns it ends, which includes the
/// end of the process, however it comes (`PR_SET_PDEATHSIG`, prctl(2)). Spawn from a thread
/// that lives as long as the child may. It dumps no core, which would be the guest's memory.
pub fn end_with_this_thread(command: &mut Command) {
    let parent = rustix::process::getpid();
    // JUSTIFICATION: only the child can ask for the signal, and std offers no safe way to
    // do so for a program that is not ours.
    // SAFETY: the closure makes three system calls between fork and exec and touches no
    // memory of the parent's other threads.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            let none = Rlimit {
                current: Some(0),
                maximum: Some(0),
            };
            setrlimit(Resource::Core, none)?;
            // The parent may have ended before the signal was asked for.
            if getppid() == Some(parent) {
                Ok(())
            } else {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn a_child_ends_with_its_thread() {
        let mut command = Command::new("sleep");
        command.arg("600");
        let started = std::thread::spawn(move || {
            end_with_this_thread(&mut command);
            command.spawn()
        });
        let mut child = started.join().expect("no panic").expect("sleep starts");
        assert_eq!(child.wait().expect("wait").signal(), Some(9));
    }
}
