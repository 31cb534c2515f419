//! The wire between a platform and the broker: faults happen here, and the story is written here.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use tokio::time::Instant;

use crate::answer::{Answer, Outcome, Progress};
use crate::call::{Call, Order, path};
use crate::clock::AnyClock;
use crate::platform::{Draft, Purpose, Rules, World};
use crate::story::{Page, Story};
use crate::transport::{AnyTransport, Lost};

/// So long, in real time, an operation may take that the platform hears nothing of for a while.
const BROKERS_TIME: Duration = Duration::from_secs(30);

/// What happens to a call on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No connection; the broker sees nothing.
    Refused,
    /// The broker sees nothing, and the platform waits in vain.
    Swallowed,
    /// The broker answers, and the platform waits in vain.
    AnswerLost,
    /// As [`Fault::AnswerLost`], and the platform does nothing more before the broker is done.
    AnswerLate,
    /// The broker answers, and the connection breaks before the platform has it.
    Broken,
    /// The broker answers, and a proxy before it says 502 with a page of its own.
    BadGateway,
    /// The broker gets the request twice at the same time; the platform gets the first answer.
    Twice,
}

impl Fault {
    fn note(self) -> &'static str {
        match self {
            Self::Refused => "the connection is refused, the broker sees nothing",
            Self::Swallowed => "the request is lost on the way, the platform waits in vain",
            Self::AnswerLost => "the answer is lost, the platform waits in vain",
            Self::AnswerLate => "the answer is lost; the broker gets the time to finish",
            Self::Broken => "the connection breaks before the platform has the answer",
            Self::BadGateway => "a proxy answers the platform with 502",
            Self::Twice => "sent twice at the same time by a proxy",
        }
    }

    fn reaches_broker(self) -> bool {
        !matches!(self, Self::Refused | Self::Swallowed)
    }
}

/// A fault that waits for its calls.
#[derive(Clone, Copy, Debug)]
struct Planned {
    fault: Fault,
    call: Call,
    times: u32,
    /// The first call of this kind ends it.
    until: Option<Call>,
}

/// A call's outcome for the platform, and what the broker really answered.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) outcome: Outcome,
    /// Whether the broker has got the call.
    pub(crate) reached: bool,
}

/// One scenario's wire.
pub(crate) struct Wire<'a> {
    pub(crate) transport: &'a dyn AnyTransport,
    pub(crate) clock: &'a dyn AnyClock,
    pub(crate) rules: &'static dyn Rules,
    pub(crate) world: &'a World,
    planned: Mutex<Vec<Planned>>,
    story: Mutex<Story>,
    /// What the broker answered to calls that were sent twice, both answers.
    twins: Mutex<Vec<[Outcome; 2]>>,
}

impl<'a> Wire<'a> {
    pub(crate) fn new(
        transport: &'a dyn AnyTransport,
        clock: &'a dyn AnyClock,
        rules: &'static dyn Rules,
        world: &'a World,
    ) -> Self {
        Self {
            transport,
            clock,
            rules,
            world,
            planned: Mutex::default(),
            story: Mutex::default(),
            twins: Mutex::default(),
        }
    }

    /// The next calls of this kind have this fault, so many of them.
    pub(crate) fn plan(&self, fault: Fault, call: Call, times: u32) {
        lock(&self.planned).push(Planned {
            fault,
            call,
            times,
            until: None,
        });
    }

    /// All calls of this kind have this fault, until one of the other kind is sent.
    pub(crate) fn plan_until(&self, fault: Fault, call: Call, until: Call) {
        lock(&self.planned).push(Planned {
            fault,
            call,
            times: u32::MAX,
            until: Some(until),
        });
    }

    /// No further faults.
    pub(crate) fn mend(&self) {
        lock(&self.planned).clear();
    }

    pub(crate) fn heading(&self, text: impl Into<String>) {
        lock(&self.story).heading(text);
    }

    pub(crate) fn story(&self) -> Story {
        lock(&self.story).clone()
    }

    pub(crate) fn twins(&self) -> Vec<[Outcome; 2]> {
        std::mem::take(&mut *lock(&self.twins))
    }

    /// Sends a call as the platform does.
    pub(crate) async fn send(&self, call: Call, order: &Order, operation: Option<&str>, purpose: Purpose) -> Exchange {
        let request = self.request(call, order, operation, purpose);
        self.exchange(call, request, order).await
    }

