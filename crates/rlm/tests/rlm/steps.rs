//! The loop: steps, answers, corrections.

use crate::behaviours;
use crate::ground::{Scripted, ask};

behaviours![an_answer_comes_out_of_code];

async fn an_answer_comes_out_of_code() {
    let model = Scripted::steps(&[
        "Let me look.\n```python\nprint(len(context), context[:5])\n```",
        "```python\nreplies = query_llm_batched([f'q{n}' for n in range(3)])\nprint(replies)\n```",
        "FINAL_VAR(replies)",
    ]);
    let (answered, records) = ask(model.clone(), &"hello world ".repeat(2000)).await;
    let answer = answered.unwrap_or_else(|error| panic!("{error}: {:#?}", records.events()));
    assert_eq!(answer.answer, "[\"echo: q0\", \"echo: q1\", \"echo: q2\"]");
    assert_eq!(answer.partial, None);
    assert_eq!(answer.spent.sub_calls, 3);
}
