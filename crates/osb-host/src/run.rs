//! A broker as a program: from its flags to its exit code.

use std::future::Future;
use std::process::ExitCode;

use clap::{Args as _, Command, FromArgMatches as _};
use osb_engine::Broker;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::data_dir::Login;
use crate::error::{HostError, explain};
use crate::home::HomeKind;
use crate::host::Host;
use crate::log::{self, AuditFile};
use crate::manifests::manifests_yaml;
use crate::options::HostOptions;

/// Killed by the second signal: what shells show for SIGINT.
const INTERRUPTED: u8 = 130;

/// The `main` of a broker: reads the flags, serves until SIGTERM or SIGINT, and ends with 0; with 2 for a wrong flag,
/// with 1 for everything else that keeps it from serving.
///
/// ```no_run
/// # mod osb_sdk { pub use osb_engine::Broker; pub use osb_host::run; }
/// use osb_sdk::Broker;
///
/// fn broker() -> Broker {
///     // … its offerings, with the services behind them …
///     Broker::new("databases")
/// }
///
/// fn main() -> std::process::ExitCode {
///     osb_sdk::run(broker())
/// }
/// ```
pub fn run(broker: Broker) -> ExitCode {
    let command = HostOptions::augment_args(Command::new("broker")).about(format!(
        "Serves the broker `{}`: Open Service Broker API 2.17, with its state in a folder or in a cluster",
        broker.name()
    ));
    let options = command
        .try_get_matches()
        .and_then(|matches| HostOptions::from_arg_matches(&matches));
    match options {
        Ok(options) => serve(broker, &options),
        Err(error) => {
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}

/// As [`run`], with flags that have been read already.
///
/// ```no_run
/// # mod osb_sdk { pub use osb_engine::Broker; pub use osb_host::{HostOptions, serve}; }
/// # fn broker() -> osb_sdk::Broker { osb_sdk::Broker::new("databases") }
/// use osb_sdk::HostOptions;
///
/// fn main() -> std::process::ExitCode {
///     // A program with flags of its own may also flatten `HostOptions` into them: it is a `clap::Args`.
///     let options = HostOptions { listen: ([127, 0, 0, 1], 9000).into(), ..HostOptions::on("/var/lib/databases") };
///     osb_sdk::serve(broker(), &options)
/// }
/// ```
pub fn serve(broker: Broker, options: &HostOptions) -> ExitCode {
    if options.manifests {
        return ended(print_manifests(&broker, options));
    }
    ended(start_and_serve(Host::start(broker, options), options))
}

/// As [`serve`], for a broker that works on the Kubernetes API of its own home: see [`Host::start_with`].
///
/// ```no_run
/// # mod osb_sdk { pub use osb_engine::Broker; pub use osb_host::{HostOptions, serve_with}; }
/// use osb_sdk::{Broker, HostOptions};
///
/// async fn make(client: kube::Client) -> Result<Broker, Box<dyn std::error::Error + Send + Sync>> {
///     // … offerings, with services that keep the client …
///     # let _ = client;
///     Ok(Broker::new("databases"))
/// }
///
/// fn main() -> std::process::ExitCode {
///     let by_roles = |api: &mut apiserver::Options| api.authorization = apiserver::Authorization::Rbac;
///     osb_sdk::serve_with("databases", by_roles, make, &HostOptions::on("/var/lib/databases"))
/// }
/// ```
pub fn serve_with<F, Fut>(
    name: &str,
    configure: impl FnOnce(&mut apiserver::Options),
    make: F,
    options: &HostOptions,
) -> ExitCode
where
    F: FnOnce(kube::Client) -> Fut,
    Fut: Future<Output = Result<Broker, Box<dyn std::error::Error + Send + Sync>>>,
{
    if options.manifests {
        return ended(print_manifests(&Broker::new(name), options));
    }
    ended(start_and_serve(
        Host::start_with(name, configure, make, options),
        options,
    ))
}

fn ended(served: Result<ExitCode, HostError>) -> ExitCode {
    match served {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", explain(&error));
            ExitCode::FAILURE
        }
    }
}

fn print_manifests(broker: &Broker, options: &HostOptions) -> Result<ExitCode, HostError> {
    print!("{}", manifests_yaml(broker, options)?);
    Ok(ExitCode::SUCCESS)
}

fn start_and_serve(
    start: impl Future<Output = Result<Host, HostError>>,
    options: &HostOptions,
) -> Result<ExitCode, HostError> {
    let audit = log::start(options.log_format, options.audit_log.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(HostError::Runtime)?;
    let code = runtime.block_on(Box::pin(serve_until_signalled(start, options, audit)));
    // Whatever is left waits for nothing that matters.
    runtime.shutdown_background();
    code
}

async fn serve_until_signalled(
    start: impl Future<Output = Result<Host, HostError>>,
    options: &HostOptions,
    audit: Option<AuditFile>,
) -> Result<ExitCode, HostError> {
    // Before anything is begun: a signal during the start is not lost.
    let mut signals = Signals::listen().map_err(HostError::Runtime)?;
    let Some(host) = signals.unless(start).await else {
        return Ok(ExitCode::SUCCESS);
    };
    let host = host?;
    print!("{}", welcome(&host, options.data_dir.is_default()));
    let signal = signals
        .next_but_hangups(|| {
            host.reload();
            if let Some(audit) = &audit {
                audit.reopen();
            }
        })
        .await;
    tracing::info!(signal, "stopping; a second signal stops at once");
    match signals.unless(host.stop()).await {
        Some(()) => Ok(ExitCode::SUCCESS),
        None => Ok(ExitCode::from(INTERRUPTED)),
    }
}

/// SIGTERM and SIGINT, and SIGHUP, which ends nothing.
struct Signals {
    hangup: Signal,
    term: Signal,
    int: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }

    /// As [`next`](Self::next); what is to be done on each SIGHUP until then.
    async fn next_but_hangups(&mut self, on_hangup: impl Fn()) -> &'static str {
        loop {
            tokio::select! {
                _ = self.term.recv() => return "SIGTERM",
                _ = self.int.recv() => return "SIGINT",
                _ = self.hangup.recv() => on_hangup(),
            }
        }
    }

    /// What comes of the work; `None` when a signal comes first.
    async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = Box::pin(work) => Some(done),
            _ = self.next() => None,
        }
    }
}

