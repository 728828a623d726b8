//! Questions with known answers, over texts made from a seed.
//!
//! Three kinds, after the benchmarks of the paper on Recursive Language Models: a needle in a haystack;
//! counting entries by what they mean (OOLONG); pairs of users whose entries have meanings in common
//! (OOLONG-Pairs). What an entry means can be read but not searched for: only a reader, here the
//! scripted expert, knows which words belong together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// Characters of a token, about.
const CHARACTERS_PER_TOKEN: usize = 4;

/// What entries are about, and the words that only a reader knows to belong there.
pub const MEANINGS: [(&str, [&str; 6]); 4] = [
    (
        "animal",
        ["heron", "otter", "lynx", "beetle", "salmon", "badger"],
    ),
    (
        "tool",
        ["chisel", "lathe", "wrench", "plane", "anvil", "awl"],
    ),
    (
        "food",
        [
            "barley",
            "quince",
            "rye bread",
            "lentils",
            "plums",
            "cheese",
        ],
    ),
    (
        "weather",
        ["hail", "thaw", "drizzle", "gale", "fog", "frost"],
    ),
];

const PLACES: [&str; 8] = [
    "Aldertown",
    "Brackwater",
    "Corvale",
    "Dunmere",
    "Eastry",
    "Fennick",
    "Garrow",
    "Holm",
];

const ACTS: [&str; 6] = [
    "was seen near",
    "came up in",
    "is written about in",
    "was asked for in",
    "was left at",
    "is remembered in",
];

/// A question, what it is about, and the answer.
pub struct Task {
    pub question: String,
    pub text: String,
    pub truth: String,
}

/// Random numbers that are the same for the same seed (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }

    fn of<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

/// One line of a text that says nothing.
fn entry(random: &mut Random, number: usize, user: usize, meaning: usize) -> String {
    let word = random.of(&MEANINGS[meaning].1);
    let (act, place) = (random.of(&ACTS), random.of(&PLACES));
    let more = random.below(1_000_000);
    format!("entry {number:07} | user {user:02} | the {word} {act} {place}, note {more}\n")
}

/// A number that stands once in about so many tokens.
pub fn needle(seed: u64, tokens: usize) -> Task {
    let mut random = Random(seed);
    let length = tokens * CHARACTERS_PER_TOKEN;
    let at = random.below(length.saturating_sub(200).max(1));
    let place = random.of(&PLACES);
    let truth = (100_000 + random.below(900_000)).to_string();
    let mut text = String::with_capacity(length + 200);
    let mut is_hidden = false;
    for number in 0.. {
        if !is_hidden && text.len() >= at {
            let _ = writeln!(text, "The gate code of {place} is {truth}.");
            is_hidden = true;
        }
        if text.len() >= length {
            break;
        }
        let (user, meaning) = (random.below(20), random.below(MEANINGS.len()));
        text.push_str(&entry(&mut random, number, user, meaning));
    }
    Task {
        question: format!("What is the gate code of {place}?"),
        text,
        truth,
    }
}

/// How many entries of a user are about something.
pub fn count(seed: u64, entries: usize) -> Task {
    let mut random = Random(seed);
    let (user, meaning) = (random.below(10), random.below(MEANINGS.len()));
    let mut text = String::new();
    let mut truth = 0;
    for number in 0..entries {
        let (of, about) = (random.below(10), random.below(MEANINGS.len()));
        truth += usize::from(of == user && about == meaning);
        text.push_str(&entry(&mut random, number, of, about));
    }
    Task {
        question: format!(
            "How many entries of user {user:02} are about {}?",
            MEANINGS[meaning].0
        ),
        text,
        truth: truth.to_string(),
    }
}

/// How many pairs of users there are of whom both have entries about two things.
pub fn pairs(seed: u64, entries: usize) -> Task {
    let mut random = Random(seed);
    let first = random.below(MEANINGS.len());
    let second = (first + 1 + random.below(MEANINGS.len() - 1)) % MEANINGS.len();
    let mut text = String::new();
    let mut about: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for number in 0..entries {
        // Each user prefers some meanings, so that not everybody has all.
        let user = random.below(40);
        let meaning = (user % 3 + random.below(2)) % MEANINGS.len();
        about.entry(user).or_default().insert(meaning);
        text.push_str(&entry(&mut random, number, user, meaning));
    }
    let both = about
        .values()
        .filter(|meanings| meanings.contains(&first) && meanings.contains(&second))
        .count();
    Task {
        question: format!(
            "How many pairs of users are there of whom both have entries about {} and about {}?",
            MEANINGS[first].0, MEANINGS[second].0
        ),
        text,
        truth: (both * both.saturating_sub(1) / 2).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_is_the_same_task_and_another_another() {
        for make in [needle, count, pairs] {
            let (one, same, other) = (make(1, 2000), make(1, 2000), make(2, 2000));
            assert_eq!((&one.text, &one.truth), (&same.text, &same.truth));
            assert_ne!(one.text, other.text);
        }
    }

    #[test]
    fn a_needle_stands_once_and_the_size_is_right() {
        let task = needle(7, 10_000);
        assert_eq!(task.text.matches("gate code").count(), 1);
        assert_eq!(task.text.matches(&format!("is {}.", task.truth)).count(), 1);
        assert!((40_000..41_000).contains(&task.text.len()));
    }

    #[test]
    fn counts_are_what_a_reader_finds() {
        let task = count(3, 500);
        let words: Vec<_> = task.question.split(' ').collect();
        let (user, about) = (words[5], words[8].trim_end_matches('?'));
        let meaning = MEANINGS.iter().find(|(name, _)| *name == about);
        let (_, words) = meaning.expect("a meaning");
        let found = task.text.lines().filter(|line| {
            line.contains(&format!("| user {user} |"))
                && words
                    .iter()
                    .any(|word| line.contains(&format!("the {word} ")))
        });
        assert_eq!(found.count().to_string(), task.truth);
    }
}
