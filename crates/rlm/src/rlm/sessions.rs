//! Sessions, as the specification has them: code, commands, variables, snapshots, terms.

use super::values::Value;
use super::{Execution, SessionStatus, TerraphimRlm};
use crate::error::Problem;
use crate::query::{self, Asker, OpenBridges, Run, Tool};
use crate::session::Bound;
use crate::{Result, RlmError};
use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use ukernel_budget::Ledger;
use ukernel_sandbox::environment::new_token;
use ukernel_sandbox::session::{Create, SnapshotInfo};
use ukernel_sandbox::{
    Environment, ExecutionContext, ExecutionEnvironment, ExecutionResult, SandboxError, SessionId,
    SnapshotId,
};
use ukernel_trajectory::Trajectory;

impl TerraphimRlm {
    /// Runs Python in a session. It may ask models; what that costs is the session's.
    ///
    /// # Errors
    /// [`RlmError::ExecutionTimeout`], [`RlmError::KgValidationFailed`],
    /// [`RlmError::KgEscalationRequired`], and those of the session. Code that fails is a result.
    pub async fn execute_code(&self, code: &str, session_id: SessionId) -> Result<ExecutionResult> {
        let execution = Execution {
            source: code.to_owned(),
            ..Execution::default()
        };
        self.execute(session_id, execution).await
    }

    /// Runs a shell command in a session.
    ///
    /// # Errors
    /// As [`Self::execute_code`].
    pub async fn execute_command(
        &self,
        cmd: &str,
        session_id: SessionId,
    ) -> Result<ExecutionResult> {
        let execution = Execution {
            source: cmd.to_owned(),
            is_shell: true,
            ..Execution::default()
        };
        self.execute(session_id, execution).await
    }

    /// Runs Python or a shell command in a session, with a time limit of its own, interruptible.
    /// What else runs in the session is waited for.
    ///
    /// # Errors
    /// As [`Self::execute_code`]; [`RlmError::Cancelled`] if it was interrupted before it began.
    pub async fn execute(
        &self,
        session_id: SessionId,
        execution: Execution,
    ) -> Result<ExecutionResult> {
        let Execution {
            source,
            is_shell,
            timeout,
            inline_output_bytes,
            interrupt,
        } = execution;
        let bound = self.bound(session_id)?;
        let _turn = tokio::select! {
            turn = Arc::clone(&bound.turn).lock_owned() => turn,
            () = interrupt.cancelled() => return Err(RlmError::Cancelled),
        };
        let asker = self.asker(&bound)?;
        query::validate_directly(&asker, &bound.attempts, is_shell, &source)?;
        self.begin(&bound, &asker).await?;
        let context = ExecutionContext {
            timeout,
            inline_output_bytes,
            interrupt: Some(interrupt),
            ..ExecutionContext::default()
        };
        let executed = query::execute_directly(&asker, is_shell, &source, context).await;
        executed.map_err(|error| match error {
            SandboxError::NeverBegan => RlmError::Cancelled,
            other => RlmError::of_sandbox(other, session_id),
        })
    }

    /// Puts the functions that ask into the session's REPL, once.
    async fn begin(&self, bound: &Bound, asker: &Asker) -> Result<()> {
        let mut has_begun = bound.has_begun.lock().await;
        if !*has_begun {
            let context = ExecutionContext::default();
            let begun = query::execute_directly(asker, false, query::BEGIN, context).await;
            let begun = begun.map_err(|error| RlmError::of_sandbox(error, bound.session.id()))?;
            ended_well(begun)?;
            *has_begun = true;
        }
        Ok(())
    }

    /// Who asks when a session's code belongs to no question. Each has a run of its own, so its time and
    /// its output count anew, and the session's ledger.
    pub(crate) fn asker(&self, bound: &Bound) -> Result<Asker> {
        let id = bound.session.id().to_string();
        let models = self.models()?;
        let started = self.run_started(&id, None, &bound.ledger, &models)?;
        let trajectory = Trajectory::begin(None, None, started)?;
        let run = self.run_parts(trajectory, CancellationToken::new(), models, Arc::default());
        Ok(asker_of(bound, bound.ledger.clone(), run))
    }

    /// Adds something that code in every session can ask for by name, from now on:
    /// `ukernel.call(name, payload)` in Python, `POST /v1/call/NAME` over HTTP.
    ///
    /// # Errors
    /// [`RlmError::Config`] if there is a call of this name, or it cannot be one.
    pub fn add_tool(&self, name: &str, tool: Arc<dyn Tool>) -> Result<()> {
        let added = self.inner.calls.add(name, tool);
        added.map_err(RlmError::config)
    }

