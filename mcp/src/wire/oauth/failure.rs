//! The failures of an authorisation, without the secrets that they may repeat.

use rmcp::transport::auth::AuthError;

use crate::auth::BoxError;
use crate::fault::{Flattened, chain};

/// The reason why there is no token, without texts that may be secret.
pub(crate) struct NoToken {
    pub(crate) error: BoxError,
    /// Whether only the refresh has failed, so that a new login may help.
    pub(crate) may_begin: bool,
    /// The token that was not refreshed.
    pub(crate) expired: Option<String>,
}

impl From<BoxError> for NoToken {
    fn from(error: BoxError) -> Self {
        Self { error, may_begin: false, expired: None }
    }
}

/// A failure whose secrets have to be hidden yet.
pub(super) enum Failed {
    Auth(AuthError),
    /// The code in this address was not exchanged for a token.
    Exchange(AuthError, String),
    /// An error of the caller, or of ours.
    Own(BoxError),
}

impl From<AuthError> for Failed {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

/// An error of rmcp's, without the secrets that it may repeat.
pub(super) fn told(error: &AuthError, secrets: &[String]) -> BoxError {
    // A server may repeat the body of the request, in which they are encoded.
    let encoded = |it: &String| {
        let pair = [("", it.as_str())];
        let url = reqwest::Url::parse_with_params("http://localhost/", pair).ok()?;
        url.query().map(|query| query.trim_start_matches('=').to_owned())
    };
    let mut forms: Vec<String> = secrets.iter().filter_map(encoded).collect();
    forms.extend_from_slice(secrets);
    let hidden = |text: String| {
        forms.iter().filter(|it| !it.is_empty()).fold(text, |text, it| text.replace(it, "(hidden)"))
    };
    let texts = chain(error).into_iter().map(hidden).collect();
    match Flattened::from_texts(texts) {
        Some(flat) => flat.into(),
        None => "no reason is known".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_in_the_form_of_a_request_too() {
        let error = AuthError::TokenRefreshFailed("no refresh_token=a%2Fb%2B+c, a/b+ c".into());
        let text = told(&error, &["a/b+ c".to_owned()]).to_string();
        assert!(text.ends_with("no refresh_token=(hidden), (hidden)"), "{text}");
    }
}
