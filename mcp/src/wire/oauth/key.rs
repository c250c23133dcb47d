//! Client credentials with a private key (RFC 7523): a signed assertion in place of a secret.
//!
//! rmcp has this too, behind a crypto library that needs a C compiler. `ring` is in the tree already, for TLS.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{self, EcdsaKeyPair, RsaEncoding, RsaKeyPair};
use rmcp::transport::auth::{AuthorizationMetadata, OAuthTokenResponse, StoredCredentials};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;

use crate::auth::{BoxError, Config};
use crate::wire::body;
use crate::wire::http::client::{Client, Kind};

/// The time for which an assertion is valid, in seconds.
const VALID: u64 = 300;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The client and its key.
pub(super) struct Key<'a> {
    pub(super) client_id: &'a str,
    pub(super) pem: &'a [u8],
    pub(super) algorithm: &'a str,
}

/// Gets a token for the resource `base`.
///
/// # Errors
///
/// The key cannot sign, or the authorisation server refuses the assertion.
pub(super) async fn exchange(
    metadata: &AuthorizationMetadata,
    base: &reqwest::Url,
    key: &Key<'_>,
    config: &Config,
) -> Result<StoredCredentials, BoxError> {
    let endpoint = reqwest::Url::parse(&metadata.token_endpoint)?;
    if endpoint.scheme() != "https" && endpoint.host() != base.host() {
        return Err("the token endpoint is not https".into());
    }
    let audience = metadata.issuer.as_deref().ok_or("the authorisation server names no issuer")?;
    let assertion = key.assertion(audience)?;
    let scopes = config.scopes.join(" ");
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &assertion),
        ("resource", base.as_str()),
    ];
    if !scopes.is_empty() {
        form.push(("scope", &scopes));
    }
    // The encoding of a query is that of a form.
    let mut encoded = endpoint.clone();
    encoded.set_query(None);
    encoded.query_pairs_mut().extend_pairs(form);
    let client = Client::new(Kind::of(endpoint.as_str()))?;
    let request = client.pooled().post(endpoint);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    let response = request.body(encoded.query().unwrap_or_default().to_owned()).send().await;
    let response = response.map_err(reqwest::Error::without_url)?;
    let status = response.status();
    let answer = body::bounded(response, body::ERROR_LIMIT).await?;
    if !status.is_success() {
        let said = body::preview(&answer).unwrap_or_default().replace(&assertion, "(hidden)");
        return Err(
            format!("the authorisation server refused the client (HTTP {status}): {said}").into()
        );
    }
    let token: OAuthTokenResponse = serde_json::from_slice(&answer)
        .map_err(|_| "the authorisation server answered with something that is no token")?;
    let stored = StoredCredentials::new(
        key.client_id.to_owned(),
        Some(token),
        config.scopes.clone(),
        Some(now()),
    );
    Ok(stored.with_issuer(metadata.issuer.clone()))
}

impl Key<'_> {
    /// The client's own word that it is the client.
    fn assertion(&self, audience: &str) -> Result<String, BoxError> {
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| "there are no random numbers")?;
        let now = now();
        let header = json!({"alg": self.algorithm, "typ": "client-authentication+jwt"});
        let claims = json!({
            "iss": self.client_id, "sub": self.client_id, "aud": audience,
            "iat": now, "exp": now + VALID, "jti": URL_SAFE_NO_PAD.encode(id),
        });
        let encode = |part: serde_json::Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, BoxError> {
        const NO_KEY: &str = "the client's key is no private key in PEM for its algorithm";
        let key = PrivateKeyDer::from_pem_slice(self.pem).map_err(|_| NO_KEY)?;
        let random = SystemRandom::new();
        let rsa: &dyn RsaEncoding = match self.algorithm {
            "ES256" | "ES384" => {
                let algorithm = match self.algorithm {
                    "ES256" => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                    _ => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
                };
                let PrivateKeyDer::Pkcs8(der) = &key else { return Err(NO_KEY.into()) };
                let pair = EcdsaKeyPair::from_pkcs8(algorithm, der.secret_pkcs8_der(), &random);
                let signed = pair.map_err(|_| NO_KEY)?.sign(&random, message);
                return Ok(signed.map_err(|_| NO_KEY)?.as_ref().to_vec());
            }
            "RS256" => &signature::RSA_PKCS1_SHA256,
            "RS384" => &signature::RSA_PKCS1_SHA384,
            "RS512" => &signature::RSA_PKCS1_SHA512,
            other => {
                let text = format!("{other:?} is none of RS256, RS384, RS512, ES256 and ES384");
                return Err(text.into());
            }
        };
        let pair = match &key {
            PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(NO_KEY.into()),
        };
        let pair = pair.map_err(|_| NO_KEY)?;
        let mut signed = vec![0; pair.public().modulus_len()];
        pair.sign(rsa, &random, message, &mut signed).map_err(|_| NO_KEY)?;
        Ok(signed)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use ring::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, KeyPair};

    use super::*;

    #[test]
    fn an_assertion_is_signed_by_the_key_and_no_other_key_will_do() {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
        let der = der.expect("a key");
        let body = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n");
        let key = Key { client_id: "c", pem: pem.as_bytes(), algorithm: "ES256" };
        let assertion = key.assertion("https://issuer.example").expect("signed");
        let (signed, signature) = assertion.rsplit_once('.').expect("three parts");
        let signature = URL_SAFE_NO_PAD.decode(signature).expect("base 64");
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random);
        let pair = pair.expect("the key");
        let public = pair.public_key().as_ref();
        ring::signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public)
            .verify(signed.as_bytes(), &signature)
            .expect("its signature");
        let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.').expect("two parts").1);
        let claims: serde_json::Value =
            serde_json::from_slice(&claims.expect("base 64")).expect("JSON");
        assert_eq!(
            (&claims["iss"], &claims["aud"]),
            (&json!("c"), &json!("https://issuer.example"))
        );
        for (pem, algorithm, why) in [
            (pem.as_bytes(), "RS256", "no private key"),
            (b"none".as_slice(), "ES256", "no private key"),
            (pem.as_bytes(), "HS256", "is none of"),
        ] {
            let error = Key { client_id: "c", pem, algorithm }.assertion("a").expect_err(why);
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}