    /// A variable of the session's REPL, as text; `None` if it is not set.
    ///
    /// # Errors
    /// [`RlmError::Config`] if the name cannot be one; those of the session.
    pub async fn get_context(&self, session_id: SessionId, key: &str) -> Result<Option<String>> {
        check_variable(key)?;
        let session = self.session(session_id)?;
        let given = Value::new(new_token(), Vec::new());
        let code = format!("__import__('rlm').get({key:?})");
        let (found, given) = self.internal(session.as_ref(), &code, given).await?;
        let is_there = found.value.as_deref() == Some("True");
        Ok(is_there.then(|| String::from_utf8_lossy(&given).into_owned()))
    }

    /// Sets a variable of the session's REPL to a text. `context` is what questions are about.
    ///
    /// # Errors
    /// As [`Self::get_context`].
    pub async fn set_context(&self, session_id: SessionId, key: &str, value: &str) -> Result<()> {
        check_variable(key)?;
        let session = self.session(session_id)?;
        let put = Value::new(new_token(), value.as_bytes().to_vec());
        let code = format!("__import__('rlm').put({key:?})");
        self.internal(session.as_ref(), &code, put).await?;
        Ok(())
    }

    /// The variables of the session's REPL with their types and sizes: a JSON object of texts. At most
    /// 200, in the order in which they were made.
    ///
    /// # Errors
    /// Those of the session.
    pub async fn list_context(&self, session_id: SessionId) -> Result<serde_json::Value> {
        let session = self.session(session_id)?;
        let given = Value::new(new_token(), Vec::new());
        let code = "__import__('rlm').give_variables()";
        let (_, given) = self.internal(session.as_ref(), code, given).await?;
        serde_json::from_slice(&given).map_err(|error| RlmError::internal(Problem::of(error)))
    }

