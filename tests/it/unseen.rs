//! Exits, and the failures they leave: each of these was broken once in a seeded bug that no other test noticed (R8, R14,
//! R15).

use crate::support::{Gate, Log, hand, lose, yield_now};
use moored::{ExitStack, task};
use std::future::pending;

#[test]
fn r08_what_another_task_left_behind_runs_beside_the_half_run_exit_that_waits_for_it() {
    let (log, step, done) = (Log::new(), Gate::new(), Gate::new());
    let mut run = hand(task(async {
        let stack = ExitStack::new();
        stack.defer({
            let (log, step, done) = (log.clone(), step.clone(), done.clone());
            async move {
                let opens = done.clone();
                lose(task(async move {
                    let inner = ExitStack::new();
                    let body = async {
                        inner.defer(async move {
                            step.wait().await;
                            opens.open();
                        });
                        pending::<Result<(), ()>>().await
                    };
                    inner.run(body).await
                }))
                .await;
                done.wait().await;
                log.add("both have ended");
            }
        });
        lose(stack.close()).await;
        yield_now().await;
    }));
    run.idle();
    step.open();
    run.drive();
    log.is(&["both have ended"]);
}