/// How this program was called, if it is `osb`: a person in another shell can call it the same way.
fn client() -> String {
    let own = std::env::args()
        .next()
        .filter(|path| std::path::Path::new(path).ends_with("osb"));
    own.unwrap_or_else(|| "osb".to_owned())
}

/// What a person needs to know next.
fn welcome(host: &Host, default_folder: bool) -> String {
    let (info, folder) = (host.info(), host.data_dir());
    let login = match info.login {
        Login::File => format!("in {}", folder.credentials().display()),
        Login::Environment => "as OSB_USERNAME and OSB_PASSWORD say".to_owned(),
    };
    let key = if host.made_key() {
        format!(
            "\n  new key      {}: seals secrets in the data; keep a copy elsewhere",
            folder.key().display()
        )
    } else {
        String::new()
    };
    let option = if default_folder {
        String::new()
    } else {
        format!(" --data-dir {}", folder.path().display())
    };
    let (kubeconfig, kubectl) = match info.home {
        HomeKind::Embedded | HomeKind::Etcd => {
            let kubeconfig = folder.kubeconfig().display().to_string();
            let kubectl = format!("kubectl --kubeconfig {kubeconfig} get osb");
            (format!("\x20 kubeconfig   {kubeconfig}\n"), kubectl)
        }
        HomeKind::Kubernetes => (
            String::new(),
            format!("kubectl get serviceinstances.{} -n {}", info.group, info.namespace),
        ),
    };
    format!(
        "The broker `{name}` is ready.\n\
         \n\
         \x20 broker       {url}\n\
         \x20 login        {login}\n\
         \x20 kubernetes   {kubernetes}\n\
         {kubeconfig}\
         \x20 data         {data}{key}\n\
         \n\
         In another shell:\n\
         \n\
         \x20 {osb} catalog{option}\n\
         \x20 {osb} provision my-instance{option}\n\
         \x20 {osb} bind my-instance{option}\n\
         \x20 {kubectl}\n\
         \n\
         Ctrl-C stops it; everything is kept.\n",
        osb = client(),
        name = info.broker,
        url = info.url,
        kubernetes = info.kubernetes_url,
        data = folder.path().display(),
    )
}
