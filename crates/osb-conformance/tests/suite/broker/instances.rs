//! Instances.

use serde_json::{Value, json};

use super::{APP, Ask, Broker, Instance, Reply, Route, SERVICE, SLOW, State, accepted, ended, in_progress};

const PLANS: &[(&str, &[&str])] = &[
    (SERVICE, &["plan-sync", SLOW, APP]),
    ("svc-b", &["plan-closed", "plan-other"]),
];

pub(crate) fn has_plan(service: &str, plan: &str) -> bool {
    PLANS
        .iter()
        .any(|(other, plans)| *other == service && plans.contains(&plan))
}

pub(crate) fn service_of(plan: &str) -> &'static str {
    PLANS
        .iter()
        .find(|(_, plans)| plans.contains(&plan))
        .map_or("", |(service, _)| service)
}

/// Members that have to be objects.
pub(crate) fn objects(ask: &Ask, names: &[&str]) -> bool {
    names.iter().all(|name| ask.member(name).is_none_or(Value::is_object))
}

/// Parameters as the schemas have them.
pub(crate) fn fits(parameters: Option<&Value>, word: &str) -> bool {
    let Some(Value::Object(members)) = parameters else {
        return true;
    };
    members
        .iter()
        .all(|(name, value)| name == word && value.is_string() || name == "size" && value.is_i64())
}

impl Broker {
    pub(crate) fn provision(&self, state: &mut State, ask: &Ask) -> Reply {
        if let Some(refusal) = self.unusable(ask) {
            if self.breaks("OSB-PROV-20") {
                self.make(state, ask, false);
            }
            return refusal;
        }
        let (plan, asked) = (plan_of(ask), asked(ask));
        if let Some(found) = state.instances.get(&ask.instance).cloned() {
            return self.repeat(state, ask, &found, &asked);
        }
        if plan == SLOW && !self.accepts(ask) && !self.breaks("OSB-ASY-03") {
            if self.breaks("OSB-ASY-04") {
                self.make(state, ask, false);
            }
            return Reply::reserved("AsyncRequired");
        }
        if plan != "plan-slow" && !fits(ask.member("parameters"), "label") {
            return Reply::refused(400, "The parameters do not fit.");
        }
        self.make(state, ask, plan == SLOW)
    }

    fn make(&self, state: &mut State, ask: &Ask, slow: bool) -> Reply {
        let plan = plan_of(ask);
        let work = slow.then(|| state.work(Route::Provision, Value::Null));
        let instance = Instance {
            first_plan: plan.clone(),
            plan,
            asked: asked(ask),
            parameters: ask.member("parameters").cloned().unwrap_or_else(|| json!({})),
            work: work.clone(),
            finished: None,
            stuck: false,
        };
        state.instances.insert(ask.instance.clone(), instance);
        state.gone.remove(&ask.instance);
        match work {
            Some(work) => {
                let mut reply = accepted(state, &work, false);
                reply.set("dashboard_url", json!("https://d"));
                reply
            }
            None if fails(ask.member("parameters")) => Reply::refused(500, "It fails, as ordered."),
            None => Reply::new(201, success()),
        }
    }

    fn repeat(&self, state: &mut State, ask: &Ask, found: &Instance, asked: &Value) -> Reply {
        let same = found.asked == *asked;
        match &found.work {
            Some(work) if work.verb == Route::Provision && same && self.breaks("OSB-BLK-05") => {
                let _ = work;
                Reply::reserved("ConcurrencyError")
            }
            Some(work) if work.verb == Route::Provision && same => accepted(state, work, self.breaks("OSB-PROV-13")),
            Some(work) if work.verb == Route::Provision => Reply::refused(409, "It is being made, and otherwise."),
            Some(work) if work.verb == Route::Deprovision => Reply::reserved("ConcurrencyError"),
            _ if same && self.breaks("OSB-PROV-14") => Reply::refused(409, "It is there."),
            _ if same && self.breaks("OSB-BLK-04") => Reply::new(201, success()),
            _ if same => Reply::new(200, success()),
            _ if self.breaks("OSB-PROV-15") => {
                state.instances.get_mut(&ask.instance).unwrap().asked = asked.clone();
                Reply::refused(409, "It is there, and otherwise.")
            }
            _ => Reply::refused(409, "It is there, and otherwise."),
        }
    }

