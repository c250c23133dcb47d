//! The names of components in a group: legal names, one holder for each, and hooks.

use moored_mcp::{CallOptions, ComponentKind, Names, Outcome, Policy, ServerParams, SessionGroup};
use serde_json::{Map, json};

use crate::support::http::{Reply, Request, Server, legacy};
use crate::support::{at, brisk, exists, fleet_server, pids, within_limit};

/// A legacy server with these tools.
async fn with_tools(names: &'static [&'static str]) -> Server {
    Server::start(move |request: &Request| match request.rpc.as_str() {
        "tools/list" => {
            let tool = |name: &&str| json!({"name": name, "inputSchema": {"type": "object"}});
            let tools: Vec<_> = names.iter().map(tool).collect();
            Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": {"tools": tools}}))
        }
        _ => legacy(request),
    })
    .await
}

/// A hook that leaves the server out.
fn bare() -> SessionGroup {
    SessionGroup::start(brisk().names(Names::by(|_, _, name| name.to_owned())))
}

fn hooked(group: &SessionGroup) -> Vec<String> {
    group.list().into_iter().map(|component| component.hooked).collect()
}

async fn call(group: &SessionGroup, name: &str) -> bool {
    group.call_tool(name, Map::new(), CallOptions::default()).await.is_ok()
}

#[tokio::test]
async fn names_are_legal_for_language_models_and_calls_understand_both_forms() {
    within_limit(async {
        let server = with_tools(&["echo", "a/b", "ä", "it's"]).await;
        let group = SessionGroup::start(brisk());
        group.connect(at("my files", &server.url)).await.expect("up");
        let names = hooked(&group);
        assert_eq!(names[..2], ["my-x20-files__echo", "my-x20-files__a-x2f-b"]);
        for (name, wire) in names.iter().zip(["echo", "a/b", "ä", "it's"]) {
            let legal = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
            assert!(name.len() <= 64 && name.chars().all(legal), "{name}");
            assert_eq!(Names::unhook(name), Some(("my files".into(), wire.into())));
            assert!(call(&group, name).await && call(&group, &format!("my files/{wire}")).await);
        }
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_server_whose_tool_has_a_taken_name_is_left_again_whole() {
    within_limit(async {
        let (one, two) = (with_tools(&["echo"]).await, with_tools(&["other", "echo"]).await);
        let group = bare();
        group.connect(at("one", &one.url)).await.expect("up");
        let error = group.connect(at("two", &two.url)).await.expect_err("the name is taken");
        assert_eq!(error.outcome(), Outcome::DuplicateName);
        let text = error.to_string();
        for part in ["\"one\"", "\"two\"", "\"echo\""] {
            assert!(text.contains(part), "{text}");
        }
        assert_eq!(two.deletes(), 1, "{:?}", two.log());
        assert_eq!(hooked(&group), ["echo"]);
        assert!(call(&group, "echo").await && !call(&group, "other").await);

        // The name is free once its holder has been left.
        group.disconnect("one").await.expect("it was up");
        group.connect(at("two", &two.url)).await.expect("up");
        assert_eq!(hooked(&group), ["other", "echo"]);
        let report = group.close().await;
        assert!(report.clean, "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn a_rejected_child_is_reaped_and_its_names_stay_free() {
    within_limit(async {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("pids");
        let flags = ["--pid-file", file.to_str().expect("UTF-8")];
        let group = bare();
        group.connect(fleet_server("one", &[])).await.expect("up");
        let error = group.connect(fleet_server("two", &flags)).await.expect_err("all are taken");
        assert_eq!(error.outcome(), Outcome::DuplicateName);
        for pid in pids(&file) {
            assert!(!exists(pid), "process {pid} is there");
        }
        let report = group.close().await;
        assert!(report.clean, "{report:?}");
    })
    .await;
}

#[tokio::test]
async fn of_many_with_the_same_names_exactly_one_comes_up() {
    within_limit(async {
        let server = with_tools(&["echo"]).await;
        let group = bare();
        let servers: Vec<ServerParams> =
            (0..8).map(|number| at(&format!("s{number}"), &server.url)).collect();
        let results = group.connect_many(servers, Policy::BestEffort).await;
        assert_eq!(results.iter().filter(|it| it.is_ok()).count(), 1);
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.outcome(), Outcome::DuplicateName, "{error}");
        }
        assert_eq!(server.deletes(), 7);
        assert_eq!(hooked(&group), ["echo"]);
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_hook_that_panics_or_names_two_alike_costs_its_server_only() {
    within_limit(async {
        let server = with_tools(&["echo", "other"]).await;
        let names = Names::by(|kind, server, name| match server {
            "panics" => panic!("no name for a {kind}"),
            "alike" => "same".to_owned(),
            _ => format!("{server}.{name}"),
        });
        let group = SessionGroup::start(brisk().names(names));
        let panics = group.connect(at("panics", &server.url)).await.expect_err("a panic");
        assert_eq!(panics.outcome(), Outcome::Other);
        assert!(panics.to_string().contains("no name for a tool"), "{panics}");
        let alike = group.connect(at("alike", &server.url)).await.expect_err("one name for two");
        assert_eq!(alike.outcome(), Outcome::DuplicateName);
        group.connect(at("fine", &server.url)).await.expect("up");
        assert!(call(&group, "fine.echo").await);
        assert!(group.component(ComponentKind::Tool, "fine.other").is_some());
        assert_eq!(server.deletes(), 2);
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_hook_that_panics_with_a_value_whose_drop_panics_costs_its_server_only() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "the drop of a panic's value");
        }
    }
    within_limit(async {
        let server = with_tools(&["echo"]).await;
        let names = Names::by(|_, server, name| match server {
            "panics" => std::panic::panic_any(Bomb),
            _ => format!("{server}.{name}"),
        });
        let group = SessionGroup::start(brisk().names(names));
        let panics = group.connect(at("panics", &server.url)).await.expect_err("a panic");
        assert!(panics.to_string().contains("the name hook panicked"), "{panics}");
        group.connect(at("fine", &server.url)).await.expect("the group takes servers");
        assert_eq!(server.deletes(), 1);
        assert!(group.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_name_that_a_server_lists_twice_belongs_to_the_first_with_a_warning() {
    within_limit(async {
        let server = with_tools(&["echo", "echo", "echo"]).await;
        let group = SessionGroup::start(brisk());
        let info = group.connect(at("s", &server.url)).await.expect("up");
        assert_eq!(
            info.warnings,
            [r#"there is more than one tool "echo": the first one has the name"#]
        );
        // A model refuses a list with two tools of one name.
        assert_eq!((hooked(&group), info.tools), (vec!["s__echo".to_owned()], 1));
        assert!(call(&group, "s__echo").await);
        assert!(group.close().await.clean);
    })
    .await;
}
