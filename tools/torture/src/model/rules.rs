//! The rules for one instance or one binding: which answers are legal, and what they leave.

use crate::journal::{Answer, Asked, Got, Plan};

mod update;

/// What a thing was asked for with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Attributes {
    pub(crate) note: u8,
    /// Of an instance its plan; of a binding the plan that its instance had when it was made.
    pub(crate) plan: Plan,
}

/// What an update asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Change {
    pub(crate) plan: Plan,
    pub(crate) note: Option<u8>,
}

/// The last operation that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Last {
    /// The creation.
    Made,
    /// This update, which succeeded.
    Changed(Change),
    /// An update or a removal, which failed.
    Failed,
}

/// An instance or a binding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    /// `known`: it was there once, so it may not be forgotten.
    Absent { known: bool },
    Making {
        attributes: Attributes,
        operation: Option<String>,
        fate: Fate,
    },
    Ready {
        attributes: Attributes,
        body: Option<String>,
        operation: Option<String>,
        last: Last,
    },
    /// Until the update has succeeded everything is as it was.
    Updating {
        attributes: Attributes,
        body: Option<String>,
        change: Change,
        operation: Option<String>,
        fate: Fate,
    },
    /// Its creation has failed.
    Broken {
        attributes: Attributes,
        operation: Option<String>,
    },
    Removing {
        attributes: Attributes,
        complete: bool,
        body: Option<String>,
        operation: Option<String>,
        fate: Fate,
    },
}

/// What an answer has told of how an operation ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Open,
    Succeeds(Option<String>),
    Fails,
    /// It is being taken back, and fails when that is done.
    WillFail,
}

/// What was never there.
pub(super) const NOTHING: Thing = Thing::Absent { known: false };

/// What stands around a request.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// The plan that the request names; of an update the one that it asks for, if it does.
    pub(super) plan: Option<Plan>,
    /// Whether the client accepts a 202.
    pub(super) incomplete: bool,
    /// What a request for a binding finds around it.
    pub(super) around: Option<Around>,
}

/// What is around a binding.
#[derive(Clone, Copy)]
pub(super) struct Around {
    pub(super) usable: Usable,
    /// The plan of the instance, if it is there.
    pub(super) plan: Option<Plan>,
    /// Whether the other binding can be rotated.
    pub(super) predecessor: bool,
}

/// Whether a bind can use the instance.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Usable {
    Yes,
    Busy,
    Failed,
    Absent,
}

/// Attributes of a binding that takes the place of the other one: no PUT has them otherwise.
pub(super) const ROTATED: u8 = 255;

impl Terms {
    /// Whether an operation on this plan would have to be answered with a 202, which the client does not accept.
    fn refuses(&self, plan: Plan) -> bool {
        plan == Plan::Async && !self.incomplete
    }

    /// What a creation asks for. The plan of a binding is its instance's.
    fn attributes(&self, note: u8) -> Attributes {
        let named = self.plan.unwrap_or(Plan::Auto);
        let plan = self.around.map_or(named, |around| around.plan.unwrap_or(named));
        Attributes { note, plan }
    }

    /// Whether a request for what was made with these attributes is a repeat; the plan of a binding follows its
    /// instance's.
    fn repeats(&self, made: Attributes, asked: Attributes) -> bool {
        made.note == asked.note && (self.around.is_some() || made.plan == asked.plan)
    }

    /// Whether a removal names another plan than it has to.
    fn is_misnamed(&self, made: Attributes) -> bool {
        let instance = self.around.and_then(|around| around.plan);
        self.plan
            .is_some_and(|plan| plan != made.plan && Some(plan) != instance)
    }
}

/// Whether a bind can use it.
pub(super) fn usable(instance: &Thing) -> Usable {
    match instance {
        Thing::Absent { .. } => Usable::Absent,
        Thing::Making { .. } | Thing::Updating { .. } | Thing::Removing { .. } => Usable::Busy,
        Thing::Ready { .. } => Usable::Yes,
        Thing::Broken { .. } => Usable::Failed,
    }
}

