//! Trajectories of somebody who wants to do harm: whatever they say has a tree and two renderings,
//! and nothing in those is obeyed.

pub(crate) mod records;

pub(crate) use records::poisoned;

use crate::record::Record;
use crate::text::{Style, show};
use crate::tree::Run;
use crate::{html, sample};
use proptest::prelude::*;
use records::record;

/// The tags of a page, and whether all of them are its own.
fn has_only_own_tags(page: &str) -> Result<(), String> {
    const OWN: [&str; 36] = [
        "!doctype", "html", "head", "meta", "title", "style", "body", "main", "header", "h1", "h2",
        "p", "b", "i", "u", "span", "small", "section", "div", "dl", "dt", "dd", "details",
        "summary", "pre", "table", "tr", "td", "th", "footer", "aside", "ul", "li", "code",
        "thead", "tbody",
    ];
    let mut open = Vec::new();
    for piece in page.split('<').skip(1) {
        let end = piece.find('>').ok_or("a tag without an end")?;
        let tag = &piece[..end];
        let name = tag.split([' ', '\n']).next().unwrap_or_default();
        let bare = name.trim_start_matches('/');
        if !OWN.contains(&bare) {
            return Err(format!("<{tag}>"));
        }
        if name.starts_with('/') {
            if open.pop() != Some(bare) {
                return Err(format!("<{tag}> ends something else"));
            }
        } else if !matches!(bare, "!doctype" | "meta") {
            open.push(bare);
        }
        if tag.contains("on") && tag.contains("=\"alert") || tag.contains("src=") {
            return Err(format!("<{tag}>"));
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err(format!("open: {open:?}"))
    }
}

fn check(run: &Run) -> Result<(), TestCaseError> {
    let is_odd = |char: char| {
        (char.is_control() && char != '\n')
            || matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let page = html::page(run);
    prop_assert!(!page.to_lowercase().contains("<script"));
    prop_assert!(!page.chars().any(|char| is_odd(char) && char != '\t'));
    has_only_own_tags(&page).map_err(TestCaseError::fail)?;
    for (full, width) in [(false, 0), (false, 7), (false, 80), (true, 80)] {
        let style = Style {
            colour: false,
            width,
            full,
        };
        let plain = show(run, style);
        let odd = plain.chars().find(|&char| is_odd(char));
        prop_assert!(odd.is_none(), "{odd:?}");
        // Without its own colours, the coloured one is the plain one.
        let mut coloured = show(
            run,
            Style {
                colour: true,
                ..style
            },
        );
        for sequence in ["0", "1", "2", "31", "32", "33", "36"] {
            coloured = coloured.replace(&format!("\x1b[{sequence}m"), "");
        }
        prop_assert_eq!(coloured, plain);
    }
    Ok(())
}

#[test]
fn poison_in_every_text_does_nothing() {
    let run = Run::from_records(poisoned());
    assert_eq!(run.stray, 0);
    check(&run).expect("harmless");
    let page = html::page(&run);
    assert!(page.contains("&lt;script&gt;"), "it is shown");
    assert!(page.contains("‹U+202E›"), "and so is what reverses text");
}

#[test]
fn nodes_within_nodes_are_drawn_within_bounds() {
    let run = Run::from_records(sample::deep(70));
    check(&run).expect("harmless");
    let style = Style {
        full: true,
        ..Style::default()
    };
    let text = show(&run, style);
    let widest = text.lines().map(|line| line.chars().count()).max();
    assert!(widest.is_some_and(|columns| columns < 120), "{widest:?}");
}

proptest! {
    #[test]
    fn any_records_have_a_tree_and_two_renderings(
        records in proptest::collection::vec(record(), 0..80),
    ) {
        check(&Run::from_records(records))?;
    }

    #[test]
    fn so_have_the_records_of_a_run_in_any_order(
        order in Just((0..sample::whole().len()).collect::<Vec<_>>()).prop_shuffle(),
        keep in 1..60_usize,
        nodes in proptest::collection::vec(0..3_u32, 60),
    ) {
        let whole = poisoned();
        let mut order = order;
        order.truncate(keep);
        // The beginning stays, so that there is something for the rest to fit to.
        let start = whole[..3].iter().cloned();
        let rest = order.iter().zip(nodes).map(|(&index, node)| Record {
            node: node / 2,
            ..whole[index].clone()
        });
        check(&Run::from_records(start.chain(rest)))?;
    }
}
