//! `osb image`: a container image of a broker's program, without a daemon and without a base image.

mod oci;
mod program;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::Usage;
use oci::{About, Entry, Image, What};
use program::Program;

/// The user of the image; its group is 0, as on OpenShift, where the user is another one.
const USER: u64 = 65_532;

/// The folder of the data, which the user may write in.
const DATA: &str = "var/lib/osb";

/// Certificates of authorities in the image, and where most systems have them.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

#[derive(clap::Args)]
pub(crate) struct ImageArgs {
    /// The program of the broker, for Linux [default: this one]
    program: Option<PathBuf>,

    /// The archive to write; podman load, docker load and skopeo take it
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,

    /// Name and tag of the image [default: the name of the program, and `latest`]
    #[arg(long, value_name = "NAME:TAG")]
    name: Option<String>,

    /// The certificates of authorities that the broker trusts, PEM [default: /etc/ssl/certs/ca-certificates.crt if there is one]
    #[arg(long, value_name = "FILE")]
    authorities: Option<PathBuf>,
}

/// Writes the archive and says its digest.
pub(crate) fn write(args: &ImageArgs) -> Result<()> {
    let program = match &args.program {
        Some(path) => Program::read(path)?,
        None => Program::read(&std::env::current_exe()?)?,
    };
    let reference = reference(args.name.as_deref(), &program.name)?;
    let about = About {
        reference,
        architecture: program.architecture.to_owned(),
        created: created()?,
        config: json!({
            "Entrypoint": [format!("/usr/bin/{}", program.name)],
            "Env": ["PATH=/usr/bin", format!("OSB_DATA_DIR=/{DATA}"), "OSB_LISTEN=0.0.0.0:8080"],
            "ExposedPorts": {"8080/tcp": {}},
            "User": format!("{USER}:0"),
            "Volumes": {format!("/{DATA}"): {}},
            "WorkingDir": "/",
        }),
    };
    let Image { archive, digest } = oci::image(&entries(program, authorities(args)?), &about)?;
    std::fs::write(&args.output, &archive).with_context(|| format!("cannot write {}", args.output.display()))?;
    println!(
        "{} {digest} in {}: {:.1} MB",
        about.reference,
        args.output.display(),
        megabytes(archive.len())
    );
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

/// What stands in the root of the image: the program, what it needs, and the data folder.
fn entries(program: Program, authorities: Option<Vec<u8>>) -> Vec<Entry> {
    let file = |path: &str, content: Vec<u8>| Entry {
        path: path.to_owned(),
        what: What::File {
            content,
            is_program: false,
        },
    };
    let passwd = format!("root:x:0:0::/:\nosb:x:{USER}:0::/{DATA}:\n");
    let mut entries = vec![
        file("etc/passwd", passwd.into_bytes()),
        file("etc/group", b"root:x:0:\n".to_vec()),
        file("etc/nsswitch.conf", b"hosts: files dns\n".to_vec()),
        Entry {
            path: DATA.to_owned(),
            what: What::Folder {
                user: USER,
                mode: 0o770,
            },
        },
        Entry {
            path: format!("usr/bin/{}", program.name),
            what: What::File {
                content: program.content,
                is_program: true,
            },
        },
    ];
    entries.extend(authorities.map(|content| file(AUTHORITIES, content)));
    entries.extend(program.libraries.into_iter().map(|library| Entry {
        path: library.path,
        what: What::File {
            content: library.content,
            is_program: true,
        },
    }));
    entries
}

fn authorities(args: &ImageArgs) -> Result<Option<Vec<u8>>> {
    if let Some(path) = &args.authorities {
        let read = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        return Ok(Some(read));
    }
    Ok(std::fs::read(format!("/{AUTHORITIES}")).ok())
}

/// The time in the image: `SOURCE_DATE_EPOCH`, as tools that build the same bytes again know it, else the beginning of 1970.
fn created() -> Result<u64> {
    match std::env::var("SOURCE_DATE_EPOCH") {
        Err(_) => Ok(0),
        Ok(text) => match text.parse() {
            Ok(seconds) => Ok(seconds),
            Err(_) => bail!(Usage(format!("SOURCE_DATE_EPOCH is {text:?}, not a number of seconds"))),
        },
    }
}

/// The name that the image is loaded under.
fn reference(given: Option<&str>, program: &str) -> Result<String, Usage> {
    let Some(given) = given else {
        return Ok(format!("{program}:latest"));
    };
    let (name, tag) = match given.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (given, "latest"),
    };
    let fits = |text: &str, more: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
    };
    if fits(name, "._-/:") && fits(&tag.to_ascii_lowercase(), "._-") {
        Ok(format!("{name}:{tag}"))
    } else {
        Err(Usage(format!(
            "{given:?} is no name of an image; write NAME:TAG, such as registry.example.com/brokers/queues:1.2"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_registries() {
        let reference = |given| reference(given, "osb").ok();
        assert_eq!(reference(None).as_deref(), Some("osb:latest"));
        assert_eq!(reference(Some("queues")).as_deref(), Some("queues:latest"));
        assert_eq!(
            reference(Some("localhost:5000/b/queues")).as_deref(),
            Some("localhost:5000/b/queues:latest")
        );
        assert_eq!(reference(Some("b/queues:V1.2")).as_deref(), Some("b/queues:V1.2"));
        for wrong in ["", "Queues", "a b", ":1", "a:"] {
            assert_eq!(reference(Some(wrong)), None, "{wrong:?}");
        }
    }
}
