//! A text as Unicode.

use std::borrow::Cow;

/// The text as Unicode: bytes that are not UTF-8, and escapes of a lone surrogate, become U+FFFD.
pub(super) fn mended(text: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(text);
    match without_lone_surrogates(&text) {
        Some(mended) => Cow::Owned(mended),
        None => text,
    }
}

/// The text with every escaped surrogate without a partner replaced; `None` if there is none.
fn without_lone_surrogates(text: &str) -> Option<String> {
    let escape = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut mended: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        at += found;
        match (escape(at), escape(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => at += 12,
            (Some(0xD800..=0xDFFF), _) => {
                let mended = mended.get_or_insert_default();
                mended.push_str(&text[copied..at]);
                mended.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            (Some(_), _) => at += 6,
            // The escaped character is ASCII in JSON; in another text it may be longer.
            (None, _) => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    let mut mended = mended?;
    mended.push_str(&text[copied..]);
    Some(mended)
}
