//! Hosts and clients with real sockets between them.

mod cheats;
mod common;
mod errors;
mod honest;
mod hostile;
mod lifecycle;
mod restarts;
mod story;
