//! Calls to a cluster: to whichever member answers, within a time, with a login where there is one.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use prost::Message;
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connection::{Address, Body, Sender, Use};
use super::proto::{self, AuthenticateRequest, AuthenticateResponse, WatchRequest, WatchResponse};
use super::wire::{self, Frames, Status};
use super::{Login, OpenError, Options};

/// After all members have failed: how long until the next round, the first time and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(320);

/// What became of one attempt.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// Nothing was carried out; another attempt may succeed.
    NotDone(String),
    /// Nobody has said whether it was carried out.
    Unknown(String),
    /// Nothing was carried out, nor will be by another attempt.
    Refused(Status),
}

impl Failure {
    /// What people are told.
    pub(super) fn text(&self) -> &str {
        match self {
            Failure::NotDone(text) | Failure::Unknown(text) => text,
            Failure::Refused(status) => &status.message,
        }
    }
}

struct Member {
    address: Address,
    calls: tokio::sync::Mutex<Option<Sender>>,
    watches: tokio::sync::Mutex<Option<Sender>>,
}

/// The members of a cluster.
pub(super) struct Cluster {
    members: Vec<Member>,
    /// The one that is asked; the next one when it fails.
    current: AtomicUsize,
    tls: Option<Arc<ClientConfig>>,
    login: Option<Login>,
    token: Mutex<Option<HeaderValue>>,
    logging_in: tokio::sync::Mutex<()>,
    attempt: Duration,
    deadline: Duration,
}

/// The attempts of one call: which member, and how much time is left.
pub(super) struct Attempts {
    ends: Instant,
    tried: usize,
    pause: Duration,
}

impl Cluster {
    /// The members of the options; nothing is sent to them.
    pub(super) fn new(options: &Options) -> Result<Cluster, OpenError> {
        let tls = options.tls.as_ref().map(|config| {
            let mut config = ClientConfig::clone(config);
            config.alpn_protocols = vec![b"h2".to_vec()];
            Arc::new(config)
        });
        let member = |text: &String| {
            Address::parse(text.trim(), tls.is_some()).map(|address| Member {
                address,
                calls: tokio::sync::Mutex::default(),
                watches: tokio::sync::Mutex::default(),
            })
        };
        let members: Result<Vec<_>, _> = options.endpoints.iter().map(member).collect();
        let members = members.map_err(OpenError::Endpoint)?;
        if members.is_empty() {
            return Err(OpenError::Endpoint("there is no endpoint".to_owned()));
        }
        Ok(Cluster {
            members,
            current: AtomicUsize::new(0),
            tls,
            login: options.login.clone(),
            token: Mutex::default(),
            logging_in: tokio::sync::Mutex::default(),
            attempt: options.attempt,
            deadline: options.deadline,
        })
    }

    /// A call begins.
    pub(super) fn attempts(&self) -> Attempts {
        Attempts {
            ends: Instant::now() + self.deadline,
            tried: 0,
            pause: FIRST_PAUSE,
        }
    }

    /// How many members there are.
    pub(super) fn size(&self) -> usize {
        self.members.len()
    }

    /// Asks until somebody answers: for what may be carried out more than once.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`], or what went wrong last when the time is over.
    pub(super) async fn ask<R: Message + Default>(&self, path: &str, message: &impl Message) -> Result<R, Failure> {
        self.ask_within(&mut self.attempts(), path, message).await
    }

    /// The same, in what is left of the time of a call.
    pub(super) async fn ask_within<R: Message + Default>(
        &self,
        attempts: &mut Attempts,
        path: &str,
        message: &impl Message,
    ) -> Result<R, Failure> {
        let framed = wire::frame(message);
        loop {
            match self.attempt(attempts, path, framed.clone()).await {
                Err(failure @ (Failure::NotDone(_) | Failure::Unknown(_))) => attempts.again(self, failure).await?,
                settled => return settled,
            }
        }
    }

    /// Asks the current member once. When that fails, another one is the current one.
    pub(super) async fn attempt<R: Message + Default>(
        &self,
        attempts: &Attempts,
        path: &str,
        framed: Bytes,
    ) -> Result<R, Failure> {
        let within = self.attempt.min(attempts.left());
        let chosen = self.current.load(Ordering::Relaxed) % self.members.len();
        let answer = self.attempt_at(chosen, path, framed, within).await;
        match answer {
            Ok(bytes) => wire::decode(bytes).map_err(Failure::Unknown),
            Err(failure) => {
                if !matches!(failure, Failure::Refused(_)) {
                    self.leave(chosen);
                }
                Err(failure)
            }
        }
    }

