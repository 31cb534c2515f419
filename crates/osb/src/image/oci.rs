//! An OCI image of one layer, as an archive: what `podman load`, `docker load` and `skopeo copy oci-archive:` take.
//!
//! The same files and the same time give the same bytes, so that two builds can be compared by the digest of the image.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result};
use flate2::{Compression, GzBuilder};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};

const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Something in the root of the image. Its folders are made along with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Path without a leading slash.
    pub(crate) path: String,
    pub(crate) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// A file that everybody may read, and run if it is a program.
    File { content: Vec<u8>, is_program: bool },
    /// A folder of that user, in the group 0, which both may write in.
    Folder { user: u64, mode: u32 },
}

/// What the image says about itself.
#[derive(Debug, Clone)]
pub(crate) struct About {
    /// Name and tag, as `osb:0.1.0`.
    pub(crate) reference: String,
    /// As Go calls it: `amd64`, `arm64`.
    pub(crate) architecture: String,
    /// Unix seconds; all times in the image are this one.
    pub(crate) created: u64,
    /// `config` of the image: user, entry point, environment, ports.
    pub(crate) config: Value,
}

/// The archive of the image, and the digest of its manifest.
pub(crate) struct Image {
    pub(crate) archive: Vec<u8>,
    pub(crate) digest: String,
}

/// Makes the image of these entries.
pub(crate) fn image(entries: &[Entry], about: &About) -> Result<Image> {
    let layer = layer(entries, about.created)?;
    let packed = packed(&layer)?;
    let created = time(about.created)?;
    let config = serde_json::to_vec(&json!({
        "architecture": about.architecture,
        "config": about.config,
        "created": created,
        "history": [{"created": created, "created_by": "osb image"}],
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", sha256(&layer))]},
    }))?;
    let manifest = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": descriptor(CONFIG_TYPE, &config),
        "layers": [descriptor(LAYER_TYPE, &packed)],
    }))?;
    let mut described = descriptor(MANIFEST_TYPE, &manifest);
    described["annotations"] = json!({
        "io.containerd.image.name": format!("localhost/{}", about.reference),
        "org.opencontainers.image.ref.name": about.reference,
    });
    described["platform"] = json!({"architecture": about.architecture, "os": "linux"});
    let index = serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [described],
    }))?;
    let mut archive = Builder::new(Vec::new());
    append(
        &mut archive,
        "oci-layout",
        br#"{"imageLayoutVersion":"1.0.0"}"#,
        0o644,
        about.created,
    )?;
    append(&mut archive, "index.json", &index, 0o644, about.created)?;
    for blob in [&manifest, &config, &packed] {
        let path = format!("blobs/sha256/{}", sha256(blob));
        append(&mut archive, &path, blob, 0o644, about.created)?;
    }
    Ok(Image {
        archive: archive.into_inner()?,
        digest: format!("sha256:{}", sha256(&manifest)),
    })
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({
        "mediaType": media_type,
        "digest": format!("sha256:{}", sha256(content)),
        "size": content.len(),
    })
}

/// The tar of the root, in the order of the paths.
fn layer(entries: &[Entry], created: u64) -> Result<Vec<u8>> {
    let mut sorted: Vec<&Entry> = entries.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut tar = Builder::new(Vec::new());
    let mut made = std::collections::BTreeSet::new();
    for entry in sorted {
        for (end, _) in entry.path.match_indices('/') {
            let folder = &entry.path[..end];
            if made.insert(folder.to_owned()) {
                let mut header = header(EntryType::Directory, 0o755, created);
                tar.append_data(&mut header, format!("{folder}/"), io::empty())?;
            }
        }
        match &entry.what {
            What::File { content, is_program } => {
                let mode = if *is_program { 0o755 } else { 0o644 };
                append(&mut tar, &entry.path, content, mode, created)?;
            }
            What::Folder { user, mode } => {
                made.insert(entry.path.clone());
                let mut header = header(EntryType::Directory, *mode, created);
                header.set_uid(*user);
                tar.append_data(&mut header, format!("{}/", entry.path), io::empty())?;
            }
        }
    }
    Ok(tar.into_inner()?)
}

fn append(tar: &mut Builder<Vec<u8>>, path: &str, content: &[u8], mode: u32, created: u64) -> Result<()> {
    let mut header = header(EntryType::Regular, mode, created);
    header.set_size(u64::try_from(content.len())?);
    tar.append_data(&mut header, path, content)
        .with_context(|| format!("cannot put {path} into the image"))
}

