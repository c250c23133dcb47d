//! Configurations, JSON and YAML: read or refused, and no value of the environment in what is shown.
#![no_main]

use moored_mcp::config::Config;

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let Ok(text) = std::str::from_utf8(text) else { return };
    const SECRET: &str = "a value nobody may see";
    let read = Config::parse(text, |_| Ok(SECRET.to_owned()));
    let shown = match &read {
        Ok(config) => format!("{config:?} {:?}", config.warnings),
        Err(error) => format!("{error} {error:?}"),
    };
    // An address, an argument and a name are shown as they are; headers and variables are not.
    if let Ok(config) = read {
        for server in config.servers {
            match server.transport {
                moored_mcp::Transport::Http(http) if !http.url.contains(SECRET) => {
                    assert!(!format!("{http:?}").contains(SECRET), "{shown}");
                }
                _ => {}
            }
        }
    }
});
