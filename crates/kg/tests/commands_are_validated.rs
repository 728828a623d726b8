//! The validator, as a runtime meets it: retries, escalation, approval, rejection.

use proptest::prelude::*;
use ukernel_kg::{
    Attempts, CommandKind, ConceptGraph, KgConfig, KgStrictness, KnowledgeGraphValidator, Limits,
    SuggestedAction, Thesaurus, Verdict,
};

const THESAURUS: &str = r#"{"name": "plant", "data": {
    "reactor":      {"id": 1, "nterm": "reactor"},
    "pile":         {"id": 1, "nterm": "reactor"},
    "reactor core": {"id": 2, "nterm": "reactor core"},
    "turbine":      {"id": 3, "nterm": "turbine"}
}}"#;

const KINDS: [CommandKind; 3] = [CommandKind::Prose, CommandKind::Python, CommandKind::Bash];

fn validator(kg_strictness: KgStrictness, kg_escalation_enabled: bool) -> KnowledgeGraphValidator {
    let thesaurus = Thesaurus::from_json(THESAURUS.as_bytes(), &Limits::default()).expect("terms");
    let config = KgConfig {
        kg_strictness,
        kg_escalation_enabled,
        ..KgConfig::default()
    };
    KnowledgeGraphValidator::new(thesaurus, config).expect("a validator")
}

/// What becomes of the same unknown term, said again and again.
fn outcomes(validator: &KnowledgeGraphValidator, times: usize) -> Vec<&'static str> {
    let mut attempts = Attempts::default();
    (0..times)
        .map(
            |_| match validator.validate(CommandKind::Prose, "Start the zorb", &mut attempts) {
                Verdict::Known(_) => "known",
                Verdict::Warned(_) => "warned",
                Verdict::Retry { .. } => "retry",
                Verdict::Blocked { .. } => "blocked",
                Verdict::Escalate { .. } => "escalate",
            },
        )
        .collect()
}

#[test]
fn strictness_decides_what_becomes_of_unknown_terms() {
    use KgStrictness::{Normal, Permissive, Strict};
    let cases: [(KgStrictness, bool, &[&str]); 5] = [
        (Permissive, true, &["warned"; 6]),
        (
            Normal,
            true,
            &[
                "retry", "retry", "retry", "escalate", "escalate", "escalate",
            ],
        ),
        (
            Normal,
            false,
            &["retry", "retry", "retry", "warned", "retry", "retry"],
        ),
        (
            Strict,
            true,
            &[
                "blocked", "blocked", "blocked", "escalate", "escalate", "escalate",
            ],
        ),
        (Strict, false, &["blocked"; 6]),
    ];
    for (strictness, escalation, expected) in cases {
        let validator = validator(strictness, escalation);
        assert_eq!(
            outcomes(&validator, 6),
            expected,
            "{strictness:?} {escalation}"
        );
    }
}

#[test]
fn a_known_command_gives_all_retries_back() {
    let validator = validator(KgStrictness::Normal, true);
    let mut attempts = Attempts::default();
    for _ in 0..3 {
        let _ = validator.validate(CommandKind::Prose, "zorb", &mut attempts);
    }
    let known = validator.validate(
        CommandKind::Prose,
        "Compare the pile with the turbine.",
        &mut attempts,
    );
    assert!(matches!(known, Verdict::Known(_)));
    let verdict = validator.validate(CommandKind::Prose, "zorb", &mut attempts);
    assert!(matches!(
        verdict,
        Verdict::Retry {
            retries_left: 3,
            ..
        }
    ));
}

#[test]
fn the_model_is_told_what_to_say_instead() {
    let validator = validator(KgStrictness::Normal, true);
    let verdict = validator.validate(
        CommandKind::Prose,
        "Which turbines and zorbs?",
        &mut Attempts::default(),
    );
    let Verdict::Retry { advice, .. } = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(
        advice,
        "This command did not run. It has terms that are not known here: `turbines` (known: `turbine`), `zorbs`. \
         Say the same with known terms. There are 3 retries left."
    );
}

