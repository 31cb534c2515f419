//! Bindings.

use serde_json::{Value, json};

use super::instances::{fits, has_plan, objects, service_of};
use super::{APP, Ask, Binding, Broker, Instance, Reply, Route, SERVICE, SLOW, State, accepted, ended, in_progress};

impl Broker {
    pub(crate) fn bind(&self, state: &mut State, ask: &Ask) -> Reply {
        let Some(instance) = state.instances.get(&ask.instance).cloned() else {
            return Reply::refused(
                if self.breaks("OSB-BIND-18") { 500 } else { 404 },
                "There is no such instance.",
            );
        };
        if let Some(refusal) = self.unusable_bind(state, ask, &instance) {
            if self.breaks("OSB-BIND-32") {
                self.insert(state, ask, &instance, false);
            }
            return refusal;
        }
        let key = (ask.instance.clone(), ask.binding.clone());
        if let Some(found) = state.bindings.get(&key).cloned() {
            return self.repeated_bind(state, ask, &found);
        }
        if instance.work.is_some() {
            return Reply::reserved("ConcurrencyError");
        }
        if !fits(ask.member("parameters"), "role") {
            let status = if self.breaks("OSB-BIND-06") { 422 } else { 400 };
            return Reply::refused(status, "The parameters do not fit.");
        }
        if instance.plan == SLOW && !self.accepts(ask) {
            return Reply::reserved("AsyncRequired");
        }
        let busy = |(key, binding): (&(String, String), &Binding)| key.0 == ask.instance && binding.work.is_some();
        if self.breaks("OSB-BIND-17") && state.bindings.iter().any(busy) {
            return Reply::refused(409, "Another bind runs.");
        }
        self.insert(state, ask, &instance, instance.plan == SLOW)
    }

    fn insert(&self, state: &mut State, ask: &Ask, instance: &Instance, slow: bool) -> Reply {
        let work = slow.then(|| state.work(Route::Bind, Value::Null));
        let predecessor = ask.text("predecessor_binding_id").map(str::to_owned);
        let old = predecessor
            .as_ref()
            .and_then(|old| state.bindings.get(&(ask.instance.clone(), old.clone())));
        let inherited = old
            .filter(|_| !self.breaks("OSB-ROT-06"))
            .map(|old| old.parameters.clone());
        let parameters = ask
            .member("parameters")
            .cloned()
            .or(inherited)
            .unwrap_or_else(|| json!({}));
        let binding = Binding {
            asked: asked(ask),
            parameters,
            plan: instance.plan.clone(),
            predecessor: predecessor.clone(),
            work: work.clone(),
            finished: None,
        };
        if let Some(old) = predecessor.filter(|_| self.breaks("OSB-ROT-05")) {
            state.bindings.remove(&(ask.instance.clone(), old));
        }
        state
            .bindings
            .insert((ask.instance.clone(), ask.binding.clone()), binding);
        match work {
            Some(work) => accepted(state, &work, false),
            None => Reply::new(201, content(ask)),
        }
    }

    fn repeated_bind(&self, state: &mut State, ask: &Ask, found: &Binding) -> Reply {
        let same = found.asked == asked(ask);
        match &found.work {
            Some(work) if work.verb == Route::Unbind => {
                let _ = work;
                Reply::reserved("ConcurrencyError")
            }
            Some(work) if same => accepted(state, work, self.breaks("OSB-BIND-10")),
            _ if !same && self.breaks("OSB-BIND-13") => Reply::new(200, content(ask)),
            _ if !same => Reply::refused(409, "It is there, and otherwise."),
            _ if self.breaks("OSB-BIND-12") => Reply::refused(409, "It is there."),
            _ => Reply::new(200, content(ask)),
        }
    }

    fn unusable_bind(&self, state: &State, ask: &Ask, instance: &Instance) -> Option<Reply> {
        if ask.body.is_none() || !objects(ask, &["context", "parameters", "bind_resource"]) {
            let status = if self.breaks("OSB-BIND-14") { 422 } else { 400 };
            return Some(Reply::refused(status, "The body is malformed."));
        }
        let predecessor = ask.member("predecessor_binding_id");
        let free = predecessor.is_some() && !self.breaks("OSB-ROT-03");
        let service = ask.member("service_id");
        let known = service.and_then(Value::as_str) == Some(service_of(&instance.plan));
        if !(known || service.is_none() && free || self.breaks("OSB-BIND-01")) {
            return Some(Reply::refused(400, "`service_id` has to be that of the instance."));
        }
        let plan = ask.member("plan_id");
        let known = plan.and_then(Value::as_str) == Some(&instance.plan);
        if !(known || plan.is_none() && free || self.breaks("OSB-BIND-02")) {
            return Some(Reply::refused(400, "`plan_id` has to be that of the instance."));
        }
        if !has_plan(SERVICE, &instance.plan) {
            return Some(Reply::refused(400, "The plan cannot be bound."));
        }
        let of_resource = ask
            .member("bind_resource")
            .and_then(|resource| resource.get("app_guid"));
        if instance.plan == APP && of_resource.is_none() && ask.member("app_guid").is_none() {
            let wrong = self.breaks("OSB-BIND-15");
            return Some(if wrong {
                Reply::refused(400, "No app.")
            } else {
                Reply::reserved("RequiresApp")
            });
        }
        self.unusable_rotation(state, ask, instance)
    }

    fn unusable_rotation(&self, state: &State, ask: &Ask, instance: &Instance) -> Option<Reply> {
        let old = ask.text("predecessor_binding_id")?;
        if instance.plan == APP && !self.breaks("OSB-ROT-08") {
            return Some(Reply::refused(400, "The plan has no rotation."));
        }
        let there = state.bindings.contains_key(&(ask.instance.clone(), old.to_owned()));
        (!there && !self.breaks("OSB-ROT-04")).then(|| Reply::refused(400, "There is no such predecessor."))
    }

