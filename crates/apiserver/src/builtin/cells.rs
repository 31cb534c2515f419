//! Cells of tables that are more than a field of the object.

use apimachinery::json::{Map, Value};
use apimachinery::label_selector;
use apimachinery::meta;
use apimachinery::table::human_duration;
use jiff::Timestamp;

mod pods;
mod storage;

pub(super) use pods::*;
pub(super) use storage::*;

type Cell = Value<'static>;

const NONE: &str = "<none>";

fn text<'v>(object: &'v Value<'_>, at: &str) -> &'v str {
    object.pointer(at).and_then(Value::as_str).unwrap_or_default()
}

fn number(object: &Value<'_>, at: &str) -> i64 {
    object.pointer(at).and_then(Value::as_i64).unwrap_or_default()
}

fn is_true(object: &Value<'_>, at: &str) -> bool {
    object.pointer(at).and_then(Value::as_bool).unwrap_or_default()
}

fn items<'v, 't>(object: &'v Value<'t>, at: &str) -> &'v [Value<'t>] {
    object.pointer(at).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn or_none(text: String) -> Cell {
    if text.is_empty() { NONE.into() } else { text.into() }
}

fn joined<'v>(texts: impl IntoIterator<Item = &'v str>) -> String {
    texts
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join(",")
}

/// The time between two, as people read it; empty when there is no beginning.
fn between(since: &str, until: Option<Timestamp>) -> Option<String> {
    let since = meta::parse_timestamp(since)?;
    Some(human_duration(until?.as_second() - since.as_second()))
}

fn has_condition(object: &Value<'_>, kind: &str) -> bool {
    let is = |condition: &Value<'_>| condition["type"] == *kind && condition["status"] == "True";
    items(object, "/status/conditions").iter().any(is)
}

fn labels(map: Option<&Map<'_>>) -> String {
    let label = |(key, value): (&str, &Value<'_>)| format!("{key}={}", value.as_str().unwrap_or_default());
    map.into_iter().flatten().map(label).collect::<Vec<_>>().join(",")
}

/// Where the pods of an object are described.
const TEMPLATES: [&str; 3] = ["/spec/template", "/spec/jobTemplate/spec/template", "/template"];

fn template<'v, 't>(object: &'v Value<'t>) -> Option<&'v Value<'t>> {
    TEMPLATES.iter().find_map(|at| object.pointer(at))
}

fn of_containers(object: &Value<'_>, field: &str) -> Cell {
    let list = template(object).map_or(&[][..], |template| items(template, "/spec/containers"));
    joined(
        list.iter()
            .map(|container| container[field].as_str().unwrap_or_default()),
    )
    .into()
}

pub(super) fn containers(object: &Value<'_>, _: Timestamp) -> Cell {
    of_containers(object, "name")
}

pub(super) fn images(object: &Value<'_>, _: Timestamp) -> Cell {
    of_containers(object, "image")
}

pub(super) fn template_labels(object: &Value<'_>, _: Timestamp) -> Cell {
    let map = template(object).and_then(|template| template.pointer("/metadata/labels"));
    or_none(labels(map.and_then(Value::as_object)))
}

/// The selector of an object, of either form.
pub(super) fn selector(object: &Value<'_>, _: Timestamp) -> Cell {
    let selector = ["/spec/selector", "/spec/jobTemplate/spec/selector"]
        .iter()
        .find_map(|at| object.pointer(at));
    or_none(selector.map(label_selector::format).unwrap_or_default())
}

pub(super) fn pod_selector(object: &Value<'_>, _: Timestamp) -> Cell {
    or_none(
        object
            .pointer("/spec/podSelector")
            .map(label_selector::format)
            .unwrap_or_default(),
    )
}

pub(super) fn node_selector(object: &Value<'_>, _: Timestamp) -> Cell {
    or_none(labels(
        object
            .pointer("/spec/template/spec/nodeSelector")
            .and_then(Value::as_object),
    ))
}

pub(super) fn ready_replicas(object: &Value<'_>, _: Timestamp) -> Cell {
    format!(
        "{}/{}",
        number(object, "/status/readyReplicas"),
        number(object, "/spec/replicas")
    )
    .into()
}

pub(super) fn controller(object: &Value<'_>, _: Timestamp) -> Cell {
    let owners = items(object, "/metadata/ownerReferences");
    let owner = owners.iter().find(|owner| is_true(owner, "/controller"));
    let Some(owner) = owner else { return NONE.into() };
    let kind = text(owner, "/kind").to_lowercase();
    match text(owner, "/apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{}", text(owner, "/name")).into(),
        None => format!("{kind}/{}", text(owner, "/name")).into(),
    }
}

