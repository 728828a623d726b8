//! Depth, queries, tokens, money, time: what a run may use, and no more.

use crate::behaviours;
use crate::ground::{Said, Scripted, ask_over, config, open, runtime};
use std::time::Duration;
use terraphim_rlm::trajectory::Event;
use terraphim_rlm::{RlmConfig, RlmError};

behaviours![
    recursion_ends_at_its_depth,
    ten_thousand_queries_end_at_their_budget,
    children_get_slices_and_never_spend_more_than_there_is,
    time_over_is_an_error_or_a_partial_answer,
    a_budget_of_money_needs_prices_and_is_kept,
    two_questions_at_once_in_one_session_take_turns,
];

async fn recursion_ends_at_its_depth() {
    let model = Scripted::new(|ask| {
        if ask.replies == 0 {
            "```python\ntry: r = rlm_query('deeper', 'x')\nexcept Exception as e: r = str(e)\n```"
                .into()
        } else {
            "FINAL_VAR(r)".into()
        }
    });
    let limited = RlmConfig {
        max_recursion_depth: 2,
        ..config()
    };
    let rlm = runtime(limited, model).await;
    let (answered, records) = ask_over(&rlm, "Go down", "").await;
    let answer = answered.expect("an answer").answer;
    assert!(
        answer.contains("recursion depth 3 is over the limit of 2"),
        "{answer}"
    );
    let depths: Vec<u32> = records
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::NodeStarted(started) => Some(started.depth),
            _ => None,
        })
        .collect();
    assert_eq!(depths, [0, 1, 2]);
    rlm.stop().await;
}

async fn ten_thousand_queries_end_at_their_budget() {
    let model = Scripted::new(|ask| match (ask.is_step, ask.replies) {
        (true, 0) => {
            "```python\ndone = 0\nfor n in range(10_000):\n    query_llm('x'); done += 1\n```"
                .into()
        }
        (true, _) => "FINAL_VAR(done)".into(),
        (false, _) => "y".into(),
    });
    let limited = RlmConfig {
        max_sub_calls: 40,
        ..config()
    };
    let rlm = runtime(limited, model.clone()).await;
    let (answered, _) = ask_over(&rlm, "Count", "").await;
    let answer = answered.expect("an answer");
    assert_eq!((answer.answer.as_str(), answer.spent.sub_calls), ("40", 40));
    assert!(
        model
            .prompts()
            .last()
            .expect("some")
            .contains("budget of 40 sub-calls")
    );
    rlm.stop().await;
}

async fn children_get_slices_and_never_spend_more_than_there_is() {
    // Every node asks for eight children; they spend as fast as they can.
    let model = Scripted::new(|ask| {
        if ask.last.contains("There will be no more steps") {
            return "FINAL(what there was)".into();
        }
        let is_root = ask
            .request
            .messages
            .iter()
            .any(|one| one.text == "Split it");
        match (ask.is_step, is_root, ask.replies) {
            (true, true, 0) => {
                "```python\nr = rlm_query_batched(['part'] * 8, ['x' * 400] * 8)\nprint(r)\n```"
                    .into()
            }
            (true, true, _) => "FINAL_VAR(r)".into(),
            (true, false, _) => "```python\nquery_llm_batched(['spend ' * 200] * 4)\n```".into(),
            (false, ..) => Said::After(Duration::from_millis(5), "spent ".repeat(100)),
        }
    });
    let budget = 60_000;
    let limited = RlmConfig {
        max_total_tokens: budget,
        max_reply_tokens: 512,
        max_sub_reply_tokens: 256,
        ..config()
    };
    let rlm = runtime(limited, model).await;
    let (answered, records) = ask_over(&rlm, "Split it", "").await;
    let answer = answered.unwrap_or_else(|error| panic!("{error}: {:#?}", records.events()));
    assert!(
        answer.spent.tokens() <= budget,
        "{} of {budget}",
        answer.spent.tokens()
    );
    assert!(
        answer.answer.contains("partial answer"),
        "{}",
        answer.answer
    );
    let count = |is: fn(&Event) -> bool| records.events().iter().filter(|event| is(event)).count();
    let started = count(|event| matches!(event, Event::NodeStarted(_)));
    let ended = count(|event| matches!(event, Event::NodeEnded { .. }));
    assert_eq!((started, ended), (9, 9), "every child has ended");
    let sums: u64 = records
        .events()
        .iter()
        .map(|event| match event {
            Event::ModelReplied { reply, .. } | Event::QueryReplied { reply, .. } => {
                reply.usage.total_tokens()
            }
            _ => 0,
        })
        .sum();
    assert_eq!(
        sums,
        answer.spent.tokens(),
        "the ledger and the trajectory agree"
    );
    rlm.stop().await;
}

async fn time_over_is_an_error_or_a_partial_answer() {
    let limited = |ms| RlmConfig {
        max_wall_clock_ms: ms,
        ..config()
    };
    let rlm = runtime(limited(1500), Scripted::new(|_| Said::Never)).await;
    let (answered, records) = ask_over(&rlm, "What?", "").await;
    let error = answered.expect_err("no answer");
    assert!(
        matches!(error, RlmError::TimeBudgetExceeded { limit_ms: 1500, .. }),
        "{error}"
    );
    assert!(matches!(
        records.events().last(),
        Some(Event::RunEnded { .. })
    ));
    rlm.stop().await;
    let model = Scripted::new(|ask| {
        if ask.is_step {
            "```python\nmy_answer = 'half'\nwhile True: pass\n```".into()
        } else {
            "FINAL(out of time)".into()
        }
    });
    let rlm = runtime(limited(3000), model).await;
    let (answered, _) = ask_over(&rlm, "What?", "").await;
    let answer = answered.expect("an answer");
    assert_eq!(answer.answer, "out of time");
    assert_eq!(answer.partial.as_deref(), Some("the time is nearly over"));
    rlm.stop().await;
}

async fn a_budget_of_money_needs_prices_and_is_kept() {
    let mut limited = RlmConfig {
        max_total_micro_dollars: Some(2000),
        llm_provider: "openai".to_owned(),
        ..config()
    };
    let made = open(limited.clone(), Some(Scripted::steps(&[]))).await;
    let error = made.err().expect("no price").to_string();
    assert!(error.contains("no price for openai/model"), "{error}");
    limited.prices.insert(
        "openai/model".to_owned(),
        terraphim_rlm::Price {
            prompt_micro_dollars_per_million: 100_000,
            completion_micro_dollars_per_million: 500_000_000,
        },
    );
    let rlm = runtime(limited, Scripted::steps(&["FINAL(x)"])).await;
    let error = rlm
        .query("What?", None)
        .await
        .expect_err("4096 tokens cost too much");
    assert!(
        matches!(error, RlmError::MoneyBudgetExceeded { limit: 2000, .. }),
        "{error}"
    );
    rlm.stop().await;
}

async fn two_questions_at_once_in_one_session_take_turns() {
    let model = Scripted::new(|ask| match ask.replies {
        0 => "```python\nseen = globals().get('seen', 0) + 1\n```".into(),
        _ => "FINAL_VAR(seen)".into(),
    });
    let rlm = runtime(config(), model).await;
    let session = rlm.create_session().await.expect("a session");
    let asked = (
        rlm.query("One?", Some(session)),
        rlm.query("Two?", Some(session)),
    );
    let (one, two) = tokio::join!(asked.0, asked.1);
    let mut answers = [
        one.expect("an answer").answer,
        two.expect("an answer").answer,
    ];
    answers.sort();
    assert_eq!(answers, ["1", "2"]);
    rlm.stop().await;
}
