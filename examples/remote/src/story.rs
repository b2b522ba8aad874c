//! The whole story on one machine: an honest host, hosts that cheat, and a host that is killed.
//!
//! Hosts are processes of their own, and what passes between them and the client is HTTP.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use clap::ValueEnum as _;
use nomopoly::receipt::Strategy;

use crate::child::Child;
use crate::client::{Answer, Client, ClientConfig, ClientError, percent};
use crate::host::Cheat;
use crate::model::{DigitsInput, test_images};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Calls of an honest host in each row, and the share of them that is challenged.
const CALLS: usize = 100;
const SHARE: f64 = 0.1;
/// Receipts that a host has given out when it is killed.
const RECEIPTS: usize = 20;

/// Tells it.
///
/// # Errors
/// When a host does not start, an honest host is refused, or one that cheats is not noticed.
pub fn tell(out: &mut impl Write) -> Result<()> {
    let program = std::env::current_exe()?;
    let images = test_images()?;
    honest(out, &program, &images)?;
    cheats(out, &program, &images)?;
    killed(out, &program, &images)
}

fn honest(out: &mut impl Write, program: &Path, images: &[DigitsInput]) -> Result<()> {
    writeln!(
        out,
        "An honest host. {CALLS} calls, each answered with a receipt; {} of them, drawn afterwards, are\n\
         challenged: the host opens a part of what it computed, and the client checks that part.\n",
        percent(SHARE)
    )?;
    writeln!(
        out,
        "  {:<14} {:>8} {:>8} {:>9}    one wrong operation is noticed",
        "", "accepted", "opened", "check"
    )?;
    writeln!(
        out,
        "  {:<14} {:>8} {:>8} {:>9}    {:<16} over {CALLS} calls",
        "strategy", "", "bytes", "µs", "by a challenge"
    )?;
    let host = Child::start(program, [])?;
    for strategy in ["random:3", "parts:2:256", "linear", "everything"] {
        let mut client = client(&host, strategy, SHARE, CALLS)?;
        let summary = client.run(images, false, |_, _| {})?;
        if let Some((call, caught)) = summary.caught.first() {
            return Err(format!("an honest host was refused at call {call}: {caught}").into());
        }
        writeln!(
            out,
            "  {strategy:<14} {:>8} {:>8.0} {:>9.0}    {:<16} {}",
            format!("{0}/{0}", summary.accepted),
            summary.opened(),
            summary.check_microseconds(),
            percent(summary.detection.least),
            percent(summary.detection.over(CALLS as u64, SHARE)),
        )?;
    }
    writeln!(
        out,
        "\n  This model is so small that a proof reveals one operation of it, which every strategy asks\n  \
         for; the verifier recomputes the others. docs/REMOTE.md has larger models.\n"
    )?;
    writeln!(out, "  Asked to shut down, the host says: {}\n", host.stop()?)?;
    Ok(())
}

fn cheats(out: &mut impl Write, program: &Path, images: &[DigitsInput]) -> Result<()> {
    writeln!(
        out,
        "Hosts that cheat, with every call challenged (random:3) until one is noticed:\n"
    )?;
    for cheat in Cheat::value_variants() {
        // Every variant has a name and a line of documentation.
        let value = cheat.to_possible_value().unwrap_or_default();
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        let name = value.get_name();
        let host = Child::start(program, ["--cheat", name])?;
        let mut client = client(&host, "random:3", 1., CALLS)?;
        let summary = client.run(images, true, |_, _| {})?;
        let Some((call, caught)) = summary.caught.first() else {
            return Err(format!("{name} was not noticed in {CALLS} calls").into());
        };
        writeln!(out, "  {name:<15} {help}")?;
        for line in wrapped(&format!("call {call}: {caught}"), 96) {
            writeln!(out, "  {:<15} {line}", "")?;
        }
    }
    writeln!(out)?;
    Ok(())
}

fn killed(out: &mut impl Write, program: &Path, images: &[DigitsInput]) -> Result<()> {
    writeln!(
        out,
        "A host that is killed (kill -9) after {RECEIPTS} calls and started again on the same folder:\n"
    )?;
    for durability in ["memory-first", "disk-first"] {
        let folder = tempfile::tempdir()?;
        let path = folder.path().to_str().ok_or("the folder for temporary files is not UTF-8")?;
        let arguments = ["--folder", path, "--durability", durability];
        let host = Child::start(program, arguments)?;
        let before = client(&host, "everything", 1., RECEIPTS)?;
        let ask = |image| Ok((image, before.ask(image)?));
        let asked = images.iter().take(RECEIPTS).map(ask);
        let asked: Vec<(&DigitsInput, Answer)> = asked.collect::<Result<_>>()?;
        let promised = asked.iter().filter(|(_, answer)| answer.response.survives_restart).count();
        host.kill()?;

        let host = Child::start(program, arguments)?;
        let mut after = client(&host, "everything", 1., RECEIPTS)?;
        let (mut opened, mut lost) = (0, 0);
        for (image, answer) in &asked {
            match after.check(image, answer) {
                Ok(_) => opened += 1,
                Err(ClientError::Caught(_)) if !answer.response.survives_restart => lost += 1,
                Err(error) => return Err(error.into()),
            }
        }
        writeln!(
            out,
            "  {durability:<13} it had said that {promised:>2} receipts survive; {opened:>2} were opened \
             and accepted, {lost:>2} are lost"
        )?;
    }
    Ok(())
}

fn client(host: &Child, strategy: &str, share: f64, count: usize) -> Result<Client> {
    let strategy: Strategy = strategy.parse()?;
    Ok(Client::new(ClientConfig { strategy, share, count, ..ClientConfig::new(host.url()) })?)
}

/// Lines of at most so many characters where words allow it.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().filter(|line| line.len() + word.len() < most);
        match last {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => *line += &format!(" {word}"),
            None => lines.push(format!("  {word}")),
        }
    }
    lines
}