impl Thing {
    pub(super) fn attributes(&self) -> Option<Attributes> {
        match self {
            Self::Absent { .. } => None,
            Self::Making { attributes, .. }
            | Self::Ready { attributes, .. }
            | Self::Updating { attributes, .. }
            | Self::Broken { attributes, .. }
            | Self::Removing { attributes, .. } => Some(*attributes),
        }
    }

    pub(super) fn by_itself(&self) -> Vec<Self> {
        match self {
            Self::Making {
                attributes,
                operation,
                fate,
            } => {
                let attributes = *attributes;
                let ready = |body: &Option<String>| Self::Ready {
                    attributes,
                    body: body.clone(),
                    operation: operation.clone(),
                    last: Last::Made,
                };
                let broken = || Self::Broken {
                    attributes,
                    operation: operation.clone(),
                };
                match fate {
                    Fate::Open => vec![ready(&None), broken()],
                    Fate::Succeeds(body) => vec![ready(body)],
                    Fate::Fails | Fate::WillFail => vec![broken()],
                }
            }
            Self::Updating {
                attributes,
                body,
                change,
                operation,
                fate,
            } => {
                let changed = Self::Ready {
                    attributes: Attributes {
                        note: change.note.unwrap_or(attributes.note),
                        plan: change.plan,
                    },
                    body: None,
                    operation: operation.clone(),
                    last: Last::Changed(*change),
                };
                let kept = Self::Ready {
                    attributes: *attributes,
                    body: body.clone(),
                    operation: operation.clone(),
                    last: Last::Failed,
                };
                match fate {
                    Fate::Open => vec![changed, kept],
                    Fate::Succeeds(_) => vec![changed],
                    Fate::Fails | Fate::WillFail => vec![kept],
                }
            }
            Self::Removing {
                attributes,
                complete,
                body,
                operation,
                fate,
            } => {
                let kept = match complete {
                    true => Self::Ready {
                        attributes: *attributes,
                        body: body.clone(),
                        operation: operation.clone(),
                        last: Last::Failed,
                    },
                    false => Self::Broken {
                        attributes: *attributes,
                        operation: operation.clone(),
                    },
                };
                match fate {
                    Fate::Open => vec![Self::Absent { known: true }, kept],
                    Fate::Succeeds(_) => vec![Self::Absent { known: true }],
                    Fate::Fails | Fate::WillFail => vec![kept],
                }
            }
            Self::Absent { .. } | Self::Ready { .. } | Self::Broken { .. } => Vec::new(),
        }
    }

    pub(super) fn settled(self) -> Self {
        let told = match &self {
            Self::Making { fate, .. } | Self::Updating { fate, .. } | Self::Removing { fate, .. } => {
                !matches!(fate, Fate::Open | Fate::WillFail)
            }
            _ => false,
        };
        if told { self.by_itself().swap_remove(0) } else { self }
    }

    /// The same thing while it is being removed.
    pub(super) fn removing(&self, operation: Option<String>, fate: Fate) -> Self {
        let (complete, body) = match self {
            Self::Absent { .. } | Self::Making { .. } | Self::Broken { .. } => (false, None),
            Self::Ready { body, .. } | Self::Updating { body, .. } => (true, body.clone()),
            Self::Removing { complete, body, .. } => (*complete, body.clone()),
        };
        let nothing = Attributes {
            note: 0,
            plan: Plan::Auto,
        };
        Self::Removing {
            attributes: self.attributes().unwrap_or(nothing),
            complete,
            body,
            operation,
            fate,
        }
    }

    fn operation(&self) -> Option<&str> {
        match self {
            Self::Absent { .. } => None,
            Self::Making { operation, .. }
            | Self::Ready { operation, .. }
            | Self::Updating { operation, .. }
            | Self::Broken { operation, .. }
            | Self::Removing { operation, .. } => operation.as_deref(),
        }
    }
}

