//! The rules, as rows of names and addresses.

use super::*;

/// Asks for `name` (or, without one, for the text of the address) among `name@address`
/// candidates; an address `-` is unusable.
fn choice(candidates: &[&str], name: Option<&str>, addr: &str, foreign: bool) -> Choice {
    let parsed: Vec<(&str, Option<ListenAddr>)> = candidates
        .iter()
        .map(|text| text.split_once('@').unwrap())
        .map(|(name, addr)| (name, (addr != "-").then(|| addr.parse().unwrap())))
        .collect();
    let candidates: Vec<_> = parsed
        .iter()
        .map(|(name, addr)| Candidate {
            name,
            addr: addr.as_ref().map(|addr| (addr, false)),
        })
        .collect();
    let wanted = &addr.parse().unwrap();
    let (name, named) = (name.unwrap_or(addr), name.is_some());
    choose(
        &candidates,
        &Wanted {
            name,
            named,
            addr: wanted,
            foreign,
        },
    )
}

const A: &str = "127.0.0.1:80";
const B: &str = "127.0.0.1:81";

#[test]
fn the_name_decides_before_the_address() {
    let two = ["x@127.0.0.1:80", "y@127.0.0.1:80"];
    assert_eq!(choice(&two, Some("y"), A, true), Choice::Take(1));
    assert_eq!(
        choice(&["127.0.0.1:0@127.0.0.1:4711"], None, "127.0.0.1:0", false),
        Choice::Take(0)
    );
}

#[test]
fn namesakes_are_told_apart_by_address_and_else_taken_in_order() {
    let group = ["http@127.0.0.1:80", "http@[::1]:80", "http@[::1]:80"];
    assert_eq!(
        choice(&group, Some("http"), "[::1]:80", false),
        Choice::Take(1)
    );
    assert_eq!(choice(&group, Some("http"), A, false), Choice::Take(0));
    assert_eq!(
        choice(&group, Some("http"), B, false),
        Choice::Mismatch(vec![0, 1, 2])
    );
}

#[test]
fn without_a_namesake_the_address_decides() {
    for foreign in [true, false] {
        let two = ["a.socket@127.0.0.1:81", "b.socket@127.0.0.1:80"];
        assert_eq!(choice(&two, None, A, foreign), Choice::Take(1));
        assert_eq!(choice(&two, Some("http"), A, foreign), Choice::Take(1));
    }
}

#[test]
fn a_listener_of_a_manager_that_does_not_fit_is_a_mistake() {
    for wanted in [B, "[::1]:80", "unix:/a"] {
        assert_eq!(
            choice(&["unknown@127.0.0.1:80"], None, wanted, true),
            Choice::Mismatch(vec![0])
        );
    }
    assert_eq!(
        choice(&["unix@unix:/a"], None, A, true),
        Choice::Mismatch(vec![0])
    );
}

#[test]
fn a_listener_that_was_added_since_is_bound() {
    assert_eq!(
        choice(&["127.0.0.1:80@127.0.0.1:80"], None, B, false),
        Choice::Bind
    );
    assert_eq!(
        choice(&["web.socket@127.0.0.1:80"], Some("admin"), B, true),
        Choice::Bind
    );
    assert_eq!(choice(&[], None, A, true), Choice::Bind);
}

#[test]
fn an_unusable_listener_that_may_be_meant_is_not_passed_over() {
    assert_eq!(choice(&["unknown@-"], None, A, true), Choice::Take(0));
    assert_eq!(
        choice(&["unknown@-"], Some("http"), A, true),
        Choice::Take(0)
    );
    assert_eq!(
        choice(&["http@-", "x@127.0.0.1:80"], Some("http"), A, true),
        Choice::Take(0)
    );
    assert_eq!(
        choice(&["x@-", "y@127.0.0.1:80"], None, A, true),
        Choice::Take(1)
    );
    assert_eq!(choice(&["http@-"], Some("admin"), A, true), Choice::Bind);
}

/// What was stored before a crash is found by the name it had, and what the configuration does not
/// ask for any more is not in its way.
#[test]
fn what_the_manager_stored_is_found_by_its_own_name_and_forbids_nothing() {
    let stored = [
        "graceful-127.0.0.1_0@127.0.0.1:4711",
        "graceful-[__1]_0@[::1]:4712",
        "graceful-http@127.0.0.1:80",
    ];
    let any = "127.0.0.1:0";
    assert_eq!(choice(&stored, None, any, true), Choice::Take(0));
    assert_eq!(choice(&stored, None, "[::1]:0", true), Choice::Take(1));
    assert_eq!(choice(&stored, Some("http"), A, true), Choice::Take(2));
    assert_eq!(choice(&stored, None, A, true), Choice::Take(2));
    assert_eq!(choice(&stored, Some("http"), B, true), Choice::Bind);
    assert_eq!(choice(&stored, None, B, true), Choice::Bind);
    let twice = [
        "graceful-127.0.0.1_80@127.0.0.1:80",
        "x.socket@127.0.0.1:80",
    ];
    assert_eq!(choice(&twice, None, A, true), Choice::Take(1));
    let with_passed = ["x@127.0.0.1:80", "graceful-http@127.0.0.1:81"];
    assert_eq!(
        choice(&with_passed, None, "127.0.0.1:82", true),
        Choice::Mismatch(vec![0])
    );
}