    /// What is wrong with the body of a provision.
    fn unusable(&self, ask: &Ask) -> Option<Reply> {
        let malformed = |text: &str| Some(Reply::refused(400, text));
        if ask.body.is_none() || !objects(ask, &["context", "parameters", "maintenance_info"]) {
            let status = if self.breaks("OSB-PROV-09") { 422 } else { 400 };
            return Some(Reply::refused(status, "The body is malformed."));
        }
        let word = |name: &str| ask.text(name).is_some_and(|text| !text.is_empty());
        for (name, id) in [("organization_guid", "OSB-PROV-03"), ("space_guid", "OSB-PROV-04")] {
            if !word(name) && !self.breaks(id) {
                return malformed("An organization and a space are required.");
            }
        }
        if !word("service_id") && !self.breaks("OSB-PROV-01") {
            return malformed("`service_id` is required.");
        }
        let service = ask
            .text("service_id")
            .filter(|text| !text.is_empty())
            .unwrap_or(SERVICE);
        let plan = ask.text("plan_id").unwrap_or_default();
        if !has_plan(service, plan) {
            let status = if self.breaks("OSB-PROV-02") { 422 } else { 400 };
            return Some(Reply::refused(status, "There is no such plan."));
        }
        self.conflicts(ask, plan)
            .then(|| Reply::reserved("MaintenanceInfoConflict"))
    }

    /// Whether another maintenance version is asked for.
    fn conflicts(&self, ask: &Ask, plan: &str) -> bool {
        let Some(info) = ask.member("maintenance_info") else {
            return false;
        };
        let ours = if plan == "plan-sync" { "1.2.3+a" } else { "" };
        let version = info.get("version").and_then(Value::as_str).unwrap_or(ours);
        let core = |text: &str| text.split('+').next().unwrap_or_default().to_owned();
        match self.fault {
            "OSB-PROV-12" | "OSB-UPD-14" => false,
            "OSB-MNT-03" if info.as_object().is_some_and(|info| info.contains_key("more")) => true,
            "OSB-MNT-04" => core(version) != core(ours),
            _ => version != ours,
        }
    }

    pub(crate) fn fetch_instance(&self, state: &mut State, ask: &Ask) -> Reply {
        let Some(found) = state.instances.get(&ask.instance) else {
            return Reply::refused(404, "Not there.");
        };
        let verb = found.work.as_ref().map(|work| work.verb);
        if service_of(&found.plan) != SERVICE || self.breaks("OSB-GETI-01") {
            return Reply::refused(404, "It cannot be fetched.");
        }
        if verb == Some(Route::Provision) && !self.breaks("OSB-GETI-04") {
            return Reply::refused(404, "It is being made.");
        }
        if verb == Some(Route::Update) && self.breaks("OSB-GETI-05") {
            return Reply::refused(409, "It is being updated.");
        }
        let plan = if self.breaks("OSB-GETI-07") {
            &found.first_plan
        } else {
            &found.plan
        };
        Reply::new(
            200,
            json!({
                "service_id": SERVICE, "plan_id": plan, "dashboard_url": "https://d", "parameters": found.parameters,
                "maintenance_info": {"version": "1.2.3+a"}, "metadata": {"labels": {"a": "b"}, "attributes": {}},
            }),
        )
    }

    pub(crate) fn update(&self, state: &mut State, ask: &Ask) -> Reply {
        let Some(found) = state.instances.get(&ask.instance).cloned() else {
            if self.breaks("OSB-UPD-17") || self.breaks("OSB-DEP-13") && state.gone.contains_key(&ask.instance) {
                return Reply::new(200, json!({}));
            }
            return Reply::refused(404, "There is no such instance.");
        };
        if let Some(refusal) = self.unusable_update(ask, &found) {
            if self.breaks("OSB-UPD-19")
                && let Some(plan) = ask.text("plan_id")
            {
                state.instances.get_mut(&ask.instance).unwrap().plan = plan.to_owned();
            }
            return refusal;
        }
        let asked = json!([ask.member("plan_id"), ask.member("parameters"), ask.member("context")]);
        if let Some(work) = &found.work {
            return match work.verb {
                Route::Update if work.asked == asked => accepted(state, work, self.breaks("OSB-UPD-11")),
                Route::Update if self.breaks("OSB-UPD-16") => Reply::refused(409, "Busy."),
                _ => Reply::reserved("ConcurrencyError"),
            };
        }
        let slow = found.plan == SLOW;
        if slow && !self.accepts(ask) {
            return Reply::reserved("AsyncRequired");
        }
        let work = slow.then(|| state.work(Route::Update, asked));
        let instance = state.instances.get_mut(&ask.instance).unwrap();
        instance.work.clone_from(&work);
        if let Some(work) = work {
            return accepted(state, &work, false);
        }
        if let Some(plan) = ask.text("plan_id") {
            instance.plan = plan.to_owned();
        }
        Reply::new(200, success())
    }

