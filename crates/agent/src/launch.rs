//! Becoming user code: joins the control group, leaves root behind, becomes the program.

use std::ffi::OsString;
use std::fs;
use std::io::{Error, Result};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The control group of all user code.
pub const GROUP: &str = "/sys/fs/cgroup/user";
/// User and group of user code.
pub const USER: u32 = 1000;
/// Its home.
pub const USER_HOME: &str = "/home/user";

/// `launch UID PROGRAM ARGUMENTS...`: returns only if that fails.
pub fn run(mut arguments: impl Iterator<Item = OsString>) -> Result<()> {
    let mut next = || arguments.next().ok_or_else(|| Error::other("launch what?"));
    let user = next()?;
    let user: u32 = user
        .to_str()
        .and_then(|user| user.parse().ok())
        .ok_or_else(|| Error::other("launch as whom?"))?;
    let program = next()?;
    fs::write(format!("{GROUP}/cgroup.procs"), "0")?;
    // The agent cannot be killed for lack of memory; what it starts can.
    fs::write("/proc/self/oom_score_adj", "0")?;
    rustix::process::setsid()?;
    if rustix::termios::isatty(std::io::stdin()) {
        rustix::process::ioctl_tiocsctty(std::io::stdin())?;
    }
    let mut command = Command::new(program);
    command.args(arguments).uid(user).gid(user);
    Err(command.exec())
}

/// A command that becomes `program` as user code. The rest of it is the caller's.
pub fn command(user: u32, program: &str) -> Command {
    let mut command = Command::new(crate::init::AGENT);
    command
        .arg("launch")
        .arg(user.to_string())
        .arg(program)
        .env_clear()
        .envs(environment(user));
    if user == USER {
        command
            .envs(image_environment())
            .current_dir(image_folder());
    } else {
        command.current_dir("/root");
    }
    command
}

/// Where an image says what its programs find, both written when it is built.
const IMAGE_ENVIRONMENT: &str = "/etc/ukernel/environment";
const IMAGE_FOLDER: &str = "/etc/ukernel/folder";

/// What the image adds to the environment, a NAME=VALUE in each line.
fn image_environment() -> Vec<(String, String)> {
    let text = fs::read_to_string(IMAGE_ENVIRONMENT).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Where programs start: where the image says, else at home.
fn image_folder() -> String {
    let said = fs::read_to_string(IMAGE_FOLDER).ok();
    let is_there = |folder: &String| fs::metadata(folder).is_ok_and(|place| place.is_dir());
    said.filter(is_there).unwrap_or(USER_HOME.to_owned())
}

/// What programs find in their environment.
fn environment(user: u32) -> [(&'static str, &'static str); 6] {
    let (home, name) = if user == 0 {
        ("/root", "root")
    } else {
        (USER_HOME, "user")
    };
    [
        ("HOME", home),
        ("USER", name),
        ("LOGNAME", name),
        (
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("LANG", "C.UTF-8"),
        ("SHELL", "/bin/bash"),
    ]
}