#[test]
fn an_approved_term_is_known_and_kept() {
    let mut validator = validator(KgStrictness::Normal, true);
    let other = validator.clone();
    let mut attempts = Attempts::default();
    let request = loop {
        let verdict = validator.validate(CommandKind::Bash, "zorb 'the turbine'", &mut attempts);
        assert!(!verdict.may_run());
        if let Verdict::Escalate { request, .. } = verdict {
            break request;
        }
    };
    assert_eq!(request.unknown_terms, ["zorb"]);
    assert_eq!(request.context, "zorb 'the turbine'");
    assert_eq!(request.suggested_action, SuggestedAction::Approve);

    validator
        .approve(&request.unknown_terms, &mut attempts)
        .expect("room");
    let json = validator.thesaurus().to_json().expect("JSON");
    let again = Thesaurus::from_json(json.as_bytes(), &Limits::default()).expect("terms");
    assert!(again.get("Zorb").is_some());
    let verdict = validator.validate(CommandKind::Bash, "zorb 'the turbine'", &mut attempts);
    assert!(matches!(verdict, Verdict::Known(_)));
    assert_eq!(attempts.failed(), 0);
    assert!(
        !other.examine(CommandKind::Prose, "zorb").unknown.is_empty(),
        "no sharing"
    );
}

#[test]
fn a_rejected_term_never_runs_and_is_not_asked_again() {
    for escalation in [true, false] {
        let validator = validator(KgStrictness::Normal, escalation);
        let mut attempts = Attempts::default();
        attempts.reject(["Zorb"]);
        for attempt in 1..10 {
            let verdict = validator.validate(CommandKind::Prose, "the zorb", &mut attempts);
            let Verdict::Blocked {
                attempts, advice, ..
            } = verdict
            else {
                panic!("{verdict:?}");
            };
            assert_eq!(attempts, attempt);
            assert!(advice.contains("the user has rejected it"), "{advice}");
        }
    }
}

#[test]
fn terms_like_known_ones_are_better_rejected() {
    let validator = validator(KgStrictness::Strict, true);
    let mut attempts = Attempts::default();
    let mut verdict = validator.validate(CommandKind::Prose, "raector", &mut attempts);
    while !matches!(verdict, Verdict::Escalate { .. }) {
        verdict = validator.validate(CommandKind::Prose, "raector", &mut attempts);
    }
    let Verdict::Escalate { request, .. } = verdict else {
        unreachable!()
    };
    let json = serde_json::to_string(&request).expect("JSON");
    assert_eq!(
        json,
        r#"{"unknown_terms":["raector"],"context":"raector","suggested_action":"reject"}"#
    );
}

#[test]
fn ordinary_code_is_ordinary() {
    let validator = validator(KgStrictness::Strict, true);
    let python = r#"
import json, re
chunks = [context[i:i + 1000] for i in range(0, len(context), 1000)]  # any comment
prompts = [f"Which reactor core is mentioned here? {chunk}\n" for chunk in chunks]
answers = query_llm_batched(prompts)
with open("/tmp/answers.json", "w", encoding="utf-8") as out:
    json.dump(answers, out)
FINAL("\n".join(answers))
"#;
    let bash = "grep -c \"reactor core\" notes.txt | sort -u > /tmp/out && wc -l < /tmp/out";
    for (kind, command) in [(CommandKind::Python, python), (CommandKind::Bash, bash)] {
        let findings = validator.examine(kind, command);
        assert!(findings.unknown.is_empty(), "{findings:?}");
        assert!(!findings.concepts.is_empty());
    }
}

#[test]
fn what_is_foreign_is_found_in_code() {
    let validator = validator(KgStrictness::Strict, true);
    let python = "import zorblib.core as z\nprint(f'the frobnicated {pile}')";
    let terms = validator
        .examine(CommandKind::Python, python)
        .unknown_terms();
    assert_eq!(terms, ["zorblib", "frobnicated"]);
    let bash = "zorb --list | grep 'frobnicated pile'";
    let terms = validator.examine(CommandKind::Bash, bash).unknown_terms();
    assert_eq!(terms, ["zorb", "frobnicated"]);
}