pub(super) fn job_status(job: &Value<'_>, _: Timestamp) -> Cell {
    if has_condition(job, "Complete") {
        return "Complete".into();
    }
    if has_condition(job, "Failed") {
        return "Failed".into();
    }
    if !text(job, "/metadata/deletionTimestamp").is_empty() {
        return "Terminating".into();
    }
    let others = ["Suspended", "FailureTarget", "SuccessCriteriaMet"];
    let found = others.into_iter().find(|kind| has_condition(job, kind));
    found.unwrap_or("Running").into()
}

pub(super) fn job_completions(job: &Value<'_>, _: Timestamp) -> Cell {
    let succeeded = number(job, "/status/succeeded");
    if job.pointer("/spec/completions").is_some() {
        return format!("{succeeded}/{}", number(job, "/spec/completions")).into();
    }
    match number(job, "/spec/parallelism") {
        many @ 2.. => format!("{succeeded}/1 of {many}").into(),
        _ => format!("{succeeded}/1").into(),
    }
}

pub(super) fn job_duration(job: &Value<'_>, now: Timestamp) -> Cell {
    let end = match text(job, "/status/completionTime") {
        "" => Some(now),
        end => meta::parse_timestamp(end),
    };
    between(text(job, "/status/startTime"), end).unwrap_or_default().into()
}

pub(super) fn suspended(job: &Value<'_>, _: Timestamp) -> Cell {
    if is_true(job, "/spec/suspend") { "True" } else { "False" }.into()
}

pub(super) fn active_jobs(job: &Value<'_>, _: Timestamp) -> Cell {
    (items(job, "/status/active").len() as u64).into()
}

pub(super) fn last_schedule(job: &Value<'_>, now: Timestamp) -> Cell {
    between(text(job, "/status/lastScheduleTime"), Some(now))
        .unwrap_or_else(|| NONE.to_owned())
        .into()
}

pub(super) fn scale_target(autoscaler: &Value<'_>, _: Timestamp) -> Cell {
    let kind = text(autoscaler, "/spec/scaleTargetRef/kind");
    format!("{kind}/{}", text(autoscaler, "/spec/scaleTargetRef/name")).into()
}

/// What an autoscaler looks at, with what it found.
pub(super) fn metrics(autoscaler: &Value<'_>, _: Timestamp) -> Cell {
    const SHOWN: usize = 2;
    let specs = items(autoscaler, "/spec/metrics");
    let current = items(autoscaler, "/status/currentMetrics");
    let shown: Vec<String> = specs
        .iter()
        .enumerate()
        .map(|(at, spec)| metric(spec, current.get(at)))
        .collect();
    if shown.len() > SHOWN {
        let rest = shown.len() - SHOWN;
        return format!("{} + {rest} more...", shown[..SHOWN].join(", ")).into();
    }
    or_none(shown.join(", "))
}

fn metric(spec: &Value<'_>, current: Option<&Value<'_>>) -> String {
    let kind = text(spec, "/type");
    let member = match kind {
        "ContainerResource" => "containerResource".to_owned(),
        _ => kind.to_lowercase(),
    };
    let name = match kind {
        "Resource" | "ContainerResource" => format!("{}: ", text(spec, &format!("/{member}/name"))),
        _ => String::new(),
    };
    let part = |from: Option<&Value<'_>>, place: &str| {
        let from = from.and_then(|from| from.pointer(&format!("/{member}/{place}")));
        let percent = from
            .and_then(|from| from.get("averageUtilization"))
            .map(|value| format!("{value}%"));
        let other = |name| from.and_then(|from| from.get(name)?.as_str()).map(str::to_owned);
        percent.or_else(|| other("averageValue")).or_else(|| other("value"))
    };
    let target = part(Some(spec), "target").unwrap_or_else(|| "<auto>".to_owned());
    let found = part(current, "current").unwrap_or_else(|| "<unknown>".to_owned());
    format!("{name}{found}/{target}")
}

