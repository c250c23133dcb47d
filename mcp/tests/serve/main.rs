//! The gateway: a fleet of servers behind one endpoint, asked by the protocol's own client and by raw HTTP.

mod ask;
mod changes;
mod clients;
mod cut;
mod http_front;
mod leave;
mod support;
