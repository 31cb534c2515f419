//! A broker at work: everything from the data folder to the listeners, started in order and stopped in order.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use apiserver_host::{Limits, Listener, Serving, Versions, bind as listen, most_connections, reachable};
use osb_api::request::MissingOrganization;
use osb_engine::{Broker, Config, Engine, Keys, ReplicaConfig, Tenants};
use osb_server::{Platform, Server};
use rustls::pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::access::{self, Access, Reloader};
use crate::client_certificate;
use crate::credentials::DEFAULT_PLATFORM;
use crate::data_dir::{DataDir, ServerInfo};
use crate::error::HostError;
use crate::home::{HomeOptions, Opened, Running, Served};
use crate::keys;
use crate::options::HostOptions;

/// A running broker.
///
/// ```
/// # use osb_host as osb_sdk;
/// # use osb_engine::{Binding, NoParameters, Operation, Result, Service};
/// # struct Mailboxes;
/// # impl Service for Mailboxes {
/// #     type Parameters = NoParameters;
/// #     type BindParameters = NoParameters;
/// #     type State = String;
/// #     type Credentials = NoParameters;
/// #     async fn provision(&self, op: &Operation, _: NoParameters) -> Result<String> { Ok(op.stable_name("x")) }
/// #     async fn deprovision(&self, _: &Operation, _: Option<String>) -> Result<()> { Ok(()) }
/// #     async fn bind(&self, _: &Operation, _: &String, _: NoParameters) -> Result<Binding<NoParameters>> {
/// #         Ok(Binding::new(NoParameters {}))
/// #     }
/// #     async fn unbind(&self, _: &Operation, _: &String, _: Option<NoParameters>) -> Result<()> { Ok(()) }
/// # }
/// # fn my_broker() -> osb_engine::Broker {
/// #     let plan = osb_api::catalog::Plan::new("7a2f6f0e-8a7b-4a51-9a76-5f2a7d7f0a11", "small", "A plan");
/// #     let offering = osb_api::catalog::Offering::new("0f9d2f0c-3c4e-4c40-8f6a-0c1d5f7e2b33", "mail", "Mail");
/// #     osb_engine::Broker::new("mail").service(offering.bindable(true).plan(plan), Mailboxes)
/// # }
/// use osb_sdk::{Host, HostOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let host = Host::start(my_broker(), &HostOptions::on(folder.path())).await?;
/// assert!(host.info().url.starts_with("http://127.0.0.1:"));
/// assert!(host.data_dir().credentials().exists());
/// host.stop().await;
/// # Ok(())
/// # }
/// ```
pub struct Host {
    info: ServerInfo,
    folder: DataDir,
    made_key: bool,
    engine: Engine,
    home: Served,
    broker: Serving,
    reloader: Reloader,
    drain_delay: Duration,
    drain_timeout: Duration,
}

impl Host {
    /// Starts a broker with all that it needs. It is ready to serve when this returns. Has to run in a tokio runtime,
    /// and runs there until it is stopped.
    ///
    /// # Errors
    /// [`HostError`] with what to mend.
    pub async fn start(broker: Broker, options: &HostOptions) -> Result<Self, HostError> {
        let name = broker.name().to_owned();
        let make = |_: &Running| std::future::ready(Ok(broker));
        Self::begin(&name, |_| (), make, options).await
    }

