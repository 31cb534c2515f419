//! A client of the broker that leads one instance after the other through its life, and looks at what there is of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use loadgen::http::{Connection, Target};
use serde_json::{Value, json};

use super::look::{Look, Seen};
use super::{BEHIND, NAMESPACE};
use crate::broker_process::PLATFORMS;
use crate::random::Random;

/// So long an operation may take, with all kills in between.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

const PAUSE: Duration = Duration::from_millis(5);

/// What clients have done and found.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) violations: Vec<String>,
}

impl Outcome {
    pub(super) fn add(&mut self, other: Self) {
        for (what, count) in other.counts {
            *self.counts.entry(what).or_default() += count;
        }
        self.violations.extend(other.violations);
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}

/// Something that may not be.
#[derive(Debug)]
struct Violation(String);

/// What ends the life of an instance early.
enum End {
    Violation(Violation),
    /// The play itself does not work.
    Broken(anyhow::Error),
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<anyhow::Error> for End {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

fn wrong(text: impl Into<String>) -> End {
    End::Violation(Violation(text.into()))
}

/// Which template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// All bindings have the credentials of the instance.
    Shared,
    /// Each binding has its own.
    Own,
}

impl Sort {
    fn service(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Own => "own",
        }
    }

    /// The objects of an instance that know the password: kind and what stands behind the name.
    fn objects(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Shared => &[
                ("secrets", ""),
                ("configmaps", "-a"),
                ("configmaps", "-b"),
                ("configmaps", "-c"),
            ],
            Self::Own => &[("secrets", ""), ("configmaps", "-a")],
        }
    }
}

/// An instance, as it was acknowledged.
struct Life {
    id: String,
    sort: Sort,
    size: u64,
    /// What was seen of its objects first.
    seen: BTreeMap<String, Seen>,
    bindings: BTreeMap<String, Login>,
    next_binding: u32,
}

impl Life {
    /// The name of its objects: the instance's own is that of the Secret with its parameters.
    fn name(&self) -> String {
        format!("of-{}", self.id)
    }
}

/// The credentials of a binding.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Login {
    password: String,
    /// The name of the binding's objects, where it has some.
    username: Option<String>,
}

struct Answer {
    status: u16,
    body: Value,
}

pub(super) struct Client {
    prefix: String,
    target: Target,
    look: Look,
    random: Random,
    /// Ids of service and plan, by the name of the service.
    services: BTreeMap<String, (String, String)>,
    outcome: Outcome,
    /// What was asked and answered in this life.
    story: Vec<String>,
}

impl Client {
    pub(super) fn new(prefix: String, addr: SocketAddr, look: Look, random: Random) -> Self {
        let (_, user, password) = PLATFORMS[0];
        Self {
            prefix,
            target: Target::new(addr, user, password),
            look,
            random,
            services: BTreeMap::new(),
            outcome: Outcome::default(),
            story: Vec::new(),
        }
    }

