use super::*;
use crate::record::ContextPart;
use crate::sample;

#[test]
fn unknown_costs_are_not_nothing() {
    let mut spent = Spent {
        micro_dollars: 12_345,
        ..Spent::default()
    };
    assert_eq!(cost(&spent), "$0.0123");
    spent.calls_without_cost = 6;
    assert_eq!(cost(&spent), "$0.0123, cost of 6 calls unknown");
    spent.micro_dollars = 0;
    assert_eq!(cost(&spent), "cost of 6 calls unknown");
}

#[test]
fn a_context_is_told_by_its_shape() {
    let part = |length, lines| ContextPart {
        kind: "str".to_owned(),
        length,
        lines,
        ..ContextPart::default()
    };
    let shape = |kind: &str, parts| ContextShape {
        kind: kind.to_owned(),
        parts,
    };
    assert_eq!(context(&shape("none", vec![])), "none");
    let one = shape("str", vec![part(1200, 1)]);
    assert_eq!(context(&one), "str: 1,200 characters, 1 line");
    let two = shape("dict", vec![part(u64::MAX, 3), part(1, 4)]);
    assert!(context(&two).starts_with("dict of 2 texts: 18,446,"));
}

#[test]
fn a_replay_a_cut_and_missing_texts_are_noted() {
    let notes = |records| notes(&Run::from_records(records)).join("\n");
    assert_eq!(notes(sample::whole()), "");
    assert!(notes(sample::partial()).contains("No model was asked"));
    assert!(notes(sample::cut()).contains("breaks off"));
    assert!(notes(sample::quiet(sample::whole())).contains("not recorded"));
}

#[test]
fn a_batch_that_broke_off_says_what_is_missing() {
    let run = Run::from_records(sample::cut());
    let root = run.root.expect("a root");
    let queries = Queries::of(&root.steps[1].commands[0].calls[0]);
    assert_eq!(queries.replies().as_deref(), Some("2 replies"));
    assert_eq!(queries.failed(), None);
    assert_eq!(queries.missing().as_deref(), Some("4 unanswered"));
}