    /// Others go to the next member, unless somebody has seen to that already.
    fn leave(&self, member: usize) {
        let next = (member + 1) % self.members.len();
        let _ = self
            .current
            .compare_exchange(member, next, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Asks one member, once.
    pub(super) async fn attempt_at(
        &self,
        member: usize,
        path: &str,
        framed: Bytes,
        within: Duration,
    ) -> Result<Bytes, Failure> {
        let begun = Instant::now();
        let member = &self.members[member];
        let sender = member.sender(Use::Calls, self.tls.as_ref(), within).await?;
        let token = self.token(&sender, &member.address, within).await?;
        let left = within.saturating_sub(begun.elapsed());
        let answer = tokio::time::timeout(left, call(sender, &member.address, path, framed, token)).await;
        let answer = answer.unwrap_or_else(|_| {
            let silent = format!("{} did not answer in time", member.address.url(""));
            Err(Failure::Unknown(silent))
        });
        if let Err(Failure::NotDone(_)) = &answer {
            // Mostly an old token; a new one costs a call.
            self.forget_token();
        }
        answer
    }

    fn forget_token(&self) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// What says who calls, if anybody asks.
    async fn token(
        &self,
        sender: &Sender,
        address: &Address,
        within: Duration,
    ) -> Result<Option<HeaderValue>, Failure> {
        let Some(login) = &self.login else { return Ok(None) };
        let known = || self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(token) = known() {
            return Ok(Some(token));
        }
        let _alone = self.logging_in.lock().await;
        if let Some(token) = known() {
            return Ok(Some(token));
        }
        let request = wire::frame(&AuthenticateRequest {
            name: login.name.clone(),
            password: login.password.clone(),
        });
        let asked = call(sender.clone(), address, proto::AUTHENTICATE, request, None);
        let answer = tokio::time::timeout(within, asked).await;
        let token = match answer {
            Ok(Ok(bytes)) => {
                wire::decode::<AuthenticateResponse>(bytes)
                    .map_err(Failure::NotDone)?
                    .token
            }
            // A cluster that asks nobody who he is takes no logins.
            Ok(Err(Failure::Refused(status))) if status.code == wire::FAILED_PRECONDITION => return Ok(None),
            Ok(Err(Failure::Refused(status))) => return Err(Failure::Refused(status)),
            Ok(Err(failure)) => return Err(Failure::NotDone(failure.text().to_owned())),
            Err(_) => return Err(Failure::NotDone("nobody answers a login".to_owned())),
        };
        let mut token = HeaderValue::try_from(token).map_err(|_| Failure::NotDone("a token of no use".to_owned()))?;
        token.set_sensitive(true);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        Ok(Some(token))
    }

    /// Opens a watch at the current member. Watches have a connection of their own.
    pub(super) async fn watch(&self) -> Result<WatchStream, Failure> {
        let chosen = self.current.load(Ordering::Relaxed) % self.members.len();
        let opened = self.watch_at(&self.members[chosen]).await;
        if matches!(opened, Err(Failure::NotDone(_) | Failure::Unknown(_))) {
            self.leave(chosen);
        }
        opened
    }

    async fn watch_at(&self, member: &Member) -> Result<WatchStream, Failure> {
        let mut sender = member.sender(Use::Watches, self.tls.as_ref(), self.attempt).await?;
        let token = self.token(&sender, &member.address, self.attempt).await?;
        let (asks, body) = mpsc::channel::<Bytes>(4);
        let frames = futures::stream::unfold(body, |mut body| async move {
            let bytes = body.recv().await?;
            Some((Ok(Frame::data(bytes)), body))
        });
        let body = StreamBody::new(frames.boxed()).boxed_unsync();
        let mut request = request(&member.address, proto::WATCH, body, token)?;
        // A member that is cut off from the others ends its watches then.
        request
            .headers_mut()
            .insert("hasleader", HeaderValue::from_static("true"));
        let answer = sender.send_request(request);
        Ok(WatchStream {
            asks,
            state: StreamState::Opening(Box::pin(answer)),
            frames: Frames::default(),
        })
    }

    /// A watch has failed at the member that is asked now.
    pub(super) fn leave_current(&self) {
        self.leave(self.current.load(Ordering::Relaxed) % self.members.len());
    }

    /// What a watch that failed so means for the login.
    pub(super) fn watch_failed(&self, failure: &Failure) {
        if matches!(failure, Failure::NotDone(_)) {
            self.forget_token();
        }
        if !matches!(failure, Failure::Refused(_)) {
            self.leave_current();
        }
    }
}

impl Attempts {
    /// What is left of the time.
    pub(super) fn left(&self) -> Duration {
        self.ends.saturating_duration_since(Instant::now())
    }

    /// Waits until the next attempt is due: at once at another member, a little later when all have failed.
    ///
    /// # Errors
    ///
    /// The last failure, when the time is over.
    pub(super) async fn again(&mut self, cluster: &Cluster, last: Failure) -> Result<(), Failure> {
        self.tried += 1;
        if self.tried.is_multiple_of(cluster.size()) {
            let pause = self.pause.min(self.left());
            self.pause = (2 * self.pause).min(LONGEST_PAUSE);
            tokio::time::sleep(pause).await;
        }
        if self.left().is_zero() { Err(last) } else { Ok(()) }
    }
}

impl Member {
    /// The open connection, or a new one. Whoever comes meanwhile waits for that.
    async fn sender(&self, purpose: Use, tls: Option<&Arc<ClientConfig>>, within: Duration) -> Result<Sender, Failure> {
        let opened = async {
            let mut connection = match purpose {
                Use::Calls => self.calls.lock().await,
                Use::Watches => self.watches.lock().await,
            };
            if let Some(sender) = connection.as_ref().filter(|sender| !sender.is_closed()) {
                return Ok(sender.clone());
            }
            *connection = None;
            let sender = self.address.connect(purpose, tls, within).await?;
            *connection = Some(sender.clone());
            Ok(sender)
        };
        match tokio::time::timeout(within, opened).await {
            Ok(opened) => opened.map_err(Failure::NotDone),
            Err(_) => Err(Failure::NotDone(format!("{} does not answer", self.address.url("")))),
        }
    }
}

fn request(address: &Address, path: &str, body: Body, token: Option<HeaderValue>) -> Result<Request<Body>, Failure> {
    let mut request = Request::post(address.url(path))
        .version(Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers");
    if let Some(token) = token {
        request = request.header("token", token);
    }
    request.body(body).map_err(|error| Failure::NotDone(error.to_string()))
}

fn broken(error: impl Display) -> Failure {
    Failure::Unknown(format!("the connection to etcd broke: {error}"))
}

/// One call: its answer, whole.
async fn call(
    mut sender: Sender,
    address: &Address,
    path: &str,
    framed: Bytes,
    token: Option<HeaderValue>,
) -> Result<Bytes, Failure> {
    let request = request(address, path, Full::new(framed).boxed_unsync(), token)?;
    let response = sender.send_request(request).await.map_err(broken)?;
    check(&response)?;
    let answer = response.into_body().collect().await.map_err(broken)?;
    if let Some(status) = answer.trailers().and_then(Status::of)
        && status.code != wire::OK
    {
        return Err(failure(status));
    }
    let mut frames = Frames::default();
    frames.push(&answer.to_bytes());
    match frames.next() {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(Failure::Unknown("etcd sent half an answer".to_owned())),
        Err(what) => Err(Failure::Unknown(what)),
    }
}

/// Whether an answer follows.
fn check(response: &Response<Incoming>) -> Result<(), Failure> {
    match Status::of(response.headers()) {
        Some(status) if status.code != wire::OK => Err(failure(status)),
        _ if response.status() != StatusCode::OK => Err(Failure::Unknown(format!(
            "no etcd answers there, but something that says {}",
            response.status()
        ))),
        _ => Ok(()),
    }
}

/// What a refusal means. etcd tells most of its own apart by their texts only; what is not known here may have been
/// carried out.
fn failure(status: Status) -> Failure {
    let says = |text: &str| status.message.contains(text);
    match status.code {
        wire::UNAUTHENTICATED => Failure::NotDone(status.message),
        wire::INVALID_ARGUMENT if says("revision of auth store is old") => Failure::NotDone(status.message),
        wire::RESOURCE_EXHAUSTED if says("too many requests") => Failure::NotDone(status.message),
        wire::INVALID_ARGUMENT
        | wire::PERMISSION_DENIED
        | wire::RESOURCE_EXHAUSTED
        | wire::FAILED_PRECONDITION
        | wire::OUT_OF_RANGE
        | wire::UNIMPLEMENTED => Failure::Refused(status),
        _ => Failure::Unknown(status.message),
    }
}

/// An open watch.
pub(super) struct WatchStream {
    asks: mpsc::Sender<Bytes>,
    state: StreamState,
    frames: Frames,
}

enum StreamState {
    Opening(futures::future::BoxFuture<'static, Result<Response<Incoming>, hyper::Error>>),
    Open(Incoming),
}

impl WatchStream {
    /// Asks for something.
    pub(super) async fn send(&mut self, ask: proto::WatchAsk) -> Result<(), Failure> {
        let framed = wire::frame(&WatchRequest { ask: Some(ask) });
        self.asks
            .send(framed)
            .await
            .map_err(|_| Failure::Unknown("the watch has ended".to_owned()))
    }

    /// Asks how far the member is. Nothing happens when it has been asked often enough.
    pub(super) fn ask_for_progress(&self) {
        let ask = Some(proto::WatchAsk::Progress(proto::Empty {}));
        let _ = self.asks.try_send(wire::frame(&WatchRequest { ask }));
    }

    /// The next message. May be dropped and called again.
    ///
    /// # Errors
    ///
    /// The watch is over then.
    pub(super) async fn next(&mut self) -> Result<WatchResponse, Failure> {
        loop {
            if let Some(message) = self.frames.next().map_err(Failure::Unknown)? {
                return wire::decode(message).map_err(Failure::Unknown);
            }
            match &mut self.state {
                StreamState::Opening(response) => {
                    let response = response.await.map_err(broken)?;
                    check(&response)?;
                    self.state = StreamState::Open(response.into_body());
                }
                StreamState::Open(body) => match body.frame().await {
                    Some(frame) => {
                        let frame = frame.map_err(broken)?;
                        if let Some(piece) = frame.data_ref() {
                            self.frames.push(piece);
                        } else if let Some(status) = frame.trailers_ref().and_then(Status::of) {
                            return Err(failure(status));
                        }
                    }
                    None => return Err(broken("it ended")),
                },
            }
        }
    }
}