pub(super) fn global_default(class: &Value<'_>, _: Timestamp) -> Cell {
    is_true(class, "/globalDefault").into()
}

pub(super) fn external_ip(service: &Value<'_>, _: Timestamp) -> Cell {
    let own = items(service, "/spec/externalIPs").iter().filter_map(Value::as_str);
    match text(service, "/spec/type") {
        "ExternalName" => text(service, "/spec/externalName").to_owned().into(),
        "LoadBalancer" => {
            let given = addresses(service);
            match joined(given.into_iter().chain(own)) {
                none if none.is_empty() => "<pending>".into(),
                found => found.into(),
            }
        }
        _ => or_none(joined(own)),
    }
}

/// The addresses that a load balancer has.
fn addresses<'v>(object: &'v Value<'_>) -> Vec<&'v str> {
    let entries = items(object, "/status/loadBalancer/ingress").iter();
    let address = |entry: &'v Value<'_>| match text(entry, "/ip") {
        "" => text(entry, "/hostname"),
        ip => ip,
    };
    entries.map(address).collect()
}

pub(super) fn balancer(object: &Value<'_>, _: Timestamp) -> Cell {
    joined(addresses(object)).into()
}

pub(super) fn service_ports(service: &Value<'_>, _: Timestamp) -> Cell {
    let port = |port: &Value<'_>| {
        let (number_of, protocol) = (number(port, "/port"), text(port, "/protocol"));
        match number(port, "/nodePort") {
            0 => format!("{number_of}/{protocol}"),
            node => format!("{number_of}:{node}/{protocol}"),
        }
    };
    or_none(
        items(service, "/spec/ports")
            .iter()
            .map(port)
            .collect::<Vec<_>>()
            .join(","),
    )
}

/// The first three, and how many more there are.
fn first_three(all: &[String]) -> Cell {
    const SHOWN: usize = 3;
    if all.len() > SHOWN {
        return format!("{} + {} more...", all[..SHOWN].join(","), all.len() - SHOWN).into();
    }
    or_none(all.join(","))
}

pub(super) fn endpoints(endpoints: &Value<'_>, _: Timestamp) -> Cell {
    let mut all = Vec::new();
    for subset in items(endpoints, "/subsets") {
        for address in items(subset, "/addresses") {
            let ip = text(address, "/ip");
            let ports = items(subset, "/ports");
            if ports.is_empty() {
                all.push(ip.to_owned());
            }
            all.extend(ports.iter().map(|port| format!("{ip}:{}", number(port, "/port"))));
        }
    }
    first_three(&all)
}

pub(super) fn slice_ports(slice: &Value<'_>, _: Timestamp) -> Cell {
    let ports = items(slice, "/ports").iter();
    let ports: Vec<String> = ports
        .map(|port| port.get("port").map_or_else(|| "*".to_owned(), Value::to_string))
        .collect();
    if ports.is_empty() {
        "<unset>".into()
    } else {
        first_three(&ports)
    }
}

pub(super) fn slice_addresses(slice: &Value<'_>, _: Timestamp) -> Cell {
    let of = |endpoint| {
        items(endpoint, "/addresses")
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
    };
    let all: Vec<String> = items(slice, "/endpoints").iter().flat_map(of).collect();
    if all.is_empty() {
        "<unset>".into()
    } else {
        first_three(&all)
    }
}

pub(super) fn requested_duration(request: &Value<'_>, _: Timestamp) -> Cell {
    let seconds = request.pointer("/spec/expirationSeconds").and_then(Value::as_i64);
    seconds.map_or_else(|| NONE.to_owned(), human_duration).into()
}

