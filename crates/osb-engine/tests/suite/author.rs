//! The author under test: a service whose backend is a set of names that outlives every broker process, and which
//! behaves as the parameters ask.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use osb_api::Object;
use osb_api::catalog::{Offering, Plan};
use osb_engine::{
    Binding, Broker, Change, Error, Execution, InstanceMetadata, Operation, Policy, Result, Service, Undone, Updatable,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

pub(crate) const SERVICE: &str = "service";
/// Answers with the outcome.
pub(crate) const AUTO: &str = "auto";
/// Always answers 202.
pub(crate) const ASYNC: &str = "async";
pub(crate) const UNBINDABLE: &str = "unbindable";
/// One call at a time.
pub(crate) const NARROW: &str = "narrow";
pub(crate) const NEEDS_APP: &str = "needs-app";
/// The maintenance version of [`NEEDS_APP`].
pub(crate) const MAINTENANCE: &str = "1.2.3+abc";

/// What an author's function does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Behaviour {
    #[default]
    Succeed,
    Fail,
    /// Fails once in a way that may pass.
    Hiccup,
    Panic,
    /// Waits for [`Journal::release`], or to be cancelled.
    Block,
    /// Waits and does not listen to cancellation.
    Hang,
    /// Two steps, and waits between them as [`Behaviour::Block`] does.
    Steps,
    /// Says what it was given in its error.
    Blab,
    /// Fails, and says that the instance is of no use any more and that trying again is of none.
    Ruin,
    /// Waits to be cancelled, and gives up then.
    Stuck,
    /// Waits to be cancelled, and has succeeded then.
    Late,
}

#[derive(Clone, Deserialize, JsonSchema)]
pub(crate) struct Wish {
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 100))]
    pub(crate) size: u32,
    #[serde(default)]
    pub(crate) provision: Behaviour,
    #[serde(default)]
    pub(crate) deprovision: Behaviour,
    #[serde(default)]
    pub(crate) secret: Option<String>,
}

fn one() -> u32 {
    1
}

#[derive(Clone, Deserialize, JsonSchema)]
pub(crate) struct NewWish {
    #[schemars(range(min = 1, max = 100))]
    pub(crate) size: Option<u32>,
    #[serde(default)]
    pub(crate) update: Behaviour,
    #[serde(default)]
    pub(crate) undo: Behaviour,
    #[serde(default)]
    pub(crate) secret: Option<String>,
}

#[derive(Clone, Deserialize, JsonSchema)]
pub(crate) struct BindWish {
    #[serde(default)]
    pub(crate) bind: Behaviour,
    #[serde(default)]
    pub(crate) unbind: Behaviour,
    #[serde(default)]
    pub(crate) secret: Option<String>,
    /// So many seconds the binding is valid; none when absent.
    #[serde(default)]
    pub(crate) valid_secs: Option<u64>,
    /// Whether the binding carries a log drain, which the offering does not permit.
    #[serde(default)]
    pub(crate) drain: bool,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct State {
    name: String,
    size: u32,
    deprovision: Behaviour,
    secret: Option<String>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Login {
    user: String,
    password: String,
    unbind: Behaviour,
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) verb: &'static str,
    /// `start`, `end`, or `step …`.
    pub(crate) what: String,
    pub(crate) instance: String,
    pub(crate) key: String,
    pub(crate) attempt: u32,
    pub(crate) fence: u64,
}

#[derive(Default)]
struct Backend {
    lines: Vec<Line>,
    names: BTreeSet<String>,
    running: HashMap<String, usize>,
    overlaps: usize,
    hiccups: BTreeSet<String>,
    /// The sizes of the databases by name; an update changes it first, whatever comes then.
    sizes: HashMap<String, u32>,
    gates: HashMap<String, Arc<Semaphore>>,
}

/// The backend and what was done to it.
#[derive(Clone, Default)]
pub(crate) struct Journal {
    inner: Arc<Mutex<Backend>>,
}

impl Journal {
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.lock().lines.clone()
    }

