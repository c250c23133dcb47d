//! tokio-console shows the names of children and the places of their spawns. The console reads both from tokio's own
//! spans, which tokio has with `--cfg tokio_unstable` only: `bash ci/deep.sh console` runs these tests.
#![cfg(tokio_unstable)]
#![allow(clippy::disallowed_types, reason = "a test has nothing that loom could take the place of")]

use moored::TaskGroup;
use moored::rt::tokio::Tokio;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// The fields of one span.
type Fields = HashMap<String, String>;

/// Keeps the fields of each span that tokio makes for a spawned task.
#[derive(Clone, Default)]
struct Console(Arc<Mutex<Vec<Fields>>>);

struct Reader(Fields);

impl Visit for Reader {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl Subscriber for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.name() == "runtime.spawn"
    }
    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut fields = Reader(Fields::new());
        attributes.record(&mut fields);
        self.0.lock().unwrap().push(fields.0);
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The tasks that tokio spawned, as the console shows them: name, file and line.
fn shown(console: &Console) -> Vec<(Option<String>, String, String)> {
    let spans = console.0.lock().unwrap();
    let field = |span: &Fields, name: &str| span.get(name).cloned();
    let row = |span: &Fields| {
        let place = |name| field(span, name).unwrap_or_default();
        (field(span, "task.name"), place("loc.file"), place("loc.line"))
    };
    // tokio makes such a span for `block_on` too.
    let is_task = |span: &&Fields| span.get("kind").is_some_and(|kind| kind == "task");
    spans.iter().filter(is_task).map(row).collect()
}

#[test]
fn r16_a_child_has_its_name_and_the_place_of_its_spawn_in_the_console() {
    let console = Console::default();
    tracing::subscriber::with_default(console.clone(), || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let executor = Tokio::current();
            let group: TaskGroup<'_, Infallible> = TaskGroup::new();
            let run = group.run(async {
                group.spawn_named_on("session search", &executor, async { Ok(()) });
                Ok(())
            });
            run.await.unwrap();
        });
    });
    let [(name, file, _)] = &shown(&console)[..] else { panic!("{:?}", shown(&console)) };
    assert_eq!(name.as_deref(), Some("session search"));
    assert_eq!(file, file!());
}

#[test]
fn r16_every_way_to_spawn_on_tokio_shows_the_callers_line() {
    let console = Console::default();
    let mut lines = Vec::new();
    tracing::subscriber::with_default(console.clone(), || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let executor = Tokio::current();
            let group: TaskGroup<'_, Infallible> = TaskGroup::new();
            let run = group.run(async {
                lines.push(line!() + 1);
                group.spawn_on(&executor, async { Ok(()) });
                lines.push(line!() + 1);
                group.spawn_named_on("named", &executor, async { Ok(()) });
                lines.push(line!() + 1);
                group.spawn_detached_on(&executor, async { Ok(()) });
                let spawner = group.spawner();
                lines.push(line!() + 1);
                spawner.spawn_on(&executor, async { Ok(()) }).unwrap();
                Ok(())
            });
            run.await.unwrap();
        });
    });
    let shown = shown(&console);
    let shown: Vec<_> = shown.iter().map(|(_, file, line)| (&**file, line.clone())).collect();
    let expected: Vec<_> = lines.iter().map(|line| (file!(), line.to_string())).collect();
    assert_eq!(shown, expected);
}
