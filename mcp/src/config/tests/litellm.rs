//! LiteLLM's YAML.

use super::{http, names, refused, stdio, valid};
use crate::config::Config;
use std::env::VarError;

fn env(name: &str) -> Result<String, VarError> {
    match name {
        "GITHUB_TOKEN" => Ok("gh-secret".to_owned()),
        "KEY" => Ok("k-secret".to_owned()),
        _ => Err(VarError::NotPresent),
    }
}

#[test]
fn a_configuration_of_the_proxy_is_read() {
    let text = "
# The proxy's own.
model_list:
  - model_name: gpt
    litellm_params: {model: openai/gpt, api_key: os.environ/NOT_SET}
litellm_settings:
  drop_params: true

x-http: &http
  transport: http
  headers: {X-From: proxy}

mcp_servers:
  github:
    url: https://h.example/mcp
    transport: sse
    auth_type: bearer_token
    auth_value: os.environ/GITHUB_TOKEN
    allow_all_keys: true
  keyed:
    <<: *http
    url: https://k.example/mcp
    auth_type: api_key
    authentication_token: os.environ/KEY
  plain:
    url: https://p.example/mcp
    auth_type: none
    headers:
      X-Token: Token os.environ/KEY
      X-Number: 1.10
  child:
    transport: stdio
    command: npx
    args: [-y, some-server, --port, 0080]
    env:
      PORT: 8080
      DEBUG: True
      VERSION: 1.10
      OCTAL: 0755
      EMPTY: ''
";
    let config = Config::parse(text, env).expect("valid");
    assert_eq!(names(&config), ["github", "keyed", "plain", "child"]);
    assert_eq!(http(&config, 0).headers["Authorization"], "Bearer gh-secret");
    assert_eq!(http(&config, 1).headers["X-API-Key"], "k-secret");
    assert_eq!(http(&config, 1).headers["X-From"], "proxy");
    assert_eq!(http(&config, 2).headers["X-Token"], "Token k-secret");
    assert_eq!(http(&config, 2).headers["X-Number"], "1.10");
    let child = stdio(&config, 3);
    assert_eq!(child.args, ["-y", "some-server", "--port", "0080"]);
    let env: Vec<_> = child.env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        env,
        [
            ("DEBUG", "True"),
            ("EMPTY", ""),
            ("OCTAL", "0755"),
            ("PORT", "8080"),
            ("VERSION", "1.10")
        ]
    );
    assert_eq!(
        config.warnings,
        [
            r#"unknown keys "model_list", "litellm_settings", "x-http" are ignored"#,
            r#"server "github": "allow_all_keys" is ignored: it tells LiteLLM which of its own keys may use the server"#,
            r#"server "github": "transport" is "sse": the SSE transport was removed from the protocol, streamable HTTP is used"#,
        ]
    );
    assert!(!format!("{config:?}").contains("secret"), "{config:?}");
}

#[test]
fn every_auth_type_is_a_header_or_a_warning() {
    for (auth, header, warnings) in [
        ("auth_type: api_key\n    auth_value: v", Some(("X-API-Key", "v")), 0),
        ("auth_type: bearer_token\n    auth_value: v", Some(("Authorization", "Bearer v")), 0),
        ("auth_type: basic\n    auth_value: 'u:p'", Some(("Authorization", "Basic dTpw")), 0),
        ("auth_type: token\n    auth_value: v", Some(("Authorization", "token v")), 0),
        ("auth_type: authorization\n    auth_value: v", Some(("Authorization", "v")), 0),
        ("auth_type: none", None, 0),
        ("auth_type: oauth2", None, 1),
        ("auth_type: bearer_token", None, 1),
        ("auth_value: v", None, 1),
    ] {
        let config = valid(&format!("mcp_servers:\n  a:\n    url: http://h/\n    {auth}\n"));
        let headers: Vec<_> =
            http(&config, 0).headers.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(headers, header.into_iter().collect::<Vec<_>>(), "{auth}");
        assert_eq!(config.warnings.len(), warnings, "{auth}: {:?}", config.warnings);
    }
    let why = refused(
        "mcp_servers:\n  a:\n    url: http://h/\n    headers: {authorization: s1}\n    auth_type: basic\n    auth_value: s2\n",
    );
    assert_eq!(
        why,
        r#"line 6: server "a": "auth_value" stands for the header Authorization, which "headers" has as well"#
    );
}
