//! From an error to a record with `?`, and from a record to an error that any signature takes (R15).

use crate::support::hand;
use moored::{AnyError, BoxError, Cause, ExitStack, Failure, TaskGroup};
use std::error::Error;
use std::fmt;

#[derive(Debug, PartialEq)]
struct DiskFull;

impl fmt::Display for DiskFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("disk is full")
    }
}

impl Error for DiskFull {}

fn write(fails: bool) -> Result<u32, DiskFull> {
    if fails { Err(DiskFull) } else { Ok(1) }
}

async fn nested(plain: bool) -> Result<u32, Failure<DiskFull>> {
    let outer = ExitStack::new();
    let value = outer
        .run(async {
            let inner = ExitStack::new();
            let below: Result<u32, Failure<DiskFull>> = inner
                .run(async {
                    inner.defer(async { Err("the lock is gone") });
                    write(!plain)
                })
                .await;
            let here = write(plain)?;
            Ok::<_, Failure<DiskFull>>(here + below?)
        })
        .await?;
    Ok(value)
}

#[test]
fn r15_a_body_takes_its_own_errors_and_those_of_nested_regions() {
    let failure = hand(nested(true)).ready().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Body(DiskFull)));
    assert_eq!(failure.rest().count(), 0);

    let failure = hand(nested(false)).ready().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Body(DiskFull)));
    assert_eq!(failure.rest().count(), 1, "the inner record, whole: {failure:#}");
}

#[test]
fn r15_a_group_inside_a_stack_needs_no_map_err() {
    async fn both() -> Result<(), Failure<DiskFull>> {
        let stack = ExitStack::new();
        stack
            .run(async {
                let group: TaskGroup<'_, DiskFull> = TaskGroup::new();
                group
                    .run(async {
                        group.spawn(async { write(true) });
                        Ok(())
                    })
                    .await
            })
            .await?;
        Ok(())
    }
    let failure = hand(both()).ready().unwrap_err();
    assert!(matches!(failure.cause(), Cause::Child { error: DiskFull, .. }), "{failure:?}");
}

/// A record with a body's error, an exit's and one over the cap, for each kind of `E`.
fn record<E>(errors: Vec<E>) -> Failure<E>
where
    E: Send + 'static,
{
    let group: TaskGroup<'_, E> = TaskGroup::new().keep_going().max_causes(1);
    hand(group.run(async {
        for error in errors {
            group.spawn(async { Err::<(), _>(error) });
        }
        Ok(())
    }))
    .ready()
    .unwrap_err()
}

#[test]
fn r15_a_record_becomes_a_plain_error_and_loses_nothing() {
    fn is_plain<E: Error + Send + Sync + 'static>(error: &E) -> String {
        error.to_string()
    }
    let boxed: Failure<BoxError> =
        record(vec![Box::new(DiskFull) as BoxError, "second".into(), "third".into()]);
    let (text, tree) = (boxed.to_string(), format!("{boxed:#}"));
    let error = boxed.into_error();
    assert_eq!((is_plain(&error), format!("{error:#}")), (text, tree));
    assert_eq!(error.omitted(), 2);
    let Cause::Child { error, .. } = error.into_cause() else { panic!() };
    assert_eq!(error.get_ref().downcast_ref::<DiskFull>(), Some(&DiskFull));

    // Where the error is itself no `Error`, it becomes one.
    let error = record(vec!["a", "b"]).boxed();
    let back = error.downcast::<Failure<AnyError>>().unwrap();
    assert_eq!((back.causes().count(), back.omitted()), (1, 1));
    assert_eq!(is_plain(&*back).split(": ").last(), Some("a (and 1 more)"));
}

#[test]
fn r15_the_source_of_a_plain_error_is_the_chain_inside() {
    #[derive(Debug)]
    struct Because(DiskFull);
    impl fmt::Display for Because {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("not saved")
        }
    }
    impl Error for Because {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }
    let failure = Failure::from(Because(DiskFull)).into_error();
    assert_eq!(failure.to_string(), "not saved");
    assert!(failure.source().unwrap().is::<DiskFull>());
}

#[test]
fn r15_debug_of_a_record_is_its_tree() {
    let stack = ExitStack::new();
    let failure = hand(stack.run(async {
        stack.defer(async { Err("the lock is gone") });
        Err::<(), _>(DiskFull)
    }))
    .ready()
    .unwrap_err();
    let shown = format!("{failure:?}");
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!((lines[0], lines.len()), ("DiskFull", 2));
    assert!(lines[1].starts_with("  also: exit registered at"), "{shown}");
    assert!(format!("{failure:#?}").starts_with("Failure {"), "{failure:#?}");
    // An error without `Display`, such as `()`, has a tree as well.
    assert_eq!(format!("{:?}", Failure::from(())), "()");
}

#[test]
fn r15_an_error_of_any_type_is_shown_as_itself_and_given_back() {
    let any = match Failure::from(DiskFull).into_error().into_cause() {
        Cause::Body(any) => any,
        other => panic!("{other:?}"),
    };
    assert_eq!(format!("{any:?}"), "DiskFull");
    assert!(any.into_inner().is::<DiskFull>());
}