    pub(crate) fn fetch_binding(&self, state: &mut State, ask: &Ask) -> Reply {
        let found = state
            .bindings
            .get_mut(&(ask.instance.clone(), ask.binding.clone()))
            .map(|found| found.clone());
        let elsewhere = || {
            state
                .bindings
                .iter()
                .find(|((_, id), _)| *id == ask.binding)
                .map(|(_, found)| found.clone())
        };
        let found = found.or_else(|| elsewhere().filter(|_| self.breaks("OSB-GETB-02")));
        let making = |found: &Binding| found.work.as_ref().is_some_and(|work| work.verb == Route::Bind);
        let Some(found) = found.filter(|found| !making(found)) else {
            return Reply::refused(404, "Not there.");
        };
        if self.breaks("OSB-LOB-05") && found.plan == SLOW {
            return Reply::refused(404, "Not yet.");
        }
        let mut reply = Reply::new(200, content(ask));
        reply.set("parameters", found.parameters);
        reply
    }

    pub(crate) fn unbind(&self, state: &mut State, ask: &Ask) -> Reply {
        let key = (ask.instance.clone(), ask.binding.clone());
        let Some(found) = state.bindings.get(&key).cloned() else {
            return Reply::new(if self.breaks("OSB-UNB-05") { 404 } else { 410 }, json!({}));
        };
        let (service, plan) = (ask.param("service_id"), ask.param("plan_id"));
        if service.is_none() || plan.is_none() {
            if !self.breaks("OSB-UNB-01") {
                return Reply::refused(400, "`service_id` and `plan_id` are required.");
            }
        } else if service != Some(service_of(&found.plan)) || plan != Some(&found.plan) {
            return Reply::refused(
                if self.breaks("OSB-UNB-10") { 500 } else { 400 },
                "That is not the plan.",
            );
        }
        match &found.work {
            Some(work) if work.verb == Route::Unbind => return accepted(state, work, self.breaks("OSB-UNB-04")),
            Some(_) if self.breaks("OSB-UNB-07") => return Reply::refused(409, "It is being made."),
            _ => {}
        }
        if found.plan == SLOW && !self.accepts(ask) {
            return Reply::reserved("AsyncRequired");
        }
        if found.plan == SLOW {
            let mut work = state.work(Route::Unbind, Value::Null);
            work.supersedes = found.work.is_some();
            state.bindings.get_mut(&key).unwrap().work = Some(work.clone());
            return accepted(state, &work, false);
        }
        self.forget(state, &key);
        Reply::new(200, json!({}))
    }

    fn forget(&self, state: &mut State, key: &(String, String)) {
        state.bindings.remove(key);
        if self.breaks("OSB-ROT-07") {
            state
                .bindings
                .retain(|_, binding| binding.predecessor.as_deref() != Some(&key.1));
        }
        if self.breaks("OSB-UNB-11") {
            state.bindings.retain(|(instance, _), _| *instance != key.0);
        }
    }

    pub(crate) fn poll_binding(&self, state: &mut State, ask: &Ask) -> Reply {
        let key = (ask.instance.clone(), ask.binding.clone());
        let gone = format!("{}/{}", key.0, key.1);
        let Some(binding) = state.bindings.get_mut(&key) else {
            return match state.gone.get(&gone) {
                Some(operation) if ask.param("operation") == Some(operation) => ended("succeeded"),
                Some(_) => Reply::new(410, json!({})),
                None if self.breaks("OSB-LOB-02") => Reply::new(410, json!({})),
                None => Reply::refused(404, "There is no such binding."),
            };
        };
        let Some(work) = &mut binding.work else {
            let forgotten = self.breaks("OSB-LOB-06") && binding.finished.is_some();
            return if forgotten {
                Reply::refused(404, "That is long ago.")
            } else {
                ended("succeeded")
            };
        };
        if !self.advance(work) {
            return in_progress();
        }
        let work = binding.work.take().unwrap();
        binding.finished = Some((work.operation.clone(), 1));
        if work.verb == Route::Unbind && !(work.supersedes && self.breaks("OSB-UNB-08")) {
            self.forget(state, &key);
            state.gone.insert(gone, work.operation.clone());
            if work.supersedes && self.breaks("OSB-LOB-08") {
                return ended("failed");
            }
        }
        ended("succeeded")
    }
}

/// What counts when a bind is repeated.
fn asked(ask: &Ask) -> Value {
    let names = [
        "service_id",
        "plan_id",
        "bind_resource",
        "app_guid",
        "predecessor_binding_id",
    ];
    let empty = json!({});
    json!([
        names.map(|name| ask.member(name)),
        ask.member("parameters").unwrap_or(&empty)
    ])
}

/// What a binding delivers.
fn content(ask: &Ask) -> Value {
    json!({
        "credentials": {"user": ask.binding, "password": "canary-credential"},
        "syslog_drain_url": "syslog://canary-credential",
        "route_service_url": "https://r",
        "volume_mounts": [{
            "driver": "nfs", "container_dir": "/data", "mode": "rw", "device_type": "shared",
            "device": {"volume_id": "v", "mount_config": {"canary": "canary-credential"}},
        }],
        "endpoints": [{"host": "h", "ports": ["443", "9000-9010"], "protocol": "tcp"}],
        "metadata": {"expires_at": "2031-05-04T03:02:01.0Z", "renew_before": "2031-04-04T03:02:01.0Z"},
    })
}
