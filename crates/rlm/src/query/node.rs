//! A node: one question, and who asks for it.

use super::{Answer, Asker};
use crate::context::Context;
use crate::schema::Schema;
use serde_json::Value;
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

    /// Takes an answer, or says why not: for the model to read.
    pub(crate) fn offer(&self, text: String, value: Option<Value>) -> Result<(), String> {
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

    /// What the last answer lacked, if it was the last that could be given.
    pub(crate) fn hopeless(&self) -> Option<String> {
        self.state().hopeless.clone()
    }
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
fn fit(schema: &Schema, text: &str, value: Option<Value>) -> Result<Value, String> {
    match value.filter(|value| !value.is_string()) {
        Some(value) => schema.check(&value).map(|()| value),
        None => {
            let plain = Value::from(text);
            schema
                .read(text)
                .or_else(|reason| schema.check(&plain).map(|()| plain).map_err(|_| reason))
        }
    }
}
