//! The machine contract of `moored-mcp`, checked on the built binary from outside.

#[path = "doctor/call.rs"]
mod call;
#[path = "doctor/config.rs"]
mod config;
#[path = "doctor/container.rs"]
mod container;
#[path = "doctor/faults.rs"]
mod faults;
#[path = "doctor/fleet.rs"]
mod fleet;
#[path = "doctor/harness.rs"]
mod harness;
#[path = "doctor/http.rs"]
mod http;
#[path = "doctor/processes.rs"]
mod processes;
#[path = "doctor/schema.rs"]
mod schema;
#[path = "doctor/signals.rs"]
mod signals;
#[path = "doctor/starts.rs"]
mod starts;
#[path = "doctor/stub.rs"]
mod stub;
#[path = "doctor/watchdog.rs"]
mod watchdog;
#[path = "doctor/ways.rs"]
mod ways;