pub(super) fn request_condition(request: &Value<'_>, _: Timestamp) -> Cell {
    let has = |kind: &str| {
        items(request, "/status/conditions")
            .iter()
            .any(|condition| condition["type"] == *kind)
    };
    let decision = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (false, true) => "Approved",
        _ => "Pending",
    };
    let failed = if has("Failed") { "Failed" } else { "" };
    let issued = if text(request, "/status/certificate").is_empty() {
        ""
    } else {
        "Issued"
    };
    joined([decision, failed, issued]).into()
}

pub(super) fn role(binding: &Value<'_>, _: Timestamp) -> Cell {
    format!("{}/{}", text(binding, "/roleRef/kind"), text(binding, "/roleRef/name")).into()
}

/// The subjects of one kind.
pub(super) fn subjects(binding: &Value<'_>, kind: &str) -> Cell {
    let of_kind = items(binding, "/subjects")
        .iter()
        .filter(|subject| subject["kind"] == *kind);
    let name = |subject: &Value<'_>| match kind {
        "ServiceAccount" => format!("{}/{}", text(subject, "/namespace"), text(subject, "/name")),
        _ => text(subject, "/name").to_owned(),
    };
    of_kind.map(name).collect::<Vec<_>>().join(", ").into()
}

pub(super) fn hosts(ingress: &Value<'_>, _: Timestamp) -> Cell {
    const SHOWN: usize = 3;
    let rules = items(ingress, "/spec/rules");
    let named: Vec<&str> = rules
        .iter()
        .map(|rule| text(rule, "/host"))
        .filter(|host| !host.is_empty())
        .collect();
    if named.is_empty() {
        return "*".into();
    }
    if named.len() > SHOWN {
        return format!("{} + {} more...", named[..SHOWN].join(","), rules.len() - SHOWN).into();
    }
    named.join(",").into()
}

pub(super) fn ingress_ports(ingress: &Value<'_>, _: Timestamp) -> Cell {
    if items(ingress, "/spec/tls").is_empty() {
        "80"
    } else {
        "80, 443"
    }
    .into()
}

pub(super) fn class_parameters(class: &Value<'_>, _: Timestamp) -> Cell {
    let Some(parameters) = class.pointer("/spec/parameters") else {
        return NONE.into();
    };
    let kind = match text(parameters, "/apiGroup") {
        "" => text(parameters, "/kind").to_owned(),
        group => format!("{}.{group}", text(parameters, "/kind")),
    };
    format!("{kind}/{}", text(parameters, "/name")).into()
}

pub(super) fn allows_expansion(class: &Value<'_>, _: Timestamp) -> Cell {
    is_true(class, "/allowVolumeExpansion").into()
}

/// What a quota counts: how much there is of how much there may be.
fn quota(quota: &Value<'_>, of_limits: bool) -> Cell {
    let hard = quota
        .pointer("/status/hard")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let used = |name: &str| {
        quota
            .pointer("/status/used")
            .and_then(|used| used.get(name)?.as_str())
            .unwrap_or("0")
    };
    let wanted = hard.filter(|(name, _)| name.starts_with("limits.") == of_limits);
    let shown = wanted.map(|(name, hard)| format!("{name}: {}/{}", used(name), hard.as_str().unwrap_or_default()));
    shown.collect::<Vec<_>>().join(", ").into()
}

pub(super) fn quota_requests(object: &Value<'_>, _: Timestamp) -> Cell {
    quota(object, false)
}

pub(super) fn quota_limits(object: &Value<'_>, _: Timestamp) -> Cell {
    quota(object, true)
}

/// How often an Event was seen; one that says nothing, once.
pub(super) fn event_count(event: &Value<'_>, _: Timestamp) -> Cell {
    let counted = ["/series/count", "/count"]
        .iter()
        .find_map(|at| event.pointer(at)?.as_i64());
    counted.filter(|count| *count != 0).unwrap_or(1).into()
}

pub(super) fn attach_required(driver: &Value<'_>, _: Timestamp) -> Cell {
    is_true(driver, "/spec/attachRequired").into()
}

pub(super) fn pod_info(driver: &Value<'_>, _: Timestamp) -> Cell {
    is_true(driver, "/spec/podInfoOnMount").into()
}

pub(super) fn storage_capacity(driver: &Value<'_>, _: Timestamp) -> Cell {
    is_true(driver, "/spec/storageCapacity").into()
}

