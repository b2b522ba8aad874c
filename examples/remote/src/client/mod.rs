//! The client: asks, challenges a share of the answers, and checks what is opened.

mod error;
mod http;
mod summary;

use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use nomopoly::receipt::{Detection, Opening, Strategy};
use nomopoly::{ReceiptVerifier, Tensor, Tensors as _, VerifierKey};

pub use error::{Caught, ClientError};
pub use http::Connection;
pub use summary::{Summary, percent};

use crate::model::{Digits, DigitsInput, DigitsOutput};
use crate::wire::InferResponse;

/// Options of a client.
#[derive(Debug, Clone, Args)]
pub struct ClientConfig {
    /// The host.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    pub host: String,
    /// What to open of an inference: random:DRAWS, parts:DRAWS:ELEMENTS, linear or everything.
    #[arg(long, default_value = "random:3")]
    pub strategy: Strategy,
    /// Share of the calls that are challenged, drawn after the answer is there.
    #[arg(long, default_value_t = 1., value_parser = share)]
    pub share: f64,
    /// Number of images to send.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub count: usize,
    /// Print a line for every call.
    #[arg(long)]
    pub each: bool,
    /// The host's token.
    #[arg(long, env = "REMOTE_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// How long a request may take.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub timeout: u64,
    /// How often to come back to a host that is full.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub retries: u32,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0. ..=1.).contains(share));
    share.ok_or_else(|| "a share is a number from 0 to 1".to_owned())
}

impl ClientConfig {
    /// The defaults of the command line, for this host.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            strategy: Strategy::Random { draws: 3 },
            share: 1.,
            count: 20,
            each: false,
            token: None,
            timeout: 10,
            retries: 3,
        }
    }
}

/// An answer of the host, as good as its word until it is checked.
#[derive(Debug, Clone)]
pub struct Answer {
    pub output: DigitsOutput,
    /// With the receipt, and how long it can be challenged.
    pub response: InferResponse,
    /// From the request to the answer.
    pub took: Duration,
}

/// What a check took.
#[derive(Debug, Clone, Copy)]
pub struct Checked {
    /// Size of the opening, in bytes.
    pub opened: usize,
    /// From the challenge to the opening.
    pub waited: Duration,
    /// The check alone.
    pub took: Duration,
}

/// A client with its secret key.
pub struct Client {
    connection: Connection,
    verifier: ReceiptVerifier<Digits>,
    config: ClientConfig,
    /// How often it has drawn another key.
    rotations: u64,
}

