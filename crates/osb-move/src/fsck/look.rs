//! What can be wrong with one object: no input and output.

use jiff::Timestamp;
use osb_engine::resource::{EXPIRES_LABEL, FINALIZER, INSTANCE_LABEL, Kind, Record, Stored, Tombstone, Verb};
use osb_engine::{Keys, SealError, names};

use super::{Finding, Repair, Weight};

/// So long an expired Tombstone may still be there: they are removed once an hour.
const GRACE_SECS: i64 = 24 * 60 * 60;

/// What is known of the home.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) keys: Option<&'a Keys>,
    /// The newest epoch that was given out.
    pub(super) epoch: Option<u64>,
    pub(super) now: Timestamp,
}

/// What is wrong with an object, as `(weight, what, what to do)`.
type Wrong = (Weight, String, String, Option<Repair>);

fn wrong(what: impl Into<String>, todo: impl Into<String>) -> Wrong {
    (Weight::Error, what.into(), todo.into(), None)
}

/// Everything that can be said of an instance or binding alone.
pub(super) fn stored(place: &str, stored: &Stored, known: Known<'_>) -> Vec<Finding> {
    let mut all = Vec::new();
    let Some(record) = &stored.record else {
        let what = "it has no record: no broker has made it";
        let todo = "the broker leaves it alone; delete it if nobody needs it";
        return vec![Finding::new(
            place,
            (Weight::Warning, what.to_owned(), todo.to_owned(), None),
        )];
    };
    all.extend(name(stored));
    all.extend(finalizers(stored));
    all.extend(label(stored));
    all.extend(operation(stored, record));
    all.extend(epoch(record, known.epoch));
    all.extend(sealed(stored, record, known.keys));
    all.into_iter().map(|wrong| Finding::new(place, wrong)).collect()
}

fn name(stored: &Stored) -> Option<Wrong> {
    let spec = &stored.spec;
    let right = match &spec.binding_id {
        None => names::instance(&spec.instance_id),
        Some(binding) => names::binding(&spec.instance_id, binding),
    };
    (stored.metadata.name != right).then(|| {
        wrong(
            format!("its name does not belong to its ids, for which it would be {right}"),
            "no platform can reach it: restore it under the right name from a backup, or forget it",
        )
    })
}

fn finalizers(stored: &Stored) -> Vec<Wrong> {
    let meta = &stored.metadata;
    let mut all = Vec::new();
    if !meta.finalizers.iter().any(|name| name == FINALIZER) {
        let todo = "the broker puts it back when it starts";
        let what = format!("the finalizer {FINALIZER} is missing: a deletion would lose what the service has made");
        all.push((Weight::Warning, what, todo.to_owned(), Some(Repair::AddFinalizer)));
    }
    let others: Vec<&str> = meta
        .finalizers
        .iter()
        .map(String::as_str)
        .filter(|name| *name != FINALIZER)
        .collect();
    if !others.is_empty() {
        let what = format!("it has finalizers of others: {}", others.join(", "));
        let todo = "it stays after its removal until whoever put them there takes them off";
        let weight = if meta.deletion_timestamp.is_some() {
            Weight::Warning
        } else {
            Weight::Note
        };
        all.push((weight, what, todo.to_owned(), None));
    }
    all
}

/// Bindings are found by the label when their instance is removed.
fn label(stored: &Stored) -> Option<Wrong> {
    let right = stored.spec.binding_id.is_some().then(|| stored.instance_name())?;
    if stored.metadata.labels.get(INSTANCE_LABEL) == Some(&right) {
        return None;
    }
    let what = format!("the label {INSTANCE_LABEL} is not {right}: a deprovision would not find the binding");
    let todo = "set the label; --repair does";
    let repair = Repair::SetLabel(INSTANCE_LABEL, right);
    Some((Weight::Error, what, todo.to_owned(), Some(repair)))
}

