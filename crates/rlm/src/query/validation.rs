//! Commands held against the thesaurus, if there is one.

use super::{Asker, Node};
use crate::{Result, RlmError};
use std::sync::{Mutex, PoisonError};
use ukernel_kg::{Attempts, CommandKind, Findings, Verdict};
use ukernel_trajectory::Event;

fn examine(
    asker: &Asker,
    attempts: &Mutex<Attempts>,
    is_shell: bool,
    source: &str,
) -> Option<Verdict> {
    let kg = asker.run.kg.as_ref()?;
    let kind = if is_shell {
        CommandKind::Bash
    } else {
        CommandKind::Python
    };
    let kg = kg.lock().unwrap_or_else(PoisonError::into_inner);
    let mut attempts = attempts.lock().unwrap_or_else(PoisonError::into_inner);
    Some(kg.validate(kind, source, &mut attempts))
}

fn warn(asker: &Asker, findings: &Findings) {
    let message = format!("unknown terms: {}", findings.unknown_terms().join(", "));
    tracing::warn!(node = asker.id, "{message}");
    asker
        .run
        .trajectory
        .add(asker.id, Event::Warned { message });
}

/// A model's command. What the model is told, if it may not run.
pub(super) fn validate(node: &Node, is_shell: bool, source: &str) -> Result<Option<String>> {
    match examine(node, &node.attempts, is_shell, source) {
        None | Some(Verdict::Known(_)) => Ok(None),
        Some(Verdict::Warned(findings)) => {
            warn(node, &findings);
            Ok(None)
        }
        Some(Verdict::Retry { advice, .. } | Verdict::Blocked { advice, .. }) => {
            node.run.trajectory.add(
                node.id,
                Event::Corrected {
                    step: node.step(),
                    reason: advice.clone(),
                },
            );
            Ok(Some(advice))
        }
        Some(Verdict::Escalate { request, .. }) => Err(request.into()),
    }
}

/// A caller's command: it runs, or the caller hears why not.
pub(crate) fn validate_directly(
    asker: &Asker,
    attempts: &Mutex<Attempts>,
    is_shell: bool,
    source: &str,
) -> Result<()> {
    match examine(asker, attempts, is_shell, source) {
        None | Some(Verdict::Known(_)) => Ok(()),
        Some(Verdict::Warned(findings)) => {
            warn(asker, &findings);
            Ok(())
        }
        Some(Verdict::Retry { findings, .. } | Verdict::Blocked { findings, .. }) => {
            let attempts = attempts.lock().unwrap_or_else(PoisonError::into_inner);
            Err(RlmError::KgValidationFailed {
                unknown_terms: findings.unknown_terms(),
                attempts: attempts.failed(),
            })
        }
        Some(Verdict::Escalate { request, .. }) => Err(request.into()),
    }
}
