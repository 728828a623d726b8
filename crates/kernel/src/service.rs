//! The service task: what the host says, done.
//!
//! ```text
//!            Opened             Hello              Resume            Ready said
//!   (none) ─────────> GREETING ───────> TWIN ─────────────> WAKING ────────────> INDIVIDUAL
//!      ^                                                                            │ Exec
//!      └── connection gone: whatever runs goes on unheard ──                  one at a time
//! ```
//! It runs on the kernel's own stack and never waits for the workload; the workload runs on
//! a task of its own and takes jobs from a queue.

use crate::boot::Boot;
use crate::call;
use crate::channel::{self, Channel, Incoming};
use crate::dev::vsock::Vsock;
use crate::dev::{interrupts, platform};
use crate::execution::Execution;
use crate::files::{FileError as TreeError, TREE, Tree};
use crate::local::Local;
use crate::runtime::{self, Instance, Loaded, RunError};
use crate::{clock, mem, output, random, report, task};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use ukernel_abi::layout::BootPhase;
use ukernel_abi::message::{
    FileError, GuestMessage, HostMessage, Limits, LogLevel, MAX_CHUNK_BYTES, Mode, Outcome,
    PROTOCOL_VERSION, SessionToken, Source,
};

/// What the workload task is asked to do.
enum Job {
    Resume {
        is_copy: bool,
    },
    Exec {
        id: u32,
        source: Source,
        name: String,
        args: Vec<String>,
        mode: Mode,
        inline_output_bytes: u64,
        token: Option<SessionToken>,
    },
}

struct Workload {
    jobs: VecDeque<Job>,
    /// The execution asked for and not done.
    running: Option<u32>,
    is_up: bool,
}

static WORKLOAD: Local<Workload> = Local::new(Workload {
    jobs: VecDeque::new(),
    running: None,
    is_up: false,
});

/// Who this VM was told to be, most recently.
static INSTANCE: Local<Option<[u8; 16]>> = Local::new(None);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Twin,
    Individual,
}

/// Runs the VM for the rest of its life.
pub(crate) fn run(boot: &Boot, loaded: Loaded) -> ! {
    task::adopt();
    TREE.get().format(mem::file_share_bytes());
    let guest = format!("ukernel/{} {}", env!("CARGO_PKG_VERSION"), loaded.adapter);
    let Some(device) = Vsock::start(boot.vsock) else {
        report::fatal(format_args!(
            "there is no vsock device at {:#x}",
            boot.vsock.base
        ));
    };
    if !boot.embedded {
        interrupts::configure(boot.vsock.interrupt);
    }
    let loaded = Arc::new(loaded);
    runtime::configure_spawn(Arc::clone(&loaded));
    if let Err(error) = task::spawn(Box::new(move || work(loaded))) {
        report::fatal(format_args!("no task for the workload: {error:?}"));
    }
    task::wait_until(None, || WORKLOAD.get().is_up);
    platform::phase(BootPhase::Listening);
    serve(Channel::new(device), &guest)
}

fn serve(mut channel: Channel, guest: &str) -> ! {
    let mut stage = Stage::Greeting;
    loop {
        let mut progress = false;
        while let Some(incoming) = channel.receive() {
            progress = true;
            match incoming {
                Incoming::Opened => stage = Stage::Greeting,
                Incoming::Broken => channel::reply(&refused("this is not the channel protocol")),
                Incoming::Message(message) => stage = answer(stage, message, guest),
            }
        }
        progress |= channel.flush();
        if progress {
            task::yield_now();
        } else {
            if !platform::is_embedded() {
                channel.notify_events();
            }
            task::pause(None);
        }
    }
}

fn refused(reason: &str) -> GuestMessage {
    GuestMessage::Refused {
        reason: reason.to_string(),
    }
}

/// What this VM may use from now on. What it uses already it keeps.
fn limit(limits: &Limits) {
    let (quota, max) = mem::file_quota(limits);
    mem::set_max_files(max);
    TREE.get().set_quota(quota, max);
    runtime::limit(limits);
}

/// Tells the host how the file tree grew. Not for the service task, which must not wait.
pub(crate) fn report_growth() {
    let grown = TREE.get().take_grown();
    for bytes in grown {
        channel::say(&GuestMessage::Log {
            level: LogLevel::Info,
            message: format!("file tree grew to {} MB", bytes >> 20),
        });
    }
}

