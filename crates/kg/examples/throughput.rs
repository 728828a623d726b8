//! Prints how fast texts are scanned, for thesauri of several sizes. It asserts nothing.
//!
//! `cargo run --release -p ukernel-kg --example throughput [thesaurus.json text.txt]`

use std::error::Error;
use std::time::Instant;
use ukernel_kg::{Limits, Scanner, Term, Thesaurus};

/// Bytes of the text.
const TEXT_BYTES: usize = 64 << 20;

/// How often each measurement is taken; the median counts.
const ROUNDS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    println!(
        "{:>9}  {:>9}  {:>9}  {:>9}  {:>9}",
        "terms", "MB/s", "mentions", "build ms", "MB"
    );
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [thesaurus, text] = arguments.as_slice() {
        let thesaurus = Thesaurus::from_json(&std::fs::read(thesaurus)?, &Limits::default())?;
        return measure(&thesaurus, &std::fs::read_to_string(text)?);
    }
    let text = text();
    for terms in [100, 1_000, 10_000, 100_000, 1_000_000] {
        measure(&thesaurus(terms)?, &text)?;
    }
    Ok(())
}

/// Prints one line.
fn measure(thesaurus: &Thesaurus, text: &str) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let scanner = Scanner::new(thesaurus)?;
    let build_ms = started.elapsed().as_millis();
    let mut seconds = Vec::new();
    let mut mentions = 0;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        mentions = scanner.find_iter(text).count();
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let rate = text.len() as f64 / seconds[ROUNDS / 2] / 1e6;
    let memory = scanner.memory_bytes() / 1_000_000;
    let terms = thesaurus.len();
    println!("{terms:>9}  {rate:>9.0}  {mentions:>9}  {build_ms:>9}  {memory:>9}");
    Ok(())
}

/// A plain generator, so that every run sees the same.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }

    fn word(&mut self) -> String {
        let letters = |numbers: &mut Self, of: &[u8]| char::from(of[numbers.below(of.len())]);
        let syllables = 1 + self.below(4);
        (0..2 * syllables)
            .map(|index| match index % 2 {
                0 => letters(self, b"bcdfghklmnprstvw"),
                _ => letters(self, b"aeiou"),
            })
            .collect()
    }
}

/// Sentences of invented words: about as long as those of English.
fn text() -> String {
    let mut numbers = Numbers(1);
    let mut text = String::with_capacity(TEXT_BYTES + 100);
    while text.len() < TEXT_BYTES {
        for _ in 0..5 + numbers.below(15) {
            text.push_str(&numbers.word());
            text.push(' ');
        }
        text.push_str("end.\n");
    }
    text
}

/// Terms of one to three invented words, in the same language as the text.
fn thesaurus(terms: usize) -> Result<Thesaurus, Box<dyn Error>> {
    let mut numbers = Numbers(2);
    let mut thesaurus = Thesaurus::new("invented");
    let mut all: Vec<Term> = Vec::new();
    for _ in 0..terms {
        let words = 1 + numbers.below(3);
        let text: Vec<String> = (0..words)
            .map(|_| numbers.word() + &numbers.word())
            .collect();
        all.push(text.join(" ").parse()?);
    }
    thesaurus.insert_new(all)?;
    Ok(thesaurus)
}
