//! The gateway: a fleet of servers behind one endpoint, tested with the protocol's own client and with raw HTTP.

mod ask;
mod begins;
mod broken;
mod changes;
mod clients;
mod command;
mod cut;
mod http_front;
mod leave;
mod limits;
mod relay;
mod resources;
mod streams;
mod support;
mod unread;
