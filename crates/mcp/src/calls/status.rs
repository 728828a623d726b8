//! `rlm_status`.

use super::Desk;
use crate::args::StatusArgs;
use crate::replies::{Failure, Reply, ServerState, SessionState, Stands, Status, TaskState};
use crate::tasks::{Ended, Record, Standing};
use terraphim_rlm::ErrorCode;

impl Desk {
    /// How a task stands, whose caller has asked for it or waited for it.
    pub(crate) fn stands(record: &Record) -> Reply<Stands> {
        let mut told = Stands {
            progress_pct: Some(record.percent),
            current_step: Some(record.step.clone()),
            ..Stands::default()
        };
        let mut error = None;
        if let Standing::Ended(ended) = &record.standing {
            told.current_step = None;
            match ended {
                Ended::Completed(result) => {
                    told.progress_pct = Some(100);
                    told.result = Some(result["structuredContent"].clone());
                }
                Ended::Failed(cause) => {
                    let message = cause["message"].as_str().unwrap_or("it failed");
                    error = Some(Failure::new(ErrorCode::INTERNAL, message));
                }
                Ended::Cancelled => {}
                Ended::Lost => {
                    told.can_resume = Some(record.can_resume());
                    error = Some(Failure::new(ErrorCode::VM_LOST, record.loss()));
                }
            }
        }
        Reply {
            error,
            ..Reply::new(record.status(), record.session.clone(), told)
        }
    }

    pub(crate) fn no_task(id: &str) -> Failure {
        let shown: String = id.escape_debug().take(80).collect();
        Failure::arguments(format!(
            "there is no task `{shown}` of yours: it never was, or its time is over"
        ))
    }

    /// The sessions and tasks of the caller; only a session if one is named.
    pub(crate) async fn overview(&self, args: &StatusArgs) -> Result<Reply<Stands>, Failure> {
        let mut told = Stands::default();
        let reply = |told| Ok(Reply::new(Status::Ok, None, told));
        if let Some(handle) = &args.session {
            let session = self.session(handle).await?;
            if args.end {
                self.shared.end(handle).await;
                told.sessions = Some(Vec::new());
                return reply(told);
            }
            told.sessions = Some(self.states(vec![(session.handle, session.id)]).await?);
            return reply(told);
        }
        let own = self.shared.sessions.of(&self.caller);
        told.sessions = Some(if own.is_empty() {
            // The runtime is not opened for this.
            Vec::new()
        } else {
            self.states(own).await?
        });
        let tasks = self.shared.tasks.of(&self.caller);
        let tasks = tasks.into_iter().map(|record| TaskState {
            status: record.status(),
            task: record.id,
            tool: record.kind.tool,
            progress_pct: record.percent,
            current_step: record.step,
        });
        told.tasks = Some(tasks.collect());
        let used = self.shared.options.upstream.used().into_iter();
        let servers = used.map(|(name, calls, failed)| ServerState {
            name,
            calls,
            failed,
        });
        told.servers = Some(servers.collect());
        reply(told)
    }

    async fn states(
        &self,
        sessions: Vec<(String, terraphim_rlm::SessionId)>,
    ) -> Result<Vec<SessionState>, Failure> {
        let rlm = self.rlm().await?;
        let mut states = Vec::new();
        for (handle, id) in sessions {
            // One that has ended is none.
            let Ok(info) = rlm.get_session_status(id).await else {
                continue;
            };
            states.push(SessionState {
                session: handle,
                is_running: info.is_running,
                commands: info.commands,
                snapshots: info.snapshots,
                remaining_s: info.remaining_s,
            });
        }
        Ok(states)
    }
}
