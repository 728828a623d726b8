use super::*;
use crate::record::{Event, Record};
use crate::sample;

fn shown(records: Vec<Record>) -> String {
    page(&Run::from_records(records))
}

#[track_caller]
fn says(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "no {part:?}");
    }
}

#[test]
fn a_page_has_the_question_the_answer_and_what_it_took() {
    says(
        &shown(sample::whole()),
        &[
            "<h1>Which of these licences mention patents?</h1>",
            "<h2>Answer</h2>",
            "Three of the six mention patents:",
            "<b>21.9 s</b><span>time of 10 min</span>",
            "<b>$0.0131</b>",
            "cost of 6 calls unknown",
            "KeyError",
            "query_llm × 6",
            "rate limited (429)",
            "The model was told to correct it",
            "9,120 tokens became 3,204",
        ],
    );
}

#[test]
fn a_page_loads_and_runs_nothing() {
    let page = shown(sample::whole());
    let policy = "content=\"default-src 'none'; style-src 'unsafe-inline'\"";
    says(&page, &[policy]);
    for no in ["<script", "src=", "href=", "url(", "@import", "<link"] {
        assert!(!page.contains(no), "{no}");
    }
}

#[test]
fn prompts_of_a_batch_are_told_apart() {
    // All begin with the same question.
    says(
        &shown(sample::whole()),
        &["<span class=\"x\">… Apache-2.0 ⏎ Permission"],
    );
}

#[test]
fn what_a_reader_has_to_know_is_noted() {
    says(
        &shown(sample::partial()),
        &[
            "No model was asked.",
            "<h2>Partial answer</h2>",
            "nearly used",
        ],
    );
    says(
        &shown(sample::cut()),
        &["breaks off", "<h2>No answer</h2>", "no end", "4 unanswered"],
    );
    says(
        &shown(sample::silent_failure()),
        &["Run with --trace", "<h2>Failed</h2>", "connection refused"],
    );
}

#[test]
fn a_long_text_is_cut_and_says_so() {
    let mut records = sample::whole();
    for record in &mut records {
        if let Event::CommandEnded(ended) = &mut record.event {
            ended.stdout = Some("é".repeat(100_000));
            ended.stdout_bytes = 200_000;
        }
    }
    let page = shown(records);
    says(&page, &["… and 131.3 KiB more, not on this page"]);
    assert!(page.len() < 5 * 64 * 1024);
}

#[test]
fn a_run_of_ten_thousand_queries_has_a_page_that_opens() {
    let page = shown(sample::many(10_000));
    assert!(page.len() < 40 << 20, "{}", page.len());
    says(
        &page,
        &[
            "There is so much text",
            ">10 failed</span>",
            "9,990 replies",
        ],
    );
    assert_eq!(page.matches("class=\"query").count(), 10_000);
}

#[test]
fn a_page_without_end_ends() {
    let page = shown(sample::many(40_000));
    says(&page, &["This page is full", "</html>"]);
    assert!(page.matches("class=\"query").count() < 20_000);
}
