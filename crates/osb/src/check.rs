//! `osb check`: is a broker what the specification asks for?

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use osb_conformance::{Level, Login, Options, Report, Restart, SetupError};
use osb_host::{Credentials, DataDirOption, ServerInfo};

use crate::Usage;
use crate::progress::Progress;
use crate::verbs::parameters;

#[derive(clap::Args)]
pub(crate) struct CheckArgs {
    /// The broker [default: the one on this machine's data folder]
    #[arg(env = "OSB_URL")]
    url: Option<String>,

    #[command(flatten)]
    data_dir: DataDirOption,

    #[command(flatten)]
    login: LoginArgs,

    /// The authorities whose certificates count, PEM, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Sends the login to other machines also without TLS
    #[arg(long)]
    insecure_plaintext: bool,

    /// What is sent as X-Broker-API-Version
    #[arg(long, value_name = "VERSION", default_value = "2.17")]
    api_version: String,

    #[command(flatten)]
    choice: ChoiceArgs,

    /// Only these requirements, as OSB-PROV-09,OSB-PROV-10
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    only: Vec<String>,

    /// Not these requirements
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    skip: Vec<String>,

    /// How long one request may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u32,

    /// How long one operation may take, in seconds, polls included
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    operation_timeout: u32,

    /// A shell command that kills the broker and starts it again; without it crashes are not checked. The broker must not
    /// hold on to this command's output
    #[arg(long, value_name = "COMMAND")]
    restart: Option<String>,

    /// The form of what is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

/// How requests are authenticated; without any of these, as the other verbs do it.
#[derive(clap::Args)]
struct LoginArgs {
    /// The user [default: $OSB_USERNAME, or the data folder's]
    #[arg(long, value_name = "NAME", requires = "password")]
    username: Option<String>,

    /// The password; better in $OSB_PASSWORD, where other users of this machine do not see it
    #[arg(long, value_name = "TEXT", requires = "username")]
    password: Option<String>,

    /// A bearer token instead
    #[arg(long, value_name = "TEXT", env = "OSB_TOKEN", hide_env_values = true)]
    token: Option<String>,

    /// No login at all
    #[arg(long, conflicts_with = "username")]
    anonymous: bool,
}

/// What to work with.
#[derive(clap::Args)]
struct ChoiceArgs {
    /// Only this offering, by name or id
    #[arg(long, value_name = "NAME")]
    service: Option<String>,

    /// Only this plan, by name or id [default: the first twelve]
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,

    /// The parameters of each provision: a JSON object, @FILE, or - for stdin
    #[arg(long, value_name = "JSON")]
    parameters: Option<String>,

    /// Parameters with which a provision fails; without them failures are not checked
    #[arg(long, value_name = "JSON")]
    failing_parameters: Option<String>,

    /// The parameters of each bind: a JSON object, @FILE, or - for stdin
    #[arg(long, value_name = "JSON")]
    bind_parameters: Option<String>,
}

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: one JSON document
    Json,
    /// For CI: JUnit's XML
    Junit,
}

/// Fails when a MUST is broken; what only SHOULD be is a warning in the report.
pub(crate) async fn check(args: CheckArgs) -> Result<()> {
    let options = args.options()?;
    let progress = Progress::start(format!("checking {}", options.url));
    let report = Box::pin(osb_conformance::run(&options)).await;
    drop(progress);
    let report = report.map_err(|error| match error {
        SetupError::Unreachable(_) => anyhow::Error::from(error),
        usage => Usage(usage.to_string()).into(),
    })?;
    print(&args.format.of(&report)?)?;
    let failed = report.failed(Level::Must).count();
    if failed > 0 {
        bail!("the broker breaks {failed} of the requirements that it must hold");
    }
    Ok(())
}

impl CheckArgs {
    fn options(&self) -> Result<Options> {
        let (url, login) = self.broker()?;
        let authorities = self
            .ca_file
            .as_ref()
            .map(|path| std::fs::read(path).with_context(|| format!("cannot read {}", path.display())));
        Ok(Options {
            authorities: authorities.transpose()?,
            insecure_plaintext: self.insecure_plaintext,
            api_version: self.api_version.clone(),
            service: self.choice.service.clone(),
            plan: self.choice.plan.clone(),
            parameters: self.choice.parameters.as_deref().map(parameters).transpose()?,
            failing_parameters: self.choice.failing_parameters.as_deref().map(parameters).transpose()?,
            bind_parameters: self.choice.bind_parameters.as_deref().map(parameters).transpose()?,
            only: self.only.iter().cloned().collect(),
            skip: self.skip.iter().cloned().collect(),
            timeout: Duration::from_secs(self.timeout.into()),
            operation_timeout: Duration::from_secs(self.operation_timeout.into()),
            restart: self.restart.clone().map(restart),
            ..Options::new(url, login)
        })
    }

    /// The URL and the login: as given, else of the broker on the data folder.
    fn broker(&self) -> Result<(String, Login)> {
        let given = self.login.given();
        if let (Some(url), Some(login)) = (&self.url, &given) {
            return Ok((url.clone(), login.clone()));
        }
        let folder = self.data_dir.resolve()?;
        let local = ServerInfo::read(&folder)?;
        let url = match (&self.url, &local) {
            (Some(url), _) => url.clone(),
            (None, Some(info)) => info.url.clone(),
            (None, None) => {
                let text = "no broker is named, and none runs on the data folder: give its URL, or --data-dir";
                return Err(Usage(text.to_owned()).into());
            }
        };
        // The login of one broker is not sent to another.
        let is_local = local.is_some_and(|info| info.url.trim_end_matches('/') == url.trim_end_matches('/'));
        let of_folder = if is_local { Credentials::read(&folder)? } else { None };
        let login = given.or_else(|| of_folder.or_else(Credentials::from_environment).map(basic));
        let text = "no login: give --username and --password, or --token, or --anonymous, or set OSB_USERNAME and \
                    OSB_PASSWORD";
        Ok((url, login.ok_or_else(|| Usage(text.to_owned()))?))
    }
}

impl LoginArgs {
    fn given(&self) -> Option<Login> {
        match (&self.username, &self.password, &self.token) {
            (Some(username), Some(password), _) => Some(Login::Basic {
                username: username.clone(),
                password: password.clone(),
            }),
            _ if self.anonymous => Some(Login::None),
            (_, _, Some(token)) => Some(Login::Bearer(token.clone())),
            _ => None,
        }
    }
}

fn basic(found: Credentials) -> Login {
    Login::Basic {
        username: found.username,
        password: found.password,
    }
}

/// Runs the command in a shell, away from the runtime's thread.
fn restart(command: String) -> Restart {
    Arc::new(move || {
        let command = command.clone();
        Box::pin(async move {
            let run = move || {
                Command::new("sh")
                    .args(["-c", &command])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .status()
            };
            match tokio::task::spawn_blocking(run).await {
                Ok(Ok(status)) if status.success() => Ok(()),
                Ok(Ok(status)) => Err(format!("the command that restarts the broker ended with {status}")),
                Ok(Err(error)) => Err(format!("the command that restarts the broker cannot be run: {error}")),
                Err(error) => Err(format!("the command that restarts the broker: {error}")),
            }
        })
    })
}

impl Format {
    fn of(self, report: &Report) -> Result<String> {
        Ok(match self {
            Self::Table => report.table(),
            Self::Json => serde_json::to_string_pretty(&report.json())? + "\n",
            Self::Junit => report.junit(),
        })
    }
}

fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