    /// Works until it is told to stop, and brings the last instance to its end.
    pub(super) fn work(mut self, stop: &AtomicBool) -> Result<Outcome> {
        if let Err(End::Violation(Violation(text))) = self.read_catalog() {
            self.outcome.violations.push(text);
        }
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            self.story.clear();
            let sort = if self.random.percent(50) {
                Sort::Shared
            } else {
                Sort::Own
            };
            let life = Life {
                id: format!("{}-{number}", self.prefix),
                sort,
                size: 1,
                seen: BTreeMap::new(),
                bindings: BTreeMap::new(),
                next_binding: 0,
            };
            match self.live(life) {
                Ok(()) => self.outcome.count("instances"),
                Err(End::Broken(error)) => return Err(error),
                Err(End::Violation(Violation(text))) => {
                    let from = self.story.len().saturating_sub(60);
                    let story = self.story[from..].join("\n");
                    self.outcome
                        .violations
                        .push(format!("{}-{number}: {text}\n{story}", self.prefix));
                }
            }
        }
        Ok(self.outcome)
    }

    fn live(&mut self, mut life: Life) -> Result<(), End> {
        self.provision(&life)?;
        self.look_at_instance(&mut life)?;
        for _ in 0..self.random.below(7) {
            match self.random.below(10) {
                0..4 => self.bind(&mut life, None)?,
                4..6 => self.update(&mut life)?,
                6..7 if life.sort == Sort::Own => {
                    let predecessor = life.bindings.keys().next().cloned();
                    self.bind(&mut life, predecessor)?;
                }
                6..9 => self.unbind(&mut life)?,
                _ => self.look_at_projection(&life)?,
            }
            self.look_at_instance(&mut life)?;
        }
        self.deprovision(life)
    }

    /// Asks until there is an answer that says something.
    fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Answer, End> {
        let deadline = Instant::now() + ENDS_WITHIN;
        let body = body.map(|body| body.to_string().into_bytes());
        let mut request = Vec::new();
        self.target.request(&mut request, method, path, body.as_deref());
        loop {
            if Instant::now() > deadline {
                return Err(wrong(format!("{method} {path} is never answered")));
            }
            self.outcome.count("requests");
            let hangs_up = method != "GET" && self.random.percent(5);
            match self.send(&request, hangs_up) {
                Some(answer) => {
                    let said = match answer.status {
                        // Credentials do not belong into a story.
                        200 | 201 => String::new(),
                        _ => format!(" {}", answer.body),
                    };
                    self.story.push(format!("{method} {path} -> {}{said}", answer.status));
                    let is_in_the_way = answer.status == 422 && answer.body["error"] == "ConcurrencyError";
                    if answer.status < 500 && !matches!(answer.status, 408 | 429) && !is_in_the_way {
                        return Ok(answer);
                    }
                }
                None => self.outcome.count("cut off"),
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn send(&mut self, request: &[u8], hangs_up: bool) -> Option<Answer> {
        let mut connection = Connection::open(self.target.addr, ENDS_WITHIN).ok()?;
        connection.send(request).ok()?;
        if hangs_up {
            std::thread::sleep(self.random.micros_below(3_000));
            return None;
        }
        let answer = connection.receive().ok()?;
        Some(Answer {
            status: answer.status,
            body: serde_json::from_slice(answer.body).unwrap_or_default(),
        })
    }

    /// Asks again and again until it is done. `done` says which statuses mean that.
    fn until(&mut self, method: &str, path: &str, body: Option<&Value>, done: &[u16]) -> Result<Answer, End> {
        let resource = path.split('?').next().unwrap_or(path).to_owned();
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            let answer = self.ask(method, path, body)?;
            if done.contains(&answer.status) {
                return Ok(answer);
            }
            if answer.status != 202 || Instant::now() > deadline {
                return Err(wrong(format!("{method} {path} -> {} {}", answer.status, answer.body)));
            }
            if self.has_ended(&resource)? {
                // What it has become, a repeat tells.
                continue;
            }
        }
    }

    /// Polls until the last operation has ended.
    fn has_ended(&mut self, resource: &str) -> Result<bool, End> {
        let deadline = Instant::now() + ENDS_WITHIN;
        loop {
            let answer = self.ask("GET", &format!("{resource}/last_operation"), None)?;
            match (answer.status, answer.body["state"].as_str()) {
                (200, Some("in progress")) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                (200, Some("succeeded")) | (404 | 410, _) => return Ok(true),
                (status, _) => return Err(wrong(format!("{resource} has become {status} {}", answer.body))),
            }
        }
    }

    fn instance(&self, life: &Life) -> String {
        format!("/v2/service_instances/{}", life.id)
    }

    /// The ids of service and plan.
    fn ids(&self, life: &Life) -> (String, String) {
        self.services.get(life.sort.service()).cloned().unwrap_or_default()
    }

    fn read_catalog(&mut self) -> Result<(), End> {
        let catalog = self.until("GET", "/v2/catalog", None, &[200])?.body;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let services = catalog["services"].as_array().into_iter().flatten();
        let ids = services.map(|service| {
            let plan = &service["plans"][0];
            (text(&service["name"]), (text(&service["id"]), text(&plan["id"])))
        });
        self.services = ids.collect();
        Ok(())
    }

    fn body(&self, life: &Life, more: &Value) -> Value {
        let (service, plan) = self.ids(life);
        let mut body = json!({"service_id": service, "plan_id": plan});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    }

    fn removal(&self, life: &Life) -> String {
        let (service, plan) = self.ids(life);
        format!("?accepts_incomplete=true&service_id={service}&plan_id={plan}")
    }

    fn provision(&mut self, life: &Life) -> Result<(), End> {
        let parameters = json!({"NAME": life.name(), "SIZE": life.size.to_string()});
        let body = self.body(
            life,
            &json!({"organization_guid": "o", "space_guid": "s", "parameters": parameters}),
        );
        let path = format!("{}?accepts_incomplete=true", self.instance(life));
        self.until("PUT", &path, Some(&body), &[200, 201])?;
        self.outcome.count("provisions");
        Ok(())
    }

    fn update(&mut self, life: &mut Life) -> Result<(), End> {
        let size = life.size + 1;
        let (service, _) = self.ids(life);
        let body = json!({"service_id": service, "parameters": {"SIZE": size.to_string()}});
        let path = format!("{}?accepts_incomplete=true", self.instance(life));
        self.until("PATCH", &path, Some(&body), &[200])?;
        life.size = size;
        self.outcome.count("updates");
        Ok(())
    }

    fn bind(&mut self, life: &mut Life, predecessor: Option<String>) -> Result<(), End> {
        let id = format!("b{}", life.next_binding);
        life.next_binding += 1;
        let binding = format!("{}/service_bindings/{id}", self.instance(life));
        let body = match &predecessor {
            Some(predecessor) => json!({"predecessor_binding_id": predecessor}),
            None => self.body(life, &json!({})),
        };
        let path = format!("{binding}?accepts_incomplete=true");
        let answer = self.until("PUT", &path, Some(&body), &[200, 201])?;
        let login = login(&answer.body)?;
        let fetched = self.until("GET", &binding, None, &[200])?;
        if self::login(&fetched.body)? != login {
            return Err(wrong(format!(
                "{id} has other credentials when it is fetched than when it was made"
            )));
        }
        match life.sort {
            Sort::Shared => {
                let password = self.password(life);
                if password != Some(&login.password) {
                    return Err(wrong(format!(
                        "{id} has another password than the objects of its instance"
                    )));
                }
            }
            Sort::Own => self.look_at_binding(&id, &login)?,
        }
        life.bindings.insert(id, login);
        self.outcome
            .count(if predecessor.is_some() { "rotations" } else { "binds" });
        Ok(())
    }

    fn password<'l>(&self, life: &'l Life) -> Option<&'l String> {
        life.seen.values().next().and_then(|seen| seen.data.get("password"))
    }

    fn unbind(&mut self, life: &mut Life) -> Result<(), End> {
        let Some((id, login)) = life.bindings.pop_first() else {
            return Ok(());
        };
        let path = format!("{}/service_bindings/{id}{}", self.instance(life), self.removal(life));
        self.until("DELETE", &path, None, &[200, 410])?;
        self.outcome.count("unbinds");
        self.is_taken_back(&id, &login)
    }

    fn deprovision(&mut self, mut life: Life) -> Result<(), End> {
        // Bindings that are left are removed with their instance.
        while self.random.percent(50) && !life.bindings.is_empty() {
            self.unbind(&mut life)?;
        }
        let path = format!("{}{}", self.instance(&life), self.removal(&life));
        self.until("DELETE", &path, None, &[200, 410])?;
        for (kind, behind) in life.sort.objects() {
            let name = format!("{}{behind}", life.name());
            if self.look.data(kind, &name)?.is_some() {
                return Err(wrong(format!("{kind} {name} is left")));
            }
        }
        for (id, login) in &life.bindings {
            self.is_taken_back(id, login)?;
        }
        self.outcome.count("deprovisions");
        Ok(())
    }

    /// The objects of an instance are those that were seen first, with one password, and as they were asked for last.
    fn look_at_instance(&mut self, life: &mut Life) -> Result<(), End> {
        for (kind, behind) in life.sort.objects() {
            let name = format!("{}{behind}", life.name());
            let called = format!("{kind} {name}");
            let Some(found) = self.look.data(kind, &name)? else {
                return Err(wrong(format!("{called} is not there")));
            };
            if found.data.get("size") != Some(&life.size.to_string()) {
                return Err(wrong(format!(
                    "{called} has not the size {}: {:?}",
                    life.size,
                    found.data.get("size")
                )));
            }
            if let Some(before) = life.seen.get(&called)
                && before.uid != found.uid
            {
                return Err(wrong(format!("{called} was made a second time")));
            }
            if let Some(password) = self.password(life)
                && found.data.get("password") != Some(password)
            {
                return Err(wrong(format!(
                    "{called} has another password than the first object had first"
                )));
            }
            life.seen.entry(called).or_insert(found);
        }
        self.outcome.count("looks");
        Ok(())
    }

    fn look_at_binding(&mut self, id: &str, login: &Login) -> Result<(), End> {
        let Some(name) = &login.username else {
            return Err(wrong(format!("{id} has no login of its own")));
        };
        for kind in ["secrets", "configmaps"] {
            let found = self.look.data(kind, name)?;
            if found.as_ref().and_then(|found| found.data.get("password")) != Some(&login.password) {
                return Err(wrong(format!(
                    "{kind} {name} of {id} has not the password that was given"
                )));
            }
        }
        Ok(())
    }

    /// What a binding had of its own is gone, and what takes its login back has run with the password that it had.
    fn is_taken_back(&mut self, id: &str, login: &Login) -> Result<(), End> {
        let Some(name) = &login.username else {
            return Ok(());
        };
        for kind in ["secrets", "configmaps"] {
            if self.look.data(kind, name)?.is_some() {
                return Err(wrong(format!("{kind} {name} of {id} is left")));
            }
        }
        let revoked = self.look.data("configmaps", &format!("revoked-{name}"))?;
        if revoked.as_ref().and_then(|revoked| revoked.data.get("password")) != Some(&login.password) {
            return Err(wrong(format!("the login of {id} was not taken back")));
        }
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/revoked-{name}");
        self.look.delete(&path).context("what a test made cannot be removed")?;
        self.outcome.count("logins taken back");
        Ok(())
    }

    fn look_at_projection(&mut self, life: &Life) -> Result<(), End> {
        let path = format!("/apis/template.openshift.io/v1/brokertemplateinstances/{}", life.id);
        let wanted: Vec<&str> = life.bindings.keys().map(String::as_str).collect();
        let deadline = Instant::now() + BEHIND;
        loop {
            let found = self.look.get(&path)?;
            let ids = found.as_ref().map(|found| {
                let ids = found["spec"]["bindingIDs"].as_array().into_iter().flatten();
                ids.filter_map(Value::as_str).collect::<Vec<_>>()
            });
            if ids.as_ref() == Some(&wanted) {
                self.outcome.count("projections seen");
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(wrong(format!(
                    "the BrokerTemplateInstance shows {ids:?}, not {wanted:?}"
                )));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn login(body: &Value) -> Result<Login, End> {
    let text = |name: &str| body["credentials"][name].as_str().map(str::to_owned);
    let Some(password) = text("password") else {
        return Err(wrong("a binding has no password"));
    };
    Ok(Login {
        password,
        username: text("username"),
    })
}
