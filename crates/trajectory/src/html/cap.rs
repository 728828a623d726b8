//! How much of each text a page has. A run may have gigabytes of text, and a page that no browser
//! opens is none; so what there is room for is shared out evenly.

use crate::tree::{Call, Node, Run};

/// Most bytes of one text.
pub(super) const LARGEST: usize = 64 << 10;
/// Most bytes of all of them together, if each may have a few at least.
const PAGE: usize = 12 << 20;
/// What is tried, the most first.
const CAPS: [usize; 8] = [
    LARGEST,
    32 << 10,
    16 << 10,
    8 << 10,
    4 << 10,
    2 << 10,
    1 << 10,
    512,
];

/// The largest cap with which all texts of a run fit.
pub(super) fn of(run: &Run) -> usize {
    let mut sums = [0_usize; CAPS.len()];
    let mut add = |text: Option<&String>| {
        let bytes = text.map_or(0, String::len);
        for (sum, cap) in sums.iter_mut().zip(CAPS) {
            *sum = sum.saturating_add(bytes.min(cap));
        }
    };
    if let Some(root) = &run.root {
        of_node(root, &mut add);
    }
    let fits = CAPS.into_iter().zip(sums).find(|&(_, sum)| sum <= PAGE);
    fits.map_or(CAPS[CAPS.len() - 1], |(cap, _)| cap)
}

fn of_node(node: &Node, add: &mut impl FnMut(Option<&String>)) {
    add(node.started.question.as_ref());
    for step in &node.steps {
        for message in step.new_messages.iter().flatten() {
            add(Some(&message.text));
        }
        match &step.reply {
            Some(Ok(reply)) => add(reply.reply.as_ref()),
            Some(Err(error)) => add(Some(error)),
            None => {}
        }
        step.calls.iter().for_each(|call| of_call(call, add));
        for command in &step.commands {
            add(command.source.as_ref());
            if let Some(ended) = &command.ended {
                add(ended.stdout.as_ref());
                add(ended.stderr.as_ref());
                add(ended.value.as_ref());
            }
            command.calls.iter().for_each(|call| of_call(call, add));
        }
    }
}

fn of_call(call: &Call, add: &mut impl FnMut(Option<&String>)) {
    for query in &call.queries {
        add(query.prompt.as_ref());
        match &query.reply {
            Ok(reply) => add(reply.reply.as_ref()),
            Err(error) => add(Some(error)),
        }
    }
    call.children.iter().for_each(|child| of_node(child, add));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn texts_of_a_small_run_are_shown_as_far_as_any_are() {
        assert_eq!(of(&Run::from_records(sample::whole())), LARGEST);
    }

    #[test]
    fn much_text_is_shared_out() {
        let cap = of(&Run::from_records(sample::many(3000)));
        assert!((1 << 10..LARGEST).contains(&cap), "{cap}");
    }
}
