//! Which broker is meant, and with which login.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use osb_client::{Client, Options, PlainHttp, Trust};
use osb_host::{Credentials, DataDir, DataDirOption, Login, ServerInfo};

use crate::Usage;
use crate::output::Format;

/// The options of every client verb.
#[derive(clap::Args)]
pub(crate) struct Connect {
    #[command(flatten)]
    pub(crate) data_dir: DataDirOption,

    /// The broker's URL, when it is not the one on this machine's data folder
    #[arg(long, value_name = "URL", env = "OSB_URL")]
    pub(crate) url: Option<String>,

    /// The user, for --url [default: $OSB_USERNAME]
    #[arg(long, value_name = "NAME")]
    pub(crate) username: Option<String>,

    /// The file with the password, for --url [default: $OSB_PASSWORD]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,

    /// The authorities whose certificates count, PEM, instead of the system's
    #[arg(long, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,

    /// Sends the password to other machines also without TLS
    #[arg(long)]
    pub(crate) insecure_plaintext: bool,

    /// The form of what is printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Format,
}

/// The broker to talk to.
pub(crate) struct Broker {
    pub(crate) client: Client,
    /// Its data folder and what it has written there, when it is the one on this machine.
    pub(crate) local: Option<(DataDir, ServerInfo)>,
}

impl Connect {
    pub(crate) fn broker(&self) -> Result<Broker> {
        self.broker_at(self.url.as_deref())
    }

    /// The broker of that URL, with this login; without one the broker on this machine.
    pub(crate) fn broker_at(&self, url: Option<&str>) -> Result<Broker> {
        let (options, local) = self.options_at(url)?;
        Ok(Broker {
            client: Client::new(&options)?,
            local,
        })
    }

    /// As [`Connect::broker_at`]: how to reach that broker.
    pub(crate) fn options_at(&self, url: Option<&str>) -> Result<(Options, Option<(DataDir, ServerInfo)>)> {
        let local = if url.is_some() { None } else { Some(self.local()?) };
        let url = match (url, &local) {
            (Some(url), _) => url.to_owned(),
            (None, Some((_, info))) => info.url.clone(),
            (None, None) => return Err(Usage("no broker is named".to_owned()).into()),
        };
        let login = self.login(local.as_ref())?;
        let mut options = Options::new(url, login.username, login.password);
        if let Some(path) = &self.ca_file {
            let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            options.trust = Trust::Authorities(pem);
        }
        if self.insecure_plaintext {
            options.plain_http = PlainHttp::Everywhere;
        }
        Ok((options, local))
    }

    /// The broker on the data folder.
    pub(crate) fn local(&self) -> Result<(DataDir, ServerInfo)> {
        let folder = self.data_dir.resolve()?;
        match ServerInfo::read(&folder)? {
            Some(info) => Ok((folder, info)),
            None => {
                let text = "no broker runs on the data folder {}: start one with `osb serve reference`, \
                            name another folder with --data-dir, or a broker with --url";
                anyhow::bail!(text.replace("{}", &folder.path().display().to_string()))
            }
        }
    }

    fn login(&self, local: Option<&(DataDir, ServerInfo)>) -> Result<Credentials> {
        let environment = Credentials::from_environment();
        let found = match local {
            Some((folder, ServerInfo { login: Login::File, .. })) => Credentials::read(folder)?,
            _ => environment,
        };
        let username = self
            .username
            .clone()
            .or_else(|| found.as_ref().map(|found| found.username.clone()));
        let password = match &self.password_file {
            Some(path) => {
                let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
                Some(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            None => found
                .map(|found| found.password)
                .or_else(|| std::env::var("OSB_PASSWORD").ok()),
        };
        let (Some(username), Some(password)) = (username, password) else {
            let text = "no login: set OSB_USERNAME and OSB_PASSWORD, or give --username and --password-file";
            return Err(Usage(text.to_owned()).into());
        };
        Ok(Credentials {
            username,
            password,
            platform: osb_host::DEFAULT_PLATFORM.to_owned(),
        })
    }
}
