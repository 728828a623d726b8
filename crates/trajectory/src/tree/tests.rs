use super::*;
use crate::record::Event;
use crate::sample;

fn root(run: &Run) -> &Node {
    run.root.as_ref().expect("a root")
}

fn node_started(parent: Option<u32>, call: Option<(u32, u32)>) -> Event {
    let mut records = sample::whole();
    let first = records.swap_remove(1);
    match first.event {
        Event::NodeStarted(started) => Event::NodeStarted(NodeStarted {
            parent,
            call,
            ..started
        }),
        other => panic!("{other:?}"),
    }
}

fn at(at_ms: f64, node: u32, event: Event) -> Record {
    Record { at_ms, node, event }
}

#[test]
fn a_run_is_told_step_by_step() {
    let run = Run::from_records(sample::whole());
    assert_eq!((run.stray, run.is_cut), (0, false));
    let root = root(&run);
    assert_eq!(root.steps.len(), 3);
    assert_eq!(root.warnings.len(), 1);
    let numbers: Vec<_> = root.steps.iter().map(|step| step.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let failed = root.steps[0].commands[0].ended.as_ref().expect("an end");
    assert_eq!((failed.ok, failed.status.as_str()), (false, "KeyError"));
}

#[test]
fn queries_are_in_the_order_in_which_they_were_asked() {
    let run = Run::from_records(sample::whole());
    let batch = &root(&run).steps[1].commands[0].calls[0];
    let items: Vec<_> = batch.queries.iter().map(|query| query.item).collect();
    assert_eq!(items, [0, 1, 2, 3, 4, 5]);
    assert!(batch.queries[2].reply.is_err());
    assert!(batch.ended.is_some());
}

#[test]
fn a_child_is_in_the_call_that_made_it() {
    let run = Run::from_records(sample::whole());
    let call = &root(&run).steps[1].commands[0].calls[1];
    assert_eq!(call.name, "rlm_query");
    let child = &call.children[0];
    assert_eq!((child.id, child.steps.len()), (1, 2));
    assert_eq!(child.steps[0].corrected.len(), 1);
    assert_eq!(child.steps[1].compacted, Some((9120, 3204)));
    assert!(matches!(child.outcome, Some(Outcome::Answered { .. })));
}

#[test]
fn a_run_without_an_end_is_cut_and_counted() {
    let run = Run::from_records(sample::cut());
    assert!(run.is_cut);
    assert_eq!(run.outcome, None);
    let spent = &run.spent;
    assert_eq!((spent.steps, spent.model_calls, spent.sub_calls), (2, 4, 2));
    assert_eq!(spent.calls_without_cost, 2);
    assert_eq!(spent.micro_dollars, 1830 + 3310);
    assert!(spent.elapsed_ms > 6000.0);
}

#[test]
fn children_that_run_side_by_side_are_told_apart() {
    let mut records: Vec<_> = sample::whole();
    let asked = |step| Event::ModelAsked {
        step,
        prompt_bytes: 1,
        new_messages: None,
    };
    // In the middle of the second step, while its first call waits.
    let call = |record: &Record| matches!(record.event, Event::CallStarted { call: 1, .. });
    let place = records.iter().position(call).expect("a call") + 1;
    let interleaved = [
        at(1.0, 8, node_started(Some(0), Some((1, 1)))),
        at(2.0, 7, node_started(Some(0), Some((1, 0)))),
        at(3.0, 8, asked(1)),
        at(4.0, 7, asked(1)),
        at(5.0, 8, asked(2)),
    ];
    records.splice(place..place, interleaved);
    let run = Run::from_records(records);
    assert_eq!(run.stray, 0);
    let children = &root(&run).steps[1].commands[0].calls[0].children;
    let told: Vec<_> = children
        .iter()
        .map(|child| (child.id, child.steps.len()))
        .collect();
    assert_eq!(told, [(7, 1), (8, 2)]);
}

#[test]
fn a_query_without_code_is_in_its_step() {
    let mut records = sample::whole();
    // As the writer does it: the reply of the last step asked for it, and no call is announced.
    let asked = records
        .iter()
        .find(|record| matches!(record.event, Event::QueryReplied { item: 0, .. }));
    let mut asked = asked.expect("a query").clone();
    if let Event::QueryReplied { call, .. } = &mut asked.event {
        *call = 77;
    }
    let end = records.len() - 2;
    records.insert(end, asked);
    let run = Run::from_records(records);
    assert_eq!(run.stray, 0);
    let call = &root(&run).steps[2].calls[0];
    assert_eq!((call.name.as_str(), call.queries.len()), ("query_llm", 1));
    assert!(call.ended.is_some());
}

#[test]
fn a_node_that_never_began_is_no_riddle() {
    let mut records = sample::silent_failure();
    let failed = records.split_off(records.len() - 2);
    records.truncate(1);
    records.extend(failed);
    let run = Run::from_records(records);
    assert_eq!((run.stray, run.root), (0, None));
    assert!(matches!(run.outcome, Some(Outcome::Failed { .. })));
}

#[test]
fn what_fits_nowhere_is_counted() {
    let warned = |node| {
        let message = "m".to_owned();
        at(1.0, node, Event::Warned { message })
    };
    let mut records = sample::whole();
    records.extend([
        at(1.0, 0, node_started(None, None)),
        at(1.0, 1, node_started(Some(0), Some((2, 0)))),
        at(1.0, 5, node_started(Some(4), Some((2, 0)))),
        at(1.0, 5, node_started(Some(0), Some((99, 0)))),
        at(1.0, 5, node_started(Some(0), None)),
        at(1.0, 5, node_started(None, None)),
        at(1.0, 5, sample::whole()[3].event.clone()),
        at(1.0, 0, sample::whole()[0].event.clone()),
        sample::whole().pop().expect("an end"),
    ]);
    let before = Run::from_records(sample::whole());
    let run = Run::from_records(records);
    assert_eq!(run.stray, 9);
    assert_eq!(run.root, before.root);
    // A warning is never lost.
    let run = Run::from_records([warned(3)]);
    assert_eq!((run.stray, run.warnings.len()), (0, 1));
}

#[test]
fn nodes_within_nodes_end_somewhere() {
    let records = sample::deep(200);
    let run = Run::from_records(records);
    let mut levels = 1;
    let mut node = root(&run);
    while let Some(child) = node.steps[0].commands[0].calls[0].children.first() {
        node = child;
        levels += 1;
    }
    assert_eq!(levels, MAX_LEVELS);
    assert_eq!(run.stray, 200 * 4 + 1 - 64 * 4);
}
