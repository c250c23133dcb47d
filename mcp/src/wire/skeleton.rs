//! The outline of a message: the id and the method that stand at its top level.
//!
//! It is read byte by byte, without keeping the message, so it can be had from a line that is too long to keep and from
//! a text that breaks off in the middle. A request whose answer is broken is found by it.

use rmcp::model::RequestId;

/// Names and ids beyond this are of no use.
const KEPT: usize = 256;

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
}

/// Where in the outermost object the reader is.
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

    /// Reads on.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if self.string.is_some() {
                self.in_string(*byte);
            } else {
                self.outside(*byte);
            }
        }
    }

    /// The request that this message answers; `None` where it is no answer or where its id was not met.
    pub(crate) fn answers(&self) -> Option<&RequestId> {
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
            b'"' => {
                let text = if self.depth == 1 { Text::Kept(Vec::new()) } else { Text::Skipped };
                self.string = Some(text);
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.number_ended();
                self.depth = self.depth.saturating_sub(1);
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

    /// A number counts once something follows it: before that it may go on.
    fn number_ended(&mut self) {
        let number = std::mem::take(&mut self.number);
        if self.depth == 1
            && let Some(id) = std::str::from_utf8(&number).ok().and_then(whole_number)
        {
            self.id = Some(RequestId::Number(id));
        }
    }
}

/// A number as JSON writes it, where it is a whole one: `7` and `7.0` are the same id.
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

    #[test]
    fn an_answer_is_known_by_its_id_however_it_is_broken() {
        let seven = Some(RequestId::Number(7));
        for (text, id) in [
            (r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"ty"#, seven.clone()),
            (r#"{"result":{"id":1,"s":"\"id\":2,{"},"jsonrpc":"2.0","id":7}"#, seven.clone()),
            (r#"{ "id" : 7.0 , "error" : null }"#, seven.clone()),
            (r#"{"id":"7","result":nonsense}"#, Some(RequestId::String("7".into()))),
            ("{\"id\":7,\"result\":\"\\ud800\"}", seven.clone()),
            // A number at the very end may go on.
            (r#"{"result":{},"id":7"#, None),
            (r#"{"id":7,"method":"ping"}"#, None),
            (r#"{"method":"ping","id":7,"#, None),
            (r#"{"id":null,"error":{}}"#, None),
            (r#"{"id":7.5,"result":{}}"#, None),
            (r#"[{"id":7,"result":{}}]"#, None),
            ("Listening on id:7, port 80", None),
            ("", None),
        ] {
            assert_eq!(Skeleton::of(text.as_bytes()).answers(), id.as_ref(), "{text}");
            let mut by_bytes = Skeleton::default();
            text.as_bytes().chunks(1).for_each(|byte| by_bytes.feed(byte));
            assert_eq!(by_bytes.answers(), id.as_ref(), "byte by byte: {text}");
        }
    }
}