    /// The keys of all calls of a verb for an instance, in order.
    pub(crate) fn keys(&self, verb: &str, instance: &str) -> Vec<String> {
        let is_start = |line: &&Line| line.verb == verb && line.instance == instance && line.what == "start";
        self.lock()
            .lines
            .iter()
            .filter(is_start)
            .map(|line| line.key.clone())
            .collect()
    }

    /// How often a step ran.
    pub(crate) fn steps(&self, step: &str) -> usize {
        self.lock()
            .lines
            .iter()
            .filter(|line| line.what == format!("step {step}"))
            .count()
    }

    /// What exists in the backend.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.lock().names.clone()
    }

    /// The size of the only database.
    pub(crate) fn size(&self) -> u32 {
        let sizes: Vec<u32> = self.lock().sizes.values().copied().collect();
        assert_eq!(sizes.len(), 1, "one database");
        sizes[0]
    }

    /// How often something was written.
    pub(crate) fn count(&self, what: &str) -> usize {
        self.lock().lines.iter().filter(|line| line.what == what).count()
    }

    /// How often a call for an instance began while another one ran.
    pub(crate) fn overlaps(&self) -> usize {
        self.lock().overlaps
    }

    /// Lets what is blocked for an instance go on.
    pub(crate) fn release(&self, instance: &str) {
        self.gate(instance).add_permits(1_000);
    }

    /// Blocks what begins from now on for an instance.
    pub(crate) fn close(&self, instance: &str) {
        self.gate(instance).forget_permits(usize::MAX);
    }

    /// Waits until a verb has been called for an instance.
    pub(crate) async fn started(&self, verb: &str, instance: &str) {
        eventually("an author's function is called", || {
            !self.keys(verb, instance).is_empty()
        })
        .await;
    }

    pub(crate) fn gate(&self, instance: &str) -> Arc<Semaphore> {
        let new = || Arc::new(Semaphore::new(0));
        self.lock().gates.entry(instance.to_owned()).or_insert_with(new).clone()
    }

    fn write(&self, op: &Operation, what: &str) {
        let line = Line {
            verb: op.verb().as_str(),
            what: what.to_owned(),
            instance: op.instance().as_str().to_owned(),
            key: op.key().to_owned(),
            attempt: op.attempt(),
            fence: op.fence(),
        };
        self.lock().lines.push(line);
    }

    fn lock(&self) -> MutexGuard<'_, Backend> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Polls a condition until it holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("never came: {what}");
}

struct Probe {
    journal: Journal,
}

/// Marks a call as running until it is dropped, finished or cancelled.
struct Running<'a> {
    journal: &'a Journal,
    instance: String,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(count) = self.journal.lock().running.get_mut(&self.instance) {
            *count -= 1;
        }
    }
}