    /// As [`start`](Self::start), for a broker that works on the Kubernetes API of its own home. `configure` may change how
    /// that API is served, if it is in this process: who may use it, and which hooks look at writes. Then `make` gets a
    /// client of it, with all rights that the broker has there, before anything is offered.
    ///
    /// ```
    /// # use osb_host as osb_sdk;
    /// # use osb_engine::Broker;
    /// use osb_sdk::{Host, HostOptions};
    ///
    /// async fn make(client: kube::Client) -> Result<Broker, Box<dyn std::error::Error + Send + Sync>> {
    ///     let version = client.apiserver_version().await?;
    ///     assert!(!version.git_version.is_empty());
    ///     // … offerings, with services that keep the client …
    ///     Ok(Broker::new("databases"))
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let folder = tempfile::tempdir()?;
    /// let by_roles = |api: &mut apiserver::Options| api.authorization = apiserver::Authorization::Rbac;
    /// let host = Host::start_with("databases", by_roles, make, &HostOptions::on(folder.path())).await?;
    /// host.stop().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`HostError`] with what to mend, and [`HostError::Make`] with what `make` says.
    pub async fn start_with<F, Fut>(
        name: &str,
        configure: impl FnOnce(&mut apiserver::Options),
        make: F,
        options: &HostOptions,
    ) -> Result<Self, HostError>
    where
        F: FnOnce(kube::Client) -> Fut,
        Fut: Future<Output = Result<Broker, Box<dyn std::error::Error + Send + Sync>>>,
    {
        let make = |home: &Running| make(home.client());
        Self::begin(name, configure, make, options).await
    }

    async fn begin<F, Fut>(
        name: &str,
        configure: impl FnOnce(&mut apiserver::Options),
        make: F,
        options: &HostOptions,
    ) -> Result<Self, HostError>
    where
        F: FnOnce(&Running) -> Fut,
        Fut: Future<Output = Result<Broker, Box<dyn std::error::Error + Send + Sync>>>,
    {
        let mut phases = Phases::start();
        check_plaintext(options)?;
        // A wrong flag is found before anything is made.
        access::named(options, &mut Vec::new())?;
        let folder = options.data_dir.resolve()?;
        folder.prepare()?;
        let opened = Opened::open(options, &folder, name).await?;
        phases.done("home opened");

        let (socket, address) = bind(options.listen, "--listen").await?;
        let keys = keys::load(&folder, options.key_file.as_deref())?;
        let (files, access) = Access::read(options, &folder);
        let mut access = access?;
        let info = info(name, &access, address, &opened, &options.home);
        phases.done("keys, logins and certificates loaded");

        let running = opened.start(&folder, name, configure).await?;
        phases.done("API server started");
        let broker = make(&running).await.map_err(HostError::Make)?;
        phases.done("broker made");
        let replica = options.home.replica(&info.url);
        let engine = start_engine(
            broker,
            &running,
            keys.keys,
            &access,
            (&options.home, replica),
            &mut phases,
        );
        let engine = match engine.await {
            Ok(engine) => engine,
            Err(error) => {
                let error = running.explain(&folder, error).await;
                // In a larger program the folder is free then.
                running.close().await;
                return Err(error);
            }
        };
        let front = Server::new(Arc::new(engine.clone()), &front_config(&access, options))?;

        let limits = Limits {
            connections: most_connections(options.max_connections),
            head_timeout: options.head_timeout,
        };
        let (tls, broker_tls) = access.tls.take().map(watch::channel).unzip();
        let reloader = Reloader::start((files, &access), options, &folder, &front, tls);
        let broker = Listener {
            name: "broker",
            socket,
            tls: broker_tls,
            versions: Versions::One,
            limits,
            explain: broker_error,
        };
        let broker = broker.serve(move |certificate: Option<&CertificateDer<'_>>| {
            front.for_client(certificate.and_then(client_certificate::names))
        });
        let home = running.listen(limits);
        info.write(&folder)?;
        phases.done("listening");
        Ok(Self {
            info,
            folder,
            made_key: keys.made,
            engine,
            home,
            broker,
            reloader,
            drain_delay: options.drain_delay,
            drain_timeout: options.drain_timeout,
        })
    }

    /// Where it listens.
    pub fn info(&self) -> &ServerInfo {
        &self.info
    }

    /// Where it keeps everything.
    pub fn data_dir(&self) -> &DataDir {
        &self.folder
    }

    /// Whether a new sealing key lies in the data folder since this start.
    pub fn made_key(&self) -> bool {
        self.made_key
    }

    /// Reads logins and certificates again, as it also does by itself a second or two after a file has changed. What
    /// cannot be used is reported in the log, and then everything stays as it was.
    pub fn reload(&self) {
        self.reloader.now();
    }

    /// Stops in order: says that it is not ready, accepts nothing more, answers what was begun, interrupts the
    /// author's functions (they are resumed at the next start), and closes the store.
    pub async fn stop(self) {
        self.engine.drain();
        tokio::time::sleep(self.drain_delay).await;
        ServerInfo::remove(&self.folder);
        self.broker.drain(self.drain_timeout).await;
        self.engine.stop().await;
        self.home.close().await;
    }
}

