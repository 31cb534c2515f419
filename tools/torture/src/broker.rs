//! The broker under torture: its functions do everything in a backend that is a process of its own.

use std::process::ExitCode;
use std::time::Duration;

use osb_sdk::{Binding, Broker, Error, Execution, Offering, Operation, Plan, Policy, Result, Service};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use torture::{ASYNC_PLAN, AUTO_PLAN, BACKEND, Begin, How, Reply, Request, SERVICE, Then, Verb};

#[derive(Deserialize, JsonSchema)]
struct New {
    /// How many steps with stored results.
    #[serde(default)]
    steps: u8,
    /// Tells requests apart.
    #[serde(default)]
    #[expect(dead_code, reason = "only its presence in the request matters")]
    note: String,
}

/// What a call has made.
#[derive(Serialize, Deserialize)]
struct Made {
    name: String,
    key: String,
    tokens: Vec<String>,
}

struct Tortured {
    backend: String,
}

impl Service for Tortured {
    type Parameters = New;
    type BindParameters = New;
    type State = Made;
    type Credentials = Made;

    async fn provision(&self, op: &Operation, new: New) -> Result<Made> {
        let begin = begin(op, Verb::Provision, None, None)?;
        self.call(op, begin, async |call| make(call, op, new.steps).await).await
    }

    async fn deprovision(&self, op: &Operation, state: Option<Made>) -> Result<()> {
        let begin = begin(op, Verb::Deprovision, state.as_ref(), None)?;
        self.call(op, begin, async |call| call.ask(&Request::Remove).await.map(drop))
            .await
    }

    async fn bind(&self, op: &Operation, state: &Made, new: New) -> Result<Binding<Made>> {
        let begin = begin(op, Verb::Bind, Some(state), None)?;
        self.call(op, begin, async |call| make(call, op, new.steps).await)
            .await
            .map(Binding::new)
    }

    async fn unbind(&self, op: &Operation, state: &Made, credentials: Option<Made>) -> Result<()> {
        let begin = begin(op, Verb::Unbind, Some(state), credentials.as_ref())?;
        self.call(op, begin, async |call| call.ask(&Request::Remove).await.map(drop))
            .await
    }
}

impl Tortured {
    /// Runs the work of one call between its begin and its end.
    async fn call<T: Serialize>(
        &self,
        op: &Operation,
        begin: Begin,
        work: impl AsyncFnOnce(&mut Call) -> Result<T>,
    ) -> Result<T> {
        let mut call = Call::open(&self.backend).await?;
        let begun = call.ask(&Request::Begin(Box::new(begin))).await;
        let heeds = call.heeds;
        let result = match begun {
            Err(error) => Err(error),
            Ok(_) if heeds => tokio::select! {
                result = work(&mut call) => result,
                () = op.cancelled() => Err(Error::retry(STOPPED)),
            },
            Ok(_) => work(&mut call).await,
        };
        let (how, value) = match &result {
            Ok(value) => (How::Done, Some(serde_json::to_value(value)?)),
            Err(error) => (how(error), None),
        };
        // An answer that came while the call was stopped is still on its way.
        if how == How::Stopped {
            call.skip = call.asked - call.answered;
        }
        call.ask(&Request::End(how, value)).await?;
        result
    }
}

const STOPPED: &str = "stopped";
const FAILED: &str = "the backend refuses";

/// By our own texts: the SDK shows an error's text and nothing else of it.
fn how(error: &Error) -> How {
    match error.to_string().as_str() {
        STOPPED => How::Stopped,
        FAILED => How::Failed,
        _ => How::Retry,
    }
}

fn begin(op: &Operation, verb: Verb, state: Option<&Made>, credentials: Option<&Made>) -> Result<Begin> {
    Ok(Begin {
        verb,
        key: op.key().to_owned(),
        fence: op.fence(),
        platform: op.platform().0.to_string(),
        instance: op.instance().to_string(),
        binding: op.binding().map(ToString::to_string),
        instance_name: op.instance_name("i"),
        own_name: if op.binding().is_some() {
            op.stable_name("b")
        } else {
            op.stable_name("i")
        },
        state: state.map(serde_json::to_value).transpose()?,
        credentials: credentials.map(serde_json::to_value).transpose()?,
    })
}

async fn make(call: &mut Call, op: &Operation, steps: u8) -> Result<Made> {
    let mut tokens = Vec::new();
    for number in 0..steps {
        let name = format!("step-{number}");
        let request = Request::Step(name.clone());
        tokens.push(op.step(&name, || call.ask(&request)).await?);
        op.progress(format!("{name} is done"));
    }
    tokens.push(call.ask(&Request::Make("main".to_owned())).await?);
    let name = if op.binding().is_some() {
        op.stable_name("b")
    } else {
        op.stable_name("i")
    };
    Ok(Made {
        name,
        key: op.key().to_owned(),
        tokens,
    })
}

/// The connection of one call.
struct Call {
    stream: BufStream<TcpStream>,
    heeds: bool,
    asked: u32,
    answered: u32,
    /// Answers that nobody waits for any more.
    skip: u32,
}

impl Call {
    async fn open(backend: &str) -> Result<Self> {
        let stream = TcpStream::connect(backend).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufStream::new(stream),
            heeds: false,
            asked: 0,
            answered: 0,
            skip: 0,
        })
    }

    /// Sends a line, waits for the answer, and does as it says.
    async fn ask(&mut self, request: &Request) -> Result<String> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.asked += 1;
        self.stream.write_all(&line).await?;
        self.stream.flush().await?;
        let reply = loop {
            let reply = self.answer().await?;
            if self.skip == 0 {
                break reply;
            }
            self.skip -= 1;
        };
        self.heeds |= reply.heeds;
        tokio::time::sleep(Duration::from_micros(reply.pause_micros)).await;
        match reply.then {
            Then::Go => Ok(reply.token),
            Then::Retry => Err(Error::retry("the backend is busy").after(Duration::from_millis(20))),
            Then::Fail => Err(Error::failed(FAILED)),
        }
    }

    async fn answer(&mut self) -> Result<Reply> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).await?;
        let reply = serde_json::from_slice(&line)?;
        self.answered += 1;
        Ok(reply)
    }
}

fn policy(execution: Execution) -> Policy {
    Policy {
        provision: execution,
        deprovision: execution,
        bind: execution,
        unbind: execution,
        ..Policy::default()
    }
}

fn main() -> ExitCode {
    let Ok(backend) = std::env::var(BACKEND) else {
        eprintln!("error: {BACKEND} is not set: this program is started by cargo xtask torture");
        return ExitCode::FAILURE;
    };
    let mut offering = Offering::new(SERVICE, "tortured", "Everything in a backend that is never killed")
        .bindable(true)
        .plan(Plan::new(AUTO_PLAN, "auto", "Answers when it is done"))
        .plan(Plan::new(ASYNC_PLAN, "async", "Answers at once"));
    // What asynchronous binds need. Their credentials are asked for by a repeated bind.
    offering.bindings_retrievable = true;
    let broker = Broker::new("torture")
        .service(offering, Tortured { backend })
        .policy(AUTO_PLAN, policy(Execution::Auto))
        .policy(ASYNC_PLAN, policy(Execution::Async));
    osb_sdk::run(broker)
}
