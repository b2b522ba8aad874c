//! A host in a process of its own under load, on the loopback interface:
//! `cargo bench -p remote --bench load -- [SECONDS]`.
//!
//! Every client thread asks for one inference after the other; every tenth is challenged (random:2)
//! and checked by the thread that asked. Times are of what a client waits for, checks of their own.

use std::path::Path;
use std::time::{Duration, Instant};

use remote::child::Child;
use remote::client::{Answer, Client, ClientConfig, ClientError};
use remote::model::{DigitsInput, test_images};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Receipts that each thread opens once more at the end: the first, the last, and between.
const REOPENED: usize = 500;

/// What one thread did.
#[derive(Default)]
struct Work {
    waited: Vec<Duration>,
    checked: u64,
    /// Requests that the host was too full for; each was repeated until it was answered.
    refused: u64,
    /// Receipts that were opened at the end, and those that were not.
    reopened: u64,
    lost: u64,
}

fn main() -> Result<()> {
    let seconds = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(4.);
    let span = Duration::from_secs_f64(seconds);
    let images = test_images()?;
    println!(
        "{} cores for host and clients; {seconds} s a row; every tenth call challenged with random:2\n",
        std::thread::available_parallelism()?
    );
    println!(
        "| clients | inferences/s | p50 ms | p95 ms | p99 ms | checks | refused, repeated | \
         receipts opened at the end | lost | host's peak memory |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for clients in [1, 8, 64] {
        let arguments = ["--queue", "48", "--memory", "4294967296"];
        let host = Child::start(Path::new(env!("CARGO_BIN_EXE_remote")), arguments)?;
        // Every client has its key before the first one asks.
        let ready = (0..clients).map(|_| client(host.url())).collect::<Result<Vec<_>>>()?;
        let work = std::thread::scope(|scope| {
            let images = &images;
            let threads: Vec<_> = ready
                .into_iter()
                .enumerate()
                .map(|(number, client)| scope.spawn(move || drive(client, images, number, span)))
                .collect();
            let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| "a panic")?);
            joined.collect::<Result<Vec<Work>>>()
        })?;
        let mut waited: Vec<Duration> =
            work.iter().flat_map(|work| &work.waited).copied().collect();
        waited.sort_unstable();
        let quantile = |share: f64| {
            let place = (waited.len() as f64 * share) as usize;
            let at = waited.get(place.min(waited.len().saturating_sub(1)));
            at.copied().unwrap_or_default().as_secs_f64() * 1e3
        };
        let sum = |of: fn(&Work) -> u64| work.iter().map(of).sum::<u64>();
        println!(
            "| {clients} | {:.0} | {:.2} | {:.2} | {:.2} | {} | {} | {} | {} | {} |",
            waited.len() as f64 / seconds,
            quantile(0.5),
            quantile(0.95),
            quantile(0.99),
            sum(|work| work.checked),
            sum(|work| work.refused),
            sum(|work| work.reopened),
            sum(|work| work.lost),
            peak_memory(host.id()),
        );
        host.stop()?;
        if sum(|work| work.lost) > 0 {
            return Err("receipts were lost before their time".into());
        }
    }
    Ok(())
}

fn client(url: &str) -> Result<Client> {
    let config = ClientConfig {
        strategy: "random:2".parse()?,
        // Repeated here, so that it is counted.
        retries: 0,
        timeout: 30,
        ..ClientConfig::new(url)
    };
    Ok(Client::new(config)?)
}

fn drive(
    mut client: Client,
    images: &[DigitsInput],
    number: usize,
    span: Duration,
) -> Result<Work> {
    let mut work = Work::default();
    let mut answers: Vec<(DigitsInput, Answer)> = vec![];
    let end = Instant::now() + span;
    for (call, image) in images.iter().cycle().enumerate() {
        if Instant::now() >= end {
            break;
        }
        // No two inferences are the same: a host keeps one receipt for those that are.
        let mut image = image.clone();
        image.image.as_mut_slice()[0] = (number << 17 | call) as f32 / (1 << 24) as f32;
        let answer = again(&mut work.refused, || client.ask(&image))?;
        work.waited.push(answer.took);
        if call % 10 == 0 {
            again(&mut work.refused, || client.check(&image, &answer))?;
            work.checked += 1;
        }
        answers.push((image, answer));
    }
    let step = answers.len().div_ceil(REOPENED).max(1);
    for (image, answer) in answers.iter().step_by(step) {
        match again(&mut work.refused, || client.check(image, answer)) {
            Ok(_) => work.reopened += 1,
            Err(ClientError::Caught(_)) => work.lost += 1,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(work)
}

/// Repeats while the host is full.
fn again<T>(
    refused: &mut u64,
    mut ask: impl FnMut() -> std::result::Result<T, ClientError>,
) -> std::result::Result<T, ClientError> {
    loop {
        match ask() {
            Err(ClientError::Host { status: 503, .. }) => {
                *refused += 1;
                // Not as long as the host says: the load is to stay.
                std::thread::sleep(Duration::from_millis(5));
            }
            outcome => return outcome,
        }
    }
}

/// The most memory that a process has had resident, where the system tells.
fn peak_memory(process: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|peak| peak.split_whitespace().next()?.parse::<f64>().ok());
    kilobytes.map_or("-".to_owned(), |kilobytes| format!("{:.0} MB", kilobytes / 1e3))
}
