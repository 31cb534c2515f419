//! The broker under torture: its functions do everything in a backend that is a process of its own.

use std::process::ExitCode;
use std::time::Duration;

use osb_sdk::{
    Binding, Broker, Change, Error, Execution, Offering, Operation, Plan, Policy, Result, Service, Updatable,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufStream};
use tokio::net::TcpStream;
use torture::{ASYNC_PLAN, AUTO_PLAN, BACKEND, Begin, How, Reply, Request, SERVICE, STATE_VERSION, Then, Verb, Wanted};

#[derive(Deserialize, JsonSchema)]
struct New {
    /// How many steps with stored results.
    #[serde(default)]
    steps: u8,
    /// Tells requests apart.
    #[serde(default)]
    note: String,
}

/// What a call has made.
#[derive(Clone, Serialize, Deserialize)]
struct Made {
    name: String,
    key: String,
    tokens: Vec<String>,
    /// Of an instance, the note and the plan that were asked for last; the first version of this program kept neither.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
}

/// A form in which the state of an instance is kept.
trait Form: Serialize + DeserializeOwned + Send + Sync + 'static {
    const VERSION: u32;
    fn of(made: Made) -> Self;
    fn made(&self) -> &Made;
    /// Translates an older form.
    fn migrated(from: u32, state: Value) -> Result<Self>;
}

impl Form for Made {
    const VERSION: u32 = 1;

    fn of(made: Made) -> Self {
        made
    }

    fn made(&self) -> &Made {
        self
    }

    fn migrated(from: u32, _: Value) -> Result<Self> {
        Err(Error::failed(format!("there is no version {from} before the first")))
    }
}

/// The second form, which the first program cannot read, nor this one the first without translating it.
#[derive(Serialize, Deserialize)]
struct Second {
    made: Made,
}

impl Form for Second {
    const VERSION: u32 = 2;

    fn of(made: Made) -> Self {
        Self { made }
    }

    fn made(&self) -> &Made {
        &self.made
    }

    fn migrated(from: u32, state: Value) -> Result<Self> {
        match from {
            1 => Ok(Self::of(serde_json::from_value(state)?)),
            _ => Err(Error::failed(format!("version {from} is not known"))),
        }
    }
}

struct Tortured<F> {
    backend: String,
    form: std::marker::PhantomData<fn() -> F>,
}

impl<F: Form> Service for Tortured<F> {
    type Parameters = New;
    type BindParameters = New;
    type State = F;
    type Credentials = Made;

    const STATE_VERSION: u32 = F::VERSION;

    async fn migrate(&self, from: u32, state: Value) -> Result<F> {
        F::migrated(from, state)
    }

    async fn provision(&self, op: &Operation, new: New) -> Result<F> {
        let begin = begin::<F>(op, Verb::Provision, None, None)?;
        let made = self.call(op, begin, async |call| {
            let made = make(call, op, "step", new.steps).await?;
            Ok(Made {
                note: Some(new.note),
                plan: Some(op.plan().id.clone()),
                ..made
            })
        });
        made.await.map(F::of)
    }

    async fn deprovision(&self, op: &Operation, state: Option<F>) -> Result<()> {
        let begin = begin(op, Verb::Deprovision, state.as_ref(), None)?;
        self.call(op, begin, async |call| call.ask(&Request::Remove).await.map(drop))
            .await
    }

    async fn bind(&self, op: &Operation, state: &F, new: New) -> Result<Binding<Made>> {
        let begin = begin(op, Verb::Bind, Some(state), None)?;
        self.call(op, begin, async |call| make(call, op, "step", new.steps).await)
            .await
            .map(Binding::new)
    }

    async fn rotate(&self, op: &Operation, state: &F, predecessor: Made, new: New) -> Result<Binding<Made>> {
        let begin = begin(op, Verb::Rotate, Some(state), Some(&predecessor))?;
        self.call(op, begin, async |call| make(call, op, "step", new.steps).await)
            .await
            .map(Binding::new)
    }

    async fn unbind(&self, op: &Operation, state: &F, credentials: Option<Made>) -> Result<()> {
        let begin = begin(op, Verb::Unbind, Some(state), credentials.as_ref())?;
        self.call(op, begin, async |call| call.ask(&Request::Remove).await.map(drop))
            .await
    }
}

impl<F: Form> Updatable for Tortured<F> {
    type Update = New;

    async fn update(&self, op: &Operation, state: F, change: Change<New>) -> Result<F> {
        let wanted = Wanted {
            plan: op.plan().id.clone(),
            previous_plan: change.previous_plan.map(|plan| plan.to_string()),
            note: change.parameters.as_ref().map(|new| new.note.clone()),
        };
        let begin = Begin {
            wanted: Some(wanted.clone()),
            ..begin(op, Verb::Update, Some(&state), None)?
        };
        let steps = change.parameters.map_or(1, |new| new.steps);
        let before = state.made().clone();
        let made = self.call(op, begin, async |call| {
            let made = make(call, op, "update", steps).await?;
            Ok(Made {
                note: wanted.note.or(before.note),
                plan: Some(wanted.plan),
                ..made
            })
        });
        made.await.map(F::of)
    }
}

impl<F: Form> Tortured<F> {
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

fn begin<F: Form>(op: &Operation, verb: Verb, state: Option<&F>, credentials: Option<&Made>) -> Result<Begin> {
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
        state: state.map(|state| serde_json::to_value(state.made())).transpose()?,
        credentials: credentials.map(serde_json::to_value).transpose()?,
        wanted: None,
        version: F::VERSION,
    })
}

async fn make(call: &mut Call, op: &Operation, prefix: &str, steps: u8) -> Result<Made> {
    let mut tokens = Vec::new();
    for number in 0..steps {
        let name = format!("{prefix}-{number}");
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
        note: None,
        plan: None,
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
        update: execution,
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
    let plan = |id, name, description| Plan::new(id, name, description).binding_rotatable(true);
    let mut offering = Offering::new(SERVICE, "tortured", "Everything in a backend that is never killed")
        .bindable(true)
        .plan_updateable(true)
        .plan(plan(AUTO_PLAN, "auto", "Answers when it is done"))
        .plan(plan(ASYNC_PLAN, "async", "Answers at once"));
    // What asynchronous binds need.
    offering.bindings_retrievable = true;
    offering.instances_retrievable = true;
    let broker = match std::env::var(STATE_VERSION).as_deref() {
        Ok("2") => broker::<Second>(offering, backend),
        _ => broker::<Made>(offering, backend),
    };
    osb_sdk::run(broker)
}

fn broker<F: Form>(offering: Offering, backend: String) -> Broker {
    let service = Tortured::<F> {
        backend,
        form: std::marker::PhantomData,
    };
    Broker::new("torture")
        .updatable(offering, service)
        .policy(AUTO_PLAN, policy(Execution::Auto))
        .policy(ASYNC_PLAN, policy(Execution::Async))
}
