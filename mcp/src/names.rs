//! The names that a group has for the components of its servers.

use std::sync::Arc;

use crate::component::ComponentKind;

/// The rule that makes the hooked name of a component out of its server's name and its own.
///
/// Names are unique within a group, for each kind. A server does not come up if one of its components would take a name
/// of another server ([`Outcome::DuplicateName`](crate::Outcome::DuplicateName)), and its process or session is left
/// again.
///
/// ```
/// use moored_mcp::{ComponentKind, GroupOptions, Names};
///
/// let names = Names::default();
/// let hooked = names.hook(ComponentKind::Tool, "my files", "read/all").expect("this rule never fails");
/// assert_eq!(hooked, "my-x20-files__read-x2f-all");
/// assert_eq!(Names::unhook(&hooked), Some(("my files".into(), "read/all".into())));
///
/// let upper = Names::by(|_kind, server, name| format!("{server}.{name}").to_uppercase());
/// let options = GroupOptions::default().names(upper);
/// ```
#[derive(Clone, Default)]
pub struct Names(Rule);

#[derive(Clone, Default)]
enum Rule {
    #[default]
    Portable,
    Slash,
    By(Arc<Hook>),
}

type Hook = dyn Fn(ComponentKind, &str, &str) -> String + Send + Sync;

/// The longest name that the usual interfaces to language models take.
const LONGEST: usize = 64;
/// Stands between the server's part and the component's.
const BETWEEN: &str = "__";
/// Begins an escape, which goes on with a code point in hexadecimal digits and ends with `-`.
const ESCAPE: &str = "-x";
/// Begins the digest that stands for the part that was cut off.
const DIGEST: &str = "-z";
/// Its hexadecimal digits.
const DIGITS: usize = 16;

impl Names {
    /// `server__name`, in letters, digits, `_` and `-`, 64 at the most, as the usual interfaces to language models
    /// allow for the name of a tool. This is the default.
    ///
    /// Every other character is written as `-x` and its code point in hexadecimal and `-`, so that different components
    /// have different names, and [`unhook`](Self::unhook) reads them back. A name that would be longer than 64
    /// characters is cut off and ends with `-z` and a digest of the whole, the same in every run;
    /// [`SessionGroup::component`](crate::SessionGroup::component) finds the component of such a name.
    pub fn portable() -> Self {
        Self(Rule::Portable)
    }

    /// `server/name`, as the commands of this crate use it.
    pub fn slash() -> Self {
        Self(Rule::Slash)
    }

    /// The result of `hook` for the kind of a component, the name of its server and its own. It is called by the task
    /// that connects the server. If it panics, that server does not come up.
    pub fn by(hook: impl Fn(ComponentKind, &str, &str) -> String + Send + Sync + 'static) -> Self {
        Self(Rule::By(Arc::new(hook)))
    }

    /// The hooked name of a component.
    ///
    /// # Errors
    ///
    /// The text of the panic, if the hook of [`by`](Self::by) panics.
    pub fn hook(&self, kind: ComponentKind, server: &str, name: &str) -> Result<String, String> {
        match &self.0 {
            Rule::Portable => Ok(portable(server, name)),
            Rule::Slash => Ok(format!("{server}/{name}")),
            Rule::By(hook) => {
                // The hook is not shared with state that it could leave half-done.
                let call = std::panic::AssertUnwindSafe(|| hook(kind, server, name));
                std::panic::catch_unwind(call).map_err(crate::panics::text)
            }
        }
    }

    /// The server and the component of a name of [`portable`](Self::portable); `None` for a name that was cut off or is
    /// of another kind.
    pub fn unhook(hooked: &str) -> Option<(String, String)> {
        if hooked.len() > LONGEST || is_cut(hooked) {
            return None;
        }
        let (server, name) = hooked.split_once(BETWEEN)?;
        let read = (unescaped(server)?, unescaped(name)?);
        (portable(&read.0, &read.1) == hooked).then_some(read)
    }
}

impl std::fmt::Debug for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Rule::Portable => "Names::portable()",
            Rule::Slash => "Names::slash()",
            Rule::By(_) => "Names::by(..)",
        })
    }
}