/// How long the parts of the start take, for the log at level debug.
struct Phases {
    begin: Instant,
    last: Instant,
}

impl Phases {
    fn start() -> Self {
        let now = Instant::now();
        Self { begin: now, last: now }
    }

    fn done(&mut self, phase: &'static str) {
        let now = Instant::now();
        let (took, since) = (now - self.last, now - self.begin);
        tracing::debug!(us = micros(took), since_start_us = micros(since), "{phase}");
        self.last = now;
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn check_plaintext(options: &HostOptions) -> Result<(), HostError> {
    let open = !options.listen.ip().is_loopback() && options.tls_cert.is_none();
    if open && !options.insecure_plaintext {
        return Err(HostError::Plaintext {
            address: options.listen,
        });
    }
    Ok(())
}

pub(crate) async fn bind(address: SocketAddr, flag: &'static str) -> Result<(TcpListener, SocketAddr), HostError> {
    listen(address)
        .await
        .map_err(|source| HostError::Listen { address, flag, source })
}

/// The error body of the Open Service Broker API.
fn broker_error(_status: u16, reason: &str) -> serde_json::Value {
    serde_json::json!({"description": reason})
}

fn info(name: &str, access: &Access, address: SocketAddr, opened: &Opened, home: &HomeOptions) -> ServerInfo {
    let scheme = if access.tls.is_some() { "https" } else { "http" };
    ServerInfo {
        pid: std::process::id(),
        broker: name.to_owned(),
        url: format!("{scheme}://{}", reachable(address)),
        home: home.home,
        kubernetes_url: opened.url(),
        group: Broker::new(name).group(),
        namespace: home.namespace_of(DEFAULT_PLATFORM),
        login: access.local.login,
    }
}

async fn start_engine(
    broker: Broker,
    running: &Running,
    keys: Keys,
    access: &Access,
    (options, replica): (&HomeOptions, Option<ReplicaConfig>),
    phases: &mut Phases,
) -> Result<Engine, HostError> {
    let home = running.of(&broker);
    let system = options.system_namespace().to_owned();
    let platforms = access.platforms();
    let namespaces = platforms.iter().map(|name| options.namespace_of(name));
    let namespaces: Vec<_> = namespaces.chain([system.clone()]).collect();
    running.prepare(&home, &broker, &namespaces).await?;
    phases.done("resources installed");
    let tenants = platforms
        .iter()
        .map(|&name| (Platform(name.into()), options.namespace_of(name)));
    let config = Config {
        system_namespace: system,
        tenants: Tenants::new(tenants),
        replica,
        ..Config::default()
    };
    let engine = Engine::start(broker, home, keys, config).await?;
    crate::catalog::look_over(&engine);
    phases.done("engine started");
    Ok(engine)
}

/// Every platform but the default one has its name as a prefix of its paths.
fn front_config(access: &Access, options: &HostOptions) -> osb_server::Config {
    let mut config = osb_server::Config {
        logins: access.logins(),
        body_timeout: options.body_timeout,
        missing_organization: if options.organization_optional {
            MissingOrganization::FromContext
        } else {
            MissingOrganization::Refuse
        },
        ..osb_server::Config::default()
    };
    for name in access.platforms() {
        if name != DEFAULT_PLATFORM {
            config = config.prefix(name, Platform(name.into()));
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_loopback_it_takes_tls_or_a_word() {
        let mut options = HostOptions::on("/nowhere");
        for (listen, fine) in [
            ("127.0.0.1:1", true),
            ("[::1]:1", true),
            ("0.0.0.0:1", false),
            ("192.0.2.1:1", false),
        ] {
            options.listen = listen.parse().unwrap();
            assert_eq!(check_plaintext(&options).is_ok(), fine, "{listen}");
        }
        options.insecure_plaintext = true;
        assert!(check_plaintext(&options).is_ok());
    }
}
