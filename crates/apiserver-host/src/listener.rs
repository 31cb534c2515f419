//! Accepts connections and serves HTTP on them: bounded in number, in the size of heads and in the time that a client
//! may take for one. The listeners of a program are all of this kind.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use crate::connections::{Busy, Connection, Connections};
use crate::refusals::{Explain, Explained};
use crate::tls::Tls;

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest head of a request: two identifiers of 1,024 bytes, escaped, and what proxies add. What comes in the last
/// read is still taken, so that a head may have up to twice as much.
pub(crate) const MAX_HEAD_BYTES: usize = 64 << 10;
/// The most headers of a request: hyper's own limit. It is not set, because hyper would then fill a buffer for so many
/// headers anew for each request, which shows in a profile of small answers.
pub(crate) const MAX_HEADERS: usize = 100;
/// Controllers hold many watches on one connection.
const MAX_STREAMS: u32 = 256;
const PING_EVERY: Duration = Duration::from_secs(30);
/// Pause after the system had no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The versions of HTTP that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/1.1 only.
    One,
    /// HTTP/1.1 and HTTP/2.
    OneAndTwo,
}

/// What is served where.
pub struct Listener {
    /// For the log.
    pub name: &'static str,
    /// The socket that listens.
    pub socket: TcpListener,
    /// What is sent there is spoken from the next connection on.
    pub tls: Option<watch::Receiver<Tls>>,
    /// The versions of HTTP that are spoken.
    pub versions: Versions,
    /// What it grants.
    pub limits: Limits,
    /// Makes the body of what is refused before it is a request.
    pub explain: Explain,
}

/// What a listener grants.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most connections.
    pub connections: usize,
    /// So long a client may take for the head of a request, and a connection may be idle (hyper counts both in one).
    pub head_timeout: Duration,
}

/// A listener at work.
#[derive(Debug)]
pub struct Serving {
    name: &'static str,
    /// Nothing is accepted any more, and each connection ends after what it is doing.
    draining: CancellationToken,
    /// All connections end now.
    ending: CancellationToken,
    tasks: TaskTracker,
}

impl Listener {
    /// Begins to accept. `services` makes the service of a connection, from the certificate that its client has shown.
    /// `S` must not take longer than its client is worth waiting for: a request in work is not
    /// interrupted but at the end of a drain.
    pub fn serve<F, S, B>(self, services: F) -> Serving
    where
        F: Fn(Option<&CertificateDer<'_>>) -> S + Send + Sync + 'static,
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let serving = Serving {
            name: self.name,
            draining: CancellationToken::new(),
            ending: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let server = Server {
            name: self.name,
            explain: self.explain,
            http: http(self.versions, self.limits.head_timeout),
            tls: self.tls,
            services,
            draining: serving.draining.clone(),
            ending: serving.ending.clone(),
        };
        let (tasks, draining) = (serving.tasks.clone(), serving.draining.clone());
        let connections = Connections::new(self.limits.connections);
        let accept = accept(self.name, self.socket, connections, tasks, Arc::new(server));
        serving.tasks.spawn(async move {
            draining.run_until_cancelled(accept).await;
        });
        serving
    }
}

impl Serving {
    /// Accepts nothing more and ends all connections, now.
    pub fn cut_off(&self) {
        self.draining.cancel();
        self.ending.cancel();
    }

    /// Accepts nothing more and waits until everything that was begun is answered; after `limit` what is left is cut
    /// off.
    pub async fn drain(self, limit: Duration) {
        self.draining.cancel();
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::warn!(
                listener = self.name,
                connections = self.tasks.len(),
                "cut off: the time for draining is over"
            );
            self.ending.cancel();
            self.tasks.wait().await;
        }
    }
}

fn http(versions: Versions, head_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        // A broker's client that has sent a whole request and is gone has still sent it. A watch has to notice.
        .half_close(versions == Versions::One);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_EVERY);
    match versions {
        Versions::One => http.http1_only(),
        Versions::OneAndTwo => http,
    }
}

