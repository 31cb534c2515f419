//! `osb apiserver`: a Kubernetes API without a broker.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use apiserver_host::{Keep, Server, ServerOptions};
use osb_host::LogFormat;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Killed by the second signal: what shells show for SIGINT.
const INTERRUPTED: u8 = 130;

#[derive(clap::Args)]
pub(crate) struct ApiServerArgs {
    /// Where it listens, as IP:PORT, always with TLS; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    kube_listen: SocketAddr,

    /// The folder of the kubeconfig and of the objects
    /// [default: $XDG_DATA_HOME/osb-apiserver, else ~/.local/share/osb-apiserver]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,

    /// Keeps the objects in memory: they end with the process
    #[arg(long)]
    ephemeral: bool,
}

/// Serves until SIGTERM or SIGINT: 0, or 1 when it cannot.
pub(crate) fn serve(args: ApiServerArgs) -> ExitCode {
    match try_serve(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", osb_host::explain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn try_serve(args: ApiServerArgs) -> Result<ExitCode> {
    osb_host::start_log(LogFormat::Text)?;
    let options = args.options()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.context("the program cannot start its threads")?;
    let code = runtime.block_on(Box::pin(until_signalled(&options)));
    runtime.shutdown_background();
    code
}

impl ApiServerArgs {
    fn options(self) -> Result<ServerOptions> {
        let folder = self
            .data_dir
            .or_else(default_folder)
            .context("there is no folder for data: neither XDG_DATA_HOME nor HOME is set; name one with --data-dir")?;
        Ok(ServerOptions {
            listen: self.kube_listen,
            data_dir: std::path::absolute(&folder).unwrap_or(folder),
            keep: if self.ephemeral { Keep::InMemory } else { Keep::OnDisk },
        })
    }
}

fn default_folder() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")))?;
    Some(data.join("osb-apiserver"))
}

async fn until_signalled(options: &ServerOptions) -> Result<ExitCode> {
    // Before anything is begun: a signal during the start is not lost.
    let mut signals = [SignalKind::terminate(), SignalKind::interrupt()].map(signal);
    let [Ok(term), Ok(int)] = &mut signals else {
        anyhow::bail!("the system gives no signals");
    };
    let server = tokio::select! {
        server = Server::start(options) => server?,
        () = either(term, int) => return Ok(ExitCode::SUCCESS),
    };
    print!("{}", welcome(&server, options));
    either(term, int).await;
    eprintln!("stopping; a second signal stops at once");
    tokio::select! {
        () = server.stop() => Ok(ExitCode::SUCCESS),
        () = either(term, int) => Ok(ExitCode::from(INTERRUPTED)),
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// What a person needs to know next.
fn welcome(server: &Server, options: &ServerOptions) -> String {
    let (data, end) = match options.keep {
        Keep::OnDisk => (options.data_dir.display().to_string(), "everything is kept"),
        Keep::InMemory => ("in memory".to_owned(), "the objects are gone then"),
    };
    format!(
        "A Kubernetes API is ready. Objects are stored, checked and watched; nothing runs.\n\
         \n\
         \x20 kubernetes   {url}\n\
         \x20 kubeconfig   {kubeconfig}\n\
         \x20 data         {data}\n\
         \n\
         In another shell:\n\
         \n\
         \x20 export KUBECONFIG={kubeconfig}\n\
         \x20 kubectl api-resources\n\
         \x20 kubectl create configmap greeting --from-literal=text=hello\n\
         \x20 kubectl get configmaps --watch\n\
         \n\
         Ctrl-C stops it; {end}.\n",
        url = server.url(),
        kubeconfig = server.kubeconfig().display(),
    )
}
