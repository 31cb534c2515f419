//! `osb`: serves a broker, and talks to any.

mod admin;
mod apiserver;
mod check;
mod connect;
mod fsck;
mod image;
mod lint;
mod moving;
mod new;
mod output;
mod progress;
mod resources;
mod simulate;
mod template;
mod templates;
mod verbs;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use osb_host::HostOptions;

use crate::admin::AdminCommand;
use crate::apiserver::ApiServerArgs;
use crate::check::CheckArgs;
use crate::fsck::FsckArgs;
use crate::image::ImageArgs;
use crate::lint::LintArgs;
use crate::moving::{BackupArgs, RestoreArgs};
use crate::new::NewArgs;
use crate::simulate::SimulateArgs;
use crate::template::TemplateCommand;
use crate::templates::TemplatesArgs;
use crate::verbs::{BindArgs, CatalogArgs, DeprovisionArgs, InstancesArgs, ProvisionArgs, UnbindArgs, UpdateArgs};

/// Open Service Broker: serves a broker, and talks to any.
///
/// The client verbs find the broker that `osb serve` runs on this machine through the data folder that both share;
/// --url leads to another one.
#[derive(Parser)]
#[command(name = "osb", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a broker
    #[command(subcommand)]
    Serve(Served),
    /// Make a broker of your own: a crate with a service, tests, and the platforms that are tried on it
    New(NewArgs),
    /// Make a container image of a broker's program
    Image(ImageArgs),
    /// Serve a Kubernetes API without a broker: kubectl and controllers find one, and nothing runs
    Apiserver(ApiServerArgs),
    /// Show what the broker offers
    Catalog(CatalogArgs),
    /// Make a service instance
    Provision(ProvisionArgs),
    /// Change a service instance: its plan, its parameters, its maintenance version
    Update(UpdateArgs),
    /// Make a binding: credentials for an application
    Bind(BindArgs),
    /// Remove a binding: its credentials stop working
    Unbind(UnbindArgs),
    /// Remove a service instance
    Deprovision(DeprovisionArgs),
    /// List the instances of the broker on this machine
    Instances(InstancesArgs),
    /// Write the state of a broker into a file, while it serves
    Backup(BackupArgs),
    /// Make the state of a broker anew of such a file, in a home of any kind
    Restore(RestoreArgs),
    /// Look over what a broker has stored, and say what is not as it should be
    Fsck(FsckArgs),
    /// Step in by hand, on the record: try again, end, forget, adopt, export
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Check a broker against the specification, requirement by requirement
    Check(Box<CheckArgs>),
    /// Tell what platforms refuse in a catalog, and what a change of it breaks
    Lint(LintArgs),
    /// Behave towards a broker as the platforms do, also when answers are lost, and see whether it copes
    Simulate(Box<SimulateArgs>),
    /// Make objects of OpenShift Templates, look templates over, and try them on a cluster
    #[command(subcommand)]
    Template(TemplateCommand),
}

#[derive(Subcommand)]
enum Served {
    /// The reference broker: behaves and fails as its parameters say, to test platforms with
    Reference(Box<ReferenceArgs>),
    /// The template broker: OpenShift Templates as services, in a Kubernetes API of its own or in a cluster
    Templates(Box<TemplatesArgs>),
}

#[derive(clap::Args)]
struct ReferenceArgs {
    /// Offers a plan for each combination of what a plan can be, too
    #[arg(long)]
    combinations: bool,

    /// The maintenance version of the plans that have one; with a newer one there are instances to upgrade
    #[arg(long, value_name = "VERSION", default_value = "2.0.0")]
    maintenance_version: String,

    /// Offers so many plans that are all alike, and nothing else
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["combinations", "maintenance_version"])]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=2000))]
    plans: Option<u16>,

    #[command(flatten)]
    host: HostOptions,
}

impl ReferenceArgs {
    fn serve(self) -> ExitCode {
        let options = reference_broker::Options {
            maintenance_version: self.maintenance_version,
            combinations: self.combinations,
            plans: self.plans,
        };
        osb_host::serve(options.broker(), &self.host)
    }
}

/// Operations allocate in one thread and free in another; the system's allocator spends a third of the CPU on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A command line that cannot be carried out as it stands: ends the program with 2, as clap does.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Command::Serve(Served::Reference(args)) => args.serve(),
        Command::Serve(Served::Templates(args)) => args.serve(),
        Command::Apiserver(args) => apiserver::serve(args),
        Command::New(args) => client(std::future::ready(new::new(&args))),
        Command::Image(args) => client(std::future::ready(image::write(&args))),
        Command::Catalog(args) => client(verbs::catalog(args)),
        Command::Provision(args) => client(verbs::provision(args)),
        Command::Update(args) => client(verbs::update(args)),
        Command::Bind(args) => client(verbs::bind(args)),
        Command::Unbind(args) => client(verbs::unbind(args)),
        Command::Deprovision(args) => client(verbs::deprovision(args)),
        Command::Instances(args) => client(verbs::instances(args)),
        Command::Backup(args) => client(moving::backup(args)),
        Command::Restore(args) => on_all_cores(moving::restore(args)),
        Command::Fsck(args) => client(fsck::fsck(args)),
        Command::Admin(command) => client(admin::admin(command)),
        Command::Check(args) => client(check::check(*args)),
        Command::Lint(args) => client(lint::lint(args)),
        Command::Simulate(args) => client(simulate::simulate(*args)),
        Command::Template(command) => client(template::template(command)),
    }
}

/// Runs a client verb: 0 when it has succeeded, 1 when the broker did not, 2 when the command line is wrong.
fn client(verb: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    finish(tokio::runtime::Builder::new_current_thread().enable_all().build(), verb)
}

/// As [`client`], for a verb that has much to do.
fn on_all_cores(verb: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    finish(tokio::runtime::Builder::new_multi_thread().enable_all().build(), verb)
}

fn finish(
    runtime: std::io::Result<tokio::runtime::Runtime>,
    verb: impl Future<Output = anyhow::Result<()>>,
) -> ExitCode {
    let done = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(Box::pin(verb)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", osb_host::explain(error.as_ref()));
            if error.is::<Usage>() {
                ExitCode::from(2)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
