//! `osb backup` and `osb restore`: a broker's state out of its home, and into another one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use osb_host::{BareHome, DataDirOption, HomeKind, HomeOptions, HostOptions, ServerInfo};
use osb_move::archive::Summary;
use osb_move::archive::crypt::Key;
use osb_move::{Backup, Existing, Extent, Made, Restore, RestoreError, Restored, Secrets, Target};
use serde_json::json;

use crate::Usage;
use crate::output::Format;

const PROGRAM: &str = concat!("osb ", env!("CARGO_PKG_VERSION"));

/// Where the state is.
#[derive(clap::Args)]
pub(crate) struct Where {
    #[command(flatten)]
    pub(crate) data_dir: DataDirOption,

    #[command(flatten)]
    pub(crate) home: HomeOptions,

    /// The API group of the broker, where a cluster has several of them [default: the only one]
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Option<String>,
}

#[derive(clap::Args)]
pub(crate) struct BackupArgs {
    /// The file to be written; it must not be there
    file: PathBuf,

    #[command(flatten)]
    from: Where,

    /// Encrypts the file with the first key in that one: 64 hexadecimal digits in a line, as `openssl rand -hex 32` prints
    #[arg(long, value_name = "FILE")]
    archive_key: Option<PathBuf>,

    /// Lets values of Secrets stand in a file that is not encrypted
    #[arg(long, conflicts_with = "archive_key")]
    plain_secrets: bool,

    /// The form of what is printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

#[derive(clap::Args)]
pub(crate) struct RestoreArgs {
    /// The file that `osb backup` has written
    file: PathBuf,

    #[command(flatten)]
    into: Where,

    /// The file with the keys that seal secrets in that home [default: the file `key` in the data folder]
    #[arg(long, value_name = "FILE", env = "OSB_KEY_FILE")]
    key_file: Option<PathBuf>,

    /// The file with the key that the archive was encrypted with
    #[arg(long, value_name = "FILE")]
    archive_key: Option<PathBuf>,

    /// Restores into a home that is not empty: what is there stays as it is, what is missing is added
    #[arg(long)]
    into_existing: bool,

    /// Looks the file over, tells what is in it, and restores nothing
    #[arg(long)]
    check: bool,

    /// The form of what is printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

impl Where {
    /// The flags as a broker's process has them. What a broker on the data folder has written there counts, too.
    pub(crate) fn options(&self) -> Result<(HostOptions, Option<String>)> {
        let mut options = HostOptions::on("");
        options.data_dir = self.data_dir.clone();
        options.home = self.home.clone();
        let mut group = self.group.clone();
        if options.home.home == HomeKind::Embedded
            && let Some(info) = ServerInfo::read(&options.data_dir.resolve()?)?
            && info.home == HomeKind::Kubernetes
        {
            options.home.home = HomeKind::Kubernetes;
            if let Some(namespace) = info.namespace.strip_suffix(&format!("-{}", osb_host::DEFAULT_PLATFORM)) {
                namespace.clone_into(&mut options.home.home_namespace);
            }
            group.get_or_insert(info.group);
        }
        Ok((options, group))
    }

