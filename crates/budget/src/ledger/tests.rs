use super::*;
use proptest::prelude::*;

fn ledger(tokens: u64) -> Ledger {
    Ledger::new(&Budget {
        tokens,
        sub_calls: 100,
        ..Budget::default()
    })
}

fn tokens(tokens: u64) -> Amount {
    Amount {
        tokens,
        ..Amount::default()
    }
}

fn spent(tokens: u64) -> Spent {
    Spent {
        prompt_tokens: tokens,
        ..Spent::default()
    }
}

#[test]
fn what_was_not_used_is_available_again() {
    let ledger = ledger(100);
    let first = ledger.reserve_now(tokens(80)).expect("room");
    assert_eq!(
        ledger.reserve_now(tokens(30)).expect_err("no room"),
        Exceeded::Tokens {
            used: 80,
            limit: 100,
            wanted: 30
        }
    );
    first.settle(&spent(10));
    let second = ledger.reserve_now(tokens(90)).expect("room");
    drop(second);
    assert_eq!(ledger.available().tokens, 90);
    assert_eq!(ledger.spent().tokens(), 10);
}

#[test]
fn a_child_spends_its_slice_and_returns_the_rest() {
    let ledger = ledger(100);
    let (slices, lack) = ledger.slices(3, None, 1);
    assert_eq!(lack, None);
    let mut slices = slices.into_iter();
    assert_eq!(ledger.available().tokens, 25);
    let first = slices.next().expect("three");
    assert_eq!(first.ledger().limit().tokens, 25);
    assert!(first.ledger().reserve_now(tokens(26)).is_err());
    let call = first.ledger().reserve_now(tokens(25)).expect("room");
    call.settle(&spent(5));
    drop(first);
    assert_eq!(ledger.available().tokens, 45);
    drop(slices);
    assert_eq!(
        (ledger.available().tokens, ledger.spent().tokens()),
        (95, 5)
    );
}

#[test]
fn as_many_slices_are_made_as_fit() {
    let ledger = ledger(100);
    let (slices, lack) = ledger.slices(8, None, 25);
    assert_eq!(slices.len(), 3, "three quarters, and one stays");
    let said = lack.expect("five lack").to_string();
    assert!(said.contains("125 are needed"), "{said}");
    drop(slices);
    let (slices, lack) = ledger.slices(100, None, 0);
    assert_eq!(slices.len(), 99, "each is a query itself");
    assert!(matches!(lack, Some(Exceeded::SubCalls { limit: 100 })));
    drop(slices);
    let (slices, lack) = ledger.slices(1, Some(10), 20);
    assert!(slices.is_empty() && lack.is_some());
    assert_eq!(ledger.available().tokens, 100);
}

#[tokio::test]
async fn who_wants_more_than_there_is_now_waits_for_what_comes_back() {
    let ledger = ledger(100);
    let first = ledger.reserve_now(tokens(80)).expect("room");
    let waiting = tokio::spawn({
        let ledger = ledger.clone();
        async move { ledger.reserve(tokens(50)).await.map(drop) }
    });
    tokio::task::yield_now().await;
    first.settle(&spent(20));
    assert_eq!(waiting.await.expect("no panic"), Ok(()));
    assert!(ledger.reserve(tokens(81)).await.is_err(), "it never comes");
}

#[test]
fn money_and_queries_are_bounded_too() {
    let ledger = Ledger::new(&Budget {
        tokens: 100,
        micro_dollars: Some(10),
        sub_calls: 1,
        ..Budget::default()
    });
    let dear = Amount {
        micro_dollars: 11,
        ..Amount::default()
    };
    assert!(matches!(
        ledger.reserve_now(dear),
        Err(Exceeded::Money { .. })
    ));
    let query = Amount {
        sub_calls: 1,
        ..Amount::default()
    };
    let _one = ledger.reserve_now(query).expect("one");
    assert!(matches!(
        ledger.reserve_now(query),
        Err(Exceeded::SubCalls { limit: 1 })
    ));
}

proptest! {
    /// Whatever is reserved, settled within its bound, dropped or sliced: no more is charged
    /// than there was, and at the end nothing is missing.
    #[test]
    fn nothing_is_overspent_and_nothing_is_lost(
        steps in proptest::collection::vec((0u8..4, 0u64..60, 0u64..60), 1..40),
    ) {
        let ledger = ledger(200);
        let mut open: Vec<(Reservation, u64)> = Vec::new();
        let mut slices: Vec<Slice> = Vec::new();
        let mut charged = 0;
        for (what, want, used) in steps {
            match what {
                0 => open.extend(ledger.reserve_now(tokens(want)).ok().map(|one| (one, want))),
                1 => if let Some((one, most)) = open.pop() {
                    one.settle(&spent(used.min(most)));
                    charged += used.min(most);
                },
                2 => drop(open.pop()),
                _ => {
                    for slice in ledger.slices(2, Some(want), 1).0 {
                        let limit = slice.ledger().limit().tokens;
                        let call = slice.ledger().reserve_now(tokens(used.min(limit)));
                        call.expect("room").settle(&spent(used.min(limit)));
                        charged += used.min(limit);
                        slices.push(slice);
                    }
                },
            }
            prop_assert!(ledger.available().tokens <= 200);
            prop_assert!(charged <= 200);
        }
        drop(open);
        drop(slices);
        prop_assert_eq!(ledger.spent().tokens(), charged);
        prop_assert_eq!(ledger.available().tokens, 200 - charged);
    }
}