/// Follows one message and says what stage the connection is in then.
fn answer(stage: Stage, message: HostMessage, guest: &str) -> Stage {
    match (stage, message) {
        (Stage::Greeting, HostMessage::Hello { .. }) => {
            // The host compares versions; a guest cannot do better than say its own.
            channel::reply(&GuestMessage::Hello {
                version: PROTOCOL_VERSION,
                guest: guest.to_string(),
            });
            return Stage::Twin;
        }
        (Stage::Greeting, _) => channel::reply(&refused("say hello first")),
        (_, HostMessage::Ping { nonce }) => channel::reply(&GuestMessage::Pong { nonce }),
        (
            _,
            HostMessage::Resume {
                entropy,
                wall_clock_ns,
                instance,
                limits,
            },
        ) => {
            limit(&limits);
            random::seed(entropy);
            clock::resume(wall_clock_ns);
            let is_copy = INSTANCE.get().replace(instance) != Some(instance);
            WORKLOAD.get().jobs.push_back(Job::Resume { is_copy });
            task::wake_all();
            return Stage::Individual;
        }
        (Stage::Twin, _) => channel::reply(&refused("this VM is a copy: resume it first")),
        (
            _,
            HostMessage::Exec {
                id,
                source,
                name,
                args,
                mode,
                inline_output_bytes,
                token,
            },
        ) => {
            let mut workload = WORKLOAD.get();
            if workload.running.is_some() {
                drop(workload);
                channel::reply(&refused("an execution is running"));
            } else {
                workload.running = Some(id);
                workload.jobs.push_back(Job::Exec {
                    id,
                    source,
                    name,
                    args,
                    mode,
                    inline_output_bytes,
                    token,
                });
                drop(workload);
                task::wake_all();
            }
        }
        (_, HostMessage::Cancel { id }) => {
            if WORKLOAD.get().running == Some(id) {
                runtime::interrupt(true);
            }
        }
        (
            _,
            HostMessage::FileWrite {
                request,
                path,
                offset,
                truncate,
                bytes,
            },
        ) => {
            let result = write_file(&path, offset, truncate, &bytes).map_err(file_error);
            channel::reply(&GuestMessage::FileWritten { request, result });
        }
        (
            _,
            HostMessage::FileRead {
                request,
                path,
                offset,
                max_bytes,
            },
        ) => {
            let max_bytes = (max_bytes as usize).min(MAX_CHUNK_BYTES);
            let result = read_file(&path, offset, max_bytes).map_err(file_error);
            channel::reply(&GuestMessage::FileContent { request, result });
        }
        (
            _,
            HostMessage::Answer {
                call,
                is_result,
                length,
                bytes,
            },
        ) => call::answer(call, is_result, length, bytes),
        (_, HostMessage::AnswerPart { call, bytes }) => call::answer_part(call, &bytes),
        (_, HostMessage::Hello { .. }) => channel::reply(&refused("hello was said")),
    }
    stage
}

fn write_file(path: &str, offset: u64, truncate: bool, bytes: &[u8]) -> Result<u64, TreeError> {
    if !path.starts_with('/') {
        return Err(TreeError::Invalid);
    }
    let mut tree = TREE.get();
    tree.make_folders_above(path)?;
    let node = tree.make_file(Tree::ROOT, path, false)?;
    if truncate {
        tree.resize(node, 0)?;
    }
    tree.write(node, offset, bytes)?;
    Ok(tree.status(node)?.bytes)
}

fn read_file(path: &str, offset: u64, max_bytes: usize) -> Result<Vec<u8>, TreeError> {
    if !path.starts_with('/') {
        return Err(TreeError::Invalid);
    }
    let tree = TREE.get();
    let node = tree.find(Tree::ROOT, path, true)?;
    tree.read(node, offset, max_bytes)
}

fn file_error(error: TreeError) -> FileError {
    match error {
        TreeError::NotFound => FileError::NotFound,
        TreeError::IsDirectory => FileError::IsDirectory,
        TreeError::NotDirectory => FileError::NotDirectory,
        TreeError::Quota => FileError::QuotaExceeded,
        TreeError::Exists
        | TreeError::NotEmpty
        | TreeError::TooManyLinks
        | TreeError::Invalid
        | TreeError::NameTooLong => FileError::BadPath,
    }
}

/// The workload task: one instance, job after job.
fn work(loaded: Arc<Loaded>) {
    let mut instance = Instance::new(&loaded)
        .unwrap_or_else(|error| report::fatal(format_args!("instantiation: {error:?}")));
    platform::phase(BootPhase::Instantiated);
    runtime::list_interrupt_words();
    WORKLOAD.get().is_up = true;
    task::wake_all();
    let mut has_ended = false;
    loop {
        task::wait_until(None, || !WORKLOAD.get().jobs.is_empty());
        let Some(job) = WORKLOAD.get().jobs.pop_front() else {
            continue;
        };
        match job {
            // Only the connection is new: what the program can see stays as it was.
            Job::Resume { is_copy: false } if !has_ended => channel::say(&GuestMessage::Ready),
            Job::Resume { .. } => {
                if let Err(error) = instance.resume() {
                    has_ended = true;
                    channel::say(&refused(&format!("the runtime did not resume: {error:?}")));
                } else {
                    channel::say(&GuestMessage::Ready);
                }
            }
            Job::Exec {
                id,
                source,
                name,
                args,
                mode,
                inline_output_bytes,
                token,
            } => {
                let execution = Execution::begin(id);
                output::begin(execution, inline_output_bytes);
                call::begin(execution, token);
                let outcome = match source_bytes(source) {
                    // The exit was the outcome of the program that made it, of no other.
                    Ok(_) if has_ended => Outcome::Trapped {
                        reason: "an earlier program ended the runtime".to_string(),
                    },
                    Ok(source) => {
                        runtime::interrupt(false);
                        let ran = instance.exec(execution, name, source, args, mode);
                        has_ended = ran.is_err();
                        outcome_of(ran)
                    }
                    Err(error) => Outcome::Exception {
                        kind: "FileNotFoundError".to_string(),
                        message: format!("the source cannot be read: {}", file_error(error)),
                    },
                };
                call::end();
                let spilled = output::finish();
                report_growth();
                WORKLOAD.get().running = None;
                channel::say(&GuestMessage::Done {
                    id,
                    outcome,
                    spilled,
                });
            }
        }
    }
}

fn source_bytes(source: Source) -> Result<Vec<u8>, TreeError> {
    match source {
        Source::Inline(bytes) => Ok(bytes),
        Source::File(path) => read_file(&path, 0, usize::MAX),
    }
}

fn outcome_of(ran: Result<Outcome, RunError>) -> Outcome {
    match ran {
        Ok(outcome) => outcome,
        Err(RunError::Exited(code)) => Outcome::Exited { code, value: None },
        Err(RunError::Trapped(reason)) => Outcome::Trapped { reason },
    }
}