/// What a request with this answer can make of a thing; nothing when the answer is not legal.
pub(super) fn thing(thing: &Thing, verb: &Asked, terms: Terms, answer: &Answer) -> Vec<Thing> {
    let note = match verb {
        Asked::Put(note) => *note,
        _ => ROTATED,
    };
    let got = match answer {
        Answer::NotSent => return vec![thing.clone()],
        Answer::Cut => {
            let mut after = vec![thing.clone()];
            after.extend(match verb {
                Asked::Put(_) | Asked::Rotate => put_unseen(thing, note, terms),
                Asked::Patch(note) => update::unseen(thing, *note, terms),
                Asked::Delete => delete_unseen(thing, terms),
                Asked::Poll(_) | Asked::Fetch => Vec::new(),
            });
            return after;
        }
        Answer::Got(got) => got,
    };
    match verb {
        Asked::Put(_) | Asked::Rotate => put(thing, note, terms, got),
        Asked::Patch(note) => update::patch(thing, *note, terms, got),
        Asked::Delete => delete(thing, terms, got),
        Asked::Poll(operation) => poll(thing, operation.as_deref(), got),
        Asked::Fetch => fetch(thing, got),
    }
}

/// Why a creation is refused when there is nothing yet; the engine looks in this order.
fn refusal(terms: Terms, note: u8, plan: Plan) -> Option<(u16, Option<&'static str>)> {
    if terms.refuses(plan) {
        return Some((422, Some("AsyncRequired")));
    }
    let around = terms.around?;
    match around.usable {
        Usable::Absent => Some((404, None)),
        Usable::Busy => Some((422, Some("ConcurrencyError"))),
        Usable::Failed => Some((400, None)),
        Usable::Yes if note == ROTATED && !around.predecessor => Some((400, None)),
        Usable::Yes => None,
    }
}

/// A bind that is refused before anything else is looked at: without its instance, or with another plan than it has.
fn misplaced(terms: Terms) -> Option<u16> {
    let around = terms.around?;
    match around.plan {
        None => Some(404),
        // A rotation need not name the plan.
        Some(plan) => terms.plan.is_some_and(|named| named != plan).then_some(400),
    }
}

fn put_unseen(thing: &Thing, note: u8, terms: Terms) -> Vec<Thing> {
    let asked = terms.attributes(note);
    let attributes = match thing {
        Thing::Absent { .. } => asked,
        Thing::Broken { attributes, .. } if terms.repeats(*attributes, asked) => *attributes,
        _ => return Vec::new(),
    };
    if misplaced(terms).is_some() || refusal(terms, note, asked.plan).is_some() {
        return Vec::new();
    }
    vec![Thing::Making {
        attributes,
        operation: None,
        fate: Fate::Open,
    }]
}

fn delete_unseen(thing: &Thing, terms: Terms) -> Vec<Thing> {
    match thing {
        Thing::Absent { .. } | Thing::Removing { .. } => Vec::new(),
        _ if removal_refusal(thing, terms).is_some() => Vec::new(),
        _ => vec![thing.removing(None, Fate::Open)],
    }
}

/// Why a removal of something that is there is refused.
fn removal_refusal(thing: &Thing, terms: Terms) -> Option<(u16, Option<&'static str>)> {
    if thing.attributes().is_some_and(|made| terms.is_misnamed(made)) {
        return Some((400, None));
    }
    let refuses = terms.plan.is_some_and(|plan| terms.refuses(plan));
    refuses.then_some((422, Some("AsyncRequired")))
}

