//! A node: one question, and who asks for it.

use super::{Answer, Asker};
use crate::context::Context;
use crate::exact::Exact;
use crate::schema::Schema;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use ukernel_kg::Attempts;
use ukernel_trajectory::ContextShape;

/// How often an answer that does not fit its schema may be given again.
const SCHEMA_RETRIES: u32 = 1;

/// A node.
pub(crate) struct Node {
    asker: Asker,
    pub(crate) question: String,
    pub(crate) context: Context,
    /// What the answer has to fit.
    pub(crate) schema: Option<Schema>,
    /// What the validator remembers of the session.
    pub(crate) attempts: Arc<Mutex<Attempts>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    step: u32,
    is_long: bool,
    /// What the context looks like, from the VM's word for it to its use.
    shape: Option<ContextShape>,
    has_started: bool,
    answer: Option<Answer>,
    /// Steps whose commands ran, and which command of the session each was.
    ran: Vec<(u32, u64)>,
    /// What the model keeps in `my_answer`.
    kept: Option<(String, Option<Exact>)>,
    /// The answer that the model was asked about once.
    doubted: Option<String>,
    /// What commands printed that has a `FINAL` in it.
    printed: String,
    misfits: u32,
    /// What the last answer that did not fit lacked, when there will be no other.
    hopeless: Option<String>,
}

impl std::ops::Deref for Node {
    type Target = Asker;

    fn deref(&self) -> &Asker {
        &self.asker
    }
}

