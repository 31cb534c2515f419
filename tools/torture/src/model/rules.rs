//! The rules for one instance or one binding: which answers are legal, and what they leave.

use crate::journal::{Answer, Asked, Got};

/// An instance or a binding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    /// `known`: it was there once, so it may not be forgotten.
    Absent { known: bool },
    Making {
        attributes: u8,
        operation: Option<String>,
        fate: Fate,
    },
    Ready {
        attributes: u8,
        body: Option<String>,
        operation: Option<String>,
    },
    /// Its creation has failed.
    Broken { attributes: u8, operation: Option<String> },
    Removing {
        attributes: u8,
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
}

/// What was never there.
pub(super) const NOTHING: Thing = Thing::Absent { known: false };

/// What stands around a request.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// The plan is asynchronous, and the client does not accept that.
    pub(super) refuses: bool,
    pub(super) usable: Usable,
}

/// Whether a bind can use the instance.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Usable {
    Yes,
    Busy,
    Failed,
    Absent,
}

/// Whether a bind can use it.
pub(super) fn usable(instance: &Thing) -> Usable {
    match instance {
        Thing::Absent { .. } => Usable::Absent,
        Thing::Making { .. } | Thing::Removing { .. } => Usable::Busy,
        Thing::Ready { .. } => Usable::Yes,
        Thing::Broken { .. } => Usable::Failed,
    }
}

impl Thing {
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
                };
                let broken = || Self::Broken {
                    attributes,
                    operation: operation.clone(),
                };
                match fate {
                    Fate::Open => vec![ready(&None), broken()],
                    Fate::Succeeds(body) => vec![ready(body)],
                    Fate::Fails => vec![broken()],
                }
            }
            Self::Removing {
                attributes,
                complete,
                body,
                fate,
                ..
            } => {
                let kept = match complete {
                    true => Self::Ready {
                        attributes: *attributes,
                        body: body.clone(),
                        operation: None,
                    },
                    false => Self::Broken {
                        attributes: *attributes,
                        operation: None,
                    },
                };
                match fate {
                    Fate::Open => vec![Self::Absent { known: true }, kept],
                    Fate::Succeeds(_) => vec![Self::Absent { known: true }],
                    Fate::Fails => vec![kept],
                }
            }
            Self::Absent { .. } | Self::Ready { .. } | Self::Broken { .. } => Vec::new(),
        }
    }

    pub(super) fn settled(self) -> Self {
        let told = match &self {
            Self::Making { fate, .. } | Self::Removing { fate, .. } => *fate != Fate::Open,
            _ => false,
        };
        if told { self.by_itself().swap_remove(0) } else { self }
    }

    /// The same thing while it is being removed.
    pub(super) fn removing(&self, operation: Option<String>, fate: Fate) -> Self {
        let (attributes, complete, body) = match self {
            Self::Absent { .. } => (0, false, None),
            Self::Making { attributes, .. } | Self::Broken { attributes, .. } => (*attributes, false, None),
            Self::Ready { attributes, body, .. } => (*attributes, true, body.clone()),
            Self::Removing {
                attributes,
                complete,
                body,
                ..
            } => (*attributes, *complete, body.clone()),
        };
        Self::Removing {
            attributes,
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
            | Self::Broken { operation, .. }
            | Self::Removing { operation, .. } => operation.as_deref(),
        }
    }
}

/// What a request with this answer can make of a thing; nothing when the answer is not legal.
pub(super) fn thing(thing: &Thing, verb: &Asked, terms: Terms, answer: &Answer) -> Vec<Thing> {
    let got = match answer {
        Answer::NotSent => return vec![thing.clone()],
        Answer::Cut => {
            let mut after = vec![thing.clone()];
            after.extend(match verb {
                Asked::Put(attributes) => put_unseen(thing, *attributes, terms),
                Asked::Delete => delete_unseen(thing, terms),
                Asked::Poll(_) => Vec::new(),
            });
            return after;
        }
        Answer::Got(got) => got,
    };
    match verb {
        Asked::Put(attributes) => put(thing, *attributes, terms, got),
        Asked::Delete => delete(thing, terms, got),
        Asked::Poll(operation) => poll(thing, operation.as_deref(), got),
    }
}

fn put_unseen(thing: &Thing, attributes: u8, terms: Terms) -> Vec<Thing> {
    let starts = match thing {
        Thing::Absent { .. } => true,
        Thing::Broken { attributes: made, .. } => *made == attributes,
        _ => false,
    };
    if starts && !terms.refuses && terms.usable == Usable::Yes {
        vec![Thing::Making {
            attributes,
            operation: None,
            fate: Fate::Open,
        }]
    } else {
        Vec::new()
    }
}

fn delete_unseen(thing: &Thing, terms: Terms) -> Vec<Thing> {
    match thing {
        Thing::Absent { .. } | Thing::Removing { .. } => Vec::new(),
        _ if terms.refuses => Vec::new(),
        _ => vec![thing.removing(None, Fate::Open)],
    }
}

