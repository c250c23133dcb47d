//! The cookies of one session.
//!
//! A load balancer binds a session to one of its servers by a cookie. Without it the next request may come to a server that
//! does not know the session. Each session has a jar of its own, so no other server gets a cookie, and neither does another
//! session with the same server. A server that is given a `Cookie` by its parameters gets that one alone.

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use http::header::{COOKIE, SET_COOKIE};
use parking_lot::Mutex;
use reqwest::{RequestBuilder, Response, Url};

/// The most cookies of a session, and the most bytes of one.
const MOST: usize = 50;
const LONGEST: usize = 4096;

/// The cookies that a server has set (RFC 6265).
#[derive(Default)]
pub(super) struct Cookies(Mutex<Vec<Cookie>>);

struct Cookie {
    name: String,
    value: String,
    path: String,
    /// The end of its life; `None` for the whole session.
    until: Option<SystemTime>,
    /// Whether it is only for `https://`.
    is_secure: bool,
}

impl Cookies {
    /// Takes the cookies of an answer.
    pub(super) fn learn(&self, response: &Response) {
        for set in response.headers().get_all(SET_COOKIE) {
            if let Ok(set) = set.to_str() {
                self.set(set, response.url(), SystemTime::now());
            }
        }
    }

    fn set(&self, set: &str, url: &Url, now: SystemTime) {
        let Some(cookie) = Cookie::read(set, url, now) else { return };
        let mut all = self.0.lock();
        // A cookie that has ended takes the earlier one with it.
        all.retain(|it| (&it.name, &it.path) != (&cookie.name, &cookie.path));
        if cookie.lives(now) {
            all.push(cookie);
            let surplus = all.len().saturating_sub(MOST);
            all.drain(..surplus);
        }
    }

    /// The request with the cookies for `url`.
    pub(super) fn on(&self, request: RequestBuilder, url: &Url) -> RequestBuilder {
        match self.header(url, SystemTime::now()) {
            Some(header) => request.header(COOKIE, header),
            None => request,
        }
    }

    fn header(&self, url: &Url, now: SystemTime) -> Option<HeaderValue> {
        let all = self.0.lock();
        let mut sent: Vec<&Cookie> =
            all.iter().filter(|it| it.lives(now) && it.is_for(url)).collect();
        sent.sort_by_key(|it| std::cmp::Reverse(it.path.len()));
        let pairs: Vec<_> = sent.iter().map(|it| format!("{}={}", it.name, it.value)).collect();
        let mut header =
            HeaderValue::from_str(&pairs.join("; ")).ok().filter(|it| !it.is_empty())?;
        header.set_sensitive(true);
        Some(header)
    }
}

impl Cookie {
    /// Reads a `Set-Cookie`; `None` if it is none, or is for another host.
    fn read(set: &str, url: &Url, now: SystemTime) -> Option<Self> {
        let mut parts = set.split(';');
        let (name, value) = parts.next()?.split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || name.len() + value.len() > LONGEST {
            return None;
        }
        let mut cookie = Self {
            name: name.to_owned(),
            value: value.to_owned(),
            path: default_path(url),
            until: None,
            is_secure: false,
        };
        let mut has_age = false;
        for attribute in parts {
            let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            let value = value.trim();
            match key.trim().to_ascii_lowercase().as_str() {
                "domain" if !is_of(url, value) => return None,
                "path" if value.starts_with('/') => cookie.path = value.to_owned(),
                "secure" => cookie.is_secure = true,
                "max-age" => {
                    let Ok(age) = value.parse::<i64>() else { continue };
                    has_age = true;
                    // An age beyond the end of the clock is none.
                    let age = Duration::from_secs(u64::try_from(age).unwrap_or(0));
                    cookie.until = now.checked_add(age);
                }
                "expires" if !has_age => {
                    cookie.until = httpdate::parse_http_date(value).ok().or(cookie.until);
                }
                _ => {}
            }
        }
        Some(cookie)
    }

    fn lives(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|until| until > now)
    }

    fn is_for(&self, url: &Url) -> bool {
        let is_inside = url.path().strip_prefix(&self.path).is_some_and(|rest| {
            rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/')
        });
        is_inside && (!self.is_secure || url.scheme() == "https")
    }
}

/// The path of a cookie that names none: that of the address up to its last slash.
fn default_path(url: &Url) -> String {
    match url.path().rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((path, _)) => path.to_owned(),
    }
}

/// Whether a host is in a domain.
fn is_of(url: &Url, domain: &str) -> bool {
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    let Some(host) = url.host_str() else { return false };
    let is_below = || {
        let parent = host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'));
        parent && url.domain().is_some()
    };
    domain.is_empty() || host == domain || is_below()
}

/// Shows the names without the values, which may be credentials.
impl std::fmt::Debug for Cookies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.lock().iter().map(|it| &it.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(set: &[&str], to: &str) -> String {
        let (cookies, now) = (Cookies::default(), SystemTime::UNIX_EPOCH);
        let from = Url::parse("https://mcp.example.org/a/mcp").expect("an address");
        for set in set {
            cookies.set(set, &from, now);
        }
        let to = Url::parse(to).expect("an address");
        let header = cookies.header(&to, now + Duration::from_secs(10));
        header.map_or_else(String::new, |it| it.to_str().expect("text").to_owned())
    }

    #[test]
    fn a_cookie_is_sent_where_and_as_long_as_it_says() {
        const SAME: &str = "https://mcp.example.org/a/mcp";
        for (set, to, wanted) in [
            (&["LB=7; Path=/"][..], SAME, "LB=7"),
            (&["LB=7"], SAME, "LB=7"),
            (&[" LB = 7 ; HttpOnly; SameSite=None"], SAME, "LB=7"),
            (&["LB=a=b"], SAME, "LB=a=b"),
            (&["LB=7; Path=/", "LB=8; Path=/"], SAME, "LB=8"),
            (&["x=1; Path=/", "y=2; Path=/a"], SAME, "y=2; x=1"),
            (&["LB=7; Path=/b"], SAME, ""),
            (&["LB=7; Path=/a"], "https://mcp.example.org/abc", ""),
            (&["LB=7; Domain=example.org"], SAME, "LB=7"),
            (&["LB=7; Domain=.Example.org"], SAME, "LB=7"),
            (&["LB=7; Domain=other.org"], SAME, ""),
            (&["LB=7; Domain=cp.example.org"], SAME, ""),
            (&["LB=7; Secure"], SAME, "LB=7"),
            (&["LB=7; Secure"], "http://mcp.example.org/a/mcp", ""),
            (&["LB=7; Max-Age=11"], SAME, "LB=7"),
            (&["LB=7; Max-Age=9"], SAME, ""),
            (&["LB=7; Max-Age=9223372036854775807"], SAME, "LB=7"),
            (&["LB=7", "LB=; Max-Age=0"], SAME, ""),
            (&["LB=7", "LB=; Max-Age=-1"], SAME, ""),
            (&["LB=7; Expires=Thu, 01 Jan 1970 00:00:05 GMT"], SAME, ""),
            (&["LB=7; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:05 GMT"], SAME, "LB=7"),
            (&["LB=7; Expires=soon"], SAME, "LB=7"),
            (&["no cookie", "=7", ""], SAME, ""),
        ] {
            assert_eq!(sent(set, to), wanted, "{set:?}");
        }
        let many: Vec<String> = (0..60).map(|at| format!("c{at}=1")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(sent(&many, SAME).split("; ").count(), MOST);
        assert_eq!(sent(&[&format!("LB={}", "x".repeat(LONGEST))], SAME), "");
    }
}