    /// The home, through the broker that works on it where there is one.
    pub(crate) async fn open(&self) -> Result<(BareHome, Option<String>)> {
        let (options, group) = self.options()?;
        if options.home.home == HomeKind::Embedded {
            if let Some((home, _)) = BareHome::of_running(&options).await? {
                return Ok((home, group));
            }
            let folder = options.data_dir.resolve()?;
            if !folder.has_state() {
                bail!("there is no state of a broker in {}", folder.path().display());
            }
        }
        Ok((BareHome::open(&options, None).await?, group))
    }
}

/// How much of a home is the broker's.
pub(crate) async fn extent_of(home: &BareHome, group: Option<&str>) -> Result<Extent> {
    if let Some(extent) = home.extent(group) {
        return Ok(extent);
    }
    let mut groups = osb_move::broker_groups(home.api())
        .await
        .context("the definitions cannot be read: name the API group of the broker with --group")?;
    match (groups.pop(), groups.as_slice()) {
        (Some(only), []) => Ok(Extent::Group(only)),
        (None, _) => bail!("the cluster has no broker's resources"),
        (Some(last), others) => Err(Usage(format!(
            "the cluster has several brokers, name one with --group: {}, {last}",
            others.join(", ")
        ))
        .into()),
    }
}

fn archive_keys(path: Option<&Path>) -> Result<Vec<Key>> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let keys = osb_host::key_bytes_in(path)?;
    if keys.is_empty() {
        bail!("{} holds no key", path.display());
    }
    Ok(keys.into_iter().map(Key::new).collect())
}

pub(crate) async fn backup(args: BackupArgs) -> Result<()> {
    let keys = archive_keys(args.archive_key.as_deref())?;
    let (home, group) = args.from.open().await?;
    let made = backup_from(&home, group.as_deref(), &args, keys.first()).await;
    home.close().await;
    let made = made?;
    let file = args.file.display();
    let json = json!({"file": args.file, "bytes": made.bytes, "header": made.header, "end": made.end});
    args.output.print(&json, || {
        format!(
            "{} objects as of revision {} are in {file}, {} bytes.\n{}",
            made.end.objects,
            made.header.revision,
            made.bytes,
            needed_keys(&made)
        )
    })
}

async fn backup_from(home: &BareHome, group: Option<&str>, args: &BackupArgs, key: Option<&Key>) -> Result<Made> {
    let backup = Backup {
        api: home.api(),
        home: &home.name(),
        layout: home.layout(),
        extent: extent_of(home, group).await?,
        key,
        secrets: if args.plain_secrets {
            Secrets::Clear
        } else {
            Secrets::Encrypted
        },
        program: PROGRAM,
    };
    Ok(backup.write(&args.file).await?)
}

fn needed_keys(made: &Made) -> String {
    if made.end.keys.is_empty() {
        return String::new();
    }
    let keys: Vec<&str> = made.end.keys.iter().map(String::as_str).collect();
    format!(
        "Values in it are sealed with the keys {}: they are in no backup, so keep a copy of the key file elsewhere.\n",
        keys.join(", ")
    )
}

pub(crate) async fn restore(args: RestoreArgs) -> Result<()> {
    let keys = archive_keys(args.archive_key.as_deref())?;
    let restore = Restore::open(&args.file, &keys)?;
    if args.check {
        let summary = restore.summary();
        let json = json!({"header": summary.header, "end": summary.end, "encrypted": summary.encrypted});
        return args.output.print(&json, || told(summary));
    }
    let restored = restore_into(restore, &args).await?;
    let json = json!({
        "made": restored.made, "kept": restored.kept, "left": restored.left, "refused": restored.refusals,
        "refusedSome": restored.refused,
    });
    args.output.print(&json, || done(&restored))?;
    if restored.refusals > 0 {
        bail!(
            "the home did not take {} objects that are not the broker's own",
            restored.refusals
        );
    }
    Ok(())
}

async fn restore_into(restore: Restore, args: &RestoreArgs) -> Result<Restored> {
    let (mut options, mut group) = args.into.options()?;
    options.key_file.clone_from(&args.key_file);
    let sealing = osb_host::sealing_keys(&options)?;
    let ids = sealing.map(|keys| keys.ids()).unwrap_or_default();
    if let Err(RestoreError::Keys(missing)) = restore.check_keys(&ids)
        && ids.is_empty()
    {
        bail!(
            "values in the archive were sealed with the keys {}, and there is no key file: bring a copy of it to {}, or name one with --key-file",
            missing.join(", "),
            options.data_dir.resolve()?.key().display()
        );
    }
    restore.check_keys(&ids)?;
    let header = &restore.summary().header;
    let needed = restore.summary().end.keys.clone();
    if let [only] = &header.groups[..] {
        group.get_or_insert_with(|| only.clone());
    }
    let home = BareHome::open(&options, header.revision.parse().ok()).await?;
    let target = Target {
        api: home.api().clone(),
        layout: home.layout().clone(),
        extent: extent_of(&home, group.as_deref()).await?,
        keys: ids,
    };
    let existing = if args.into_existing {
        Existing::Kept
    } else {
        Existing::Refused
    };
    let restored = restore.into_home(target, existing).await;
    home.close().await;
    let restored = restored?;
    if options.home.home == HomeKind::Embedded {
        osb_host::note_keys(&options.data_dir.resolve()?, needed)?;
    }
    Ok(restored)
}

fn told(summary: &Summary) -> String {
    let (header, end) = (&summary.header, &summary.end);
    let mut text = format!(
        "A whole archive of {}, made {} from the home {} at revision {}.\n",
        header.groups.join(", "),
        header.made,
        header.home,
        header.revision
    );
    for (resource, count) in &end.resources {
        if *count > 0 {
            text += &format!("  {count:>9}  {resource}\n");
        }
    }
    if !end.keys.is_empty() {
        let keys: Vec<&str> = end.keys.iter().map(String::as_str).collect();
        text += &format!("It needs the keys {}.\n", keys.join(", "));
    }
    text
}

fn done(restored: &Restored) -> String {
    let mut text = format!("{} objects were restored", restored.made);
    if restored.kept > 0 {
        text += &format!(", {} were there already", restored.kept);
    }
    text += ".\n";
    if restored.left > 0 {
        text += &format!(
            "{} objects that are not the broker's own were left out: this home is a cluster.\n",
            restored.left
        );
    }
    for refused in &restored.refused {
        text += &format!("not restored: {refused}\n");
    }
    text
}
