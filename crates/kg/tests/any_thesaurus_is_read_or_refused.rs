//! The decoder is total and bounded, and what is written is read again.

use proptest::prelude::*;
use ukernel_kg::{Concept, ConceptId, KgError, Limits, Scanner, Term, Thesaurus};

fn read(json: &[u8]) -> Result<Thesaurus, KgError> {
    Thesaurus::from_json(json, &Limits::default())
}

fn concept() -> impl Strategy<Value = Concept> {
    (
        any::<u64>(),
        ".{0,8}",
        proptest::option::of(".{0,8}"),
        any::<bool>(),
        any::<Option<u8>>(),
    )
        .prop_map(|(id, nterm, text, pinned, priority)| Concept {
            display_value: text.clone(),
            url: text,
            pinned,
            priority,
            ..Concept::new(ConceptId(id), nterm)
        })
}

fn thesaurus() -> impl Strategy<Value = Thesaurus> {
    let entries = proptest::collection::vec((".{0,6}", concept()), 0..20);
    (".{0,8}", entries).prop_map(|(name, entries)| {
        let mut thesaurus = Thesaurus::new(name);
        for (text, concept) in entries {
            if let Ok(term) = text.parse::<Term>() {
                // A term that names another concept already is refused, and stays.
                let _ = thesaurus.insert(term, concept);
            }
        }
        thesaurus
    })
}

proptest! {
    #[test]
    fn any_bytes_give_a_thesaurus_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }

    #[test]
    fn a_damaged_thesaurus_gives_a_thesaurus_or_an_error(
        thesaurus in thesaurus(), at in any::<proptest::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut json = thesaurus.to_json().expect("JSON").into_bytes();
        let at = at.index(json.len());
        json[at] = byte;
        let _ = read(&json);
        let _ = read(&json[..at]);
    }

    #[test]
    fn what_is_written_is_read(thesaurus in thesaurus()) {
        let json = thesaurus.to_json().expect("JSON");
        let again = read(json.as_bytes()).expect("a thesaurus");
        prop_assert_eq!(&again, &thesaurus);
        prop_assert_eq!(again.to_json().expect("JSON"), json);
    }

    #[test]
    fn the_order_of_the_file_does_not_matter(terms in proptest::collection::btree_map("[a-z]{1,4}", 0..9_u64, 0..10)) {
        let entry = |(term, id): (&String, &u64)| format!(r#""{term}":{{"id":{id},"nterm":"{id}"}}"#);
        let file = |entries: Vec<String>| format!(r#"{{"name":"x","data":{{{}}}}}"#, entries.join(","));
        let there = read(file(terms.iter().map(entry).collect()).as_bytes()).expect("a thesaurus");
        let back = read(file(terms.iter().rev().map(entry).collect()).as_bytes()).expect("a thesaurus");
        prop_assert_eq!(there, back);
    }
}

#[test]
fn a_million_terms_are_read_and_one_more_is_refused() {
    let mut json = String::from(r#"{"name": "many", "data": {"#);
    for id in 0..=1_000_000 {
        json += &format!(
            "{}\"t{id}\":{{\"id\":{id},\"nterm\":\"t\"}}",
            if id == 0 { "" } else { "," }
        );
    }
    let error = read((json.clone() + "}}").as_bytes());
    assert!(matches!(
        error,
        Err(KgError::TooLarge {
            what: "terms of the thesaurus",
            ..
        })
    ));

    json.truncate(json.rfind(",\"t").expect("a last term"));
    let thesaurus = read((json + "}}").as_bytes()).expect("a thesaurus");
    assert_eq!(thesaurus.len(), 1_000_000);
    let scanner = Scanner::new(&thesaurus).expect("an automaton");
    let found: Vec<u64> = scanner
        .find_iter("t7 t999999 t1000000 xt1")
        .map(|mention| mention.concept.0)
        .collect();
    assert_eq!(found, [7, 999_999]);
}

#[test]
fn a_huge_file_is_refused_unread() {
    let json = vec![b'['; Limits::default().file_bytes + 1];
    assert!(matches!(read(&json), Err(KgError::TooLarge { .. })));
}