impl Node {
    pub(crate) fn new(
        asker: Asker,
        question: String,
        context: Context,
        schema: Option<Schema>,
        attempts: Arc<Mutex<Attempts>>,
    ) -> Self {
        Self {
            asker,
            question,
            context,
            schema,
            attempts,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether its context is so long that it has to be looked at first.
    pub(crate) fn set_long(&self, is_long: bool) {
        self.state().is_long = is_long;
    }

    /// Notes what its context looks like in the REPL.
    pub(crate) fn set_shape(&self, shape: ContextShape) {
        self.state().shape = Some(shape);
    }

    pub(crate) fn take_shape(&self) -> Option<ContextShape> {
        self.state().shape.take()
    }

    /// Notes that its beginning is written down.
    pub(crate) fn set_started(&self) {
        self.state().has_started = true;
    }

    pub(crate) fn has_started(&self) -> bool {
        self.state().has_started
    }

    pub(crate) fn begin_step(&self, step: u32) {
        self.state().step = step;
    }

    pub(crate) fn step(&self) -> u32 {
        self.state().step
    }

    /// Notes which command of its session the step's newest was.
    pub(crate) fn ran(&self, command: u64) {
        let mut state = self.state();
        let step = state.step;
        state.ran.push((step, command));
    }

    /// Its variables are those of a snapshot: from now on it is not known whose steps' they are.
    pub(crate) fn forget_steps(&self) {
        self.state().ran.clear();
    }

    /// The VM was lost, and stands as it was after this command: what that means for the variables, in the
    /// model's own numbers of steps.
    pub(crate) fn lost_since(&self, command: u64) -> String {
        let mut state = self.state();
        let mut lost: Vec<u32> = vec![state.step];
        lost.extend(
            state
                .ran
                .iter()
                .filter(|ran| ran.1 > command)
                .map(|ran| ran.0),
        );
        state.ran.retain(|ran| ran.1 <= command);
        let kept = state.ran.iter().map(|ran| ran.0);
        let kept: Vec<u32> = kept.filter(|step| !lost.contains(step)).collect();
        match named(kept) {
            None => format!(
                "the variables of {} are lost",
                named(lost).unwrap_or_default()
            ),
            Some(kept) => format!(
                "the variables of {kept} are kept, those of {} are lost",
                named(lost).unwrap_or_default()
            ),
        }
    }

    /// Takes an answer, or says why not: for the model to read.
    pub(crate) fn offer(&self, text: String, value: Option<Exact>) -> Result<(), String> {
        check_answer(&text, self.run.config.max_answer_bytes)?;
        let mut state = self.state();
        if state.is_long && state.step == 1 {
            return Err(
                "this is the first step, and the context is long: look at what your code prints \
                 before you answer"
                    .to_owned(),
            );
        }
        let value = match &self.schema {
            None => value,
            Some(schema) => match fit(schema, &text, value) {
                Ok(value) => Some(value),
                Err(reason) => {
                    state.misfits += 1;
                    if state.misfits > SCHEMA_RETRIES {
                        state.hopeless = Some(reason.clone());
                    }
                    return Err(format!("the answer does not fit its JSON schema: {reason}"));
                }
            },
        };
        state.answer = Some(Answer {
            text,
            value,
            partial: None,
        });
        Ok(())
    }

    /// The answer that was taken.
    pub(crate) fn take_answer(&self) -> Option<Answer> {
        self.state().answer.take()
    }

    /// Keeps the best answer so far, or says why not: for the model to read.
    pub(crate) fn keep(&self, text: String, value: Option<Exact>) -> Result<(), String> {
        check_answer(&text, self.run.config.max_answer_bytes)?;
        self.state().kept = Some((text, value));
        Ok(())
    }

    /// The best answer so far, if there is one that may be an answer.
    pub(crate) fn kept_answer(&self, why: String) -> Option<Answer> {
        let (text, value) = self.state().kept.clone()?;
        let value = match &self.schema {
            None => value,
            Some(schema) => Some(fit(schema, &text, value).ok()?),
        };
        Some(Answer {
            text,
            value,
            partial: Some(why),
        })
    }

    /// Notes what a command printed.
    pub(crate) fn note_printed(&self, output: &str) {
        if output.contains("FINAL") {
            self.state().printed.push_str(output);
        }
    }

    /// Whether the model was shown this call of `FINAL` by a command.
    pub(crate) fn has_printed(&self, call: &str) -> bool {
        self.state().printed.contains(call)
    }

    /// Notes that the model is asked about an answer. `false`: it was asked already, and means it.
    pub(crate) fn doubt(&self, answer: &str) -> bool {
        let mut state = self.state();
        if state.doubted.as_deref() == Some(answer) {
            return false;
        }
        state.doubted = Some(answer.to_owned());
        true
    }

    /// What the last answer lacked, if it was the last that could be given.
    pub(crate) fn hopeless(&self) -> Option<String> {
        self.state().hopeless.clone()
    }
}

/// Steps in words: `step 3`, `steps 1-2, 4`.
fn named(mut steps: Vec<u32>) -> Option<String> {
    steps.sort_unstable();
    steps.dedup();
    let ranges: Vec<String> = steps
        .chunk_by(|one, next| one + 1 == *next)
        .filter_map(|range| match range {
            [] => None,
            [one] => Some(one.to_string()),
            [first, .., last] => Some(format!("{first}-{last}")),
        })
        .collect();
    let noun = if steps.len() == 1 { "step" } else { "steps" };
    (!steps.is_empty()).then(|| format!("{noun} {}", ranges.join(", ")))
}

/// Whether a text can be an answer at all.
pub(super) fn check_answer(text: &str, most_bytes: usize) -> Result<(), String> {
    if text.len() > most_bytes {
        return Err(format!(
            "the answer has {} bytes, and may have {most_bytes}: shorten it",
            text.len()
        ));
    }
    if text.trim().is_empty() {
        return Err("the answer is empty".to_owned());
    }
    Ok(())
}

/// The value of an answer: as it was given, or what its text stands for.
fn fit(schema: &Schema, text: &str, value: Option<Exact>) -> Result<Exact, String> {
    match value.filter(|value| !value.is_string()) {
        Some(value) => schema.check(&value).map(|()| value),
        None => {
            let plain = Exact::from(text);
            schema
                .read(text)
                .or_else(|reason| schema.check(&plain).map(|()| plain).map_err(|_| reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::named;

    #[test]
    fn steps_are_named_in_ranges() {
        assert_eq!(named(vec![]), None);
        assert_eq!(named(vec![3, 3]).as_deref(), Some("step 3"));
        assert_eq!(named(vec![4, 1, 2, 2]).as_deref(), Some("steps 1-2, 4"));
    }
}
