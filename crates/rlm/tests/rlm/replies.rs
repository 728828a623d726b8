//! Replies to the queries of code: whole or marked, exact, counted while they come.

use crate::behaviours;
use crate::ground::{Said, Scripted, ask, ask_over, config, runtime};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use terraphim_rlm::trajectory::{text, tree::Run};
use terraphim_rlm::{Query, RlmConfig};
use ukernel_llm::FailureKind;

behaviours![
    a_query_s_reply_that_was_cut_off_is_noted,
    a_cut_reply_fits_no_schema,
    what_is_no_whole_reply_is_no_answer,
    large_integers_reach_code_and_answer_exactly,
    the_last_word_can_be_a_variable,
    what_streams_is_counted_until_it_is_whole,
];

async fn a_query_s_reply_that_was_cut_off_is_noted() {
    let model = Scripted::new(|ask| match (ask.is_step, ask.replies) {
        (true, 0) => "```python\nr = query_llm_batched(['short', 'long', 'long'])\n\
            print([isinstance(one, CutReply) for one in r], r[1].why, r[2][:4])\n\
            1 / 0\n```"
            .into(),
        (true, 1) => "```python\nprint(query_llm('short'))\n```".into(),
        (true, 2) => r#"{"name": "query_llm", "arguments": {"prompt": "long"}}"#.into(),
        (true, _) => "FINAL(ok)".into(),
        (false, _) if ask.last == "long" => Said::Cut("half of it".to_owned()),
        (false, _) => "whole".into(),
    });
    let (answered, records) = ask(model.clone(), "").await;
    assert_eq!(answered.expect("an answer").answer, "ok");
    let steps = model.steps_told();
    let told = &steps[1];
    assert!(
        told.contains("[False, True, True] cut off at its limit of tokens half"),
        "{told}"
    );
    assert!(
        told.contains("note: 2 replies were cut off at its limit of tokens (a CutReply"),
        "{told}"
    );
    assert!(!steps[2].contains("note:"), "{}", steps[2]);
    assert!(
        steps[3].contains("[It was cut off at its limit of tokens.]"),
        "{}",
        steps[3]
    );
    let run = Run::from_records(records.all());
    let shown = text::show(
        &run,
        text::Style {
            full: true,
            ..text::Style::default()
        },
    );
    assert_eq!(
        shown.matches("the reply was cut off at its limit").count(),
        3,
        "{shown}"
    );
}

async fn a_cut_reply_fits_no_schema() {
    let model = Scripted::new(|ask| match (ask.is_step, ask.replies) {
        (true, 0) => "```python\nr = query_llm('n?', schema={'type': 'integer'})\n```".into(),
        (true, _) => "FINAL_VAR(r)".into(),
        // The beginning of a number is a number.
        (false, 0) => Said::Cut("12".to_owned()),
        (false, _) => "123".into(),
    });
    let (answered, _) = ask(model.clone(), "").await;
    assert_eq!(answered.expect("an answer").answer, "123");
    assert!(model.prompts()[2].contains("does not fit the schema: it was cut off"));
}

async fn what_is_no_whole_reply_is_no_answer() {
    let model = Scripted::new(|ask| match (ask.is_step, ask.replies) {
        (true, 0) => "```python\nr = query_llm('long')\nFINAL(r)\n```".into(),
        (true, 1) => "```python\nr = query_llm_batched(['fails'])[0]\nFINAL_VAR('r')\n```".into(),
        (true, 2) => "```python\nmy_answer = query_llm('long')\nFINAL(str(my_answer))\n```".into(),
        (true, _) => "FINAL(no more)".into(),
        (false, _) if ask.last == "long" => Said::Cut("half of it".to_owned()),
        (false, _) => Said::Fails(FailureKind::Server),
    });
    let (answered, _) = ask(model.clone(), "").await;
    let answer = answered.expect("an answer");
    assert_eq!(
        (answer.answer.as_str(), answer.partial),
        ("half of it", None)
    );
    let steps = model.steps_told();
    assert!(
        steps[1].contains("was cut off at its limit of tokens is not whole"),
        "{}",
        steps[1]
    );
    assert!(
        steps[2].contains("a FailedQuery is no answer"),
        "{}",
        steps[2]
    );
}

