//! Which task runs next: in turn, those that are ready; else the machine idles until a deadline.

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It can run.
    Ready,
    /// It waits until something happens, or the monotonic clock reaches this moment.
    Waiting(Option<u64>),
    /// It has ended.
    Finished,
}

/// The next ready task after `current`, in turn; `current` itself comes last.
#[must_use]
pub fn next_ready(
    states: impl ExactSizeIterator<Item = State> + Clone,
    current: usize,
) -> Option<usize> {
    let count = states.len();
    let ready = |at: &usize| states.clone().nth(*at) == Some(State::Ready);
    (1..=count).map(|step| (current + step) % count).find(ready)
}

/// The nearest moment somebody waits for.
#[must_use]
pub fn nearest_deadline(states: impl Iterator<Item = State>) -> Option<u64> {
    let deadlines = states.filter_map(|state| match state {
        State::Waiting(deadline) => deadline,
        State::Ready | State::Finished => None,
    });
    deadlines.min()
}

#[cfg(test)]
mod tests {
    use super::State::{Finished, Ready, Waiting};
    use super::*;

    #[test]
    fn ready_tasks_take_turns() {
        let states = [
            Ready,
            Waiting(Some(7)),
            Ready,
            Finished,
            Waiting(None),
            Waiting(Some(3)),
        ];
        let next = |current| next_ready(states.iter().copied(), current);
        assert_eq!(
            (next(0), next(1), next(2), next(5)),
            (Some(2), Some(2), Some(0), Some(0))
        );
        let one = [Waiting(None), Ready];
        assert_eq!(
            next_ready(one.iter().copied(), 1),
            Some(1),
            "itself, if there is no other"
        );
        let none = [Waiting(None), Finished];
        assert_eq!(next_ready(none.iter().copied(), 0), None);
        assert_eq!(nearest_deadline(states.iter().copied()), Some(3));
        assert_eq!(nearest_deadline(none.iter().copied()), None);
    }
}
