//! The command as users run it: output, exit codes, and what it says when things are wrong.
//!
//! | file | subject |
//! | --- | --- |
//! | `bench.rs` | a compiled demo model to work on, running the command |
//! | `results.rs` | what the subcommands print when all is well |
//! | `packages.rs` | packages and workspaces, `-p` |
//! | `auditing.rs` | the audit of a model |
//! | `policies.rs` | policies, and what audits count for |
//! | `../shared/audits.rs` | an audit made by hand |
//! | `exports.rs` | exported files, their keys, proofs that another runtime made |
//! | `proofs.rs` | proofs and inputs that are damaged, foreign or do not fit |
//! | `registries.rs` | damaged and impossible registries, interruption |
#![cfg(feature = "cli")]
#![forbid(unsafe_code)]

mod auditing;
#[path = "../shared/audits.rs"]
mod audits;
mod bench;
mod exports;
mod packages;
mod policies;
mod proofs;
mod registries;
mod results;
