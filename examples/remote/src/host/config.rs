//! What a host is started with.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, ValueEnum};
use nomopoly_host::{Durability, Limits, Store, StoreError};

use super::cheat::Cheat;

/// Options of a host, with the defaults of the command line.
#[derive(Debug, Clone, Args)]
pub struct HostConfig {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)))]
    pub listen: SocketAddr,
    /// Cheat, to see clients notice.
    #[arg(long, value_name = "MODE")]
    pub cheat: Option<Cheat>,
    /// File with the token that clients must send; else the variable REMOTE_TOKEN, else none.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Folder to keep receipts in: what is there survives a restart.
    #[arg(long, value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Bytes of receipts in memory.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    pub memory: u64,
    /// Bytes of receipts on disk.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    pub disk: u64,
    /// How long a receipt can be challenged.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "600")]
    pub keep_for: Duration,
    /// Whether a receipt is on disk before it is given out (needs a folder).
    #[arg(long, value_enum, default_value_t = When::MemoryFirst)]
    pub durability: When,
    /// Inferences and openings at a time; 0 is one for every core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub workers: usize,
    /// Requests that may wait for a worker; further ones are told to come back.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub queue: usize,
    /// Connections at a time; further ones wait to be accepted.
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub connections: usize,
    /// Largest body of a request.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    pub body_limit: usize,
    /// How long a client may take to send a request's header, and then its body.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    pub patience: Duration,
    /// How long a request may take in all.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "30")]
    pub request_timeout: Duration,
    /// How long to go on, not ready, before a shutdown: for load balancers that must notice first.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "0")]
    pub drain: Duration,
    /// How long a shutdown waits for requests that are running.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "20")]
    pub grace: Duration,
    /// Shut down when standard input closes: a host never outlives the program that started it.
    #[arg(long, hide = true)]
    pub with_parent: bool,
    /// The token itself, for hosts inside another program: on a command line everyone sees it.
    #[arg(skip)]
    pub token: Option<String>,
}

/// [`Durability`] for the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    MemoryFirst,
    DiskFirst,
}

impl Default for HostConfig {
    fn default() -> Self {
        #[derive(Parser)]
        struct Alone {
            #[command(flatten)]
            config: HostConfig,
        }
        Alone::parse_from(["host"]).config
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

impl HostConfig {
    /// The token that clients must send, from wherever it was given.
    ///
    /// # Errors
    /// In words, when the file cannot be read or is empty: a host that is meant to be closed must
    /// not be open by mistake.
    pub fn read_token(&self) -> Result<Option<String>, String> {
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) => token.clone(),
            (None, Some(path)) => std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read the token in {}: {error}", path.display()))?,
            (None, None) => match std::env::var("REMOTE_TOKEN") {
                Ok(token) => token,
                Err(_) => return Ok(None),
            },
        };
        match token.trim() {
            "" => Err("the token is empty".to_owned()),
            token => Ok(Some(token.to_owned())),
        }
    }

    /// Number of workers, counted where none was given.
    pub fn workers(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            workers => workers,
        }
    }

    /// Whether every receipt is on disk before it is given out.
    pub fn disk_first(&self) -> bool {
        self.folder.is_some() && self.durability == When::DiskFirst
    }

    /// The store for receipts.
    ///
    /// # Errors
    /// [`StoreError`] when the folder cannot be used.
    pub fn store(&self) -> Result<Store, StoreError> {
        let Some(folder) = &self.folder else {
            return Ok(Store::in_memory(Limits {
                age: self.keep_for,
                memory: self.memory,
                disk: 0,
            }));
        };
        let limits = Limits { age: self.keep_for, memory: self.memory, disk: self.disk };
        let durability = match self.durability {
            When::MemoryFirst => Durability::MemoryFirst,
            When::DiskFirst => Durability::DiskFirst,
        };
        Store::open(folder, limits, durability)
    }
}