    fn unusable_update(&self, ask: &Ask, found: &Instance) -> Option<Reply> {
        let fine = |id: &str| self.breaks(id);
        if ask.body.is_none() || !objects(ask, &["context", "previous_values", "maintenance_info"]) {
            let status = if fine("OSB-UPD-12") { 422 } else { 400 };
            return Some(Reply::refused(status, "The body is malformed."));
        }
        if !objects(ask, &["parameters"]) && !fine("OSB-UPD-03") {
            return Some(Reply::refused(400, "`parameters` has to be an object."));
        }
        if ask.text("service_id") != Some(service_of(&found.plan)) && !fine("OSB-UPD-01") {
            return Some(Reply::refused(400, "`service_id` has to be that of the instance."));
        }
        let target = match ask.member("plan_id") {
            None => found.plan.as_str(),
            Some(Value::String(plan)) if has_plan(service_of(&found.plan), plan) => plan,
            Some(_) if fine("OSB-UPD-02") => found.plan.as_str(),
            Some(_) => return Some(Reply::refused(400, "There is no such plan.")),
        };
        if target != found.plan && service_of(&found.plan) != SERVICE {
            let status = if fine("OSB-UPD-13") { 400 } else { 422 };
            let mut reply = Reply::refused(status, "This plan cannot be left.");
            if fine("OSB-UPD-18") {
                reply.body = Some(json!({}));
            } else {
                reply.set("update_repeatable", json!(false));
            }
            return Some(reply);
        }
        self.conflicts(ask, target)
            .then(|| Reply::reserved("MaintenanceInfoConflict"))
    }

    pub(crate) fn deprovision(&self, state: &mut State, ask: &Ask) -> Reply {
        let Some(found) = state.instances.get(&ask.instance).cloned() else {
            let known = state.gone.contains_key(&ask.instance);
            let lost = self.breaks("OSB-CRASH-04") && !known && ask.instance.contains("gone");
            let wrong = self.breaks("OSB-ORP-05") && !known || self.breaks("OSB-ORP-01") && known || lost;
            return Reply::new(if wrong || self.breaks("OSB-DEP-05") { 404 } else { 410 }, json!({}));
        };
        let (service, plan) = (ask.param("service_id"), ask.param("plan_id"));
        if service.is_none() || plan.is_none() {
            if self.breaks("OSB-ERR-07") {
                state.instances.remove(&ask.instance);
            }
            if !self.breaks("OSB-DEP-01") {
                return Reply::refused(400, "`service_id` and `plan_id` are required.");
            }
        } else if service != Some(service_of(&found.plan)) || plan != Some(&found.plan) {
            let status = if self.breaks("OSB-DEP-10") { 500 } else { 400 };
            return Reply::refused(status, "That is not the instance's plan.");
        }
        if fails(Some(&found.parameters)) && self.breaks("OSB-PROV-21") {
            return Reply::refused(500, "It has failed.");
        }
        if let Some(refusal) = self.busy(state, ask, &found) {
            return refusal;
        }
        if found.plan == SLOW && !self.accepts(ask) {
            return Reply::reserved("AsyncRequired");
        }
        let bound = state.bindings.keys().any(|(instance, _)| *instance == ask.instance);
        if bound && self.breaks("OSB-DEP-11") {
            return Reply::refused(500, "There are bindings.");
        }
        if found.plan == SLOW {
            let mut work = state.work(Route::Deprovision, Value::Null);
            work.supersedes = found.work.is_some();
            state.instances.get_mut(&ask.instance).unwrap().work = Some(work.clone());
            return accepted(state, &work, false);
        }
        self.remove(state, &ask.instance, "");
        Reply::new(200, json!({}))
    }

