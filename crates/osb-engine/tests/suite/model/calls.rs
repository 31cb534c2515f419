//! What the platforms of the model ask, and what they are answered.

use crate::author::{ASYNC, AUTO, Behaviour, UNBINDABLE};

/// The bindings of an instance.
pub(super) const BINDINGS: usize = 2;

pub(super) const PLANS: [&str; 3] = [AUTO, ASYNC, UNBINDABLE];

/// Parameters, and what the author's functions do with them.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) parameters: &'static str,
    pub(super) make: Behaviour,
    pub(super) remove: Behaviour,
    pub(super) valid: bool,
}

const fn wish(parameters: &'static str, make: Behaviour, remove: Behaviour) -> Wish {
    Wish {
        parameters,
        make,
        remove,
        valid: true,
    }
}

const fn invalid(parameters: &'static str) -> Wish {
    Wish {
        parameters,
        make: Behaviour::Succeed,
        remove: Behaviour::Succeed,
        valid: false,
    }
}

pub(super) const WISHES: [Wish; 10] = [
    wish("{}", Behaviour::Succeed, Behaviour::Succeed),
    wish(r#"{"provision": "block"}"#, Behaviour::Block, Behaviour::Succeed),
    wish(r#"{"deprovision": "block"}"#, Behaviour::Succeed, Behaviour::Block),
    wish(r#"{"provision": "fail"}"#, Behaviour::Fail, Behaviour::Succeed),
    wish(r#"{"deprovision": "fail"}"#, Behaviour::Succeed, Behaviour::Fail),
    wish(
        r#"{"provision": "hiccup", "deprovision": "hiccup"}"#,
        Behaviour::Hiccup,
        Behaviour::Hiccup,
    ),
    wish(
        r#"{"provision": "steps", "deprovision": "block"}"#,
        Behaviour::Steps,
        Behaviour::Block,
    ),
    wish(r#"{"provision": "panic"}"#, Behaviour::Panic, Behaviour::Succeed),
    wish(r#"{"size": 2}"#, Behaviour::Succeed, Behaviour::Succeed),
    invalid(r#"{"size": 0}"#),
];

pub(super) const BIND_WISHES: [Wish; 8] = [
    wish("{}", Behaviour::Succeed, Behaviour::Succeed),
    wish(r#"{"bind": "block"}"#, Behaviour::Block, Behaviour::Succeed),
    wish(r#"{"unbind": "block"}"#, Behaviour::Succeed, Behaviour::Block),
    wish(r#"{"bind": "fail"}"#, Behaviour::Fail, Behaviour::Succeed),
    wish(r#"{"unbind": "fail"}"#, Behaviour::Succeed, Behaviour::Fail),
    wish(
        r#"{"bind": "hiccup", "unbind": "hiccup"}"#,
        Behaviour::Hiccup,
        Behaviour::Hiccup,
    ),
    wish(r#"{"bind": "steps"}"#, Behaviour::Steps, Behaviour::Succeed),
    invalid(r#"{"bind": 5}"#),
];

/// Updates to a plan, and what the author's function does with their parameters.
pub(super) const UPDATE_WISHES: [Wish; 6] = [
    wish("{}", Behaviour::Succeed, Behaviour::Succeed),
    wish(r#"{"size": 7}"#, Behaviour::Succeed, Behaviour::Succeed),
    wish(r#"{"update": "block"}"#, Behaviour::Block, Behaviour::Succeed),
    wish(r#"{"update": "fail"}"#, Behaviour::Fail, Behaviour::Succeed),
    wish(r#"{"update": "hiccup"}"#, Behaviour::Hiccup, Behaviour::Succeed),
    invalid(r#"{"size": 0}"#),
];

/// What an object is made with: equal ones are identical requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) plan: &'static str,
    /// Which of the wishes.
    pub(super) wish: usize,
}

/// One call of a platform for an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Call {
    Provision {
        asked: Asked,
        accepts: bool,
    },
    /// To the plan and with the update wish of that number.
    Update {
        change: Asked,
        accepts: bool,
    },
    Deprovision {
        plan: &'static str,
        accepts: bool,
    },
    Bind {
        binding: usize,
        asked: Asked,
    },
    Unbind {
        binding: usize,
        plan: &'static str,
        accepts: bool,
    },
    Poll {
        binding: Option<usize>,
        which: Which,
    },
}

/// The operation that a poll names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Which {
    Newest,
    /// One that a 202 gave out.
    Given(String),
    Unknown,
}

/// The kind of an answer, with what has to be the same each time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    /// 201, with the password of a binding.
    Created(Option<String>),
    /// 200 to a PUT.
    Exists(Option<String>),
    /// 202 with the operation.
    Accepted(String),
    /// 200 to a DELETE or a PATCH.
    Done,
    /// 400.
    Invalid,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 410.
    Gone,
    /// 422 `AsyncRequired`.
    AsyncRequired,
    /// 422 `ConcurrencyError`.
    Concurrency,
    /// 500.
    Failed,
    /// 200 to a poll.
    InProgress,
    Succeeded,
    OperationFailed,
    /// What no broker of these tests answers.
    Other(String),
}
