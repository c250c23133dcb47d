//! The entry points of the fuzz targets in `fuzz/`: the readers of the servers' output, of configurations, and of the
//! clients' `Accept`.
//!
//! Each function reads the input in several ways that must have the same result. The input of a reader that reads pieces
//! begins with a byte for the size of the pieces.

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use rmcp::model::ClientJsonRpcMessage;
use tokio::io::BufReader;

use crate::wire::events;
use crate::wire::incoming;
use crate::wire::lines::{Line, Lines};
use crate::wire::pending::Pending;

/// Longer than most inputs of a fuzzer, and short enough to be exceeded.
const LIMIT: usize = 512;

/// Reads a stream of server-sent events.
///
/// # Panics
///
/// Where pieces of one size are read as something else than pieces of another.
pub fn sse(input: &[u8]) {
    let Some((size, text)) = input.split_first() else { return };
    let read = |size: usize| {
        let pieces: Vec<_> = text
            .chunks(size.max(1))
            .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
            .collect();
        let events = events::events(stream::iter(pieces), LIMIT).map(|event| match event {
            Ok(event) => {
                let whole = [&event.event, &event.data, &event.id];
                assert!(whole.into_iter().flatten().all(|it| it.len() <= 3 * LIMIT), "bounded");
                let _message = events::message(&event);
                Some(format!("{event:?}"))
            }
            Err(_) => None,
        });
        events.collect::<Vec<_>>().now_or_never()
    };
    let (pieces, whole) = (read((*size).into()), read(text.len()));
    let (pieces, whole) = (pieces.expect("always ready"), whole.expect("always ready"));
    // Events before an event that is too large may have been read already if the text came in pieces.
    if whole.iter().all(Option::is_some) {
        assert_eq!(pieces, whole);
    }
}

/// Reads the standard output of a child, with one call and one list under way.
///
/// # Panics
///
/// Where pieces of one size are read as something else than pieces of another.
pub fn stdout(input: &[u8]) {
    let Some((size, text)) = input.split_first() else { return };
    let read = |size: usize| {
        let pending = Pending::default();
        for (id, method) in [(1, "tools/call"), (2, "tools/list")] {
            let request = serde_json::json!({
                "jsonrpc": "2.0", "id": id, "method": method, "params": {"name": "echo"},
            });
            let request: ClientJsonRpcMessage = serde_json::from_value(request).expect("a request");
            pending.sent(&request);
        }
        let mut lines = Lines::up_to(LIMIT, BufReader::with_capacity(size.max(1), text));
        let (mut said, mut too_long) = (Vec::new(), false);
        loop {
            let line = lines.next().now_or_never().expect("always ready");
            let incoming = match line.expect("a slice has no errors") {
                Line::Whole => incoming::read(lines.line(), &pending, None),
                Line::TooLong(skeleton) => {
                    too_long = true;
                    incoming::answered(&skeleton, "it is too long", &pending)
                }
                Line::End => break,
            };
            said.extend(incoming.iter().map(|it| format!("{it:?}")));
        }
        (said, too_long)
    };
    let (pieces, whole) = (read((*size).into()), read(text.len()));
    // The rest of a line that is too long depends on the place of the cut.
    if !whole.1 {
        assert_eq!(pieces, whole);
    }
}

/// Reads a configuration, in which every variable has a value that must not be shown.
///
/// # Panics
///
/// If a server's headers, or an error, show that value.
#[cfg(feature = "config")]
pub fn config(input: &[u8]) {
    const SECRET: &str = "a value nobody may see";
    let Ok(text) = std::str::from_utf8(input) else { return };
    match crate::config::Config::parse(text, |_| Ok(SECRET.to_owned())) {
        Ok(config) => {
            let _shown = format!("{config:?} {:?}", config.warnings);
            for server in config.servers {
                // An address is shown as it is.
                if let crate::params::Transport::Http(http) = server.transport
                    && !http.url.contains(SECRET)
                {
                    let shown = format!("{http:?}");
                    assert!(!shown.contains(SECRET), "{shown}");
                }
            }
        }
        Err(error) => {
            let _shown = format!("{error} {error:?}");
        }
    }
}

/// Reads the values of `Accept`, one a line.
///
/// # Panics
///
/// If a type that is named has no weight, or if the result depends on the case, on the kind of white space, or on whether
/// the ranges come in one value or in several.
#[cfg(feature = "serve")]
pub fn accept(input: &[u8]) {
    use http::header::ACCEPT;
    use http::{HeaderMap, HeaderValue};

    use crate::serve::accept::{is_named, weight};

    const OFFERED: [(&str, &str); 2] = [("application", "json"), ("text", "event-stream")];
    let read = |values: &[Vec<u8>]| {
        let values = values.iter().filter_map(|value| HeaderValue::from_bytes(value).ok());
        let headers: HeaderMap = values.map(|value| (ACCEPT, value)).collect();
        OFFERED.map(|(ty, subtype)| {
            let (weight, named) = (weight(&headers, ty, subtype), is_named(&headers, ty, subtype));
            assert!(weight <= 1000 && (weight > 0 || !named), "{headers:?}: {weight} {named}");
            (weight, named)
        })
    };
    let as_text = |line: &&[u8]| HeaderValue::from_bytes(line).is_ok_and(|it| it.to_str().is_ok());
    let values: Vec<Vec<u8>> =
        input.split(|byte| *byte == b'\n').filter(as_text).map(<[u8]>::to_vec).collect();
    let result = read(&values);
    let changed = |change: fn(&u8) -> u8| -> Vec<Vec<u8>> {
        values.iter().map(|value| value.iter().map(change).collect()).collect()
    };
    assert_eq!(read(&changed(u8::to_ascii_uppercase)), result, "in capitals");
    assert_eq!(read(&changed(|byte| if *byte == b'\t' { b' ' } else { *byte })), result, "tabs");
    // A quotation that is open at the end of a value would go on in the next one.
    if !input.contains(&b'"') {
        assert_eq!(read(&[values.join(&b", "[..])]), result, "in one value");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Plays every seed of a target.
    fn seeds(target: &str, play: fn(&[u8])) {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(target);
        let mut played = 0;
        for seed in std::fs::read_dir(seeds).expect("the seeds are in the repository") {
            play(&std::fs::read(seed.expect("an entry").path()).expect("a file"));
            played += 1;
        }
        assert!(played > 0);
    }

    #[test]
    fn the_seeds_of_the_event_reader_hold() {
        seeds("mcp_sse", super::sse);
    }

    #[test]
    fn the_seeds_of_the_line_reader_hold() {
        seeds("mcp_stdout", super::stdout);
    }

    #[cfg(feature = "config")]
    #[test]
    fn the_seeds_of_the_configuration_reader_hold() {
        seeds("mcp_config", super::config);
    }

    #[cfg(feature = "serve")]
    #[test]
    fn the_seeds_of_the_accept_reader_hold() {
        seeds("mcp_accept", super::accept);
    }
}
