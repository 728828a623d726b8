//! `ukernel session shell`: a shell of the session on this terminal.

use crate::daemon::{ask, converse};
use crate::failure::{Failure, INTERRUPTED, WORKLOAD};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use std::io::{self, Write};
use tokio::signal::unix::{SignalKind, signal};
use ukernel_abi::message::TerminalSize;
use ukernel_daemon::protocol::Request;
use ukernel_sandbox::{ExecutionResult, ExecutionStatus};

/// A shell is open for as long as somebody sits there.
const TIMEOUT_MS: u64 = 24 * 3600 * 1000;

/// `ukernel session shell`
pub fn shell(session: &str) -> Result<u8, Failure> {
    let Some(size) = size() else {
        return Err(Failure::usage(
            "standard input and output are no terminal",
            "use `ukernel session bash` for commands without one",
        ));
    };
    let term = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
    let request = Request::Exec {
        session: session.to_owned(),
        is_command: true,
        timeout_ms: Some(TIMEOUT_MS),
        args: Vec::new(),
        environment: vec![("TERM".to_owned(), term)],
        folder: None,
        has_input: true,
        terminal: Some(size),
    };
    follow_size(session.to_owned());
    let raw = Raw::set().map_err(|error| Failure::host(error, "see the message"))?;
    let answered = converse(
        request,
        &[],
        Box::new(io::stdin()),
        None,
        &mut |_, bytes| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(bytes).and_then(|()| stdout.flush())
        },
    );
    drop(raw);
    let result: ExecutionResult = super::parse(&answered?)?;
    Ok(match result.status {
        ExecutionStatus::Exited { code } => code.to_le_bytes()[0],
        ExecutionStatus::Exception { message, .. } => {
            eprintln!("ukernel: {message}");
            WORKLOAD
        }
        ExecutionStatus::Interrupted => INTERRUPTED,
    })
}

/// The size of this terminal, if it is one.
fn size() -> Option<TerminalSize> {
    tcgetattr(io::stdin()).ok()?;
    let size = tcgetwinsize(io::stdout()).ok()?;
    Some(TerminalSize {
        columns: size.ws_col,
        rows: size.ws_row,
    })
}

/// Tells the session when the terminal gets another size, until this process ends.
fn follow_size(session: String) {
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        // Without it the shell keeps the size it began with.
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let Ok(mut changes) = signal(SignalKind::window_change()) else {
                return;
            };
            while changes.recv().await.is_some() {
                if let Some(size) = size() {
                    let session = session.clone();
                    let _ = ask(Request::Resize { session, size });
                }
            }
        });
    });
}

/// This terminal, handing on what is typed as it is; as it was before once dropped.
struct Raw(Termios);

impl Raw {
    fn set() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
