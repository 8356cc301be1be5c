//! The Lambda Runtime API for one process: one event, and the times at which things happened.
//! (Source: AWS, "Using the Lambda runtime API for custom runtimes", version 2018-06-01.)

use std::io::BufReader;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::http::{Request, answer};

const REQUEST_ID: &str = "8476a536-e9f4-11e8-9739-2dfe598c3fcd";
const DEADLINE: Duration = Duration::from_secs(30);

/// What the function's process did.
pub(crate) enum Step {
    /// It asks for its first event, and waits until it may have it.
    Ready { at: Instant, hand_over: Sender<()> },
    /// The event is on its way.
    HandedOver { at: Instant },
    /// It answered, or reported an error of its handler.
    Answered { failed: bool },
    /// It asks for the next event, which never comes.
    Resting,
    /// It could not start, and says so.
    InitError,
}

/// Listens on a free port of this machine.
pub(crate) struct RuntimeApi {
    pub(crate) address: String,
    pub(crate) steps: Receiver<Step>,
}

impl RuntimeApi {
    /// With the one event that it hands over.
    pub(crate) fn start(event: Vec<u8>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?.to_string();
        let (sender, steps) = channel();
        thread::spawn(move || {
            let mut event = Some(event);
            // One connection after the other: the runtime's client uses one, and keeps it.
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if serve(stream, &mut event, &sender).is_err() {
                    return;
                }
            }
        });
        Ok(Self { address, steps })
    }
}

fn serve(stream: TcpStream, event: &mut Option<Vec<u8>>, steps: &Sender<Step>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = Request::read(&mut reader)? {
        let at = Instant::now();
        match (request.method.as_str(), request.path.trim_start_matches("/2018-06-01/runtime/")) {
            ("GET", "invocation/next") => match event.take() {
                Some(event) => {
                    let (hand_over, may_have) = channel();
                    steps.send(Step::Ready { at, hand_over })?;
                    may_have.recv()?;
                    let deadline = (SystemTime::now().duration_since(UNIX_EPOCH)? + DEADLINE).as_millis().to_string();
                    let headers = [
                        ("content-type", "application/json"),
                        ("lambda-runtime-aws-request-id", REQUEST_ID),
                        ("lambda-runtime-deadline-ms", deadline.as_str()),
                        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:measured"),
                        ("lambda-runtime-trace-id", "Root=1-6b022b8c-4d1f0a2b3c4d5e6f70819203;Sampled=0"),
                    ];
                    steps.send(Step::HandedOver { at: Instant::now() })?;
                    answer(&mut writer, "200 OK", &headers, &event)?;
                }
                // No answer, and no end of the connection: it rests until it is ended.
                None => steps.send(Step::Resting)?,
            },
            ("POST", "init/error") => {
                steps.send(Step::InitError)?;
                answer(&mut writer, "202 Accepted", &[], b"{}")?;
            }
            (_, path) => {
                steps.send(Step::Answered { failed: path.ends_with("/error") })?;
                answer(&mut writer, "202 Accepted", &[], b"{}")?;
            }
        }
    }
    Ok(())
}
