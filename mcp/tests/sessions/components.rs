//! The fields of each component reach the user as the server sent them.

use moored_mcp::{ComponentInfo, ComponentKind, ServerParams, SessionGroup};
use serde_json::{Value, json};

use crate::support::http::{Reply, Request, Server, legacy, modern};
use crate::support::{at, brisk_group, shell_server_with, within_limit};

fn tool() -> Value {
    json!({
        "name": "look",
        "title": "Look up",
        "description": "looks",
        "inputSchema": {"type": "object", "x-order": ["b", "a"], "$defs": {"n": {"maximum": 1e3}}},
        "outputSchema": {"type": "object", "properties": {"n": {"type": "integer"}}},
        "annotations": {"readOnlyHint": true, "x-cost": 7},
        "icons": [{"src": "data:,", "sizes": ["any"], "x-hue": "blue"}],
        "_meta": {"vendor/secret": {"deep": [1, null]}},
        "execution": {"taskSupport": "forbidden"},
        "x-unknown": [{"kept": true}],
    })
}

fn prompt() -> Value {
    json!({"name": "ask", "arguments": [{"name": "about", "required": true, "x": 1}], "x": 2})
}

fn resource() -> Value {
    json!({"name": "log", "uri": "log:///a", "mimeType": "text/plain", "size": 3, "x": {"y": 4}})
}

fn template() -> Value {
    json!({"name": "day", "uriTemplate": "log:///{day}", "title": "A day", "_meta": {"k": 5}, "x": 6})
}

const CAPABILITIES: &str = r#"{"tools":{},"prompts":{},"resources":{}}"#;

/// The lists, in both eras.
fn lists(method: &str) -> Option<Value> {
    let mut page = match method {
        "tools/list" => json!({"tools": [tool()]}),
        "prompts/list" => json!({"prompts": [prompt()]}),
        "resources/list" => json!({"resources": [resource()]}),
        "resources/templates/list" => json!({"resourceTemplates": [template()]}),
        _ => return None,
    };
    page["_meta"] = json!({"moored/page": 0});
    Some(page)
}

fn offering(
    healthy: impl Fn(&Request) -> Reply + Send + Sync,
    is_modern: bool,
) -> impl Fn(&Request) -> Reply {
    let answer =
        |request: &Request, value| json!({"jsonrpc": "2.0", "id": request.id, "result": value});
    let capabilities: Value = serde_json::from_str(CAPABILITIES).expect("JSON");
    move |request| {
        if let Some(mut page) = lists(&request.rpc) {
            if is_modern {
                page["resultType"] = json!("complete");
                page["ttlMs"] = json!(60_000);
                page["cacheScope"] = json!("private");
            }
            return Reply::json(answer(request, page));
        }
        match (request.rpc.as_str(), is_modern) {
            ("initialize", false) => Reply::json(answer(
                request,
                json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": capabilities,
                    "serverInfo": {"name": "scripted", "version": "1"},
                }),
            )),
            ("server/discover", true) => Reply::json(answer(
                request,
                json!({
                    "resultType": "complete",
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": capabilities,
                    "ttlMs": 0,
                    "cacheScope": "private",
                }),
            )),
            _ => healthy(request),
        }
    }
}

/// A child that offers the same.
fn child(name: &str) -> ServerParams {
    let case = |method: &str| {
        let page = lists(method).expect("a list");
        format!(r#"*'"method":"{method}"'*) say '"result":{page}' ;;"#)
    };
    let methods = ["tools/list", "prompts/list", "resources/list", "resources/templates/list"];
    let mut cases: Vec<String> = methods.map(case).into();
    cases.push(format!(
        r#"*'"method":"initialize"'*) say '"result":{{"protocolVersion":"2025-11-25","capabilities":{CAPABILITIES},"serverInfo":{{"name":"sh","version":"1"}}}}' ;;"#
    ));
    shell_server_with(name, &cases.join("\n    "), ":")
}

async fn offered_by(params: ServerParams) -> Vec<ComponentInfo> {
    let group: SessionGroup = brisk_group();
    let info = group.connect(params).await.expect("up");
    assert!(info.warnings.is_empty(), "{info:?}");
    let listed = group.list();
    for component in &listed {
        assert!(group.components(component.kind).contains(component));
        let found = group.component(component.kind, &component.hooked);
        assert_eq!(found.as_ref(), Some(component));
    }
    assert!(group.close().await.all_well());
    assert!(group.list().is_empty(), "what has been left offers nothing");
    listed
}

fn raw(components: &[ComponentInfo], kind: ComponentKind) -> Value {
    let of_kind: Vec<_> = components.iter().filter(|it| it.kind == kind).collect();
    let [component] = of_kind[..] else { panic!("{components:?}") };
    component.raw.clone().into()
}

#[tokio::test]
async fn every_field_of_a_component_is_kept_in_both_eras_and_on_both_transports() {
    within_limit(async {
        let old = Server::start(offering(legacy, false)).await;
        let new = Server::start(offering(modern, true)).await;
        for params in [at("s", &old.url), at("s", &new.url), child("s")] {
            let listed = offered_by(params).await;
            assert_eq!(raw(&listed, ComponentKind::Tool), tool());
            assert_eq!(raw(&listed, ComponentKind::Prompt), prompt());
            assert_eq!(raw(&listed, ComponentKind::Resource), resource());
            assert_eq!(raw(&listed, ComponentKind::ResourceTemplate), template());
        }
    })
    .await;
}

#[tokio::test]
async fn the_usual_fields_are_read_from_the_servers_own_object() {
    within_limit(async {
        let server = Server::start(offering(legacy, false)).await;
        let listed = offered_by(at("s", &server.url)).await;
        let of = |kind| listed.iter().find(|it| it.kind == kind).expect("one of each kind");

        let look = of(ComponentKind::Tool);
        assert_eq!((look.name(), look.title()), ("look", Some("Look up")));
        assert_eq!(look.description.as_deref(), Some("looks"));
        assert_eq!(look.input_schema().map(|it| &it["type"]), Some(&json!("object")));
        assert_eq!(look.output_schema().map(|it| it.len()), Some(2));
        assert_eq!(look.annotations().map(|it| &it["x-cost"]), Some(&json!(7)));
        assert_eq!(look.icons()[0]["x-hue"], "blue");
        assert_eq!(look.meta().map(|it| &it["vendor/secret"]["deep"]), Some(&json!([1, null])));

        assert_eq!(of(ComponentKind::Prompt).arguments()[0]["name"], "about");
        let log = of(ComponentKind::Resource);
        assert_eq!((log.name(), &*log.wire), ("log", "log:///a"));
        assert_eq!((log.mime_type(), log.size()), (Some("text/plain"), Some(3)));
        let day = of(ComponentKind::ResourceTemplate);
        assert_eq!((day.name(), &*day.wire, day.title()), ("day", "log:///{day}", Some("A day")));

        let text = serde_json::to_string(look).expect("JSON");
        assert_eq!(serde_json::from_str::<ComponentInfo>(&text).expect("a component"), *look);
    })
    .await;
}
