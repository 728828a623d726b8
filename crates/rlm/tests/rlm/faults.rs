//! What goes wrong around a run, and what is left of it then: nothing.

use crate::behaviours;
use crate::ground::{Records, Said, Scripted, ask, ask_over, config, replaying, runtime};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use terraphim_rlm::trajectory::{Event, TrajectoryFile};
use terraphim_rlm::{Context, Query, RlmError};
use tokio_util::sync::CancellationToken;
use ukernel_llm::FailureKind;

behaviours![
    a_provider_that_fails_ends_the_run_and_a_failed_query_only_itself,
    one_failed_item_of_a_batch_is_a_value,
    a_child_answers_over_its_own_context_in_its_own_vm,
    cancelling_ends_vms_and_calls_at_once_and_the_trajectory_is_whole,
    a_guest_that_dies_while_it_waits_ends_its_call,
    a_call_after_its_execution_ended_is_refused,
    a_run_can_be_played_again_from_its_trajectory,
    a_trajectory_that_cannot_be_written_stops_the_run,
    contexts_of_every_kind_are_loaded,
    a_replay_that_does_not_go_on_like_this_is_an_error,
];

async fn a_provider_that_fails_ends_the_run_and_a_failed_query_only_itself() {
    for kind in [
        FailureKind::Connect,
        FailureKind::Unauthorized,
        FailureKind::BrokenOff,
    ] {
        let (answered, records) = ask(Scripted::new(move |_| Said::Fails(kind)), "x").await;
        let error = answered.expect_err("no answer");
        assert!(
            matches!(error, RlmError::LlmProviderError { .. }),
            "{error}"
        );
        assert!(matches!(
            records.events().last(),
            Some(Event::RunEnded { .. })
        ));
    }
    let model = Scripted::new(|ask| match (ask.is_step, ask.replies) {
        (true, 0) => {
            "```python\ntry: query_llm('x')\nexcept Exception as e: print(type(e).__name__)\n```"
                .into()
        }
        (true, _) => "FINAL(went on)".into(),
        (false, _) => Said::Fails(FailureKind::Server),
    });
    let (answered, _) = ask(model.clone(), "").await;
    assert_eq!(answered.expect("an answer").answer, "went on");
    assert!(model.prompts()[2].contains("HostError"));
}

async fn one_failed_item_of_a_batch_is_a_value() {
    let model = Scripted::new(|ask| match (ask.is_step, ask.replies) {
        (true, 0) => "```python\nr = query_llm_batched(['a', 'bad', 'c'])\n\
            print([isinstance(x, FailedQuery) for x in r], r[0], r[2])\n```"
            .into(),
        (true, _) => "FINAL(ok)".into(),
        (false, _) if ask.last == "bad" => Said::Fails(FailureKind::Server),
        // The first comes last: order is the list's.
        (false, _) if ask.last == "a" => Said::After(Duration::from_millis(50), "A".to_owned()),
        (false, _) => ask.last.to_uppercase().into(),
    });
    let (answered, _) = ask(model.clone(), "").await;
    answered.expect("an answer");
    let prompts = model.prompts();
    assert!(
        prompts
            .last()
            .expect("prompts")
            .contains("[False, True, False] A C")
    );
}

async fn a_child_answers_over_its_own_context_in_its_own_vm() {
    let model = Scripted::new(|ask| {
        let is_root = ask.request.messages.iter().any(|one| one.text == "Root");
        match (is_root, ask.replies) {
            (true, 0) => "```python\nsecret = 1\nr = rlm_query('Child', context[:10])\n```".into(),
            (true, _) => "FINAL_VAR(r)".into(),
            (false, 0) => "```python\nprint(len(context), 'secret' in globals())\n```".into(),
            (false, _) => {
                let seen = ask.last.contains("10 False");
                format!("FINAL(child saw its own: {seen})").into()
            }
        }
    });
    let rlm = runtime(config(), model).await;
    let (answered, records) = ask_over(&rlm, "Root", &"0123456789".repeat(10)).await;
    assert_eq!(
        answered.expect("an answer").answer,
        "child saw its own: true"
    );
    let sessions: std::collections::HashSet<String> = records
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::NodeStarted(started) => Some(started.session),
            _ => None,
        })
        .collect();
    assert_eq!(sessions.len(), 2);
    rlm.stop().await;
}

