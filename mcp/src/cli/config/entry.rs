//! One server of the configuration: which transport it asks for, and with what.

use std::collections::BTreeMap;
use std::path::PathBuf;

use moored_mcp::{Era, HttpParams, ServerParams, StdioParams, Transport};
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use super::ordered::Json;

/// The keys that are known, each at most once.
#[derive(Default)]
struct Fields {
    command: Option<Json>,
    args: Option<Json>,
    env: Option<Json>,
    cwd: Option<Json>,
    url: Option<Json>,
    headers: Option<Json>,
    era: Option<Json>,
}

/// Turns one entry into parameters, adding to `warnings` what it passes over.
///
/// # Errors
///
/// What is wrong, without the server's name, which the caller puts before it.
pub(crate) fn read(
    name: &str,
    value: Json,
    warnings: &mut Vec<String>,
) -> Result<ServerParams, String> {
    if name.is_empty() {
        return Err("a server needs a name that is not empty".to_owned());
    }
    let mut fields = sort(name, value, warnings)?;
    let era = fields.era.take().map(era).transpose()?.unwrap_or_default();
    let transport = match (fields.command, fields.url) {
        (Some(_), Some(_)) => {
            return Err("both \"command\" and \"url\": a server has one of them".to_owned());
        }
        (None, None) => {
            return Err("neither \"command\" nor \"url\": a server needs one of them".to_owned());
        }
        (Some(command), None) => {
            pass_over(name, "url", &[("headers", &fields.headers)], warnings);
            Transport::Stdio(StdioParams {
                command: filled("command", command)?,
                args: fields.args.map_or_else(|| Ok(Vec::new()), args)?,
                env: texts("env", fields.env)?,
                cwd: fields.cwd.map(|cwd| filled("cwd", cwd).map(PathBuf::from)).transpose()?,
            })
        }
        (None, Some(url)) => {
            let stdio_only = [("args", &fields.args), ("env", &fields.env), ("cwd", &fields.cwd)];
            pass_over(name, "command", &stdio_only, warnings);
            let url = filled("url", url)?;
            check_url(&url)?;
            let headers = texts("headers", fields.headers)?;
            headers.iter().try_for_each(|(key, value)| {
                check_header(key, value).map_err(|why| format!("\"headers\": {why}"))
            })?;
            Transport::Http(HttpParams { url, headers })
        }
    };
    Ok(ServerParams { name: name.to_owned(), transport, era })
}

/// Puts each key in its place; `null` counts as not written.
fn sort(name: &str, value: Json, warnings: &mut Vec<String>) -> Result<Fields, String> {
    let Json::Object(pairs) = value else {
        return Err(format!("expected an object, found {}", value.kind()));
    };
    let mut fields = Fields::default();
    let mut seen = Vec::new();
    for (key, value) in pairs {
        let place = match key.as_str() {
            "command" => &mut fields.command,
            "args" => &mut fields.args,
            "env" => &mut fields.env,
            "cwd" => &mut fields.cwd,
            "url" => &mut fields.url,
            "headers" => &mut fields.headers,
            "era" => &mut fields.era,
            _ => {
                warnings.push(format!(
                    "server {name:?}: unknown key {key:?} is ignored{}",
                    advice(&key, &value)
                ));
                continue;
            }
        };
        if seen.contains(&key) {
            return Err(format!("{key:?} stands there twice"));
        }
        if value != Json::Null {
            *place = Some(value);
        }
        seen.push(key);
    }
    Ok(fields)
}

/// A word more on unknown keys that other programs give a meaning.
fn advice(key: &str, value: &Json) -> &'static str {
    match (key, value) {
        ("type" | "transport", Json::Text(kind)) if kind == "sse" => {
            "; the SSE transport was removed from the protocol, streamable HTTP is used"
        }
        ("type" | "transport", _) => "; \"command\" or \"url\" decides the transport",
        ("disabled" | "enabled", _) => "; every server listed is started",
        _ => "",
    }
}

/// Warns of keys that belong to the other transport.
fn pass_over(name: &str, needs: &str, keys: &[(&str, &Option<Json>)], warnings: &mut Vec<String>) {
    for (key, _) in keys.iter().filter(|(_, value)| value.is_some()) {
        warnings.push(format!("server {name:?}: {key:?} goes with {needs:?} and is ignored"));
    }
}

fn text(key: &str, value: Json) -> Result<String, String> {
    match value {
        Json::Text(text) => Ok(text),
        other => Err(format!("{key:?} must be a string, not {}", other.kind())),
    }
}

fn filled(key: &str, value: Json) -> Result<String, String> {
    let text = text(key, value)?;
    if text.is_empty() {
        return Err(format!("{key:?} is empty"));
    }
    Ok(text)
}

fn era(value: Json) -> Result<Era, String> {
    match text("era", value)?.as_str() {
        "auto" => Ok(Era::Auto),
        "legacy" => Ok(Era::Legacy),
        "modern" => Ok(Era::Modern),
        other => Err(format!("\"era\" {other:?}: expected \"auto\", \"legacy\" or \"modern\"")),
    }
}

fn args(value: Json) -> Result<Vec<String>, String> {
    match value {
        Json::List(items) => items
            .into_iter()
            .enumerate()
            .map(|(at, item)| text(&format!("args[{at}]"), item))
            .collect(),
        other => Err(format!("\"args\" must be a list, not {}", other.kind())),
    }
}

/// An object of strings: `env` and `headers`.
fn texts(key: &str, value: Option<Json>) -> Result<BTreeMap<String, String>, String> {
    let pairs = match value {
        None => return Ok(BTreeMap::new()),
        Some(Json::Object(pairs)) => pairs,
        Some(other) => {
            return Err(format!("{key:?} must be an object of strings, not {}", other.kind()));
        }
    };
    let mut texts = BTreeMap::new();
    for (name, value) in pairs {
        let value = text(&format!("{key}.{name}"), value)?;
        if texts.insert(name.clone(), value).is_some() {
            return Err(format!("{key:?} has {name:?} twice"));
        }
    }
    Ok(texts)
}

fn check_url(url: &str) -> Result<(), String> {
    let parsed = Url::parse(url).map_err(|e| format!("\"url\" {url:?}: {e}"))?;
    match parsed.scheme() {
        "http" | "https" => Ok(()),
        other => Err(format!("\"url\" {url:?}: expected http or https, not {other}")),
    }
}

/// The value is not repeated: it is often a credential.
fn check_header(name: &str, value: &str) -> Result<(), String> {
    HeaderName::try_from(name).map_err(|_| format!("{name:?} is no header name"))?;
    HeaderValue::try_from(value).map_err(|_| format!("the value of {name:?} cannot be sent"))?;
    Ok(())
}
