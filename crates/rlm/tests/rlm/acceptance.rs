//! The specification's acceptance criteria (section 6.1 and S3), by their names.

use crate::behaviours;
use crate::ground::{Scripted, config, hasty, runtime};
use std::time::{Duration, Instant};
use terraphim_rlm::trajectory::Event;
use terraphim_rlm::{KgStrictness, RlmConfig, RlmError, TerraphimRlm};

behaviours![
    f1_execute_python_code_in_a_vm,
    f2_execute_bash_commands_in_a_vm,
    f3_recursive_llm_calls_work,
    f4_kg_validation_warns_on_unknown_terms,
    f5_kg_escalation_pauses_for_user,
    f6_snapshots_can_be_created_and_restored,
    f7_session_affinity_persists_state,
    s3_execution_timeout_is_enforced,
];

async fn plain(config: RlmConfig) -> (TerraphimRlm, terraphim_rlm::SessionId) {
    let rlm = runtime(config, Scripted::steps(&[])).await;
    let session = rlm.create_session().await.expect("a session");
    (rlm, session)
}

async fn f1_execute_python_code_in_a_vm() {
    let (rlm, session) = plain(config()).await;
    let result = rlm.execute_code("print('hello')", session).await;
    assert_eq!(result.expect("a result").output.stdout, "hello\n");
    rlm.stop().await;
}

async fn f2_execute_bash_commands_in_a_vm() {
    let (rlm, session) = plain(config()).await;
    let result = rlm.execute_command("ls /", session).await;
    let listing = result.expect("a result").output.stdout;
    assert!(listing.lines().any(|name| name == "tmp"), "{listing}");
    rlm.stop().await;
}

async fn f3_recursive_llm_calls_work() {
    let (rlm, session) = plain(config()).await;
    let code = "reply = query_llm('are you there?')\nprint(reply)";
    let result = rlm.execute_code(code, session).await.expect("a result");
    assert_eq!(result.output.stdout, "echo: are you there?\n", "{result:?}");
    let result = rlm.execute_code("print(reply.upper())", session).await;
    assert_eq!(
        result.expect("a result").output.stdout,
        "ECHO: ARE YOU THERE?\n",
        "the reply came back into the same interpreter"
    );
    rlm.stop().await;
}

fn thesaurus(strictness: KgStrictness, folder: &std::path::Path) -> RlmConfig {
    let path = folder.join("terms.json");
    let json = r#"{"name": "t", "data": {"reactor": {"id": 1, "nterm": "reactor"}}}"#;
    std::fs::write(&path, json).expect("written");
    RlmConfig {
        kg_thesaurus: Some(path),
        kg_strictness: strictness,
        ..config()
    }
}

async fn f4_kg_validation_warns_on_unknown_terms() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = thesaurus(KgStrictness::Permissive, folder.path());
    let model = Scripted::steps(&["```python\nprint('zyzzogeton seen')\n```", "FINAL(done)"]);
    let rlm = runtime(config, model).await;
    let (answered, records) = crate::ground::ask_over(&rlm, "What?", "").await;
    assert_eq!(answered.expect("an answer").answer, "done");
    let warned = records
        .events()
        .into_iter()
        .any(|event| matches!(event, Event::Warned { message } if message.contains("zyzzogeton")));
    assert!(warned, "{:?}", records.events());
    let printed = records.events().into_iter().any(|event| {
        matches!(event, Event::CommandEnded(ended)
            if ended.stdout.as_deref() == Some("zyzzogeton seen\n"))
    });
    assert!(printed, "execution proceeds");
    rlm.stop().await;
}

async fn f5_kg_escalation_pauses_for_user() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = thesaurus(KgStrictness::Normal, folder.path());
    let model = Scripted::steps(&["```python\nprint('zyzzogeton')\n```"; 8]);
    let rlm = runtime(config, std::sync::Arc::clone(&model)).await;
    let session = rlm.create_session().await.expect("a session");
    let error = rlm
        .query("What?", Some(session))
        .await
        .expect_err("a pause");
    let RlmError::KgEscalationRequired {
        unknown_terms,
        context,
        ..
    } = error
    else {
        panic!("{error}");
    };
    assert_eq!(unknown_terms, ["zyzzogeton"]);
    assert!(context.contains("zyzzogeton"));
    assert_eq!(model.prompts().len(), 4, "after three retries");
    let advice = &model.prompts()[1];
    assert!(
        advice.contains("zyzzogeton"),
        "the model was told: {advice}"
    );
    rlm.approve_terms(session, &unknown_terms)
        .expect("approved");
    let result = rlm.execute_code("print('zyzzogeton')", session).await;
    assert_eq!(result.expect("it runs now").output.stdout, "zyzzogeton\n");
    rlm.stop().await;
}

async fn f6_snapshots_can_be_created_and_restored() {
    let (rlm, session) = plain(config()).await;
    let run = async |code: &str| rlm.execute_code(code, session).await.expect("a result");
    run("x = 1; open('/f', 'w').write('before')").await;
    let snapshot = rlm.create_snapshot(session, "before").await;
    let snapshot = snapshot.expect("a snapshot");
    run("x = 2; open('/f', 'w').write('after')").await;
    rlm.restore_snapshot(session, &snapshot)
        .await
        .expect("restored");
    let result = run("print(x, open('/f').read())").await;
    assert_eq!(result.output.stdout, "1 before\n");
    assert_eq!(rlm.list_snapshots(session).await.expect("a list").len(), 1);
    rlm.stop().await;
}

async fn f7_session_affinity_persists_state() {
    let (rlm, session) = plain(config()).await;
    rlm.set_context(session, "context", "forty-two")
        .await
        .expect("set");
    let first = rlm.execute_code("context = context.upper()", session).await;
    first.expect("a result");
    let second = rlm
        .execute_code("seen = context; print(context)", session)
        .await;
    assert_eq!(
        second.expect("a result").output.stdout,
        "forty-two\n",
        "the context is restored, as it is the question's"
    );
    let third = rlm.get_context(session, "seen").await.expect("read");
    assert_eq!(third.as_deref(), Some("forty-two"));
    assert_eq!(
        rlm.get_context(session, "nothing").await.expect("read"),
        None
    );
    let error = rlm.get_context(session, "a b").await.expect_err("no name");
    assert!(matches!(error, RlmError::Config(_)));
    rlm.stop().await;
}

async fn s3_execution_timeout_is_enforced() {
    let (rlm, session) = plain(hasty(700)).await;
    rlm.execute_code("x = 1", session).await.expect("a result");
    let began = Instant::now();
    let error = rlm
        .execute_code("print('on'); x = 2\nwhile True: pass", session)
        .await;
    let error = error.expect_err("it never ends");
    let RlmError::ExecutionTimeout {
        limit_ms, stdout, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!((*limit_ms, stdout.as_str()), (700, "on\n"));
    assert!(began.elapsed() >= Duration::from_millis(700));
    let result = rlm.execute_code("print(x)", session).await;
    assert_eq!(result.expect("a result").output.stdout, "1\n");
    rlm.stop().await;
    // The same within a run: the model is told, and goes on.
    let model = Scripted::steps(&["```python\nwhile True: pass\n```", "FINAL(went on)"]);
    let (answered, _) = {
        let rlm = runtime(hasty(700), model.clone()).await;
        let asked = crate::ground::ask_over(&rlm, "What?", "").await;
        rlm.stop().await;
        asked
    };
    assert_eq!(answered.expect("an answer").answer, "went on");
    assert!(
        model.prompts()[1].contains("time limit"),
        "{}",
        model.prompts()[1]
    );
}
