//! `osb fsck`: a home looked over.

use std::path::PathBuf;

use anyhow::{Result, bail};
use osb_host::HomeKind;
use osb_move::{Extent, Finding, Fsck, Looked, Mending, Weight};
use serde_json::json;

use crate::moving::{Where, extent_of};
use crate::output::Format;

#[derive(clap::Args)]
pub(crate) struct FsckArgs {
    #[command(flatten)]
    of: Where,

    /// The file with the keys that seal secrets, to see whether all of them open [default: the file `key` in the data folder]
    #[arg(long, value_name = "FILE", env = "OSB_KEY_FILE")]
    key_file: Option<PathBuf>,

    /// Mends what can be mended safely: finalizers, labels, Tombstones that have expired
    #[arg(long)]
    repair: bool,

    /// The form of what is printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

pub(crate) async fn fsck(args: FsckArgs) -> Result<()> {
    let (mut options, _) = args.of.options()?;
    options.key_file.clone_from(&args.key_file);
    let keys = osb_host::sealing_keys(&options)?;
    let (home, group) = args.of.open().await?;
    let groups = match extent_of(&home, group.as_deref()).await? {
        Extent::Group(group) => vec![group],
        Extent::Whole => match args.of.group.clone() {
            Some(group) => vec![group],
            None => osb_move::broker_groups(home.api()).await?,
        },
    };
    let mut all = Vec::new();
    let mut looked = Looked::default();
    for group in &groups {
        let fsck = Fsck {
            api: home.api(),
            group,
            system: &home.layout().system,
            keys: keys.as_ref(),
            mending: if args.repair { Mending::Safe } else { Mending::Nothing },
        };
        let of_group = fsck.run(|finding| all.push(finding.clone())).await;
        let of_group = match of_group {
            Ok(of_group) => of_group,
            Err(error) => {
                home.close().await;
                return Err(error.into());
            }
        };
        looked.objects += of_group.objects;
        looked.findings += of_group.findings;
        looked.repaired += of_group.repaired;
    }
    home.close().await;
    let keyless = keys.is_none() && options.home.home != HomeKind::Embedded;
    args.output.print(
        &json!({"looked": looked, "findings": all, "sealedValuesOpened": keys.is_some()}),
        || told(&all, looked, keyless),
    )?;
    if looked.findings > 0 {
        bail!("{} things are not as they should be", looked.findings);
    }
    Ok(())
}

fn told(findings: &[Finding], looked: Looked, keyless: bool) -> String {
    let line = |finding: &Finding| {
        let weight = match finding.weight {
            _ if finding.repaired => "mended",
            Weight::Note => "note",
            Weight::Warning => "warning",
            Weight::Error => "error",
        };
        format!("{weight}: {}: {}\n  {}\n", finding.object, finding.what, finding.todo)
    };
    let mut text: String = findings.iter().map(line).collect();
    if keyless {
        text += "Sealed values were not opened: name the key file with --key-file.\n";
    }
    text += &format!("{} objects were looked at", looked.objects);
    if looked.repaired > 0 {
        text += &format!(", {} things were mended", looked.repaired);
    }
    text + ".\n"
}
