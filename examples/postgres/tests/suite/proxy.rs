//! A wire between the broker and its database server that fails when a test says so.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Cut before the server gets the message.
    CutBefore,
    /// Cut when the server has the message: its answer is lost.
    CutAfter,
    /// The server gets the message, and then nothing moves any more: neither side learns what became of the other.
    Hang,
}

/// Counts the messages of the client side, over all connections.
#[derive(Default)]
struct Counter {
    seen: usize,
    armed: Option<(usize, Fault)>,
}

#[derive(Clone)]
pub(crate) struct Proxy {
    port: u16,
    counter: Arc<Mutex<Counter>>,
    /// Sent when a hanging wire shall come to life again.
    revive: watch::Sender<()>,
}

impl Proxy {
    /// A wire to a port of this machine.
    pub(crate) async fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let proxy = Self {
            port,
            counter: Arc::default(),
            revive: watch::Sender::new(()),
        };
        let wire = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else {
                    continue;
                };
                tokio::spawn(wire.clone().carry(client, server));
            }
        });
        proxy
    }

    /// The URL of the same login through this wire.
    pub(crate) fn url(&self, url: &str, target: u16) -> String {
        url.replace(&format!(":{target}/"), &format!(":{}/", self.port))
    }

    /// Lets the `message`-th message from now on meet a fault. Counted from 1.
    pub(crate) fn arm(&self, message: usize, fault: Fault) {
        *self.lock() = Counter {
            seen: 0,
            armed: Some((message, fault)),
        };
    }

    /// Disarms; says whether there was a fault since it was armed.
    pub(crate) fn fired(&self) -> bool {
        self.lock().armed.take().is_none()
    }

    /// Whether there was a fault since it was armed.
    pub(crate) fn has_fired(&self) -> bool {
        self.lock().armed.is_none()
    }

    pub(crate) fn revive(&self) {
        self.revive.send_replace(());
    }

    fn next(&self) -> Option<Fault> {
        let mut counter = self.lock();
        counter.seen += 1;
        let (_, fault) = counter.armed.filter(|(message, _)| *message == counter.seen)?;
        counter.armed = None;
        Some(fault)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counter> {
        self.counter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn carry(self, mut client: TcpStream, mut server: TcpStream) {
        let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
        loop {
            tokio::select! {
                read = client.read(&mut up) => {
                    let Some(bytes) = read.ok().filter(|n| *n > 0) else { return };
                    match self.next() {
                        Some(Fault::CutBefore) => return,
                        Some(Fault::CutAfter) => {
                            drop(server.write_all(&up[..bytes]).await);
                            return;
                        }
                        Some(Fault::Hang) => {
                            drop(server.write_all(&up[..bytes]).await);
                            let mut revived = self.revive.subscribe();
                            drop(revived.changed().await);
                        }
                        None if server.write_all(&up[..bytes]).await.is_err() => return,
                        None => {}
                    }
                }
                read = server.read(&mut down) => {
                    let Some(bytes) = read.ok().filter(|n| *n > 0) else { return };
                    if client.write_all(&down[..bytes]).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}
