//! `osb simulate`: the platforms, aimed at a broker.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::ValueEnum;
use osb_host::{DataDirOption, ServerInfo};
use osb_simulate::{Clock, Http, Options, Platform, RealClock, Report, Simulation, VirtualClock};

use crate::Usage;
use crate::connect::Connect;
use crate::verbs::parameters;

/// With a clock that jumps, nothing that a broker does right takes longer.
const VIRTUAL_LIMIT: Duration = Duration::from_secs(300);
/// In real time a platform that polls once a minute has its time.
const REAL_LIMIT: Duration = Duration::from_secs(3600);

#[derive(clap::Args)]
pub(crate) struct SimulateArgs {
    /// The broker [default: the one on this machine's data folder]
    #[arg(env = "OSB_URL")]
    url: Option<String>,

    /// Which platform; can be given more than once [default: all]
    #[arg(long, value_enum, value_name = "PLATFORM")]
    platform: Vec<PlatformName>,

    /// The plan to play with, by name or id; can be given more than once [default: the first that can be bound]
    #[arg(long, value_name = "NAME")]
    plan: Vec<String>,

    /// Only these scenarios, by name
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,

    /// The parameters of each provision: a JSON object, @FILE, or - for stdin
    #[arg(long, value_name = "JSON")]
    parameters: Option<String>,

    /// The parameters of each bind: a JSON object, @FILE, or - for stdin
    #[arg(long, value_name = "JSON")]
    bind_parameters: Option<String>,

    /// Parameters with which a provision fails; without them that scenario is left out
    #[arg(long, value_name = "JSON")]
    failing_parameters: Option<String>,

    /// Takes as long as the platforms take, instead of jumping over their pauses; what takes days is left out then
    #[arg(long)]
    real_time: bool,

    /// How long a pause that is jumped over takes at most, in milliseconds: the broker's own time to work
    #[arg(
        long,
        value_name = "MILLISECONDS",
        default_value_t = 50,
        conflicts_with = "real_time"
    )]
    pace: u64,

    /// How long the broker may take to finish what no platform waits for, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    settle: u64,

    #[command(flatten)]
    data_dir: DataDirOption,

    /// The user [default: $OSB_USERNAME, or the data folder's]
    #[arg(long, value_name = "NAME")]
    username: Option<String>,

    /// The file with the password [default: $OSB_PASSWORD, or the data folder's]
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// The authorities whose certificates count, PEM, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Sends the password to other machines also without TLS
    #[arg(long)]
    insecure_plaintext: bool,

    /// The form of what is printed
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

/// A platform, on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PlatformName {
    /// Cloud Foundry's Cloud Controller
    Cf,
    /// Korifi, Cloud Foundry on Kubernetes
    Korifi,
    /// Kubernetes Service Catalog
    Servicecatalog,
    /// SAP Service Manager
    Sm,
    /// IBM Cloud
    Ibm,
}

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: one JSON document, an array with an object for each platform
    Json,
}

/// Fails when a scenario of a platform does.
pub(crate) async fn simulate(args: SimulateArgs) -> Result<()> {
    let options = args.options()?;
    let transport = args.transport()?;
    let reports = if args.real_time {
        args.reports(Simulation::new(transport, RealClock::new(), options))
            .await?
    } else {
        let clock = VirtualClock::paced(Duration::from_millis(args.pace));
        args.reports(Simulation::new(transport, clock, options)).await?
    };
    let failed: usize = reports.iter().map(|report| report.failures().count()).sum();
    if failed > 0 {
        let played: usize = reports.iter().map(|report| report.scenarios.len()).sum();
        bail!("{failed} of {played} scenarios failed");
    }
    Ok(())
}

impl SimulateArgs {
    fn options(&self) -> Result<Options> {
        let known: Vec<&str> = Simulation::<Http, RealClock>::scenarios().collect();
        if let Some(name) = self.only.iter().find(|name| !known.contains(&name.as_str())) {
            return Err(Usage(format!("there is no scenario {name}; there are {}", known.join(", "))).into());
        }
        let object = |text: &Option<String>| text.as_deref().map(parameters).transpose();
        Ok(Options {
            plans: self.plan.clone(),
            scenarios: self.only.clone(),
            parameters: object(&self.parameters)?.unwrap_or_default(),
            bind_parameters: object(&self.bind_parameters)?.unwrap_or_default(),
            failing_parameters: object(&self.failing_parameters)?,
            limit: if self.real_time { REAL_LIMIT } else { VIRTUAL_LIMIT },
            settle: Duration::from_secs(self.settle),
        })
    }

    fn transport(&self) -> Result<Http> {
        let connect = Connect {
            data_dir: self.data_dir.clone(),
            url: None,
            username: self.username.clone(),
            password_file: self.password_file.clone(),
            ca_file: self.ca_file.clone(),
            insecure_plaintext: self.insecure_plaintext,
            output: crate::output::Format::Text,
        };
        let url = self.url.as_deref().filter(|url| !self.is_local(url));
        let (options, _) = connect.options_at(url)?;
        Ok(Http::new(&options)?)
    }

    /// Whether this is the broker on the data folder: then its login is there, too.
    fn is_local(&self, url: &str) -> bool {
        let info = self.data_dir.resolve().and_then(|folder| ServerInfo::read(&folder));
        info.is_ok_and(|info| info.is_some_and(|info| info.url.trim_end_matches('/') == url.trim_end_matches('/')))
    }

    /// Plays one platform after the other and prints what was found, a table as soon as it is there.
    async fn reports<C: Clock>(&self, simulation: Simulation<Http, C>) -> Result<Vec<Report>> {
        let mut reports = Vec::new();
        for platform in self.platforms() {
            let report = Box::pin(simulation.run(platform)).await;
            if self.format == Format::Table {
                print(&report.to_string())?;
            }
            reports.push(report);
        }
        if self.format == Format::Json {
            print(&(serde_json::to_string_pretty(&reports)? + "\n"))?;
        }
        Ok(reports)
    }

    fn platforms(&self) -> Vec<Platform> {
        if self.platform.is_empty() {
            return Platform::ALL.to_vec();
        }
        self.platform.iter().map(|name| name.platform()).collect()
    }
}

impl PlatformName {
    fn platform(self) -> Platform {
        match self {
            Self::Cf => Platform::CloudFoundry,
            Self::Korifi => Platform::Korifi,
            Self::Servicecatalog => Platform::ServiceCatalog,
            Self::Sm => Platform::ServiceManager,
            Self::Ibm => Platform::Ibm,
        }
    }
}

fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        // The reader has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