    /// What the work that runs says to a deprovision.
    fn busy(&self, state: &mut State, ask: &Ask, found: &Instance) -> Option<Reply> {
        if found.stuck {
            return Some(Reply::reserved("ConcurrencyError"));
        }
        let work = found.work.as_ref()?;
        match work.verb {
            Route::Deprovision => Some(accepted(state, work, self.breaks("OSB-DEP-04"))),
            Route::Provision if self.breaks("OSB-DEP-07") => Some(Reply::refused(409, "It is being made.")),
            Route::Provision if self.breaks("OSB-ORP-04") => {
                state.instances.get_mut(&ask.instance).unwrap().stuck = true;
                Some(Reply::reserved("ConcurrencyError"))
            }
            Route::Update => Some(Reply::reserved("ConcurrencyError")),
            _ => None,
        }
    }

    pub(crate) fn remove(&self, state: &mut State, id: &str, operation: &str) {
        state.instances.remove(id);
        state.bindings.retain(|(instance, _), _| instance != id);
        state.gone.insert(id.to_owned(), operation.to_owned());
    }

    pub(crate) fn poll_instance(&self, state: &mut State, ask: &Ask) -> Reply {
        let Some(instance) = state.instances.get_mut(&ask.instance) else {
            return match state.gone.get(&ask.instance) {
                Some(operation) if !operation.is_empty() && ask.param("operation") == Some(operation) => {
                    ended("succeeded")
                }
                Some(_) => Reply::new(410, json!({})),
                None if self.breaks("OSB-LOI-06") => ended("succeeded"),
                None if self.breaks("OSB-LOI-07") => Reply::new(410, json!({})),
                None => Reply::refused(404, "There is no such instance."),
            };
        };
        let strict = self.breaks("OSB-LOI-03");
        if strict
            && ask
                .param("plan_id")
                .is_some_and(|plan| plan != instance.plan || instance.work.is_some())
        {
            return Reply::refused(400, "That is not the plan.");
        }
        let Some(work) = &mut instance.work else {
            if self.breaks("OSB-ASY-02") && instance.finished.is_none() {
                return in_progress();
            }
            if let Some((_, told)) = &mut instance.finished {
                *told += 1;
                if self.breaks("OSB-LOI-11") {
                    return Reply::refused(404, "That is long ago.");
                }
            } else if self.breaks("OSB-LOI-12") {
                return Reply::refused(404, "There was no operation.");
            }
            return ended("succeeded");
        };
        if !self.advance(work) {
            return in_progress();
        }
        let work = instance.work.take().unwrap();
        instance.finished = Some((work.operation.clone(), 1));
        match work.verb {
            Route::Provision if fails(Some(&instance.parameters)) => return ended("failed"),
            Route::Update => {
                if let Some(plan) = work.asked[0].as_str() {
                    instance.plan = plan.to_owned();
                }
            }
            Route::Deprovision if work.supersedes && self.breaks("OSB-DEP-08") => {}
            Route::Deprovision => {
                self.remove(state, &ask.instance, &work.operation);
                if work.supersedes && self.breaks("OSB-LOI-13") {
                    return ended("failed");
                }
            }
            _ => {}
        }
        ended("succeeded")
    }
}

fn plan_of(ask: &Ask) -> String {
    ask.text("plan_id").unwrap_or_default().to_owned()
}

/// Whether a provision is to fail.
fn fails(parameters: Option<&Value>) -> bool {
    parameters.is_some_and(|parameters| parameters["label"] == "fail")
}

/// What counts when a provision is repeated.
fn asked(ask: &Ask) -> Value {
    let names = ["service_id", "plan_id", "organization_guid", "space_guid"];
    let empty = json!({});
    json!([
        names.map(|name| ask.member(name)),
        ask.member("parameters").unwrap_or(&empty)
    ])
}

fn success() -> Value {
    json!({"dashboard_url": "https://d", "metadata": {"labels": {"a": "b"}, "attributes": {"c": "d"}}})
}
