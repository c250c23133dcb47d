//! The outline of a text: of each object in it, the id and the method at its top level.
//!
//! It is read byte by byte, without keeping the text, so it is available for a line that is too long to keep and for a
//! text that breaks off in the middle. It finds the request of a broken answer, also if the answer stands behind
//! other text, beside another message, or in a batch.

use rmcp::model::RequestId;

/// Names and ids beyond this length are not used.
const KEPT: usize = 256;
/// The most answers that are found in one text.
const FOUND: usize = 64;

/// Reads an outline.
#[derive(Debug, Default)]
pub(crate) struct Skeleton {
    depth: usize,
    string: Option<Text>,
    escaped: bool,
    place: Place,
    key: Vec<u8>,
    number: Vec<u8>,
    id: Option<RequestId>,
    has_method: bool,
    has_outcome: bool,
    /// The answers among the objects that have ended.
    found: Vec<RequestId>,
    /// The first request among them.
    requested: Option<RequestId>,
}

/// The reader's position in the outermost object.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Key,
    Value,
}

/// The string under way. Only one of the outermost object is kept.
#[derive(Debug)]
enum Text {
    Kept(Vec<u8>),
    Skipped,
}

impl Skeleton {
    /// The outline of a whole text.
    pub(crate) fn of(text: &[u8]) -> Self {
        let mut skeleton = Self::default();
        skeleton.feed(text);
        skeleton
    }

    /// Reads further bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.string.is_some() {
                self.in_string(*byte);
            } else {
                self.outside(*byte);
            }
        }
    }

    /// The requests that this text answers, as far as it was read.
    pub(crate) fn answers(&self) -> impl Iterator<Item = &RequestId> {
        self.found.iter().chain(self.under_way())
    }

    /// The request that this text is, if it is a single one.
    #[cfg_attr(not(feature = "serve"), allow(dead_code, reason = "only `serve` reads requests"))]
    pub(crate) fn request(&self) -> Option<&RequestId> {
        self.requested.as_ref().or(self.id.as_ref().filter(|_| self.has_method))
    }

    /// Whether the text certainly contains an answer: an id beside a result or an error. An id alone may still be that
    /// of a request.
    pub(crate) fn has_answer(&self) -> bool {
        !self.found.is_empty() || (self.has_outcome && self.under_way().is_some())
    }

    /// The request that the object under way answers.
    fn under_way(&self) -> Option<&RequestId> {
        self.id.as_ref().filter(|_| !self.has_method)
    }

    fn in_string(&mut self, byte: u8) {
        let ends = byte == b'"' && !self.escaped;
        self.escaped = byte == b'\\' && !self.escaped;
        if ends {
            if let Some(Text::Kept(text)) = self.string.take() {
                self.string_ended(text);
            }
        } else if let Some(Text::Kept(text)) = &mut self.string
            && text.len() < KEPT
        {
            text.push(byte);
        }
    }

    fn string_ended(&mut self, text: Vec<u8>) {
        match self.place {
            Place::Key => {
                self.has_method |= text == b"method";
                self.has_outcome |= text == b"result" || text == b"error";
                self.key = text;
            }
            Place::Value if self.key == b"id" => {
                self.id = Some(RequestId::String(String::from_utf8_lossy(&text).into()));
            }
            Place::Value => {}
        }
    }

    fn outside(&mut self, byte: u8) {
        match byte {
            b'{' if self.depth == 0 => self.depth = 1,
            // The text around the objects may be anything.
            _ if self.depth == 0 => {}
            b'"' => {
                let text = if self.depth == 1 { Text::Kept(Vec::new()) } else { Text::Skipped };
                self.string = Some(text);
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.number_ended();
                self.depth -= 1;
                if self.depth == 0 {
                    self.object_ended();
                }
            }
            _ if self.depth != 1 => {}
            b':' => self.place = Place::Value,
            b',' => {
                self.number_ended();
                self.place = Place::Key;
            }
            _ if self.place == Place::Value && self.key == b"id" && self.number.len() < KEPT => {
                self.number.push(byte);
            }
            _ => {}
        }
    }

    fn object_ended(&mut self) {
        let id = self.id.take();
        if self.has_method {
            self.requested = self.requested.take().or(id);
        } else if self.has_outcome && self.found.len() < FOUND {
            // A log has ids too.
            self.found.extend(id);
        }
        (self.has_method, self.has_outcome) = (false, false);
        (self.place, self.key) = (Place::Key, Vec::new());
    }

    /// A number counts once another character follows, because before that it may go on.
    fn number_ended(&mut self) {
        let number = std::mem::take(&mut self.number);
        if self.depth == 1
            && let Some(id) = std::str::from_utf8(&number).ok().and_then(whole_number)
        {
            self.id = Some(RequestId::Number(id));
        }
    }
}

/// A number in the form of JSON, if it is whole: `7` and `7.0` are the same id.
fn whole_number(text: &str) -> Option<i64> {
    let number: serde_json::Number = text.trim().parse().ok()?;
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() < 9e15).then_some(float as i64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(skeleton: &Skeleton) -> Vec<RequestId> {
        skeleton.answers().cloned().collect()
    }

    #[test]
    fn an_answer_is_known_by_its_id_however_it_is_broken() {
        let seven = || vec![RequestId::Number(7)];
        for (text, ids) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"ty"#, seven()),
            (r#"{"result":{"id":1,"s":"\"id\":2,{"},"jsonrpc":"2.0","id":7}"#, seven()),
            (r#"{ "id" : 7.0 , "error" : null }"#, seven()),
            (r#"{"id":"7","result":nonsense}"#, vec![RequestId::String("7".into())]),
            ("{\"id\":7,\"result\":\"\\ud800\"}", seven()),
            // A number at the very end may go on.
            (r#"{"result":{},"id":7"#, vec![]),
            (r#"{"id":7,"method":"ping"}"#, vec![]),
            (r#"{"method":"ping","id":7,"#, vec![]),
            (r#"{"id":null,"error":{}}"#, vec![]),
            (r#"{"id":7.5,"result":{}}"#, vec![]),
            // Beside other text.
            (r#"[{"id":7,"result":{}}]"#, seven()),
            (r#"[{"method":"m","params":[{"id":1}]},{"id":7,"result":{}},{"#, seven()),
            (r#"{"method":"m"}{"id":7,"result":{}}"#, seven()),
            (r#"{"id":6,"result":[]} {"id":7,"#, vec![RequestId::Number(6), RequestId::Number(7)]),
            ("\x1b[2K\x1b[32m{\"id\":7,\"result\":{}}", seven()),
            (r#"[info] 5" screen: {"id":7,"result":{}}"#, seven()),
            ("Listening on id:7, port 80", vec![]),
            (r#"received {"id":7,"name":"x"}"#, vec![]),
            ("}]\"{", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(answers(&Skeleton::of(text.as_bytes())), ids, "{text}");
            let mut by_bytes = Skeleton::default();
            text.as_bytes().chunks(1).for_each(|byte| by_bytes.feed(byte));
            assert_eq!(answers(&by_bytes), ids, "byte by byte: {text}");
        }
    }

    #[test]
    fn an_id_alone_may_be_that_of_a_request() {
        for (text, certain) in [
            (r#"{"id":7,"params":{"#, false),
            (r#"{"id":7,"result":{"#, true),
            (r#"{"result":{},"id":7,"#, true),
            (r#"{"id":7,"method":"m","result":{"#, false),
            (r#"[{"id":7,"result":{}},{"id":8,"#, true),
        ] {
            assert_eq!(Skeleton::of(text.as_bytes()).has_answer(), certain, "{text}");
        }
    }
}
