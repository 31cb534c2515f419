//! The log: to stderr, one line per event.

use tracing_subscriber::EnvFilter;

use crate::error::HostError;
use crate::options::LogFormat;

/// The client of Kubernetes warns with whole bodies when it cannot read them; the store's tables tell of each file.
const DEFAULT_FILTER: &str = "info,kube_client=error,lsm_tree=warn";

/// Starts logging in this process. A program that has a log of its own keeps it.
pub(crate) fn start(format: LogFormat) -> Result<(), HostError> {
    let filter = match std::env::var("OSB_LOG") {
        Ok(text) if !text.is_empty() => format!("kube_client=error,{text}"),
        _ => DEFAULT_FILTER.to_owned(),
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| HostError::LogFilter(error.to_string()))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let _ = match format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    log_panics();
    Ok(())
}

/// A panic of the author's code is caught; its message may quote anything, so only the place is logged.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a function panicked");
    }));
}