#[test]
fn connectivity_is_reported() {
    let validator = validator(KgStrictness::Normal, true);
    let question = "the reactor and the turbine";
    assert!(!validator.examine(CommandKind::Prose, question).connected);
    let mut graph = ConceptGraph::default();
    graph.add_document(
        validator.scanner(),
        "A pile with a reactor core drives a turbine.",
    );
    let validator = validator.with_graph(graph);
    assert!(validator.examine(CommandKind::Prose, question).connected);
}

#[test]
fn huge_commands_are_reported_briefly() {
    let validator = validator(KgStrictness::Normal, true);
    let many: String = (0..20_000).map(|number| format!("zorb{number} ")).collect();
    let long = "z".repeat(8 << 20);
    for kind in KINDS {
        let _ = validator.examine(kind, &long);
        let quoted = format!("'{many}'");
        let verdict = validator.validate(kind, &quoted, &mut Attempts::default());
        let Verdict::Retry {
            findings, advice, ..
        } = verdict
        else {
            panic!("{kind:?}");
        };
        assert_eq!(findings.unknown.len() + findings.more_unknown, 20_000);
        assert!(advice.len() < 5_000);
    }
}

proptest! {
    #[test]
    fn any_command_is_judged(command in any::<String>(), kind in proptest::sample::select(&KINDS)) {
        let findings = validator(KgStrictness::Strict, true).examine(kind, &command);
        prop_assert!(findings.context.chars().all(|character| !character.is_control()));
        prop_assert_eq!(findings.context.is_empty(), findings.unknown.is_empty());
    }

    #[test]
    fn any_code_is_judged(
        pieces in proptest::collection::vec(proptest::sample::select(&[
            "'", "\"", "'''", "f\"", "{", "}", "(", ")", "$", "`", "\\", "\n", ";", "#", "<<", "=", "import ", "from ",
            " ", "as ", ",", ".", "zorb", "reactor core", "é", "\u{301}", "\0", "{{",
        ][..]), 0..40),
        kind in proptest::sample::select(&KINDS),
    ) {
        let _ = validator(KgStrictness::Strict, true).examine(kind, &pieces.concat());
    }

    #[test]
    fn what_is_approved_is_known(command in "[a-zé_ '\";=.\u{301}-]{0,60}", kind in proptest::sample::select(&KINDS)) {
        let mut validator = validator(KgStrictness::Strict, true);
        let mut attempts = Attempts::default();
        let unknown = validator.examine(kind, &command).unknown_terms();
        validator.approve(&unknown, &mut attempts).expect("room");
        let verdict = validator.validate(kind, &command, &mut attempts);
        prop_assert!(matches!(verdict, Verdict::Known(_)), "{verdict:?}");
    }

    #[test]
    fn known_words_are_known_everywhere(
        words in proptest::collection::vec(proptest::sample::select(&["the", "reactor", "Reactor Core", "PILE", "42", "is", "not"][..]), 0..20),
        kind in proptest::sample::select(&KINDS),
    ) {
        let command = format!("\"{}\"", words.join(" "));
        let validator = validator(KgStrictness::Strict, true);
        let verdict = validator.validate(kind, &command, &mut Attempts::default());
        prop_assert!(matches!(verdict, Verdict::Known(_)), "{verdict:?}");
    }

    #[test]
    fn nothing_unknown_runs_when_strict(words in proptest::collection::vec("[a-z]{1,8}", 0..8), limit in 0..5_u32, escalation: bool) {
        let thesaurus = Thesaurus::new("empty");
        let config = KgConfig { kg_retry_limit: limit, kg_escalation_enabled: escalation, kg_strictness: KgStrictness::Strict };
        let validator = KnowledgeGraphValidator::new(thesaurus, config).expect("a validator");
        let mut attempts = Attempts::default();
        for _ in 0..8 {
            let verdict = validator.validate(CommandKind::Prose, &words.join(" "), &mut attempts);
            prop_assert_eq!(verdict.may_run(), verdict.findings().unknown.is_empty());
            let escalates = matches!(verdict, Verdict::Escalate { .. });
            prop_assert_eq!(escalates, escalation && attempts.failed() > limit);
        }
    }
}