fn put(thing: &Thing, attributes: u8, terms: Terms, got: &Got) -> Vec<Thing> {
    let same = vec![thing.clone()];
    let when = |legal: bool| if legal { same.clone() } else { Vec::new() };
    if got.status >= 500 || got.status == 429 {
        return failed_put(thing, attributes, terms);
    }
    match thing {
        Thing::Absent { .. } => start(thing, attributes, terms, got),
        Thing::Making { attributes: made, .. }
        | Thing::Ready { attributes: made, .. }
        | Thing::Broken { attributes: made, .. }
            if *made != attributes =>
        {
            when(got.status == 409)
        }
        Thing::Making { operation, fate, .. } => match got.status {
            // It cannot be told with a 202 that it goes on, and may wait for the end instead.
            422 if terms.refuses => when(is_code(got, "AsyncRequired")),
            202 if operation.is_none() || *operation == got.operation => {
                vec![Thing::Making {
                    attributes,
                    operation: got.operation.clone(),
                    fate: fate.clone(),
                }]
            }
            200 if *fate != Fate::Fails => {
                let fate = Fate::Succeeds(got.body.clone());
                vec![Thing::Making {
                    attributes,
                    operation: operation.clone(),
                    fate,
                }]
            }
            _ => Vec::new(),
        },
        Thing::Ready { body, operation, .. } => {
            let is_same = body.is_none() || *body == got.body;
            if got.status == 200 && is_same {
                vec![Thing::Ready {
                    attributes,
                    body: got.body.clone(),
                    operation: operation.clone(),
                }]
            } else {
                Vec::new()
            }
        }
        // It starts again, under another operation.
        Thing::Broken { operation, .. } => {
            let repeated = got.operation.is_some() && got.operation == *operation;
            if repeated {
                Vec::new()
            } else {
                start(thing, attributes, terms, got)
            }
        }
        Thing::Removing { .. } => when(is_code(got, "ConcurrencyError")),
    }
}

/// A request that begins a creation.
fn start(thing: &Thing, attributes: u8, terms: Terms, got: &Got) -> Vec<Thing> {
    let same = vec![thing.clone()];
    let making = |operation: Option<String>, fate| {
        vec![Thing::Making {
            attributes,
            operation,
            fate,
        }]
    };
    match got.status {
        422 if terms.refuses => {
            if is_code(got, "AsyncRequired") {
                same
            } else {
                Vec::new()
            }
        }
        _ if terms.refuses && terms.usable == Usable::Yes => Vec::new(),
        404 if terms.usable == Usable::Absent => same,
        422 if terms.usable == Usable::Busy && is_code(got, "ConcurrencyError") => same,
        400 if terms.usable == Usable::Failed => same,
        _ if terms.usable != Usable::Yes => Vec::new(),
        201 => making(None, Fate::Succeeds(got.body.clone())),
        202 => making(got.operation.clone(), Fate::Open),
        _ => Vec::new(),
    }
}

/// A 5xx: nothing was done, or what was begun has failed, or it is being cleaned up.
fn failed_put(thing: &Thing, attributes: u8, terms: Terms) -> Vec<Thing> {
    let mut after = vec![thing.clone()];
    let begun = match thing {
        Thing::Making {
            attributes: made,
            operation,
            ..
        } if *made == attributes => {
            vec![Thing::Making {
                attributes,
                operation: operation.clone(),
                fate: Fate::Fails,
            }]
        }
        _ => put_unseen(thing, attributes, terms),
    };
    for begun in begun {
        after.push(begun.removing(None, Fate::Open));
        let Thing::Making { operation, .. } = begun else {
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
    let failed = got.status >= 500 || got.status == 429;
    match thing {
        Thing::Absent { .. } => {
            if got.status == 410 || failed {
                same
            } else {
                Vec::new()
            }
        }
        _ if terms.refuses => {
            if is_code(got, "AsyncRequired") || failed {
                same
            } else {
                Vec::new()
            }
        }
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
    let runs = matches!(thing, Thing::Making { .. } | Thing::Removing { .. });
    let own = thing.operation();
    // Whether the answer is about the operation that the thing remembers.
    let about_own = asked.is_none() || asked == own;
    let may_be_own = about_own || own.is_none();
    let legal = match (got.status, got.state.as_deref()) {
        (500.., _) | (429, _) => true,
        (200, Some("in progress")) if runs && may_be_own => return vec![learn(thing, asked)],
        (200, Some("succeeded")) => match thing {
            Thing::Making { .. } | Thing::Removing { .. } => !about_own,
            Thing::Broken { .. } => !about_own,
            Thing::Absent { known } => *known && asked.is_some(),
            Thing::Ready { .. } => true,
        },
        (200, Some("failed")) => match thing {
            Thing::Making { .. } | Thing::Removing { .. } => !about_own,
            // A removal that has failed leaves the thing as it was, and is the newest operation.
            Thing::Ready { .. } => asked.is_none() || asked != own,
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
    if let (Thing::Making { operation, .. } | Thing::Removing { operation, .. }, Some(asked)) = (&mut thing, asked) {
        *operation = Some(asked.to_owned());
    }
    thing
}

fn is_code(got: &Got, code: &str) -> bool {
    got.status == 422 && got.error.as_deref() == Some(code)
}
