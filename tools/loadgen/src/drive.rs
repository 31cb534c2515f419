//! The closed loop: so many connections, each with one request under way at a time.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use loadgen::histogram::Histogram;
use loadgen::http::{Connection, Response, Target};

use crate::process;

/// The number of keep-alive connections.
pub(crate) const CONNECTIONS: usize = 64;

/// An answer takes longer only when something is broken.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Of some memory that is enough for a worker: it has no deep calls.
const STACK_BYTES: usize = 256 << 10;

/// One worker's connection.
pub(crate) struct Client<'a> {
    target: &'a Target,
    connection: Connection,
    request: Vec<u8>,
}

impl<'a> Client<'a> {
    pub(crate) fn connect(target: &'a Target) -> Result<Self> {
        let connection = Connection::open(target.addr, TIMEOUT).context("cannot connect to the broker")?;
        Ok(Self { target, connection, request: Vec::with_capacity(1024) })
    }

    /// Sends a request and waits for the answer.
    pub(crate) fn call(&mut self, method: &str, path: &str, body: Option<&[u8]>) -> Result<Response<'_>> {
        self.target.request(&mut self.request, method, path, body);
        self.connection.send(&self.request)?;
        Ok(self.connection.receive()?)
    }

    /// As [`call`](Self::call); any other status than the expected one is an error.
    pub(crate) fn expect(&mut self, status: u16, method: &str, path: &str, body: Option<&[u8]>) -> Result<()> {
        let answer = self.call(method, path, body)?;
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

/// Runs operations on all connections until `count` are done or `time` is over.
///
/// The operation gets its number, from `first` on; numbers are never given twice.
///
/// # Errors
/// The first error of an operation: a figure that was measured on errors says nothing.
pub(crate) fn drive<F>(target: &Target, pid: u32, first: u64, count: u64, time: Duration, operation: F) -> Result<Measured>
where
    F: Fn(&mut Client<'_>, u64) -> Result<()> + Sync,
{
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let total = Mutex::new((Histogram::default(), None));
    let mut clients = (0..CONNECTIONS).map(|_| Client::connect(target)).collect::<Result<Vec<_>>>()?;
    let (server_before, client_before) = (process::cpu(pid)?, process::cpu(std::process::id())?);
    let started = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        for client in &mut clients {
            let work = || {
                let mut latencies = Histogram::default();
                let error = work(client, &next, count, first, started + time, &stop, &operation, &mut latencies).err();
                stop.fetch_or(error.is_some(), Ordering::Relaxed);
                if let Ok(mut total) = total.lock() {
                    total.0.add(&latencies);
                    total.1 = total.1.take().or(error);
                }
            };
            std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work)?;
        }
        Ok(())
    })?;
    let took = started.elapsed();
    let server = process::cpu(pid)?.saturating_sub(server_before);
    let client = process::cpu(std::process::id())?.saturating_sub(client_before);
    let (latencies, error) = total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(error) = error {
        return Err(error);
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

#[expect(clippy::too_many_arguments, reason = "the body of one loop, split from the threads around it")]
fn work<F>(
    client: &mut Client<'_>,
    next: &AtomicU64,
    count: u64,
    first: u64,
    until: Instant,
    stop: &AtomicBool,
    operation: &F,
    latencies: &mut Histogram,
) -> Result<()>
where
    F: Fn(&mut Client<'_>, u64) -> Result<()>,
{
    let mut begun = Instant::now();
    while begun < until && !stop.load(Ordering::Relaxed) {
        let number = next.fetch_add(1, Ordering::Relaxed);
        if number >= count {
            break;
        }
        operation(client, first + number)?;
        let now = Instant::now();
        latencies.record(now - begun);
        begun = now;
    }
    Ok(())
}
