//! Waiting with a deadline.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// Waits until `file` is readable or closed by its other end; `false` if it is neither at
/// `deadline`.
///
/// # Errors
/// Those of poll(2).
pub fn readable(file: BorrowedFd<'_>, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut files = [PollFd::from_borrowed_fd(file, PollFlags::IN)];
        match poll(&mut files, Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// For what cannot be polled: asks until there is an answer, `pause` apart and at least once.
/// `None` if there is none at `deadline`.
///
/// # Errors
/// Those of `ask`, which end the waiting.
pub fn until<T, E>(
    deadline: Instant,
    pause: Duration,
    mut ask: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    loop {
        if let Some(answer) = ask()? {
            return Ok(Some(answer));
        }
        if Instant::now() >= deadline {
            return Ok(None);
        }
        std::thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(5)
    }

    #[test]
    fn a_file_is_readable_or_late() {
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        assert!(!readable(reader.as_fd(), soon()).expect("polled"));
        writer.write_all(b"!").expect("written");
        assert!(readable(reader.as_fd(), Instant::now()).expect("polled"));
    }

    #[test]
    fn an_answer_ends_the_asking_and_so_does_an_error() {
        let mut asked = 0;
        let third: Result<_, ()> = until(soon(), Duration::ZERO, || {
            asked += 1;
            Ok((asked == 3).then_some(asked))
        });
        assert_eq!(third, Ok(Some(3)));
        assert_eq!(
            until(soon(), Duration::ZERO, || Ok::<_, ()>(None::<()>)),
            Ok(None)
        );
        assert_eq!(
            until(soon(), Duration::ZERO, || Err::<Option<()>, _>(7)),
            Err(7)
        );
    }
}
