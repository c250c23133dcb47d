//! The instructions for language models, put together from those of the servers.

/// The longest instructions of one server that are passed on whole, in characters.
const OF_ONE: usize = 4_000;
/// The longest text of all, in characters.
const OF_ALL: usize = 32_000;

/// The instructions of these servers, each under its server's name; `None` if there are none. A text that is too long is cut
/// off, and says so.
pub(super) fn composed<'a>(
    servers: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<String> {
    let mut text = String::new();
    for (server, own) in servers {
        let own = own.trim();
        if own.is_empty() {
            continue;
        }
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(&format!("Instructions of the server {server:?}:\n\n{}", cut(own, OF_ONE)));
    }
    (!text.is_empty()).then(|| cut(&text, OF_ALL))
}

/// The first `most` characters.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((at, _)) => format!("{} [cut off]", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_its_heading_and_its_bound() {
        assert_eq!(composed([]), None);
        assert_eq!(composed([("a", " \n")]), None);
        let both = composed([("a", " Be kind. \n"), ("b", ""), ("c", "Be brief.")]);
        let wanted = "Instructions of the server \"a\":\n\nBe kind.\n\nInstructions of the server \"c\":\n\nBe brief.";
        assert_eq!(both.as_deref(), Some(wanted));
        let long = "\u{e9}".repeat(OF_ONE + 1);
        let text = composed([("a", long.as_str())]).expect("a text");
        assert!(text.ends_with("\u{e9} [cut off]"), "{text}");
        let many: Vec<_> = (0..20).map(|_| ("a", long.as_str())).collect();
        let text = composed(many).expect("a text");
        assert_eq!(text.chars().count(), OF_ALL + " [cut off]".len());
    }
}
