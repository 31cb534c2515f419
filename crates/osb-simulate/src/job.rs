//! What a platform does to get one thing done: a state machine without time or I/O of its own.

use std::time::Duration;

use osb_api::Object;

use crate::answer::{Outcome, summary};
use crate::call::{Call, Terms, Verb};
use crate::platform::{Cleaned, Collect, Judgement, Polled, Purpose, Rules, Then, Trouble, WhileRunning};

/// So often a mitigation is tried at most: some platforms go on for a week, and learn nothing new.
const MOST_CLEANINGS: u32 = 25;

/// One thing that a platform wants to be done, until it is done, has failed, or the platform gives up.
#[derive(Debug)]
pub(crate) struct Job {
    rules: &'static dyn Rules,
    verb: Verb,
    terms: Terms,
    state: State,
    /// When the next call goes.
    due: Duration,
    operation: Option<String>,
    /// The body of the last 202.
    body: Object,
    asynchronous: bool,
    /// The success of the operation was seen, its request is sent again for what it gives.
    collecting: bool,
    polling_since: Option<Duration>,
    polls: u32,
    /// Requests that were sent once more, for whatever reason.
    repeats: u32,
    /// Those that were sent again because something was wrong.
    retries: u32,
    most_retries: u32,
    code: Option<String>,
    limits: Limits,
    cleaning: Cleaning,
}

/// Whether limits on the time of polling count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limits {
    Count,
    Suspended,
}

/// How far the mitigation is.
#[derive(Debug, Default)]
struct Cleaning {
    since: Duration,
    tries: u32,
    operation: Option<String>,
    polls: u32,
    end: Mitigation,
}

/// What is next.
#[derive(Clone, Debug, PartialEq)]
enum State {
    Request,
    Poll,
    Fetch,
    /// A DELETE, and what comes after it.
    Mitigate(After),
    PollMitigation(After),
    Over(End),
}

/// What comes after a mitigation.
#[derive(Clone, Debug, PartialEq)]
enum After {
    Fail(String),
    Retry(String),
}

/// How a job has ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct End {
    /// What the platform got; else what it tells the user.
    pub(crate) result: Result<Object, String>,
    /// Whether there was a 202.
    pub(crate) asynchronous: bool,
    pub(crate) mitigation: Mitigation,
    /// How often the request was sent again because something was wrong.
    pub(crate) retries: u32,
    /// `error` of the last answer to the request.
    pub(crate) code: Option<String>,
}

/// What became of the orphan mitigation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mitigation {
    /// There was none.
    #[default]
    None,
    /// The broker says that nothing is left.
    Confirmed,
    /// 202, and the platform does not ask what became of it.
    Unwatched(Option<String>),
    /// The platform has stopped trying.
    GivenUp,
}

/// What a job wants now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Send {
        call: Call,
        operation: Option<String>,
        purpose: Purpose,
    },
    Wait(Duration),
    Over,
}

impl Job {
    /// Sends its first request at once, and after failures no more than so many further ones: platforms that never give
    /// up are cut short.
    pub(crate) fn new(rules: &'static dyn Rules, verb: Verb, terms: &Terms, now: Duration, most_retries: u32) -> Self {
        Self {
            rules,
            verb,
            terms: terms.clone(),
            state: State::Request,
            due: now,
            operation: None,
            body: Object::new(),
            asynchronous: false,
            collecting: false,
            polling_since: None,
            polls: 0,
            repeats: 0,
            retries: 0,
            most_retries,
            code: None,
            limits: Limits::Count,
            cleaning: Cleaning::default(),
        }
    }

