//! The closed loop: so many connections, each with one request under way at a time.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use loadgen::histogram::Histogram;
use loadgen::http::{Incoming, Response, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::process;

/// The number of keep-alive connections.
pub(crate) const CONNECTIONS: usize = 64;

/// An operation takes longer only when something is broken.
const TIMEOUT: Duration = Duration::from_secs(60);

/// One worker's connection.
pub(crate) struct Client<'a> {
    /// Which of the connections it is, from 0 on.
    pub(crate) number: usize,
    target: &'a Target,
    stream: TcpStream,
    incoming: Incoming,
    request: Vec<u8>,
}

impl<'a> Client<'a> {
    pub(crate) async fn connect(target: &'a Target, number: usize) -> Result<Self> {
        let stream = TcpStream::connect(target.addr)
            .await
            .context("cannot connect to the broker")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            number,
            target,
            stream,
            incoming: Incoming::default(),
            request: Vec::with_capacity(1024),
        })
    }

    /// Sends a request and waits for the answer.
    pub(crate) async fn call(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Response<'_>> {
        self.call_with(method, path, "", body).await
    }

    /// As [`call`](Self::call), with more header lines, each ended by CR LF.
    pub(crate) async fn call_with(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: Option<&[u8]>,
    ) -> Result<Response<'_>> {
        self.target.request_with(&mut self.request, method, path, headers, body);
        self.stream.write_all(&self.request).await?;
        loop {
            if let Some(answer) = self.incoming.take()? {
                return Ok(self.incoming.response(answer));
            }
            let count = self.stream.read(self.incoming.space()).await?;
            self.incoming.advance(count)?;
        }
    }

    /// As [`call`](Self::call); any other status than the expected one is an error.
    pub(crate) async fn expect(&mut self, status: u16, method: &str, path: &str, body: Option<&[u8]>) -> Result<()> {
        let answer = self.call(method, path, body).await?;
        if answer.status != status {
            bail!(unexpected(method, path, &answer));
        }
        Ok(())
    }
}

/// What to say of an answer that should be another one.
pub(crate) fn unexpected(method: &str, path: &str, answer: &Response<'_>) -> String {
    let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]).into_owned();
    format!("{method} {path} was answered with {}: {body}", answer.status)
}

/// What one run gave.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) operations: u64,
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// CPU time of the server for each operation, while the load ran.
    pub(crate) server_cpu: Duration,
    /// CPU time of this program for each operation.
    pub(crate) client_cpu: Duration,
}

/// Runs operations on all connections until `count` are done or `time` is over. One thread serves them all, so that
/// each gets its turn: with a thread for each, the scheduler would let some starve, and that would show as latency.
///
/// The operation gets its number, from `first` on; numbers are never given twice.
///
/// # Errors
/// The first error of an operation: a figure that was measured on errors says nothing.
pub(crate) fn drive<F>(
    target: &Target,
    pid: u32,
    first: u64,
    count: u64,
    time: Duration,
    operation: F,
) -> Result<Measured>
where
    F: AsyncFn(&mut Client<'_>, u64) -> Result<()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut clients = try_join_all((0..CONNECTIONS).map(|number| Client::connect(target, number))).await?;
        closed_loop(&mut clients, &[pid], Amount { first, count, time }, operation).await
    })
}

/// How much is done at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    /// The number of the first operation.
    pub(crate) first: u64,
    pub(crate) count: u64,
    pub(crate) time: Duration,
}

/// The same with clients of any kind and a server of several processes.
///
/// # Errors
/// As [`drive`].
pub(crate) async fn closed_loop<C, F>(clients: &mut [C], pids: &[u32], amount: Amount, operation: F) -> Result<Measured>
where
    F: AsyncFn(&mut C, u64) -> Result<()>,
{
    let next = Cell::new(0);
    let (server_before, client_before) = (process::cpu_of(pids)?, process::cpu(std::process::id())?);
    let started = Instant::now();
    let until = started + amount.time;
    let workers = clients
        .iter_mut()
        .map(|client| work(client, &next, amount, until, &operation));
    let limit = amount.time + TIMEOUT;
    let done = tokio::time::timeout(limit, try_join_all(workers)).await;
    let took = started.elapsed();
    let server = process::cpu_of(pids)?.saturating_sub(server_before);
    let client = process::cpu(std::process::id())?.saturating_sub(client_before);
    let mut latencies = Histogram::default();
    for histogram in done.with_context(|| format!("operations hang: no end after {} s", limit.as_secs()))?? {
        latencies.add(&histogram);
    }
    let operations = latencies.count();
    if operations == 0 {
        bail!("no operation was done");
    }
    Ok(Measured {
        operations,
        per_second: operations as f64 / took.as_secs_f64(),
        p50: latencies.quantile(500),
        p99: latencies.quantile(990),
        server_cpu: server.div_f64(operations as f64),
        client_cpu: client.div_f64(operations as f64),
    })
}

async fn work<C, F>(
    client: &mut C,
    next: &Cell<u64>,
    amount: Amount,
    until: Instant,
    operation: &F,
) -> Result<Histogram>
where
    F: AsyncFn(&mut C, u64) -> Result<()>,
{
    let mut latencies = Histogram::default();
    let mut begun = Instant::now();
    while begun < until && next.get() < amount.count {
        let number = next.get();
        next.set(number + 1);
        operation(client, amount.first + number).await?;
        let now = Instant::now();
        latencies.record(now - begun);
        begun = now;
    }
    Ok(latencies)
}
