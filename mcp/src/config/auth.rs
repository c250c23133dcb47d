//! LiteLLM's `auth_type` and `auth_value`, as the header for which they stand.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The result of an `auth_type`.
pub(super) enum Auth {
    /// This header.
    Header(&'static str, String),
    /// No header, for a reason that a warning names.
    Nothing(&'static str),
    /// No header, as requested.
    None,
}

pub(super) fn read(kind: Option<&str>, value: Option<String>) -> Auth {
    let value = match (kind, value) {
        (None | Some("none" | ""), None) => return Auth::None,
        (None | Some("none" | ""), Some(_)) => {
            return Auth::Nothing(
                "\"auth_value\" is ignored: no \"auth_type\" says how to send it",
            );
        }
        (Some(_), value) => value,
    };
    let header: fn(String) -> (&'static str, String) = match kind.unwrap_or_default() {
        "api_key" => |value| ("X-API-Key", value),
        "bearer_token" => |value| ("Authorization", format!("Bearer {value}")),
        "basic" => |value| ("Authorization", format!("Basic {}", STANDARD.encode(value))),
        "token" => |value| ("Authorization", format!("token {value}")),
        "authorization" => |value| ("Authorization", value),
        _ => {
            return Auth::Nothing(
                "\"auth_type\" is ignored: it is none of none, api_key, bearer_token, basic, token and \
                 authorization, so only \"headers\" authorise",
            );
        }
    };
    match value {
        Some(value) => {
            let (name, value) = header(value);
            Auth::Header(name, value)
        }
        None => Auth::Nothing(
            "\"auth_type\" is ignored: there is no \"auth_value\", so only \"headers\" authorise",
        ),
    }
}
