//! The log: to stderr, one line per event. And the audit's own file.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use osb_server::AUDIT;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{EnvFilter, LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::error::HostError;
use crate::options::LogFormat;

/// The client of Kubernetes warns with whole bodies when it cannot read them; the store's tables tell of each file.
const DEFAULT_FILTER: &str = "info,kube_client=error,lsm_tree=warn";

/// Starts the log of a process that serves no broker: on stderr, filtered by `OSB_LOG`. A program that has a log of its
/// own keeps it.
///
/// # Errors
/// [`HostError::LogFilter`].
pub fn start_log(format: LogFormat) -> Result<(), HostError> {
    start(format, None).map(drop)
}

/// Starts logging in this process. A program that has a log of its own keeps it. The answer is the audit's file, if one
/// is named.
pub(crate) fn start(format: LogFormat, audit: Option<&Path>) -> Result<Option<AuditFile>, HostError> {
    let filter = match std::env::var("OSB_LOG") {
        Ok(text) if !text.is_empty() => format!("kube_client=error,{text}"),
        _ => DEFAULT_FILTER.to_owned(),
    };
    let filter = EnvFilter::try_new(&filter).map_err(|error| HostError::LogFilter(error.to_string()))?;
    let audit = audit.map(AuditFile::open).transpose()?;
    let stderr = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    let stderr = match format {
        LogFormat::Text => stderr.with_ansi(false).boxed(),
        LogFormat::Json => stderr.json().flatten_event(true).boxed(),
    };
    let registry = tracing_subscriber::registry();
    let _ = match audit.clone() {
        // One filter for everything: what it does not let through costs nothing.
        None => registry.with(stderr.and_then(filter)).try_init(),
        Some(file) => registry
            .with(stderr.with_filter(filter))
            .with(audit_layer(file))
            .try_init(),
    };
    log_panics();
    Ok(audit)
}

/// A panic of the author's code is caught; its message may quote anything, so only the place is logged.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a function panicked");
    }));
}

/// Writes the lines of the audit, whatever the filter of the log lets through.
fn audit_layer<S>(file: AuditFile) -> impl Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(file)
        .with_filter(Targets::new().with_target(AUDIT, LevelFilter::INFO))
}

/// The file of the audit: lines are added to what is there. Each line is written at once, whole.
#[derive(Clone)]
pub(crate) struct AuditFile {
    path: Arc<PathBuf>,
    file: Arc<Mutex<File>>,
}

impl AuditFile {
    /// Opens the file, or makes it, for its owner alone.
    pub(crate) fn open(path: &Path) -> Result<Self, HostError> {
        let file = append(path).map_err(|source| HostError::file("open", path, source))?;
        Ok(Self {
            path: Arc::new(path.to_owned()),
            file: Arc::new(Mutex::new(file)),
        })
    }

    /// Goes on in the file that has the name now: the old one may have been moved away.
    pub(crate) fn reopen(&self) {
        match append(&self.path) {
            Ok(file) => *self.lock() = file,
            Err(error) => tracing::error!(path = %self.path.display(), %error, "the audit goes on in its old file"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

impl Write for AuditFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for AuditFile {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use tracing_subscriber::Registry;

    use super::*;

    #[test]
    fn the_audit_has_a_file_of_its_own_that_can_be_moved_away() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("audit"), folder.path().join("audit.1"));
        fs::write(&path, "before\n").unwrap();
        let file = AuditFile::open(&path).unwrap();
        let subscriber = Registry::default().with(audit_layer(file.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: AUDIT, verb = "bind", "call");
            tracing::info!("canary: something else");
            fs::rename(&path, &old).unwrap();
            file.reopen();
            tracing::warn!(target: AUDIT, verb = "unbind", "call");
        });
        let (old, new) = (fs::read_to_string(old).unwrap(), fs::read_to_string(&path).unwrap());
        let (first, line) = old.split_once('\n').unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (first, &line["target"], &line["verb"]),
            ("before", &AUDIT.into(), &"bind".into())
        );
        let line: serde_json::Value = serde_json::from_str(&new).unwrap();
        assert_eq!((&line["verb"], line["timestamp"].is_string()), (&"unbind".into(), true));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