    pub(crate) fn step(&self, now: Duration) -> Step {
        if now < self.due && !matches!(self.state, State::Over(_)) {
            return Step::Wait(self.due - now);
        }
        let send = |call, operation: Option<&String>, purpose| Step::Send {
            call,
            operation: operation.cloned(),
            purpose,
        };
        match &self.state {
            State::Request => send(self.verb.call(), None, Purpose::User),
            State::Poll => send(self.verb.poll(), self.operation.as_ref(), Purpose::User),
            State::Fetch => send(Call::FetchBinding, None, Purpose::User),
            State::Mitigate(_) => send(self.verb.undo(), None, Purpose::Mitigation),
            State::PollMitigation(_) => send(self.verb.poll(), self.cleaning.operation.as_ref(), Purpose::Mitigation),
            State::Over(_) => Step::Over,
        }
    }

    /// What came of the call that [`Job::step`] wanted. Limits on the time of polling can be suspended: a broker that
    /// works in real time cannot keep up with a clock that jumps.
    pub(crate) fn take(&mut self, now: Duration, outcome: &Outcome, limits: Limits) {
        self.due = now;
        self.limits = limits;
        match self.state.clone() {
            State::Request => self.take_answer(now, outcome),
            State::Poll => self.take_poll(now, outcome),
            State::Fetch => self.take_binding(outcome),
            State::Mitigate(after) => self.take_removal(now, outcome, after),
            State::PollMitigation(after) => self.take_removal_poll(now, outcome, after),
            State::Over(_) => {}
        }
    }

    /// How it has ended, when it has.
    pub(crate) fn end(&self) -> Option<&End> {
        match &self.state {
            State::Over(end) => Some(end),
            _ => None,
        }
    }

    fn take_answer(&mut self, now: Duration, outcome: &Outcome) {
        let answer = outcome.as_ref().ok();
        self.code = answer.and_then(|answer| answer.error().map(str::to_owned));
        match self.rules.judge(self.verb, &self.terms, outcome) {
            Judgement::Done(body) => self.succeed(body),
            Judgement::Accepted(_) if self.collecting && self.retries >= self.most_retries => {
                let why = "the operation has succeeded, and its repeated request is still answered with 202";
                self.over(Err(why.to_owned()));
            }
            Judgement::Accepted(operation) => {
                self.retries += u32::from(self.collecting);
                self.operation = operation;
                self.body = answer.and_then(|answer| answer.object().cloned()).unwrap_or_default();
                self.asynchronous = true;
                self.polls = match self.rules.while_running() {
                    WhileRunning::Polls => 0,
                    WhileRunning::SendsAgain => self.polls,
                };
                self.polling_since.get_or_insert(now);
                self.state = State::Poll;
                self.due = now + self.rules.before_poll(self.polls, None);
            }
            Judgement::Failed(Trouble { why, then }) => self.trouble(now, then, After::Fail(why)),
            Judgement::Retry(Trouble { why, then }) => self.trouble(now, then, After::Retry(why)),
        }
    }

    fn take_poll(&mut self, now: Duration, outcome: &Outcome) {
        self.polls = self.polls.saturating_add(1);
        match self.rules.judge_poll(self.verb, outcome) {
            Polled::Succeeded => match self.rules.collects(self.verb) {
                Collect::Nothing => self.succeed(self.body.clone()),
                Collect::Fetch => self.state = State::Fetch,
                Collect::SendAgain => {
                    self.collecting = true;
                    self.state = State::Request;
                }
            },
            Polled::Failed(Trouble { why, then }) => self.trouble(now, then, After::Fail(why)),
            Polled::Again => self.poll_again(now, outcome),
        }
    }

    fn poll_again(&mut self, now: Duration, outcome: &Outcome) {
        if self.is_over_limit(now) {
            let why = format!("polling took too long; last: {}", summary(outcome));
            self.trouble(now, Then::mitigate_if(self.verb.creates()), After::Fail(why));
            return;
        }
        if self.rules.while_running() == WhileRunning::SendsAgain {
            self.repeats = self.repeats.saturating_add(1);
            self.state = State::Request;
            self.due = now + self.rules.before_retry(self.repeats);
            return;
        }
        let retry_after = outcome.as_ref().ok().and_then(|answer| answer.retry_after);
        self.due = now + self.rules.before_poll(self.polls, retry_after);
    }

