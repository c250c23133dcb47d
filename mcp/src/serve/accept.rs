//! The media types that a client accepts, read according to RFC 9110, section 12.5.1.

use http::HeaderMap;
use http::header::ACCEPT;
use mediatype::{MediaType, MediaTypeList, Name, ReadParams};

/// The weight that a client gives to a media type, from 0, which excludes it, to 1000.
///
/// Of the ranges that match, the most specific one counts. Without `Accept`, and if no range in it can be read, every
/// type has the full weight. A parameter of a range other than its weight does not matter, because the gateway offers
/// types without parameters, and a client that writes `application/json; charset=utf-8` means JSON.
pub(crate) fn weight(headers: &HeaderMap, ty: &str, subtype: &str) -> u16 {
    let any = |name: Name<'_>| name == "*";
    let mut best: Option<(u8, u16)> = None;
    let mut read = false;
    for range in headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()) {
        for range in MediaTypeList::new(range).flatten() {
            read = true;
            // A suffix is a part of the subtype: `application/json+x` is another type.
            let is_subtype = range.subty == subtype && range.suffix.is_none();
            let specific = match (range.ty == ty, is_subtype) {
                (true, true) => 2,
                (true, false) if any(range.subty) => 1,
                _ if any(range.ty) && any(range.subty) => 0,
                _ => continue,
            };
            best = best.max(Some((specific, quality(&range))));
        }
    }
    match best {
        Some((_, weight)) => weight,
        None if read => 0,
        None => 1000,
    }
}

/// Whether a client names a media type itself, and not only by a wildcard, with a weight above 0.
pub(crate) fn is_named(headers: &HeaderMap, ty: &str, subtype: &str) -> bool {
    let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = values.flat_map(|value| MediaTypeList::new(value).flatten());
    ranges.any(|it| it.ty == ty && it.subty == subtype && it.suffix.is_none() && quality(&it) > 0)
}

/// The weight of a range in thousandths. A weight that does not follow the standard's grammar counts as 1000.
fn quality(range: &MediaType<'_>) -> u16 {
    let Some(text) = range.get_param(Name::new_unchecked("q")) else { return 1000 };
    let text = text.unquoted_str();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = fraction.bytes().all(|digit| digit.is_ascii_digit()) && fraction.len() <= 3;
    match (whole, digits) {
        ("0", true) => format!("{fraction:0<3}").parse().unwrap_or(1000),
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (ACCEPT, value.parse().expect("a header"))).collect()
    }

    #[test]
    fn wildcards_weights_and_several_headers_are_read() {
        for (values, json, events) in [
            (&[][..], 1000, 1000),
            (&[""], 1000, 1000),
            (&[" , ,"], 1000, 1000),
            (&["*/*"], 1000, 1000),
            (&["application/json, text/event-stream"], 1000, 1000),
            (&["application/json", "text/event-stream"], 1000, 1000),
            (&["Application/JSON"], 1000, 0),
            (&["text/event-stream"], 0, 1000),
            (&["text/*"], 0, 1000),
            (&["application/*;q=0.5, text/event-stream;q=0.25"], 500, 250),
            (&["*/*;q=0.1, application/json"], 1000, 100),
            (&["application/json;q=0, */*"], 0, 1000),
            (&["*/*, application/json;q=0.0"], 0, 1000),
            (&["*/*;q=0"], 0, 0),
            (&["text/html"], 0, 0),
            (&["application/json; charset=utf-8"], 1000, 0),
            (&["application/json; charset=\"a,b;q=0\";q=0.3"], 300, 0),
            (&["application/json;q=abc, text/event-stream;q=2"], 1000, 1000),
            (&["application/json ; q=0.123 , text/event-stream"], 123, 1000),
            (&["application/vnd.x+json"], 0, 0),
            (&["nonsense"], 1000, 1000),
            (&["nonsense, application/json"], 1000, 0),
            (&["*"], 1000, 1000),
        ] {
            let headers = headers(values);
            let found =
                (weight(&headers, "application", "json"), weight(&headers, "text", "event-stream"));
            assert_eq!(found, (json, events), "{values:?}");
        }
    }

    #[test]
    fn what_only_a_wildcard_covers_is_not_named() {
        let is_named = |value| is_named(&headers(&[value]), "text", "event-stream");
        assert!(is_named("text/event-stream"));
        assert!(is_named("*/*, TEXT/Event-Stream;q=0.1"));
        assert!(!is_named("*/*") && !is_named("text/*") && !is_named("text/event-stream;q=0"));
    }
}
