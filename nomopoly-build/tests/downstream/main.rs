//! Crates outside this workspace that use Nomopoly as anyone would.
//!
//! They share this workspace's target folder and dependency versions, so that only our own crates
//! are built again for them.
//!
//! | file | subject |
//! | --- | --- |
//! | `fixture.rs` | a crate in a temporary folder, running cargo in it |
//! | `models.rs` | small models |
//! | `newcomer.rs` | from `cargo new` to a packaged crate |
//! | `ledger.rs` | from an audit in a registry to a constant of a program |
//! | `../shared/audits.rs` | an audit made by hand |
//! | `build_scripts.rs` | build scripts in hostile places: read-only, killed, at once, locked |
//! | `ui.rs`, `ui/` | what the compiler says about mistakes |
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

#[path = "../shared/audits.rs"]
mod audits;
mod build_scripts;
mod fixture;
mod ledger;
mod models;
mod newcomer;
mod ui;
