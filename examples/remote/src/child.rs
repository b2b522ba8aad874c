//! A host as a child process.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child as Process, ChildStdout, Command, Stdio};

/// What a host prints when it is ready, before its address.
pub const LISTENING: &str = "listening on ";

/// A host in a process of its own. Dropped, it is killed and waited for; and should this process be
/// killed, the child sees its standard input close and ends.
pub struct Child {
    process: Process,
    output: BufReader<ChildStdout>,
    url: String,
}

impl Child {
    /// Starts `program host --listen 127.0.0.1:0` with further arguments, and waits until it listens.
    ///
    /// # Errors
    /// When the program does not start, or ends before it listens.
    pub fn start<'a>(
        program: &Path,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> std::io::Result<Self> {
        let mut process = Command::new(program)
            .args(["host", "--listen", "127.0.0.1:0", "--with-parent", "--log", "error"])
            .args(arguments)
            // It serves this process alone, on the loopback interface.
            .env_remove("REMOTE_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        // It was just asked for.
        let output = process.stdout.take().ok_or_else(|| std::io::Error::other("no output"))?;
        let mut child = Self { process, output: BufReader::new(output), url: String::new() };
        let mut line = String::new();
        // From here on an error drops the child, which ends it.
        child.output.read_line(&mut line)?;
        match line.trim_end().strip_prefix(LISTENING) {
            Some(url) => child.url = url.to_owned(),
            None => return Err(std::io::Error::other("the host did not start; it says why above")),
        }
        Ok(child)
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills it, as `kill -9` does.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill(mut self) -> std::io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
    }

    /// Has it shut down; its last words.
    ///
    /// # Errors
    /// When it ends in another way than well.
    pub fn stop(mut self) -> std::io::Result<String> {
        drop(self.process.stdin.take());
        self.last_words()
    }

    /// Waits for its end, which someone else has asked for; its last words.
    ///
    /// # Errors
    /// As [`Child::stop`].
    pub fn last_words(mut self) -> std::io::Result<String> {
        let mut words = String::new();
        self.output.read_to_string(&mut words)?;
        let status = self.process.wait()?;
        let ended = || std::io::Error::other(format!("the host ended with {status}"));
        status.success().then_some(words.trim_end().to_owned()).ok_or_else(ended)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