    fn is_over_limit(&self, now: Duration) -> bool {
        let limit = self.rules.polling_limit(self.terms.maximum_polling);
        let over = limit
            .zip(self.polling_since)
            .is_some_and(|(limit, since)| now.saturating_sub(since) >= limit);
        over && self.limits == Limits::Count
    }

    /// A binding that cannot be fetched has failed; nobody cleans up.
    fn take_binding(&mut self, outcome: &Outcome) {
        let body = match outcome {
            Ok(answer) if answer.status == 200 => answer.expect_object().cloned(),
            _ => Err(summary(outcome)),
        };
        self.over(body.map_err(|why| format!("the binding cannot be fetched: {why}")));
    }

    fn trouble(&mut self, now: Duration, then: Then, after: After) {
        match (then, self.rules.before_mitigation(0, Duration::ZERO)) {
            (Then::Mitigate, Some(pause)) => {
                self.cleaning = Cleaning {
                    since: now,
                    ..Cleaning::default()
                };
                self.state = State::Mitigate(after);
                self.due = now + pause;
            }
            _ => self.go_on(now, after),
        }
    }

    fn go_on(&mut self, now: Duration, after: After) {
        match after {
            After::Fail(why) => self.over(Err(why)),
            After::Retry(why) if self.retries >= self.most_retries => {
                self.over(Err(format!(
                    "still trying after {} requests; last: {why}",
                    self.retries + 1
                )));
            }
            After::Retry(_) => {
                self.retries += 1;
                self.repeats = self.repeats.saturating_add(1);
                self.polling_since = None;
                self.state = State::Request;
                self.due = now + self.rules.before_retry(self.repeats);
            }
        }
    }

    fn take_removal(&mut self, now: Duration, outcome: &Outcome, after: After) {
        self.cleaning.tries += 1;
        match self.rules.judge_mitigation(outcome) {
            Cleaned::Done => self.cleaned(now, Mitigation::Confirmed, after),
            Cleaned::Accepted(operation) if self.rules.polls_mitigation() => {
                self.cleaning.operation = operation;
                self.cleaning.polls = 0;
                self.state = State::PollMitigation(after);
                self.due = now + self.rules.before_poll(0, None);
            }
            Cleaned::Accepted(operation) => self.cleaned(now, Mitigation::Unwatched(operation), after),
            Cleaned::Again => self.clean_again(now, after),
        }
    }

    fn take_removal_poll(&mut self, now: Duration, outcome: &Outcome, after: After) {
        self.cleaning.polls += 1;
        let verb = match self.verb.undo() {
            Call::Unbind => Verb::Unbind,
            _ => Verb::Deprovision,
        };
        match self.rules.judge_poll(verb, outcome) {
            Polled::Succeeded => self.cleaned(now, Mitigation::Confirmed, after),
            Polled::Failed(_) => self.clean_again(now, after),
            Polled::Again => {
                let retry_after = outcome.as_ref().ok().and_then(|answer| answer.retry_after);
                self.due = now + self.rules.before_poll(self.cleaning.polls, retry_after);
            }
        }
    }

    fn clean_again(&mut self, now: Duration, after: After) {
        let spent = now.saturating_sub(self.cleaning.since);
        match self.rules.before_mitigation(self.cleaning.tries, spent) {
            Some(pause) if self.cleaning.tries < MOST_CLEANINGS => {
                self.state = State::Mitigate(after);
                self.due = now + pause;
            }
            _ => self.cleaned(now, Mitigation::GivenUp, after),
        }
    }

    fn cleaned(&mut self, now: Duration, end: Mitigation, after: After) {
        self.cleaning.end = end;
        self.go_on(now, after);
    }

    fn succeed(&mut self, body: Object) {
        self.over(Ok(body));
    }

    fn over(&mut self, result: Result<Object, String>) {
        self.state = State::Over(End {
            result,
            asynchronous: self.asynchronous,
            mitigation: self.cleaning.end.clone(),
            retries: self.retries,
            code: self.code.clone(),
        });
    }
}