async fn cancelling_ends_vms_and_calls_at_once_and_the_trajectory_is_whole() {
    let model = Scripted::new(|ask| {
        let is_root = ask.request.messages.iter().any(|one| one.text == "Root");
        match (ask.is_step, is_root) {
            (true, true) => "```python\nrlm_query_batched(['c'] * 4, ['x'] * 4)\n```".into(),
            (true, false) => "```python\nquery_llm_batched(['q'] * 2)\n```".into(),
            (false, _) => Said::Never,
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("t.jsonl");
    let rlm = runtime(config(), model.clone()).await;
    let cancel = CancellationToken::new();
    let running = rlm.stream(Query {
        question: "Root".to_owned(),
        cancel: cancel.clone(),
        trace: Some(TrajectoryFile {
            path: trace.clone(),
            verbose: true,
        }),
        ..Query::default()
    });
    let waited = Instant::now();
    while model.under_way.load(Ordering::SeqCst) < 8 && waited.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(model.under_way.load(Ordering::SeqCst), 8, "all wait");
    cancel.cancel();
    let answered = running.answer.await.expect("no panic");
    assert!(matches!(answered, Err(RlmError::Cancelled)), "{answered:?}");
    let waited = Instant::now();
    while model.under_way.load(Ordering::SeqCst) > 0 && waited.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(
        model.under_way.load(Ordering::SeqCst),
        0,
        "no call is waited for"
    );
    let text = std::fs::read_to_string(&trace).expect("a trajectory");
    let last = text.lines().last().expect("lines");
    assert!(
        last.contains("run_ended") && last.contains("cancelled"),
        "{last}"
    );
    rlm.stop().await;
}

async fn a_guest_that_dies_while_it_waits_ends_its_call() {
    let model = Scripted::new(|ask| match (ask.is_step, ask.replies) {
        (true, 0) => "```python\nx = 1\n```".into(),
        (true, 1) => "```python\nquery_llm('never')\n```".into(),
        (true, _) => "FINAL_VAR(x)".into(),
        (false, _) => Said::Never,
    });
    let rlm = runtime(config(), model.clone()).await;
    let session = rlm.create_session().await.expect("a session");
    let running = rlm.stream(Query {
        question: "What?".to_owned(),
        session: Some(session),
        ..Query::default()
    });
    let waited = Instant::now();
    while model.under_way.load(Ordering::SeqCst) == 0 && waited.elapsed() < Duration::from_secs(30)
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let process = rlm
        .get_session_status(session)
        .await
        .expect("a status")
        .process;
    let process = i32::try_from(process.expect("a VM")).expect("a pid");
    let pid = rustix::process::Pid::from_raw(process).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    let answer = running.answer.await.expect("no panic").expect("an answer");
    assert_eq!(answer.answer, "1", "the state before the command is back");
    assert_eq!(
        model.under_way.load(Ordering::SeqCst),
        0,
        "the call was given up"
    );
    assert!(
        model
            .prompts()
            .last()
            .expect("some")
            .contains("The REPL was lost")
    );
    rlm.stop().await;
}

async fn a_call_after_its_execution_ended_is_refused() {
    let rlm = runtime(config(), Scripted::steps(&[])).await;
    let session = rlm.create_session().await.expect("a session");
    // A task of the guest outlives the execution that started it, and asks then.
    let code = "import ukernel\n\
        open('/late.py', 'w').write('''import ukernel\n\
ukernel.sleep(0.3)\n\
try: ukernel.call('query_llm', b'{}')\n\
except ukernel.HostError as e: open('/said', 'w').write(str(e))\n''')\n\
        ukernel.spawn('/late.py')";
    rlm.execute_code(code, session).await.expect("a result");
    let waited = Instant::now();
    let mut said = String::new();
    while said.is_empty() && waited.elapsed() < Duration::from_secs(30) {
        let code = "import os, time; time.sleep(0.2); print(open('/said').read() if os.path.exists('/said') else '')";
        let result = rlm.execute_code(code, session).await.expect("a result");
        said = result.output.stdout.trim().to_owned();
    }
    assert!(
        said.contains("nobody answers host calls of this execution"),
        "{said}"
    );
    rlm.stop().await;
}

async fn a_run_can_be_played_again_from_its_trajectory() {
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("t.jsonl");
    let model = Scripted::new(|ask| match (ask.is_step, ask.replies) {
        (true, 0) => {
            "```python\nr = query_llm_batched([f'q{n}' for n in range(5)])\nprint(r)\n```".into()
        }
        (true, _) => "FINAL_VAR(r)".into(),
        (false, _) if ask.last == "q3" => Said::Fails(FailureKind::Server),
        (false, _) => Said::After(Duration::from_millis(3), format!("reply to {}", ask.last)),
    });
    let query = || Query {
        question: "What?".to_owned(),
        context: Context::text("context", "some text"),
        trace: Some(TrajectoryFile {
            path: trace.clone(),
            verbose: true,
        }),
        ..Query::default()
    };
    let rlm = runtime(config(), model).await;
    let first = rlm.ask(query()).await.expect("an answer");
    rlm.stop().await;
    let rlm = replaying(&trace).await;
    let second = rlm
        .ask(Query {
            trace: None,
            ..query()
        })
        .await
        .expect("the same answer");
    assert_eq!(second.answer, first.answer);
    assert!(second.answer.contains("query failed"));
    assert_eq!(second.spent.tokens(), first.spent.tokens());
    rlm.stop().await;
}

async fn a_trajectory_that_cannot_be_written_stops_the_run() {
    let model = Scripted::steps(&["FINAL(x)"]);
    let rlm = runtime(config(), model.clone()).await;
    let answered = rlm
        .ask(Query {
            question: "What?".to_owned(),
            trace: Some(TrajectoryFile {
                path: "/dev/full".into(),
                verbose: true,
            }),
            ..Query::default()
        })
        .await;
    assert!(
        matches!(answered, Err(RlmError::InternalError { .. })),
        "{answered:?}"
    );
    assert!(model.prompts().is_empty(), "nobody was asked");
    rlm.stop().await;
}

async fn contexts_of_every_kind_are_loaded() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("latin.txt"), b"caf\xe9 au lait\nsecond\n").expect("written");
    std::fs::write(at("data.bin"), b"\0\x01\x02").expect("written");
    std::fs::write(at("text.txt"), "grüße\n").expect("written");
    let code =
        "```python\nprint(sorted(type(v).__name__ + str(len(v)) for v in context.values()))\n```";
    let code: &'static str = Box::leak(code.to_owned().into_boxed_str());
    let replies: &'static [&'static str] = Box::leak(Box::new([code, "FINAL(ok)"]));
    let model = Scripted::steps(replies);
    let records = Records::default();
    let rlm = runtime(config(), model.clone()).await;
    let answered = rlm
        .ask(Query {
            question: "What?".to_owned(),
            context: Context::files(&[folder.path().to_owned()], 1 << 20).expect("a context"),
            watcher: Some(records.watcher()),
            ..Query::default()
        })
        .await;
    answered.expect("an answer");
    let prompts = model.prompts();
    assert!(
        prompts[1].contains("['bytes3', 'str20', 'str6']"),
        "{}",
        prompts[1]
    );
    assert!(prompts[0].contains("3 entries") && prompts[0].contains("1 of them U+FFFD"));
    rlm.stop().await;
}

async fn a_replay_that_does_not_go_on_like_this_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("talk.jsonl");
    std::fs::write(
        &file,
        "{\"version\":1,\"when\":{\"last_contains\":[\"never said\"]},\"reply\":{\"text\":\"x\"}}\n",
    )
    .expect("written");
    let rlm = replaying(&file).await;
    let error = rlm.query("What?", None).await.expect_err("no such line");
    let text = error.to_string();
    assert!(
        text.contains("never said") && text.contains("does not go on like this"),
        "{text}"
    );
    rlm.stop().await;
}
