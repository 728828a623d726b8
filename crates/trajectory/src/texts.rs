//! Leaving the texts out of a record.

use crate::record::{Event, Outcome, Record};

impl Record {
    /// The record without anything a person or a model wrote.
    #[must_use]
    pub fn without_texts(mut self) -> Self {
        match &mut self.event {
            Event::NodeStarted(started) => {
                started.question = None;
                for part in &mut started.context.parts {
                    part.first.clear();
                }
            }
            Event::ModelAsked { new_messages, .. } => *new_messages = None,
            Event::ModelReplied { reply, .. } => reply.reply = None,
            Event::QueryReplied { reply, prompt, .. } => {
                reply.reply = None;
                *prompt = None;
            }
            Event::CommandStarted { source, .. } => *source = None,
            Event::CommandEnded(ended) => {
                ended.stdout = None;
                ended.stderr = None;
                ended.value = None;
            }
            Event::Corrected { reason, .. } => {
                *reason = format!("{} bytes of advice", reason.len());
            }
            Event::NodeEnded { outcome, .. } | Event::RunEnded { outcome, .. } => {
                if let Outcome::Answered { answer, .. } = outcome {
                    *answer = None;
                }
            }
            Event::RunStarted(_)
            | Event::ModelFailed { .. }
            | Event::CallStarted { .. }
            | Event::QueryFailed { .. }
            | Event::CallEnded { .. }
            | Event::Compacted { .. }
            | Event::Warned { .. } => {}
        }
        self
    }
}