fn is(got: &Got, (status, code): (u16, Option<&'static str>)) -> bool {
    got.status == status && code.is_none_or(|code| got.error.as_deref() == Some(code))
}

fn put(thing: &Thing, note: u8, terms: Terms, got: &Got) -> Vec<Thing> {
    let same = vec![thing.clone()];
    let when = |legal: bool| if legal { same.clone() } else { Vec::new() };
    if got.status >= 500 || got.status == 429 {
        return failed_put(thing, note, terms);
    }
    if let Some(status) = misplaced(terms) {
        return when(got.status == status);
    }
    let asked = terms.attributes(note);
    let other = |made: &Attributes| !terms.repeats(*made, asked);
    match thing {
        Thing::Absent { .. } => start(thing, asked, terms, got),
        Thing::Removing { .. } => when(is(got, (422, Some("ConcurrencyError")))),
        Thing::Making { attributes, .. }
        | Thing::Ready { attributes, .. }
        | Thing::Updating { attributes, .. }
        | Thing::Broken { attributes, .. }
            if other(attributes) =>
        {
            when(got.status == 409)
        }
        Thing::Making {
            attributes,
            operation,
            fate,
        } => {
            let making = |operation: &Option<String>, fate| {
                vec![Thing::Making {
                    attributes: *attributes,
                    operation: operation.clone(),
                    fate,
                }]
            };
            match got.status {
                // It cannot be told with a 202 that it goes on, and may wait for the end instead.
                422 if terms.refuses(asked.plan) => when(is(got, (422, Some("AsyncRequired")))),
                // Of two identical binds during a change of the instance, one saw the instance before it, and the other
                // one the instance after it and no binding yet.
                422 if terms.around.is_some_and(|around| around.usable == Usable::Busy) => {
                    when(is(got, (422, Some("ConcurrencyError"))))
                }
                202 if operation.is_none() || *operation == got.operation => making(&got.operation, fate.clone()),
                200 if *fate != Fate::Fails => making(operation, Fate::Succeeds(got.body.clone())),
                _ => Vec::new(),
            }
        }
        // What is there is what was asked for, also while it is being changed.
        Thing::Ready { body, .. } | Thing::Updating { body, .. } => {
            let is_same = body.is_none() || *body == got.body;
            match got.status == 200 && is_same {
                true => vec![with_body(thing, got)],
                false => Vec::new(),
            }
        }
        // It starts again, under another operation.
        Thing::Broken { attributes, operation } => {
            let repeated = got.operation.is_some() && got.operation == *operation;
            match repeated {
                true => Vec::new(),
                false => start(thing, *attributes, terms, got),
            }
        }
    }
}

/// What an answer has told of the body.
fn with_body(thing: &Thing, got: &Got) -> Thing {
    let mut thing = thing.clone();
    if let Thing::Ready { body, .. } | Thing::Updating { body, .. } | Thing::Removing { body, .. } = &mut thing
        && got.body.is_some()
    {
        body.clone_from(&got.body);
    }
    thing
}

/// A request that begins a creation.
fn start(thing: &Thing, attributes: Attributes, terms: Terms, got: &Got) -> Vec<Thing> {
    let making = |operation: Option<String>, fate| {
        vec![Thing::Making {
            attributes,
            operation,
            fate,
        }]
    };
    let plan = terms.attributes(attributes.note).plan;
    match (refusal(terms, attributes.note, plan), got.status) {
        (Some(refusal), _) if is(got, refusal) => vec![thing.clone()],
        (None, 201) => making(None, Fate::Succeeds(got.body.clone())),
        (None, 202) => making(got.operation.clone(), Fate::Open),
        _ => Vec::new(),
    }
}

/// A 5xx: nothing was done, or what was begun has failed, or it is being cleaned up.
fn failed_put(thing: &Thing, note: u8, terms: Terms) -> Vec<Thing> {
    let mut after = vec![thing.clone()];
    let begun = match thing {
        Thing::Making {
            attributes, operation, ..
        } if misplaced(terms).is_none() && terms.repeats(*attributes, terms.attributes(note)) => {
            vec![Thing::Making {
                attributes: *attributes,
                operation: operation.clone(),
                fate: Fate::Fails,
            }]
        }
        _ => put_unseen(thing, note, terms),
    };
    for begun in begun {
        after.push(begun.removing(None, Fate::Open));
        let Thing::Making {
            attributes, operation, ..
        } = begun
        else {
            continue;
        };
        after.push(Thing::Making {
            attributes,
            operation,
            fate: Fate::Fails,
        });
    }
    after
}

fn delete(thing: &Thing, terms: Terms, got: &Got) -> Vec<Thing> {
    let same = vec![thing.clone()];
    let when = |legal: bool| if legal { same.clone() } else { Vec::new() };
    let failed = got.status >= 500 || got.status == 429;
    if matches!(thing, Thing::Absent { .. }) {
        return when(got.status == 410 || failed);
    }
    if let Some(refusal) = removal_refusal(thing, terms) {
        return when(is(got, refusal) || failed);
    }
    match thing {
        Thing::Removing { operation, fate, .. } => match got.status {
            202 if operation.is_none() || *operation == got.operation => {
                vec![thing.removing(got.operation.clone(), fate.clone())]
            }
            410 if *fate != Fate::Fails => vec![thing.removing(operation.clone(), Fate::Succeeds(None))],
            _ if failed => vec![thing.clone(), thing.removing(operation.clone(), Fate::Fails)],
            _ => Vec::new(),
        },
        _ => match got.status {
            200 => vec![thing.removing(None, Fate::Succeeds(None))],
            202 => vec![thing.removing(got.operation.clone(), Fate::Open)],
            _ if failed => vec![
                thing.clone(),
                thing.removing(None, Fate::Open),
                thing.removing(None, Fate::Fails),
            ],
            _ => Vec::new(),
        },
    }
}

fn poll(thing: &Thing, asked: Option<&str>, got: &Got) -> Vec<Thing> {
    let runs = matches!(
        thing,
        Thing::Making { .. } | Thing::Updating { .. } | Thing::Removing { .. }
    );
    let own = thing.operation();
    // Whether the answer is about the operation that the thing remembers.
    let about_own = asked.is_none() || asked == own;
    let may_be_own = about_own || own.is_none();
    let has_failed = match thing {
        Thing::Ready { last, .. } => *last == Last::Failed,
        _ => false,
    };
    let legal = match (got.status, got.state.as_deref()) {
        (500.., _) | (429, _) => true,
        (200, Some("in progress")) if runs && may_be_own => return vec![learn(thing, asked)],
        (200, Some("succeeded")) => match thing {
            Thing::Making { .. } | Thing::Updating { .. } | Thing::Removing { .. } => !about_own,
            Thing::Broken { .. } => !about_own,
            Thing::Absent { known } => *known && asked.is_some(),
            Thing::Ready { .. } => !about_own || !has_failed,
        },
        (200, Some("failed")) => match thing {
            Thing::Making { .. } | Thing::Updating { .. } | Thing::Removing { .. } => !about_own,
            Thing::Ready { .. } => !about_own || has_failed,
            Thing::Broken { .. } => true,
            Thing::Absent { known } => *known && asked.is_some(),
        },
        (400, _) => asked.is_some() && asked != own,
        (404, _) => *thing == NOTHING,
        (410, _) => matches!(thing, Thing::Absent { known: true }),
        _ => false,
    };
    if legal { vec![thing.clone()] } else { Vec::new() }
}

/// What runs is the operation that was asked for.
fn learn(thing: &Thing, asked: Option<&str>) -> Thing {
    let mut thing = thing.clone();
    if let (
        Thing::Making { operation, .. } | Thing::Updating { operation, .. } | Thing::Removing { operation, .. },
        Some(asked),
    ) = (&mut thing, asked)
    {
        *operation = Some(asked.to_owned());
    }
    thing
}

/// What is complete can be fetched, as it is now.
fn fetch(thing: &Thing, got: &Got) -> Vec<Thing> {
    let complete = match thing {
        Thing::Ready { attributes, body, .. }
        | Thing::Updating { attributes, body, .. }
        | Thing::Removing {
            attributes,
            body,
            complete: true,
            ..
        } => Some((attributes, body)),
        _ => None,
    };
    match (got.status, complete) {
        (500.. | 429, _) | (404, None) => vec![thing.clone()],
        (200, Some((attributes, body))) => {
            let same_plan = got.plan.is_none_or(|plan| plan == attributes.plan);
            let same_body = body.is_none() || got.body.is_none() || *body == got.body;
            match same_plan && same_body {
                true => vec![with_body(thing, got)],
                false => Vec::new(),
            }
        }
        _ => Vec::new(),
    }
}
