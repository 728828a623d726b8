//! The runtime over environments of another kind: no VM, and nothing of the sandbox's sessions.

use crate::behaviours;
use crate::ground::{Scripted, config};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use terraphim_rlm::{Query, SnapshotInfo, TerraphimRlm};
use tokio_util::sync::CancellationToken;
use ukernel_sandbox::environment::{Exec, HostCall, Output};
use ukernel_sandbox::session::{Create, SessionInfo};
use ukernel_sandbox::{
    Capability, Control, Environment, Environments, ExecutionResult, ExecutionStatus, SandboxError,
    SessionId, SnapshotId, SnapshotName,
};

behaviours![a_question_is_answered_in_environments_of_another_kind];

type Result<T> = std::result::Result<T, SandboxError>;

/// Environments that run nothing and say what they were asked to run.
#[derive(Default)]
struct Parrots {
    made: Mutex<HashMap<SessionId, Arc<Parrot>>>,
}

struct Parrot {
    id: SessionId,
    token: CancellationToken,
    heard: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl Environments for Parrots {
    async fn create(&self, _: Create) -> Result<Arc<dyn Environment>> {
        let parrot = Arc::new(Parrot {
            id: SessionId::random(),
            token: CancellationToken::new(),
            heard: Mutex::default(),
        });
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.insert(parrot.id, Arc::clone(&parrot));
        Ok(parrot)
    }

    fn find(&self, _: u32, key: &str) -> Result<Arc<dyn Environment>> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let found = made.values().find(|parrot| parrot.id.to_string() == key);
        found
            .map(|parrot| Arc::clone(parrot) as Arc<dyn Environment>)
            .ok_or_else(|| SandboxError::NoSession(key.to_owned()))
    }

    async fn destroy(&self, environment: &dyn Environment) -> Result<()> {
        environment.token().cancel();
        Ok(())
    }

    async fn stop(&self) {}
}

#[async_trait::async_trait]
impl Environment for Parrot {
    fn id(&self) -> SessionId {
        self.id
    }

    fn info(&self) -> SessionInfo {
        SessionInfo {
            guest: ukernel_sandbox::Guest::Ukernel,
            image: None,
            id: self.id,
            name: None,
            is_running: false,
            commands: 0,
            snapshots: 0,
            created_ms: 0,
            remaining_s: 1,
            extensions_left: 0,
            process: None,
            recovered: None,
        }
    }

    fn token(&self) -> &CancellationToken {
        &self.token
    }

    fn capabilities(&self) -> &[Capability] {
        &[Capability::Python]
    }

    async fn exec(&self, exec: Exec, control: Control) -> Result<ExecutionResult> {
        let source = String::from_utf8_lossy(&exec.source).into_owned();
        if source.contains("rlm.begin") {
            let calls = control.calls.expect("somebody answers");
            let described = calls.answer(HostCall {
                number: 1,
                token: calls.token(),
                name: "describe".to_owned(),
                payload: br#"{"type": "none", "parts": []}"#.to_vec(),
            });
            described.await.expect("taken");
        }
        let stdout = format!("heard: {source}");
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.push(source);
        Ok(ExecutionResult {
            output: Output {
                stdout,
                stderr: String::new(),
            },
            status: ExecutionStatus::Exited { code: 0 },
            value: None,
            parts: Vec::new(),
            files: Vec::new(),
            command: heard.len() as u64,
            total_ms: 0.0,
            run_ms: 0.0,
            checkpoint_error: None,
        })
    }

    async fn checkpoint(&self) -> Result<()> {
        Ok(())
    }

    async fn keep_checkpoints(&self, _: bool) -> Result<()> {
        Ok(())
    }

    async fn snapshot(&self, _: SnapshotName) -> Result<SnapshotId> {
        Err(SandboxError::Stopping)
    }

    async fn rollback(&self, id: SnapshotId) -> Result<()> {
        Err(SandboxError::NoSnapshot(id.to_string()))
    }

    async fn list_snapshots(&self) -> Result<Vec<SnapshotInfo>> {
        Ok(Vec::new())
    }

    async fn put_file(&self, _: &str, _: Vec<u8>) -> Result<()> {
        Ok(())
    }

    async fn get_file(&self, _: &str) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    async fn read_file(&self, _: &str, _: u64, _: usize) -> Result<Vec<u8>> {
        Ok(Vec::new())
    }

    async fn extend(&self) -> Result<Duration> {
        Ok(Duration::from_secs(1))
    }
}

async fn a_question_is_answered_in_environments_of_another_kind() {
    let model = Scripted::steps(&["```python\nprint(6 * 7)\n```", "FINAL(done)"]);
    let parrots = Arc::new(Parrots::default());
    let environments = Arc::clone(&parrots) as Arc<dyn Environments>;
    let rlm = TerraphimRlm::with_environments(config(), model, environments).expect("a runtime");
    let asked = Query {
        question: "What is it?".to_owned(),
        ..Query::default()
    };
    let answered = rlm.ask(asked).await.expect("an answer");
    assert_eq!(answered.answer, "done");
    let made = parrots.made.lock().unwrap_or_else(PoisonError::into_inner);
    let parrot = made.values().next().expect("one was made");
    let heard = parrot.heard.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(
        heard.iter().any(|source| source.contains("print(6 * 7)")),
        "{heard:?}"
    );
    assert!(
        parrot.token.is_cancelled(),
        "it was ended with its question"
    );
}
