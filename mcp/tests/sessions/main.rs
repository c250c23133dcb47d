//! The library against servers that misbehave: each test has one fault, and the correct
//! reaction to it.

mod adopted;
mod auth;
mod callbacks;
mod cancelling;
mod clipping;
mod components;
mod connect;
mod cut;
mod described;
mod drain;
mod eras;
mod examples;
mod group;
mod http_faults;
mod http_streams;
mod http_ways;
mod invariants;
mod leave;
mod lists;
mod live_lists;
mod names;
mod real_server;
mod requests;
mod restarts;
mod rounds;
mod secrets;
mod starts;
mod state;
mod stdio_answers;
mod stdio_faults;
mod subscriptions;
mod support;
mod versions;
mod waits;
mod watchdog;