async fn large_integers_reach_code_and_answer_exactly() {
    const LARGE: &str = "100000000000000000000000000000000000000000000000001";
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}});
    let reply = || format!("{{\"n\": {LARGE}, \"f\": 0.1}}");
    let model = Scripted::new(move |ask| match (ask.is_step, ask.replies) {
        (true, _) if ask.last.contains("Child") => format!("FINAL({})", reply()).into(),
        (true, 0) => format!(
            "```python\nschema = {schema}\na = query_llm('n?', schema=schema)\n\
             b = rlm_query('Child', 'x', schema=schema)\nprint(a == b, a['n'] % 10, a['f'])\n\
             my_answer = a\n```"
        )
        .into(),
        (true, 1) => "```python\nFINAL({'n': a['n'] + b['n'], 'f': 1.5})\n```".into(),
        (true, _) => "FINAL(ran out of replies)".into(),
        (false, _) => reply().into(),
    });
    let (answered, _) = ask(model.clone(), "").await;
    let answer = answered.expect("an answer");
    let sum = "200000000000000000000000000000000000000000000000002";
    let exact = format!("{{\"n\": {sum}, \"f\": 1.5}}");
    assert_eq!(
        answer.value.as_ref().map(terraphim_rlm::Exact::json),
        Some(exact.as_str())
    );
    assert_eq!(answer.answer, exact);
    assert!(
        serde_json::to_string(&answer)
            .expect("JSON")
            .contains(&format!("\"value\":{exact}"))
    );
    let steps = model.steps_told();
    assert!(steps[2].contains("True 1 0.1"), "{}", steps[2]);
}

async fn the_last_word_can_be_a_variable() {
    for (last, expected) in [
        ("FINAL(total)", "42"),
        ("FINAL_VAR(total)", "42"),
        ("FINAL(subtotal)", "subtotal"),
    ] {
        let model = Scripted::new(move |ask| {
            if ask.is_step {
                "```python\ntotal = 42\nmy_answer = 'kept'\n```".into()
            } else {
                last.into()
            }
        });
        let limited = RlmConfig {
            max_iterations: 2,
            ..config()
        };
        let rlm = runtime(limited, model).await;
        let (answered, _) = ask_over(&rlm, "What?", "x").await;
        let answer = answered.expect("an answer");
        assert_eq!(
            (answer.answer.as_str(), answer.partial.is_some()),
            (expected, true),
            "{last}"
        );
        rlm.stop().await;
    }
}

async fn what_streams_is_counted_until_it_is_whole() {
    let model = Scripted::new(|ask| match (ask.is_step, ask.replies) {
        (true, 0) => Said::Pieces(vec!["```python\n", "r = query_llm_batched(['a'] * 3)\n```"]),
        (true, _) => "FINAL_VAR(r)".into(),
        (false, _) => Said::Pieces(vec!["12345", "67890"]),
    });
    let rlm = runtime(config(), model.clone()).await;
    let streamed = Arc::new(AtomicU64::new(0));
    let running = rlm.stream(Query {
        question: "What?".to_owned(),
        streamed: Arc::clone(&streamed),
        ..Query::default()
    });
    // Whoever has heard so much lets so many replies end.
    let seen = async |bytes: u64, replies: usize| {
        let began = Instant::now();
        while streamed.load(Ordering::Relaxed) != bytes && began.elapsed() < Duration::from_secs(30)
        {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(streamed.load(Ordering::Relaxed), bytes);
        model.go_on.add_permits(replies);
    };
    let code = "```python\nr = query_llm_batched(['a'] * 3)\n```";
    seen(code.len() as u64, 1).await;
    // What has come is no longer coming; now it is three at once.
    seen(30, 3).await;
    running.answer.await.expect("no panic").expect("an answer");
    seen(0, 0).await;
    rlm.stop().await;
}
