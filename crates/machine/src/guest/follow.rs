//! Following an execution to its end: its time limit, and how it is stopped.

use super::{Ended, Event, Execution, Input};
use crate::{MachineError, Result};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use ukernel_abi::message::Signal;

/// How often a program that computes is reached again, until it says that it was.
const REACH_AGAIN: Duration = Duration::from_millis(20);

/// When to stop.
#[derive(Clone, Debug, Default)]
pub struct Until {
    /// The time limit.
    pub deadline: Option<Instant>,
    /// Cancelled when the execution is to be interrupted: it ends by itself, state is kept.
    pub interrupt: CancellationToken,
    /// Cancelled when it is to be given up at once.
    pub kill: CancellationToken,
    /// How long an interrupted execution may take to end.
    pub grace: Duration,
}

/// Interrupts a program that computes and so hears no message; `false`: that cannot be done.
pub type Reach<'a> = Box<dyn Fn() -> Reaching<'a> + Send + Sync + 'a>;

/// What a [`Reach`] gives.
pub type Reaching<'a> = Pin<Box<dyn Future<Output = Result<bool>> + Send + 'a>>;

/// A [`Reach`] of something that blocks for a moment ([`Machine::interrupt`](crate::Machine::interrupt)).
pub fn reach(
    interrupt: impl Fn() -> Result<bool> + Clone + Send + Sync + 'static,
) -> Reach<'static> {
    Box::new(move || {
        let interrupt = interrupt.clone();
        Box::pin(async move {
            let reached = tokio::task::spawn_blocking(interrupt).await;
            reached
                .map_err(|error| MachineError::io("interrupting", std::io::Error::other(error)))?
        })
    })
}

/// A [`Reach`] that cannot.
#[must_use]
pub fn out_of_reach() -> Reach<'static> {
    Box::new(|| Box::pin(async { Ok(false) }))
}

/// Gets what an execution says. The execution waits while this does.
pub trait Events: Send {
    /// Takes one event; failing ends the following.
    fn take(&mut self, event: Event) -> impl Future<Output = Result<()>> + Send;
}

/// Follows an execution to its end.
///
/// The deadline is looked at before every message: a flood does not hide it.
///
/// # Errors
/// [`MachineError::TimedOut`], [`MachineError::Cancelled`], [`MachineError::Unheeded`]: it still
/// runs, end the machine. Those of [`Execution::next`] and of `events`.
pub async fn follow(
    mut execution: Execution,
    until: &Until,
    reach: &Reach<'_>,
    events: &mut impl Events,
) -> Result<Ended> {
    let began = Instant::now();
    let signals = execution.signals();
    let (is_reaching, settled) = (AtomicBool::new(false), Notify::new());
    let mut following = pin!(async {
        loop {
            if until
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
            {
                return Err(MachineError::TimedOut(began.elapsed()));
            }
            match execution.next().await? {
                Event::Ended { outcome, spilled } => return Ok(Ended { outcome, spilled }),
                event => events.take(event).await?,
            }
        }
    });
    let mut late = pin!(wait_until(until.deadline));
    let mut interrupting = pin!(async {
        until.interrupt.cancelled().await;
        signals.send(Signal::Interrupt).await?;
        let given_up = Instant::now() + until.grace;
        // A program that waits hears the message; one that computes is reached from outside,
        // where it may stand before it has begun: again until it says so.
        while !signals.has_reached() && Instant::now() < given_up {
            is_reaching.store(true, Ordering::Release);
            let reached = reach().await;
            is_reaching.store(false, Ordering::Release);
            settled.notify_one();
            if !reached? {
                break;
            }
            sleep(REACH_AGAIN).await;
        }
        sleep_until(given_up.into()).await;
        Err(MachineError::Unheeded)
    });
    let ended = tokio::select! {
        biased;
        () = until.kill.cancelled() => Err(MachineError::Cancelled),
        () = &mut late => Err(MachineError::TimedOut(began.elapsed())),
        unheeded = &mut interrupting => return unheeded,
        ended = &mut following => ended,
    };
    // An interrupt on its way into the machine would meet the next execution there.
    if is_reaching.load(Ordering::Acquire) {
        tokio::select! {
            _ = &mut interrupting => {}
            () = settled.notified() => {}
        }
    }
    ended
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Sends all of `source` as standard input, as the program reads it, then its end. `source` is
/// not read before the program reads.
///
/// # Errors
/// [`MachineError::Io`] if `source` cannot be read, which ends the input; those of
/// [`Execution::next`].
pub async fn feed(input: Input, mut source: impl AsyncRead + Unpin) -> Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let most = input.wanted().await.min(buffer.len());
        if most == 0 {
            return Ok(());
        }
        let count = match source.read(&mut buffer[..most]).await {
            Ok(count) => count,
            Err(error) => {
                // The program must not wait for what will not come.
                input.end().await?;
                return Err(MachineError::io("reading standard input", error));
            }
        };
        if count == 0 {
            return input.end().await;
        }
        if !input.write(&buffer[..count]).await? {
            return Ok(());
        }
    }
}