pub(super) fn requires_republish(driver: &Value<'_>, _: Timestamp) -> Cell {
    is_true(driver, "/spec/requiresRepublish").into()
}

pub(super) fn token_requests(driver: &Value<'_>, _: Timestamp) -> Cell {
    let audiences = items(driver, "/spec/tokenRequests")
        .iter()
        .map(|request| text(request, "/audience"));
    match joined(audiences) {
        none if none.is_empty() => "<unset>".into(),
        found => found.into(),
    }
}

pub(super) fn lifecycle_modes(driver: &Value<'_>, _: Timestamp) -> Cell {
    or_none(joined(
        items(driver, "/spec/volumeLifecycleModes")
            .iter()
            .filter_map(Value::as_str),
    ))
}

fn count(object: &Value<'_>, at: &str) -> Cell {
    (items(object, at).len() as u64).into()
}

pub(super) fn drivers(node: &Value<'_>, _: Timestamp) -> Cell {
    count(node, "/spec/drivers")
}

pub(super) fn webhooks(configuration: &Value<'_>, _: Timestamp) -> Cell {
    count(configuration, "/webhooks")
}

pub(super) fn validations(policy: &Value<'_>, _: Timestamp) -> Cell {
    count(policy, "/spec/validations")
}

pub(super) fn mutations(policy: &Value<'_>, _: Timestamp) -> Cell {
    count(policy, "/spec/mutations")
}

pub(super) fn parent(address: &Value<'_>, _: Timestamp) -> Cell {
    let part = |at: &str| text(address, &format!("/spec/parentRef/{at}"));
    let parts = [part("resource"), part("group")];
    let resource = parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(".");
    let owner = [part("namespace"), part("name")];
    let owner = owner
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("/");
    format!("{resource}/{owner}").into()
}

pub(super) fn ranges(cidr: &Value<'_>, _: Timestamp) -> Cell {
    or_none(joined(items(cidr, "/spec/cidrs").iter().filter_map(Value::as_str)))
}

pub(super) fn param_kind(policy: &Value<'_>, _: Timestamp) -> Cell {
    match policy.pointer("/spec/paramKind") {
        None => "<unset>".into(),
        Some(kind) => format!("{}/{}", text(kind, "/apiVersion"), text(kind, "/kind")).into(),
    }
}

pub(super) fn param_ref(binding: &Value<'_>, _: Timestamp) -> Cell {
    match binding.pointer("/spec/paramRef") {
        None => "<unset>".into(),
        Some(of) if text(of, "/name").is_empty() => {
            or_none(of.get("selector").map(label_selector::format).unwrap_or_default())
        }
        Some(of) => match text(of, "/namespace") {
            "" => text(of, "/name").to_owned().into(),
            namespace => format!("{namespace}/{}", text(of, "/name")).into(),
        },
    }
}

pub(super) fn attached(attachment: &Value<'_>, _: Timestamp) -> Cell {
    is_true(attachment, "/status/attached").into()
}

pub(super) fn missing_level(schema: &Value<'_>, _: Timestamp) -> Cell {
    let conditions = items(schema, "/status/conditions");
    let dangling = conditions.iter().find(|condition| condition["type"] == "Dangling");
    dangling
        .map_or(
            "?",
            |condition| if condition["status"] == "True" { "True" } else { "False" },
        )
        .into()
}

pub(super) fn api_service(service: &Value<'_>, _: Timestamp) -> Cell {
    match service.pointer("/spec/service") {
        None => "Local".into(),
        Some(of) => format!("{}/{}", text(of, "/namespace"), text(of, "/name")).into(),
    }
}

pub(super) fn available(service: &Value<'_>, _: Timestamp) -> Cell {
    let conditions = items(service, "/status/conditions");
    let Some(condition) = conditions.iter().find(|condition| condition["type"] == "Available") else {
        return "Unknown".into();
    };
    match (text(condition, "/status"), text(condition, "/reason")) {
        ("True", _) | (_, "") => text(condition, "/status").to_owned().into(),
        (status, reason) => format!("{status} ({reason})").into(),
    }
}
