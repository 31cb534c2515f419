//! The flags of a broker's process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::data_dir::DataDirOption;
use crate::home::HomeOptions;

/// The flags that every broker has.
///
/// ```
/// # use osb_host as osb_sdk;
/// use std::time::Duration;
/// use osb_sdk::{HostOptions, LogFormat};
///
/// let options = HostOptions {
///     log_format: LogFormat::Json,
///     drain_timeout: Duration::from_secs(5),
///     ..HostOptions::on("/var/lib/databases")
/// };
/// assert!(options.listen.ip().is_loopback() && options.tls_cert.is_none());
/// ```
#[derive(Clone, Debug, clap::Args)]
pub struct HostOptions {
    /// Where the broker listens, as IP:PORT; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080", env = "OSB_LISTEN", value_parser = address)]
    pub listen: SocketAddr,

    /// Where the Kubernetes API listens, as IP:PORT, always with TLS; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443", env = "OSB_KUBE_LISTEN", value_parser = address)]
    pub kube_listen: SocketAddr,

    /// Where everything is kept.
    #[command(flatten)]
    pub data_dir: DataDirOption,

    /// Where the state lives.
    #[command(flatten)]
    pub home: HomeOptions,

    /// Prints what a cluster needs for --home kubernetes, for `kubectl apply -f -`, and ends
    #[arg(long)]
    pub manifests: bool,

    /// The certificate chain of the broker, PEM
    #[arg(long, value_name = "FILE", env = "OSB_TLS_CERT", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of that certificate, PEM
    #[arg(long, value_name = "FILE", env = "OSB_TLS_KEY", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Who may call: users, bearer tokens, issuers of tokens (OIDC), client certificates; YAML or JSON. It is read again
    /// when it changes, as the certificate and its key are, and on SIGHUP
    #[arg(long, value_name = "FILE", env = "OSB_AUTH_FILE")]
    pub auth_file: Option<PathBuf>,

    /// Also writes the audit to that file, a JSON object for each request that changes something; opened anew on SIGHUP
    #[arg(long, value_name = "FILE", env = "OSB_AUDIT_LOG")]
    pub audit_log: Option<PathBuf>,

    /// Lets the broker listen beyond this machine without TLS: passwords then go over the wire in the clear
    #[arg(long, env = "OSB_INSECURE_PLAINTEXT")]
    pub insecure_plaintext: bool,

    /// The file with the keys that seal secrets, one of 64 hexadecimal digits per line; the first one seals
    /// [default: the file `key` in the data folder, made at the first start]
    #[arg(long, value_name = "FILE", env = "OSB_KEY_FILE")]
    pub key_file: Option<PathBuf>,

    /// The most connections of each listener; above that the one that is idle for longest is closed
    #[arg(long, value_name = "NUMBER", default_value_t = 1024, env = "OSB_MAX_CONNECTIONS")]
    pub max_connections: usize,

    /// So long a client may take for the head of a request, in seconds, and a connection may be idle; then it is closed
    #[arg(long, value_name = "SECONDS", default_value = "30", env = "OSB_HEAD_TIMEOUT", value_parser = limit)]
    pub head_timeout: Duration,

    /// So long a client of the broker may take for the body of a request, in seconds; then it gets a 408
    #[arg(long, value_name = "SECONDS", default_value = "10", env = "OSB_BODY_TIMEOUT", value_parser = limit)]
    pub body_timeout: Duration,

    /// Takes provisions without organization_guid and space_guid, which the specification demands and some platforms
    /// leave out, IBM Cloud for one
    #[arg(long, env = "OSB_ORGANIZATION_OPTIONAL")]
    pub organization_optional: bool,

    /// So long the broker goes on, in seconds, between saying on /readyz that it stops and accepting nothing more
    #[arg(long, value_name = "SECONDS", default_value = "0", env = "OSB_DRAIN_DELAY", value_parser = seconds)]
    pub drain_delay: Duration,

    /// So long requests may take to end, in seconds, when the broker stops
    #[arg(long, value_name = "SECONDS", default_value = "20", env = "OSB_DRAIN_TIMEOUT", value_parser = seconds)]
    pub drain_timeout: Duration,

    /// The form of the log on stderr; OSB_LOG filters it, as in `OSB_LOG=debug`
    #[arg(long, value_enum, default_value_t, env = "OSB_LOG_FORMAT")]
    pub log_format: LogFormat,
}

/// The form of the log.
///
/// ```
/// # use osb_host as osb_sdk;
/// assert_eq!(osb_sdk::LogFormat::default(), osb_sdk::LogFormat::Text);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object per line.
    Json,
}

impl HostOptions {
    /// The defaults on a data folder, on free ports of the loopback interface: for tests and for brokers in a larger
    /// program.
    pub fn on(data_dir: impl Into<PathBuf>) -> Self {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            listen: loopback,
            kube_listen: loopback,
            data_dir: DataDirOption {
                data_dir: Some(data_dir.into()),
            },
            home: HomeOptions::default(),
            manifests: false,
            tls_cert: None,
            tls_key: None,
            auth_file: None,
            audit_log: None,
            insecure_plaintext: false,
            key_file: None,
            max_connections: 1024,
            head_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(10),
            organization_optional: false,
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(20),
            log_format: LogFormat::Text,
        }
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected IP:PORT, such as 127.0.0.1:8080 or [::]:8080".to_owned())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let secs: u32 = text
        .parse()
        .map_err(|_| "expected a number of seconds, such as 20".to_owned())?;
    Ok(Duration::from_secs(secs.into()))
}

/// Seconds, but not none: nobody could send anything in time.
fn limit(text: &str) -> Result<Duration, String> {
    match seconds(text)? {
        Duration::ZERO => Err("expected at least 1 second".to_owned()),
        limit => Ok(limit),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;

    fn parse(args: &[&str]) -> Result<HostOptions, clap::Error> {
        let command = HostOptions::augment_args(Command::new("broker"));
        HostOptions::from_arg_matches(&command.try_get_matches_from(std::iter::once(&"broker").chain(args))?)
    }

    #[test]
    fn a_wrong_flag_says_what_is_expected() {
        for (args, expected) in [
            (&["--listen", "localhost"][..], "expected IP:PORT"),
            (&["--kube-listen", "8443"], "expected IP:PORT"),
            (&["--drain-timeout", "soon"], "number of seconds"),
            (&["--head-timeout", "0"], "at least 1 second"),
            (&["--body-timeout", "soon"], "number of seconds"),
            (&["--tls-cert", "x.pem"], "--tls-key"),
            (&["--log-format", "xml"], "possible values: text, json"),
            (&["--listne", "x"], "--listen"),
        ] {
            let error = parse(args).unwrap_err().to_string();
            assert!(error.contains(expected), "{args:?}: {error}");
        }
    }

    #[test]
    fn the_defaults_stay_on_this_machine() {
        let options = parse(&[]).unwrap();
        assert!(options.listen.ip().is_loopback() && options.kube_listen.ip().is_loopback());
        assert!(!options.insecure_plaintext);
    }
}
