//! What the platform itself does with a binding: it sends an application's log to a drain, and the requests of a route
//! through a proxy. The log archive and the proxy are servers that know an instance by the name in its URL, so nothing
//! has to be made there.
//!
//! `LOGS_CLIENT_SECRET=… cargo run -p logs -- --data-dir /tmp/logs` prints
//!
//! ```text
//! The broker `logs` is ready.
//! ```
//!
//! Archive and proxy are at `LOGS_HOST`, default `logs.example.com`. Users read the archive on its dashboard, where they
//! are logged in by the platform, as the OAuth2 client `log-archive` with that secret.

use std::process::ExitCode;

use anyhow::Context as _;
use osb_sdk::{
    Binding, Broker, DashboardClient, Endpoint, Error, NoParameters, Offering, Operation, Plan, Protocol, Requires,
    Result, Service,
};
use serde::{Deserialize, Serialize};

/// The port of syslog over TLS (RFC 5425).
const SYSLOG_TLS: u16 = 6514;

/// All that is stored of an instance of either service.
#[derive(Serialize, Deserialize)]
struct Named {
    name: String,
}

/// Keeps the logs of applications.
struct Archive {
    host: String,
}

impl Service for Archive {
    type Parameters = NoParameters;
    type BindParameters = NoParameters;
    type State = Named;
    type Credentials = NoParameters;

    async fn provision(&self, op: &Operation, _: NoParameters) -> Result<Named> {
        Ok(Named {
            name: op.stable_name("archive"),
        })
    }

    async fn deprovision(&self, _: &Operation, _: Option<Named>) -> Result<()> {
        Ok(())
    }

    async fn bind(&self, _: &Operation, archive: &Named, _: NoParameters) -> Result<Binding<NoParameters>> {
        let Self { host } = self;
        let syslog = Endpoint {
            host: host.clone(),
            ports: vec![SYSLOG_TLS.to_string()],
            protocol: Some(Protocol::Tcp),
        };
        let drain = format!("syslog-tls://{host}:{SYSLOG_TLS}/?archive={}", archive.name);
        Ok(Binding::new(NoParameters {})
            .syslog_drain_url(drain)
            .endpoints(vec![syslog]))
    }

    async fn unbind(&self, _: &Operation, _: &Named, _: Option<NoParameters>) -> Result<()> {
        Ok(())
    }

    fn dashboard_url(&self, op: &Operation) -> Option<String> {
        Some(format!("https://{}/archives/{}", self.host, op.stable_name("archive")))
    }
}

/// Writes down each request of a route, and lets it pass.
struct AccessLog {
    host: String,
}

impl Service for AccessLog {
    type Parameters = NoParameters;
    type BindParameters = NoParameters;
    type State = Named;
    type Credentials = NoParameters;

    async fn provision(&self, op: &Operation, _: NoParameters) -> Result<Named> {
        Ok(Named {
            name: op.stable_name("proxy"),
        })
    }

    async fn deprovision(&self, _: &Operation, _: Option<Named>) -> Result<()> {
        Ok(())
    }

    async fn bind(&self, op: &Operation, proxy: &Named, _: NoParameters) -> Result<Binding<NoParameters>> {
        if op
            .bind_resource()
            .and_then(|resource| resource.route.as_ref())
            .is_none()
        {
            return Err(Error::failed("Bind it to a route, not to an application."));
        }
        let proxy = format!("https://{}/through/{}", self.host, proxy.name);
        Ok(Binding::new(NoParameters {}).route_service_url(proxy))
    }

    async fn unbind(&self, _: &Operation, _: &Named, _: Option<NoParameters>) -> Result<()> {
        Ok(())
    }
}

fn broker(host: &str, client_secret: &str) -> Broker {
    let archive = Offering::new(
        "6f1b7c55-3a0c-4b52-8a8e-5d2c9e7f4a01",
        "log-archive",
        "Keeps the logs of applications",
    )
    .bindable(true)
    .requires(Requires::SyslogDrain)
    .dashboard_client(DashboardClient {
        id: "log-archive".to_owned(),
        secret: client_secret.to_owned(),
        redirect_uri: Some(format!("https://{host}/login")),
    })
    .plan(Plan::new(
        "6f1b7c55-3a0c-4b52-8a8e-5d2c9e7f4a02",
        "month",
        "For a month",
    ));
    let access_log = Offering::new(
        "6f1b7c55-3a0c-4b52-8a8e-5d2c9e7f4a03",
        "access-log",
        "Keeps the requests of routes",
    )
    .bindable(true)
    .requires(Requires::RouteForwarding)
    .plan(Plan::new("6f1b7c55-3a0c-4b52-8a8e-5d2c9e7f4a04", "day", "For a day"));
    Broker::new("logs")
        .service(archive, Archive { host: host.to_owned() })
        .service(access_log, AccessLog { host: host.to_owned() })
}

fn main() -> anyhow::Result<ExitCode> {
    let host = std::env::var("LOGS_HOST").unwrap_or_else(|_| "logs.example.com".to_owned());
    let secret =
        std::env::var("LOGS_CLIENT_SECRET").context("set LOGS_CLIENT_SECRET to a secret of the dashboard's client")?;
    Ok(osb_sdk::run(broker(&host, &secret)))
}

#[cfg(test)]
mod tests;