    /// At most `max_bytes` of a file of the session, from `offset`: fewer at its end.
    ///
    /// # Errors
    /// [`RlmError::Sandbox`] with what the guest says, those of the session.
    pub async fn read_file(
        &self,
        session_id: SessionId,
        path: &str,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Vec<u8>> {
        let session = self.session(session_id)?;
        let read = session.read_file(path, offset, max_bytes).await;
        read.map_err(|error| RlmError::of_sandbox(error, session_id))
    }

    /// Runs code of ours, which has to end well.
    async fn internal(
        &self,
        session: &dyn Environment,
        code: &str,
        value: Value,
    ) -> Result<(ExecutionResult, Vec<u8>)> {
        let value = Arc::new(value);
        let context = ExecutionContext {
            calls: Some(Arc::clone(&value) as Arc<_>),
            ..ExecutionContext::default()
        };
        let executed = session.execute_code(code, &context).await;
        let result = executed.map_err(|error| RlmError::of_sandbox(error, session.id()))?;
        Ok((ended_well(result)?, value.take()))
    }

    /// Keeps the state of a session under a name.
    ///
    /// # Errors
    /// [`RlmError::SnapshotLimitExceeded`], those of the session.
    pub async fn create_snapshot(&self, session_id: SessionId, name: &str) -> Result<SnapshotId> {
        let session = self.session(session_id)?;
        let made = session.create_snapshot(name).await;
        made.map_err(|error| match error {
            SandboxError::Limit { limit, .. } => {
                let limit = u32::try_from(limit).unwrap_or(u32::MAX);
                RlmError::SnapshotLimitExceeded {
                    current: limit,
                    limit,
                }
            }
            other => RlmError::of_sandbox(other, session_id),
        })
    }

    /// Goes back to a snapshot: interpreter, variables and files.
    ///
    /// # Errors
    /// [`RlmError::SnapshotNotFound`], those of the session.
    pub async fn restore_snapshot(
        &self,
        session_id: SessionId,
        snapshot_id: &SnapshotId,
    ) -> Result<()> {
        let session = self.session(session_id)?;
        session
            .restore_snapshot(snapshot_id)
            .await
            .map_err(|error| match error {
                SandboxError::NoSnapshot(_) => RlmError::SnapshotNotFound {
                    snapshot_id: *snapshot_id,
                },
                other => RlmError::of_sandbox(other, session_id),
            })
    }

    /// The snapshots of a session.
    ///
    /// # Errors
    /// Those of the session.
    pub async fn list_snapshots(&self, session_id: SessionId) -> Result<Vec<SnapshotInfo>> {
        let session = self.session(session_id)?;
        let listed = session.list_snapshots().await;
        listed.map_err(|error| RlmError::of_sandbox(error, session_id))
    }

    /// Makes a session.
    ///
    /// # Errors
    /// [`RlmError::VmAllocationFailed`].
    pub async fn create_session(&self) -> Result<SessionId> {
        Ok(self.create_bound().await?.session.id())
    }

    pub(super) async fn create_bound(&self) -> Result<Bound> {
        let inner = &self.inner;
        let create = Create {
            name: None,
            owner: inner.owner,
            guest: inner.config.guest,
            image: inner.config.image.clone(),
        };
        let session = inner
            .environments
            .create(create)
            .await
            .map_err(|reason| RlmError::VmAllocationFailed { reason })?;
        let bound = Bound::new(session, &inner.config);
        self.bounds().insert(bound.session.id(), bound.clone());
        Ok(bound)
    }

    /// Ends a session, whatever it does. Its token is worth nothing from then on.
    ///
    /// # Errors
    /// [`RlmError::SessionNotFound`].
    pub async fn destroy_session(&self, session_id: SessionId) -> Result<()> {
        let session = self.session(session_id)?;
        self.bounds().remove(&session_id);
        let ended = self.inner.environments.destroy(session.as_ref()).await;
        ended.map_err(|error| RlmError::of_sandbox(error, session_id))
    }

    /// Adds time to a session's life, as often as the configuration allows.
    ///
    /// # Errors
    /// Those of the session.
    pub async fn extend_session(&self, session_id: SessionId) -> Result<Duration> {
        let session = self.session(session_id)?;
        let left = session.extend().await;
        left.map_err(|error| RlmError::of_sandbox(error, session_id))
    }

    /// What a session is and does.
    ///
    /// # Errors
    /// [`RlmError::SessionNotFound`].
    pub async fn get_session_status(&self, session_id: SessionId) -> Result<SessionStatus> {
        Ok(self.session(session_id)?.info())
    }

    /// A person approves terms that were unknown in a session: from now on they are known in all.
    ///
    /// # Errors
    /// [`RlmError::Config`] if there is no thesaurus, or they are no terms.
    pub fn approve_terms(&self, session_id: SessionId, terms: &[String]) -> Result<()> {
        let Some(kg) = &self.inner.kg else {
            return Err(RlmError::config("there is no thesaurus"));
        };
        let bound = self.bound(session_id)?;
        let mut kg = kg.lock().unwrap_or_else(PoisonError::into_inner);
        let mut attempts = bound
            .attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kg.approve(terms, &mut attempts)
            .map_err(|error| RlmError::config(Problem::of(error)))
    }

    /// A person rejects terms: commands with them do not run in this session.
    ///
    /// # Errors
    /// Those of the session.
    pub fn reject_terms(&self, session_id: SessionId, terms: &[String]) -> Result<()> {
        let bound = self.bound(session_id)?;
        let mut attempts = bound
            .attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        attempts.reject(terms.iter().map(String::as_str));
        Ok(())
    }

    /// Ends every session, and waits until their VMs are gone.
    pub async fn stop(&self) {
        let ids: Vec<SessionId> = self.bounds().keys().copied().collect();
        if self.inner.config.session_folder.is_none() {
            for id in ids {
                // A session that cannot be destroyed goes with the folder of all.
                let _ = self.destroy_session(id).await;
            }
        }
        self.inner.environments.stop().await;
    }

    pub(super) fn bounds(&self) -> MutexGuard<'_, HashMap<SessionId, Bound>> {
        self.inner
            .bound
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn session(&self, id: SessionId) -> Result<Arc<dyn Environment>> {
        let inner = &self.inner;
        inner
            .environments
            .find(inner.owner, &id.to_string())
            .map_err(|_| {
                // It may have had its time.
                self.bounds().remove(&id);
                RlmError::SessionNotFound { session_id: id }
            })
    }

    pub(crate) fn bridges(&self) -> OpenBridges {
        self.inner.bridges.clone()
    }

    pub(crate) fn bound(&self, id: SessionId) -> Result<Bound> {
        let session = self.session(id)?;
        let config = &self.inner.config;
        let mut bounds = self.bounds();
        let bound = bounds
            .entry(id)
            .or_insert_with(|| Bound::new(session, config));
        Ok(bound.clone())
    }
}

/// Who asks in a session, first in its run.
pub(super) fn asker_of(bound: &Bound, ledger: Ledger, run: Arc<Run>) -> Asker {
    Asker {
        id: run.next_node(),
        depth: 0,
        ledger,
        session: bound.session.clone(),
        token: bound.token,
        cancel: run.cancel.child_token(),
        run,
    }
}

/// Code of ours that fails is an error.
fn ended_well(result: ExecutionResult) -> Result<ExecutionResult> {
    if result.is_success() {
        return Ok(result);
    }
    Err(RlmError::ExecutionFailed {
        exit_code: 1,
        stderr: result.output.stderr,
    })
}

fn check_variable(name: &str) -> Result<()> {
    let mut letters = name.chars();
    let begins = letters
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
    if begins && name.len() <= 128 && letters.all(|one| one.is_ascii_alphanumeric() || one == '_') {
        return Ok(());
    }
    Err(RlmError::config(format!(
        "`{}` is no name of a variable",
        name.escape_debug().take(80).collect::<String>()
    )))
}
