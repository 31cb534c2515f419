//! `osb template preview`: what a cluster would make of a template, object by object.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use template_controller::preview::preview as try_out;

use super::input::Input;
use super::process::{print, warn};
use crate::output::table;

#[derive(clap::Args)]
pub(crate) struct PreviewArgs {
    #[command(flatten)]
    input: Input,

    /// The namespace of the instance [default: that of the kubeconfig]
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,

    /// How to reach the cluster [default: KUBECONFIG, ~/.kube/config, or the cluster that this runs in]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

pub(super) async fn preview(args: &PreviewArgs) -> Result<()> {
    let read = args.input.read()?;
    let template = args.input.template(&read)?;
    warn(&template);
    let config = match &args.kubeconfig {
        Some(file) => {
            let context = || format!("cannot use the kubeconfig {}", file.display());
            let kubeconfig = Kubeconfig::read_from(file).with_context(context)?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(context)?
        }
        None => Config::infer()
            .await
            .context("there is no cluster; name one with --kubeconfig")?,
    };
    let namespace = args
        .namespace
        .clone()
        .unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).context("the cluster cannot be reached")?;
    let lines = try_out(&client, &template, &read.given, args.input.unknown(), &namespace).await?;
    let rows = lines.iter().map(|line| {
        let verdict = line.verdict.to_string().replace('\n', " ");
        [line.object.clone(), line.place.clone(), verdict]
    });
    print(&table(
        ["OBJECT", "IN THE TEMPLATE", "ON THE CLUSTER"],
        &rows.collect::<Vec<_>>(),
    ))?;
    match lines.iter().filter(|line| !line.verdict.is_good()).count() {
        0 => Ok(()),
        1 => bail!("an object cannot be made; an instance of this template would fail"),
        bad => bail!("{bad} objects cannot be made; an instance of this template would fail"),
    }
}