impl Client {
    /// Loads the model and draws a key. The host is not asked for anything yet.
    ///
    /// # Errors
    /// [`ClientError::Setup`], [`ClientError::Own`].
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let timeout = Duration::from_secs(config.timeout);
        let token = config.token.as_deref();
        let connection = Connection::new(&config.host, token, timeout, config.retries)?;
        let key = VerifierKey::random().map_err(ClientError::Own)?;
        let verifier = Digits::receipt_verifier(key).map_err(ClientError::Own)?;
        Ok(Self { connection, verifier, config, rotations: 0 })
    }

    /// Asks the host for the model's answer to an image.
    ///
    /// # Errors
    /// Those of [`Connection::infer`], and [`ClientError::Caught`] for an answer that is none of the
    /// model's or has a receipt of another model. That much is seen without a challenge.
    pub fn ask(&self, image: &DigitsInput) -> Result<Answer, ClientError> {
        let start = Instant::now();
        let response = self.connection.infer(image.to_named())?;
        let took = start.elapsed();
        let got = response.receipt.model;
        if got != Digits::DIGEST {
            let (got, expected) = (got.to_string(), Digits::DIGEST.to_string());
            return Err(Caught::Wrong(nomopoly::Error::OtherModel { got, expected }).into());
        }
        let output = output(&response).map_err(Caught::Wrong)?;
        Ok(Answer { output, response, took })
    }

    /// Challenges an answer and checks what the host opens. A host that is caught has learnt
    /// something about the key, so that there is another one from then on.
    ///
    /// # Errors
    /// [`ClientError::Caught`] says what is wrong with the answer; any other error says nothing about
    /// it, and it can be challenged again.
    pub fn check(&mut self, image: &DigitsInput, answer: &Answer) -> Result<Checked, ClientError> {
        let outcome = self.try_check(image, answer);
        if let Err(ClientError::Caught(_)) = outcome {
            self.verifier
                .rotate(VerifierKey::random().map_err(ClientError::Own)?)
                .map_err(ClientError::Own)?;
            self.rotations += 1;
        }
        outcome
    }

    fn try_check(&self, image: &DigitsInput, answer: &Answer) -> Result<Checked, ClientError> {
        let receipt = &answer.response.receipt;
        // Of a receipt that the verifier refuses there is nothing to ask.
        let challenge = self.verifier.challenge(receipt, self.config.strategy);
        let challenge = challenge.map_err(Caught::Wrong)?;
        let start = Instant::now();
        let bytes = match self.connection.open(&challenge) {
            // The host's clock counts, and a little of ours for the way.
            Err(source @ ClientError::Host { status: 404 | 410, .. }) => {
                let until = answer.response.until();
                return Err(match until.duration_since(SystemTime::now()) {
                    Ok(left) if left > CLOCKS => {
                        let survives_restart = answer.response.survives_restart;
                        Caught::Broken { left, survives_restart, source: Box::new(source) }.into()
                    }
                    _ => source,
                });
            }
            outcome => outcome?,
        };
        let waited = start.elapsed();
        let opening = Opening::from_bytes(&bytes).map_err(Caught::NoOpening)?;
        let start = Instant::now();
        self.verifier
            .verify(image, &answer.output, receipt, &challenge, &opening)
            .map_err(Caught::Wrong)?;
        Ok(Checked { opened: bytes.len(), waited, took: start.elapsed() })
    }

    /// Asks about one image after the other and checks a share of the answers, until `count` are
    /// answered or, where `until_caught`, the host is caught. `each` is shown every call.
    ///
    /// # Errors
    /// The first that says nothing about the host's honesty. Being caught is no error here: it is in
    /// the summary.
    pub fn run(
        &mut self,
        images: &[DigitsInput],
        until_caught: bool,
        mut each: impl FnMut(usize, &Result<(Answer, Option<Checked>), Caught>),
    ) -> Result<Summary, ClientError> {
        let mut summary = Summary::new(self.config.strategy, self.config.share, self.detection());
        for (call, image) in images.iter().cycle().take(self.config.count).enumerate() {
            let outcome = match self.call(image) {
                Err(ClientError::Caught(caught)) => Err(caught),
                outcome => Ok(outcome?),
            };
            each(call + 1, &outcome);
            summary.add(call + 1, outcome);
            if until_caught && !summary.caught.is_empty() {
                break;
            }
        }
        (summary.sent, summary.received) = self.connection.traffic();
        summary.retried = self.connection.retried();
        Ok(summary)
    }

    fn call(&mut self, image: &DigitsInput) -> Result<(Answer, Option<Checked>), ClientError> {
        let answer = self.ask(image)?;
        // Drawn when the answer is there: the host cannot know.
        let checked = if self.drawn()? { Some(self.check(image, &answer)?) } else { None };
        Ok((answer, checked))
    }

    /// Whether this call is among the share that is challenged.
    fn drawn(&self) -> Result<bool, ClientError> {
        let random = getrandom::u64().map_err(|error| ClientError::Setup(error.to_string()))?;
        // As many bits as a double holds, so that a share of 1 is always drawn.
        Ok((random >> 11) as f64 / (1u64 << 53) as f64 <= self.config.share
            && self.config.share > 0.)
    }

    /// How likely one challenge catches a host that cheats in one operation, or in all.
    pub fn detection(&self) -> Detection {
        self.verifier.detection(self.config.strategy)
    }

    /// How often it has drawn another key, because a host was caught.
    pub fn rotations(&self) -> u64 {
        self.rotations
    }

    /// The connection, for more than asking and checking.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// By how much the clocks of host and client may differ before a promise counts as broken.
const CLOCKS: Duration = Duration::from_secs(2);

/// The typed output.
fn output(response: &InferResponse) -> nomopoly::Result<DigitsOutput> {
    let names = DigitsOutput::FIELDS;
    let sent = response.outputs.iter().map(|output| output.name.as_str());
    if !sent.eq(names.iter().copied()) {
        let reason = format!("the outputs are not {names:?}");
        return Err(nomopoly::Error::Opening(reason));
    }
    // One, as was just compared.
    let logits = response.outputs[0].clone();
    Ok(DigitsOutput { logits: Tensor::from_named(logits)? })
}