fn operation(stored: &Stored, record: &Record) -> Vec<Wrong> {
    let mut all = Vec::new();
    let todo = "mark it with `osb admin mark`, or restore the object from a backup";
    if let Some(running) = &record.operation {
        if running.id != Record::operation_id(&stored.spec.incarnation, record.counter) {
            let what = format!("its operation {} is not the one that its counter tells", running.id);
            all.push(wrong(what, todo));
        }
        let of_binding = matches!(running.verb, Verb::Bind | Verb::Unbind);
        if of_binding != (stored.which() == Kind::Binding) {
            all.push(wrong(format!("its operation is a {}", running.verb.as_str()), todo));
        }
        if running.verb == Verb::Update && running.plan_id.is_none() {
            all.push(wrong("its operation is an update to no plan", todo));
        }
    } else if !stored.is_complete() && record.history.is_empty() {
        all.push(wrong("it was never finished, and nothing is being done for it", todo));
    }
    let number = |key: &String| key.split_once('.').and_then(|(number, _)| number.parse::<u64>().ok());
    if let Some(step) = record
        .steps
        .keys()
        .find(|key| number(key).is_none_or(|number| number > record.counter))
    {
        all.push(wrong(
            format!("the step {step:?} belongs to no operation of it"),
            "nothing uses it; it goes with the object",
        ));
    }
    all
}

fn epoch(record: &Record, newest: Option<u64>) -> Option<Wrong> {
    let newest = newest.filter(|newest| record.epoch > *newest)?;
    Some(wrong(
        format!(
            "its epoch {} is higher than the newest one that was given out, {newest}",
            record.epoch
        ),
        "no broker works on it: raise spec.epoch of the ShardTable above it while no broker runs",
    ))
}

fn sealed(stored: &Stored, record: &Record, keys: Option<&Keys>) -> Vec<Wrong> {
    let Some(keys) = keys else { return Vec::new() };
    let request = record.operation.as_ref().and_then(|running| running.request.as_ref());
    let fields = [
        ("parameters", stored.spec.parameters.as_ref()),
        ("request", request),
        ("data", record.data.as_ref()),
        ("outputs", record.outputs.as_ref()),
    ];
    let fields = fields
        .into_iter()
        .filter_map(|(field, sealed)| Some((field.to_owned(), sealed?)));
    let steps = record.steps.iter().map(|(key, sealed)| (format!("step/{key}"), sealed));
    let open = |(field, sealed): (String, &String)| {
        let opened = keys.open_field(&stored.metadata.name, &stored.spec.incarnation, &field, sealed);
        opened.err().map(|error| unopened(&field, &error))
    };
    fields.chain(steps).filter_map(open).collect()
}

pub(super) fn unopened(field: &str, error: &SealError) -> Wrong {
    let todo = match error {
        SealError::UnknownKey(_) => "add that key to the key file as a further line",
        _ => "restore the object from a backup; a removal goes on without it where it can",
    };
    wrong(format!("the sealed value {field:?} does not open: {error}"), todo)
}

/// Everything that can be said of a Tombstone alone.
pub(super) fn tombstone(place: &str, tombstone: &Tombstone, known: Known<'_>) -> Vec<Finding> {
    let mut all = Vec::new();
    let spec = &tombstone.spec;
    let Some(expires) = spec.expires else {
        let what = "it never expires".to_owned();
        all.push((
            Weight::Warning,
            what,
            "delete it when no platform polls any more".to_owned(),
            None,
        ));
        return all.into_iter().map(|wrong| Finding::new(place, wrong)).collect();
    };
    let hour = (expires.as_second() / 3600 + 1).to_string();
    if known.now.as_second() > expires.as_second() + GRACE_SECS {
        let what = format!("it expired at {expires}");
        let todo = "the broker removes such ones once an hour; --repair does it now";
        all.push((Weight::Warning, what, todo.to_owned(), Some(Repair::Delete)));
    } else if tombstone.metadata.labels.get(EXPIRES_LABEL) != Some(&hour) {
        let what = format!("the label {EXPIRES_LABEL} is not {hour}: it would not be removed in time");
        let repair = Repair::SetLabel(EXPIRES_LABEL, hour);
        all.push((
            Weight::Warning,
            what,
            "set the label; --repair does".to_owned(),
            Some(repair),
        ));
    }
    all.into_iter().map(|wrong| Finding::new(place, wrong)).collect()
}

impl Finding {
    pub(super) fn new(place: &str, (weight, what, todo, repair): Wrong) -> Self {
        Self {
            object: place.to_owned(),
            weight,
            what,
            todo,
            repair,
            repaired: false,
        }
    }
}