    /// The request of a call, without the login.
    pub(crate) fn request(
        &self,
        call: Call,
        order: &Order,
        operation: Option<&str>,
        purpose: Purpose,
    ) -> Request<Bytes> {
        let Draft { headers, body } = self.rules.draft(call, order, self.world, purpose);
        let incomplete = self.rules.accepts_incomplete(call, &order.terms);
        let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let mut request = Request::new(bytes);
        *request.method_mut() = call.method();
        let uri = path(call, order, operation, incomplete).parse::<Uri>();
        // A URI is too long when the broker's `operation` is: what is left of it is not what it wants.
        *request.uri_mut() = uri.unwrap_or_else(|_| Uri::from_static("/v2/uri-too-long"));
        for (name, value) in headers {
            if let Ok(value) = value.try_into() {
                request.headers_mut().insert(name, value);
            }
        }
        request
    }

    async fn exchange(&self, call: Call, request: Request<Bytes>, order: &Order) -> Exchange {
        let fault = self.fault(call);
        let page = lock(&self.story).request(self.clock.time(), &request, fault.map(Fault::note));
        let reached = fault.is_none_or(Fault::reaches_broker);
        let answer = match fault {
            Some(Fault::Refused) => Err(Lost::Refused),
            Some(Fault::Swallowed) => {
                self.wait_in_vain().await;
                Err(Lost::Timeout)
            }
            Some(Fault::Twice) => self.deliver_twice(request, page).await,
            _ => self.deliver(request, page).await,
        };
        if !reached {
            lock(&self.story).answer(page, &answer);
        }
        let seen = match fault {
            Some(Fault::AnswerLost) => {
                self.wait_in_vain().await;
                Err(Lost::Timeout)
            }
            Some(Fault::AnswerLate) => {
                self.let_finish(order).await;
                self.wait_in_vain().await;
                Err(Lost::Timeout)
            }
            Some(Fault::Broken) => Err(Lost::Broken),
            Some(Fault::BadGateway) => Ok(bad_gateway()),
            _ => answer,
        };
        Exchange {
            outcome: seen.map(|response| Answer::read(&response)),
            reached,
        }
    }

    fn fault(&self, call: Call) -> Option<Fault> {
        let mut planned = lock(&self.planned);
        planned.retain(|planned| planned.until != Some(call));
        let found = planned
            .iter_mut()
            .find(|planned| planned.call == call && planned.times > 0)?;
        found.times -= 1;
        Some(found.fault)
    }

    /// As long as the platform is patient; a platform that is so without end sees the connection end after ten minutes.
    async fn wait_in_vain(&self) {
        const NETWORK: Duration = Duration::from_secs(600);
        self.clock.jump(self.rules.patience().unwrap_or(NETWORK)).await;
    }

    /// Waits until the broker is done with the instance, or has had its time. It is no part of the story: the platform
    /// does not do that.
    async fn let_finish(&self, order: &Order) {
        const PAUSE: Duration = Duration::from_secs(1);
        let deadline = Instant::now() + BROKERS_TIME;
        while Instant::now() < deadline {
            let poll = self.request(Call::PollInstance, order, None, Purpose::Mitigation);
            let answer = self.carry(poll).await.map(|response| Answer::read(&response));
            if answer.is_ok_and(|answer| answer.progress() != Some(Progress::Ongoing)) {
                return;
            }
            self.clock.pause(PAUSE).await;
        }
    }

    async fn deliver(&self, request: Request<Bytes>, page: Page) -> Result<Response<Bytes>, Lost> {
        let answer = self.carry(request).await;
        lock(&self.story).answer(page, &answer);
        answer
    }

    async fn carry(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Lost> {
        let sent = self.transport.carry(request);
        match self.rules.patience() {
            Some(patience) => tokio::time::timeout(patience, sent).await.unwrap_or(Err(Lost::Timeout)),
            None => sent.await,
        }
    }

    async fn deliver_twice(&self, request: Request<Bytes>, page: Page) -> Result<Response<Bytes>, Lost> {
        let again = request.clone();
        let twin = lock(&self.story).request(self.clock.time(), &again, Some("the second one"));
        let (first, second) = tokio::join!(self.deliver(request, page), self.deliver(again, twin));
        let read = |answer: &Result<Response<Bytes>, Lost>| answer.as_ref().map(Answer::read).map_err(|lost| *lost);
        lock(&self.twins).push([read(&first), read(&second)]);
        first
    }
}

fn bad_gateway() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"<html><body>502 Bad Gateway</body></html>"));
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