impl Probe {
    fn begin(&self, op: &Operation) -> Running<'_> {
        self.enter(op, "start")
    }

    fn enter(&self, op: &Operation, what: &str) -> Running<'_> {
        self.journal.write(op, what);
        let mut backend = self.journal.lock();
        let instance = format!("{}/{}", op.platform().0, op.instance());
        let count = backend.running.entry(instance.clone()).or_default();
        *count += 1;
        if *count > 1 {
            backend.overlaps += 1;
        }
        Running {
            journal: &self.journal,
            instance,
        }
    }

    async fn behave(&self, op: &Operation, behaviour: Behaviour, given: Option<&str>) -> Result<()> {
        match behaviour {
            Behaviour::Succeed => Ok(()),
            Behaviour::Fail => Err(Error::failed("This was asked for.")),
            Behaviour::Hiccup => {
                if self.journal.lock().hiccups.insert(op.key().to_owned()) {
                    Err(std::io::Error::other("the line is busy").into())
                } else {
                    Ok(())
                }
            }
            Behaviour::Panic => panic!("this was asked for"),
            Behaviour::Block => self.wait(op).await,
            Behaviour::Stuck => {
                op.cancelled().await;
                Err(Error::failed("cancelled"))
            }
            Behaviour::Late => {
                op.cancelled().await;
                Ok(())
            }
            Behaviour::Hang => {
                let gate = self.journal.gate(op.instance().as_str());
                let _permit = gate.acquire().await.map_err(Error::from)?;
                Ok(())
            }
            Behaviour::Steps => {
                let first: String = op.step("first", || async { self.step(op, "first") }).await?;
                op.progress("halfway");
                self.wait(op).await?;
                let second: String = op.step("second", || async { self.step(op, "second") }).await?;
                assert_eq!(
                    (first.as_str(), second.as_str()),
                    ("result of first", "result of second")
                );
                Ok(())
            }
            Behaviour::Ruin => Err(Error::failed("It fell to pieces.").instance_unusable().not_repeatable()),
            Behaviour::Blab => {
                let given = given.unwrap_or_default();
                Err(Error::failed(format!("not with {given}")).caused_by(std::io::Error::other(given.to_owned())))
            }
        }
    }

    async fn wait(&self, op: &Operation) -> Result<()> {
        let gate = self.journal.gate(op.instance().as_str());
        tokio::select! {
            permit = gate.acquire() => permit.map(|_| ()).map_err(Error::from),
            () = op.cancelled() => Err(Error::failed("cancelled")),
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is the body of a step")]
    fn step(&self, op: &Operation, name: &str) -> Result<String> {
        self.journal.write(op, &format!("step {name}"));
        Ok(format!("result of {name}"))
    }
}

impl Service for Probe {
    type Parameters = Wish;
    type BindParameters = BindWish;
    type State = State;
    type Credentials = Login;

    async fn provision(&self, op: &Operation, wish: Wish) -> Result<State> {
        let _running = self.begin(op);
        let name = op.stable_name("db");
        self.journal.lock().names.insert(name.clone());
        self.journal.lock().sizes.insert(name.clone(), wish.size);
        self.behave(op, wish.provision, wish.secret.as_deref()).await?;
        self.journal.write(op, "end");
        Ok(State {
            name,
            size: wish.size,
            deprovision: wish.deprovision,
            secret: wish.secret,
        })
    }

    async fn deprovision(&self, op: &Operation, state: Option<State>) -> Result<()> {
        let _running = self.begin(op);
        if let Some(state) = &state {
            assert!(state.size > 0 && state.name == op.stable_name("db"));
            self.behave(op, state.deprovision, state.secret.as_deref()).await?;
        } else if let Some(first) = op.earlier_step::<String>("first") {
            self.journal.write(op, &format!("saw {first}"));
        }
        self.journal.lock().names.remove(&op.stable_name("db"));
        self.journal.lock().sizes.remove(&op.stable_name("db"));
        self.journal.write(op, "end");
        Ok(())
    }

    async fn bind(&self, op: &Operation, state: &State, wish: BindWish) -> Result<Binding<Login>> {
        let _running = self.begin(op);
        assert_eq!(state.name, op.instance_name("db"));
        let user = op.stable_name("u");
        self.journal.lock().names.insert(user.clone());
        self.behave(op, wish.bind, wish.secret.as_deref()).await?;
        self.journal.write(op, "end");
        let password = wish.secret.unwrap_or_else(|| format!("password of {user}"));
        let binding = Binding::new(Login {
            user,
            password,
            unbind: wish.unbind,
        });
        let binding = if wish.drain {
            binding.syslog_drain_url("syslog://drain.example.com")
        } else {
            binding
        };
        let now = SystemTime::now();
        Ok(match wish.valid_secs.map(Duration::from_secs) {
            Some(valid) => binding.expires_at(now + valid).renew_before(now + 2 * valid),
            None => binding,
        })
    }

    async fn rotate(&self, op: &Operation, state: &State, old: Login, wish: BindWish) -> Result<Binding<Login>> {
        self.journal.write(op, &format!("rotates {}", old.user));
        self.bind(op, state, wish).await
    }

    async fn unbind(&self, op: &Operation, _: &State, login: Option<Login>) -> Result<()> {
        let _running = self.begin(op);
        if let Some(login) = &login {
            assert_eq!(login.user, op.stable_name("u"));
            self.behave(op, login.unbind, Some(&login.password)).await?;
        }
        self.journal.lock().names.remove(&op.stable_name("u"));
        self.journal.write(op, "end");
        Ok(())
    }

    fn metadata(&self, _: &Operation, state: &State) -> Option<InstanceMetadata> {
        let labels = serde_json::json!({"size": state.size});
        Some(InstanceMetadata {
            labels: labels.as_object().cloned().unwrap_or_default(),
            ..InstanceMetadata::default()
        })
    }

    fn shown_parameters(&self, mut parameters: Object) -> Option<Object> {
        parameters.remove("secret");
        Some(parameters)
    }

    fn shown_bind_parameters(&self, parameters: Object) -> Option<Object> {
        self.shown_parameters(parameters)
    }

    fn dashboard_url(&self, op: &Operation) -> Option<String> {
        (op.plan().id == ASYNC).then(|| format!("https://dashboard.example.com/{}", op.stable_name("db")))
    }
}

impl Updatable for Probe {
    type Update = NewWish;

    async fn update(&self, op: &Operation, state: State, change: Change<NewWish>) -> Result<State> {
        let _running = self.begin(op);
        assert_eq!(state.name, op.stable_name("db"));
        if let Some(plan) = &change.previous_plan {
            self.journal.write(op, &format!("from {plan} to {}", op.plan().id));
        }
        if let Some(version) = &change.maintenance {
            self.journal.write(op, &format!("maintenance {version}"));
        }
        let mut state = state;
        if let Some(wish) = change.parameters {
            let size = wish.size.unwrap_or(state.size);
            self.journal.lock().sizes.insert(state.name.clone(), size);
            self.behave(op, wish.update, wish.secret.as_deref()).await?;
            state.size = size;
        }
        self.journal.write(op, &format!("end with size {}", state.size));
        Ok(state)
    }

    async fn undo_update(&self, op: &Operation, state: State, change: Change<NewWish>) -> Result<Undone> {
        let _running = self.enter(op, "undo");
        if let Some(wish) = change.parameters {
            self.behave(op, wish.undo, None).await?;
        }
        self.journal.lock().sizes.insert(state.name.clone(), state.size);
        if let Some(first) = op.earlier_step::<String>("first") {
            self.journal.write(op, &format!("undo saw {first}"));
        }
        self.journal.write(op, "undone");
        Ok(Undone::Everything)
    }
}

/// An offering that can be fetched and changed.
pub(crate) fn offering(id: &str, name: &str) -> Offering {
    Offering::new(id, name, "A service for tests")
        .bindable(true)
        .plan_updateable(true)
        .instances_retrievable(true)
        .bindings_retrievable(true)
}

/// What stands behind the offering of the tests.
pub(crate) fn service(journal: &Journal) -> impl Updatable + use<> {
    Probe {
        journal: journal.clone(),
    }
}

/// The broker of the tests.
pub(crate) fn broker(journal: &Journal) -> Broker {
    broker_with_maintenance(journal, MAINTENANCE)
}

/// The broker of the tests, with another version of what instances of one plan run.
pub(crate) fn broker_with_maintenance(journal: &Journal, version: &str) -> Broker {
    let all_async = Policy {
        provision: Execution::Async,
        update: Execution::Async,
        deprovision: Execution::Async,
        unbind: Execution::Async,
        ..Policy::default()
    };
    let mut offering = Offering::new(SERVICE, "probe", "A service for tests")
        .bindable(true)
        .plan_updateable(true)
        .plan(Plan::new(AUTO, "auto", "Answers with the outcome").binding_rotatable(true))
        .plan(Plan::new(ASYNC, "async", "Always answers 202").binding_rotatable(true))
        .plan(Plan::new(UNBINDABLE, "unbindable", "Cannot be bound").bindable(false))
        .plan(Plan::new(NARROW, "narrow", "One at a time").plan_updateable(false))
        .plan(Plan::new(NEEDS_APP, "needs-app", "Bound by applications").maintenance_version(version));
    offering.instances_retrievable = true;
    offering.bindings_retrievable = true;
    offering.allow_context_updates = true;
    Broker::new("probe")
        .updatable(
            offering,
            Probe {
                journal: journal.clone(),
            },
        )
        .policy(ASYNC, all_async)
        .policy(
            NARROW,
            Policy {
                parallelism: 1,
                ..Policy::default()
            },
        )
        .policy(
            NEEDS_APP,
            Policy {
                requires_app: true,
                ..Policy::default()
            },
        )
}