async fn accept<F, S, B>(
    name: &'static str,
    socket: TcpListener,
    connections: Arc<Connections>,
    tasks: TaskTracker,
    server: Arc<Server<F>>,
) where
    F: Fn(Option<&CertificateDer<'_>>) -> S + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut short = false;
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                short = false;
                let Some(connection) = connections.admit() else {
                    tracing::debug!(listener = name, %peer, "refused: all connections are in use");
                    continue;
                };
                tasks.spawn(server.clone().connection(stream, connection));
            }
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut short, true) {
                    tracing::warn!(listener = name, %error, "no connection can be accepted at the moment");
                }
                connections.evict();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The client was gone before it was accepted.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// What the connections of a listener share.
struct Server<F> {
    name: &'static str,
    explain: Explain,
    http: auto::Builder<TokioExecutor>,
    tls: Option<watch::Receiver<Tls>>,
    services: F,
    draining: CancellationToken,
    ending: CancellationToken,
}

impl<F, S, B> Server<F>
where
    F: Fn(Option<&CertificateDer<'_>>) -> S + Send + Sync + 'static,
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// From accept to close. A client that is slow, or gone, ends here without a word: anybody could fill the log.
    async fn connection(self: Arc<Self>, stream: TcpStream, connection: Arc<Connection>) {
        // An answer is written whole; there is nothing to collect.
        let _ = stream.set_nodelay(true);
        let served = async {
            let Some(tls) = &self.tls else {
                let service = (self.services)(None);
                return self.serve(stream, service, &self.draining, &connection).await;
            };
            let Tls { config, withdrawn } = tls.borrow().clone();
            let accepted = TlsAcceptor::from(config).accept(stream);
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_TIMEOUT, accepted).await {
                let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let service = (self.services)(certificate);
                self.serve(stream, service, &withdrawn, &connection).await;
            }
        };
        tokio::select! {
            () = Box::pin(served) => {}
            () = connection.evicted() => {}
            () = self.ending.cancelled() => {}
        }
    }

    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + 'static,
        service: S,
        withdrawn: &CancellationToken,
        connection: &Arc<Connection>,
    ) {
        let service = service_fn(|request| {
            let busy = connection.begin();
            let mut service = service.clone();
            async move {
                let busy = busy.ok_or(Evicted)?;
                let response = match service.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                Ok::<_, Evicted>(response.map(|body| Answer { body, _busy: busy }))
            }
        });
        let stream = Explained::new(stream, self.name, self.explain);
        let mut serving = pin!(self.http.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            _ = serving.as_mut() => return,
            () = self.draining.cancelled() => serving.as_mut().graceful_shutdown(),
            () = withdrawn.cancelled() => serving.as_mut().graceful_shutdown(),
        }
        let _ = serving.await;
    }
}

/// The connection had to make room before its request was begun.
#[derive(Debug, thiserror::Error)]
#[error("the connection had to make room")]
struct Evicted;

/// A body that keeps its connection busy until it has been taken.
struct Answer<B> {
    body: B,
    _busy: Busy,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Opens a listening socket, and says where.
///
/// # Errors
/// What the system says.
pub async fn bind(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let socket = TcpListener::bind(address).await?;
    let address = socket.local_addr()?;
    Ok((socket, address))
}

/// Lets this process have as many files as the system allows, and leaves some for a store: how many of the wanted
/// connections it can have.
pub fn most_connections(wanted: usize) -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    const OWN_FILES: u64 = 256;
    let mut limit = getrlimit(Resource::Nofile);
    let files = |wanted: u64| 2 * wanted + OWN_FILES;
    let wanted_files = files(wanted as u64);
    if limit.current.is_some_and(|current| current < wanted_files) {
        let raised = limit.maximum.map_or(wanted_files, |maximum| maximum.min(wanted_files));
        limit.current = Some(raised);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files cannot be raised");
        }
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let most = usize::try_from(files.saturating_sub(OWN_FILES) / 2)
        .unwrap_or(usize::MAX)
        .max(16);
    if most < wanted {
        tracing::warn!(
            wanted,
            most,
            "fewer connections than wanted: the system's limit of open files is too low"
        );
    }
    wanted.min(most)
}
