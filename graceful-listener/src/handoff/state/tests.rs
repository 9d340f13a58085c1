//! What goes in comes out, in pieces, and what is too much or out of order is refused.

use super::*;

fn source(name: &str, schema: u32, bytes: usize) -> Source {
    let make = move || (0..bytes).map(|i| (i % 251) as u8).collect();
    Source {
        name: name.to_owned(),
        schema,
        make: Arc::new(make),
    }
}

fn arrive(frames: Vec<Frame>) -> Result<Vec<(String, InheritedState)>, HandoffError> {
    let mut arrivals = Arrivals::default();
    for frame in frames {
        assert!(frame.encode().len() <= CAP);
        let Frame::State {
            name,
            schema,
            more,
            blob,
        } = frame
        else {
            panic!("{frame:?}");
        };
        arrivals.add(name, schema, more, blob)?;
    }
    arrivals.finish()
}

#[test]
fn blobs_of_every_size_arrive_as_they_were_made() {
    let sizes = [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE];
    let long = "n".repeat(LONGEST_NAME);
    let sources: Vec<_> = (0..)
        .zip(sizes)
        .map(|(schema, size)| source(&long, schema, size))
        .collect();
    let arrived = arrive(frames(&sources).unwrap()).unwrap();
    for (source, (name, state)) in sources.iter().zip(&arrived) {
        assert_eq!((name, state.schema), (&long, source.schema));
        assert!(state.bytes == (source.make)());
    }
    assert_eq!(arrived.len(), sizes.len());
}

#[test]
fn more_than_the_cap_is_refused_on_both_sides_and_named() {
    let error = frames(&[source("a", 1, MOST), source("b", 1, 1)]).unwrap_err();
    assert!(
        error.is_bad_state() && error.to_string().contains("\"b\""),
        "{error}"
    );
    assert!(frames(&[source("a", 1, MOST)]).is_ok());
    let mut too_much = frames(&[source("a", 1, MOST)]).unwrap();
    too_much.extend(frames(&[source("b", 1, 1)]).unwrap());
    assert!(arrive(too_much).unwrap_err().is_protocol());
}

#[test]
fn a_name_that_does_not_fit_is_refused() {
    let error = frames(&[source(&"n".repeat(LONGEST_NAME + 1), 1, 0)]).unwrap_err();
    assert!(error.is_bad_state());
}

#[test]
fn a_blob_within_another_or_without_its_end_is_refused() {
    let piece = |name: &str, schema, more| Frame::State {
        name: name.to_owned(),
        schema,
        more,
        blob: vec![1],
    };
    for frames in [
        vec![piece("a", 1, true)],
        vec![piece("a", 1, true), piece("b", 1, false)],
        vec![piece("a", 1, true), piece("a", 2, false)],
    ] {
        assert!(arrive(frames).unwrap_err().is_protocol());
    }
}