fn header(kind: EntryType, mode: u32, created: u64) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(created);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    header
}

/// Gzip without a name and a time in it.
fn packed(layer: &[u8]) -> io::Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gzip.write_all(layer)?;
    gzip.finish()
}

fn sha256(content: &[u8]) -> String {
    let hash = digest(&SHA256, content);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// RFC 3339 of Unix seconds.
fn time(seconds: u64) -> Result<String> {
    let time = jiff::Timestamp::from_second(i64::try_from(seconds)?)?;
    Ok(time.to_string())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// The layer of an archive that [`image`] has made, unpacked from its gzip.
    fn layer_of(archive: &[u8]) -> Result<Vec<u8>> {
        let blob = |name: &str| -> Result<Vec<u8>> {
            for entry in tar::Archive::new(archive).entries()? {
                let mut entry = entry?;
                if entry.path()?.to_str() == Some(name) {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content)?;
                    return Ok(content);
                }
            }
            anyhow::bail!("the image has no {name}")
        };
        let by_digest = |described: &Value| -> Result<Vec<u8>> {
            let digest = described["digest"].as_str().context("a descriptor without a digest")?;
            let hash = digest.strip_prefix("sha256:").context("a digest of another kind")?;
            let content = blob(&format!("blobs/sha256/{hash}"))?;
            anyhow::ensure!(sha256(&content) == hash, "the blob {digest} has other contents");
            Ok(content)
        };
        let index: Value = serde_json::from_slice(&blob("index.json")?)?;
        let manifest: Value = serde_json::from_slice(&by_digest(&index["manifests"][0])?)?;
        let packed = by_digest(&manifest["layers"][0])?;
        let mut layer = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut layer)?;
        let config: Value = serde_json::from_slice(&by_digest(&manifest["config"])?)?;
        let expected = format!("sha256:{}", sha256(&layer));
        anyhow::ensure!(
            config["rootfs"]["diff_ids"] == json!([expected]),
            "the layer is not the one of the configuration"
        );
        Ok(layer)
    }

    fn about() -> About {
        About {
            reference: "x:1".to_owned(),
            architecture: "amd64".to_owned(),
            created: 1_000_000_000,
            config: json!({"User": "65532:0"}),
        }
    }

    fn entries() -> Vec<Entry> {
        let file = |path: &str, content: &str| Entry {
            path: path.to_owned(),
            what: What::File {
                content: content.as_bytes().to_vec(),
                is_program: path.contains("bin"),
            },
        };
        let folder = Entry {
            path: "var/lib/x".to_owned(),
            what: What::Folder {
                user: 65532,
                mode: 0o770,
            },
        };
        vec![folder, file("usr/bin/x", "program"), file("etc/x", "text")]
    }

    #[test]
    fn the_same_files_give_the_same_bytes_in_whatever_order() {
        let one = image(&entries(), &about()).unwrap();
        let reversed: Vec<Entry> = entries().into_iter().rev().collect();
        let two = image(&reversed, &about()).unwrap();
        assert_eq!((one.digest, one.archive), (two.digest, two.archive));
    }

    #[test]
    fn what_went_in_comes_out_with_owners_and_modes() {
        let made = image(&entries(), &about()).unwrap();
        let layer = layer_of(&made.archive).unwrap();
        let mut found = Vec::new();
        for entry in tar::Archive::new(&layer[..]).entries().unwrap() {
            let entry = entry.unwrap();
            let header = entry.header();
            let path = entry.path().unwrap().display().to_string();
            assert_eq!(header.mtime().unwrap(), 1_000_000_000, "{path}");
            found.push(format!("{path} {:o} {}", header.mode().unwrap(), header.uid().unwrap()));
        }
        assert_eq!(
            found,
            [
                "etc/ 755 0",
                "etc/x 644 0",
                "usr/ 755 0",
                "usr/bin/ 755 0",
                "usr/bin/x 755 0",
                "var/ 755 0",
                "var/lib/ 755 0",
                "var/lib/x/ 770 65532",
            ]
        );
    }

    #[test]
    fn a_changed_blob_is_found() {
        let mut made = image(&entries(), &about()).unwrap();
        let place = made
            .archive
            .windows(8)
            .rposition(|bytes| bytes == b"rootfs\":")
            .unwrap();
        made.archive[place] = b'R';
        assert!(layer_of(&made.archive).is_err());
    }
}
