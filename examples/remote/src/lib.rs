//! A host and a client on two machines: inference over HTTP, with receipts that are checked later.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`model`] | the model that both sides agree on |
//! | [`wire`] | what travels between them |
//! | [`host`] | the server, and its ways to cheat |
//! | [`client`] | what asks, challenges and checks |
//! | [`child`] | a host as a child process, for the story, tests and benchmarks |
//! | [`story`] | what the command shows when it is given no subcommand |
#![forbid(unsafe_code)]

pub mod child;
pub mod client;
pub mod host;
pub mod model;
pub mod story;
pub mod wire;