/// Equal if they are the same rule. Two hooks are equal if they are the same object, not if
/// they do the same.
impl PartialEq for Names {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Rule::Portable, Rule::Portable) | (Rule::Slash, Rule::Slash) => true,
            (Rule::By(one), Rule::By(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

impl Eq for Names {}

fn portable(server: &str, name: &str) -> String {
    // The first `__` has to be the separator: in the server's part an underscore is escaped if another one follows, or
    // if it is the last character.
    let server = escaped(server, |rest| rest.is_empty() || rest.starts_with('_'));
    let whole = server + BETWEEN + &escaped(name, |_| false);
    if whole.len() <= LONGEST && !is_cut(&whole) {
        return whole;
    }
    let digest = format!("{DIGEST}{:016x}", digest(whole.as_bytes()));
    // All characters are ASCII.
    format!("{}{digest}", &whole[..LONGEST - digest.len()])
}

/// Whether a name has the form of a name that was cut off.
fn is_cut(name: &str) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let tail = name.len().checked_sub(DIGITS + DIGEST.len()).and_then(|at| name.get(at..));
    let digits = tail.and_then(|tail| tail.strip_prefix(DIGEST));
    name.len() == LONGEST && digits.is_some_and(|digits| digits.as_bytes().iter().all(is_digit))
}

/// `text` in letters, digits, `_` and `-`. An underscore is escaped if `before` holds for the text after it.
fn escaped(text: &str, before: impl Fn(&str) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        let rest = &text[at + character.len_utf8()..];
        let stays = match character {
            '_' => !before(rest),
            // It would be read as the beginning of an escape.
            '-' => !rest.starts_with('x'),
            _ => character.is_ascii_alphanumeric(),
        };
        if stays {
            escaped.push(character);
        } else {
            escaped.push_str(&format!("{ESCAPE}{:x}-", u32::from(character)));
        }
    }
    escaped
}

/// The text without escapes; `None` if an escape is malformed.
fn unescaped(mut text: &str) -> Option<String> {
    let mut unescaped = String::with_capacity(text.len());
    while let Some((before, escape)) = text.split_once(ESCAPE) {
        let (code, rest) = escape.split_once('-')?;
        unescaped.push_str(before);
        unescaped.push(char::from_u32(u32::from_str_radix(code, 16).ok()?)?);
        text = rest;
    }
    unescaped.push_str(text);
    Some(unescaped)
}

/// FNV-1a. The digest has to be the same in every run and release. It need not be hard to invert, because a name that
/// is taken is rejected.
fn digest(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(BASIS, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const PARTS: [&str; 22] = [
        "",
        "a",
        "_",
        "__",
        "a_",
        "_a",
        "a__b",
        "-",
        "-x",
        "-x2f-",
        "-x-x",
        "/",
        "a/b",
        "x",
        "-/",
        "/x",
        "-z0123456789abcdef",
        "naïve ⚓",
        "read_file",
        "my-xbox",
        "A.b",
        "x__",
    ];

    #[test]
    fn names_are_legal_different_and_read_back() {
        let mut seen = HashMap::new();
        for server in PARTS {
            for name in PARTS {
                let hooked = portable(server, name);
                let legal = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
                assert!(hooked.chars().all(legal) && hooked.len() <= LONGEST, "{hooked}");
                let read = Names::unhook(&hooked);
                if !is_cut(&hooked) {
                    assert_eq!(read, Some((server.into(), name.into())), "{hooked}");
                }
                let before = seen.insert(hooked.clone(), (server, name));
                assert_eq!(before, None, "{hooked} stands for {server:?} {name:?} as well");
            }
        }
        assert_eq!(portable("files", "read_file"), "files__read_file");
    }

    #[test]
    fn a_long_name_is_cut_off_with_a_digest_and_stays_unique() {
        let long = "n".repeat(100);
        let (one, two) = (portable("s", &long), portable("s", &format!("{long}!")));
        assert_eq!((one.len(), two.len()), (LONGEST, LONGEST));
        assert_ne!(one, two);
        assert_eq!(Names::unhook(&one), None);
        // A name that only looks as if it had been cut off is cut off too.
        let looks = format!("{}-z0123456789abcdef", "n".repeat(43));
        let hooked = portable("s", &looks);
        assert_eq!((hooked.len(), Names::unhook(&hooked)), (LONGEST, None));
        assert_ne!(hooked, format!("s__{looks}"));
        assert_eq!(portable("s", &"n".repeat(61)), format!("s__{}", "n".repeat(61)));
    }

    #[test]
    fn what_the_rule_does_not_make_is_not_read() {
        for other in ["plain", "a/b", "a__b-x2f", "a__b-xzz-", "a__-x61-", "a__-xd800-", "ä__b"] {
            assert_eq!(Names::unhook(other), None, "{other}");
        }
    }

    #[test]
    fn a_hook_that_panics_is_told_with_its_words() {
        let names = Names::by(|_, server, _| panic!("no name for {server}"));
        assert_eq!(names.hook(ComponentKind::Tool, "s", "t"), Err("no name for s".into()));
    }
}
