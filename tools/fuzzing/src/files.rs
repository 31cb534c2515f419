//! Files that an operator writes, and the certificate that a client shows.

use std::fs;
use std::path::Path;

use osb_host::{Credentials, DataDir, ServerInfo, fuzzing};
use tempfile::TempDir;

use crate::bytes_of;

/// A folder in memory where there is one.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    made.expect("a temporary folder can be made")
}

thread_local! {
    static FOLDER: TempDir = folder();
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file in a temporary folder can be written");
}

/// Whatever the file says, it is read or refused. It may name files beside it: one holds a secret, one a key set, one is
/// any bytes.
pub(crate) fn auth_file(data: &[u8]) {
    // Those of the machine are not to be read: one may never end.
    if data
        .windows(2)
        .any(|window| window == b"/d" || window == b"/p" || window == b"..")
    {
        return;
    }
    FOLDER.with(|folder| {
        let path = folder.path().join("auth");
        write(&folder.path().join("secret"), b"a secret\n");
        write(
            &folder.path().join("keys"),
            br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
        );
        write(&path, data);
        match fuzzing::auth_file(&path) {
            Ok(platforms) => assert!(platforms <= data.len(), "more platforms than bytes"),
            Err(error) => assert!(!error.to_string().is_empty(), "a refusal says nothing"),
        }
    });
}

/// Parts of the input: `credentials`, `key`, `server`.
pub(crate) fn data_folder(data: &[u8]) {
    FOLDER.with(|folder| {
        let parts = bytes_of::parts(data, 3);
        let place = DataDir::new(folder.path());
        write(&place.credentials(), parts[0]);
        if let Ok(users) = fuzzing::credentials(&place) {
            let text = std::str::from_utf8(parts[0]).unwrap_or_default();
            assert!(
                text.trim().is_empty() || users <= parts[0].len(),
                "more logins than bytes"
            );
            // Made where there were none; read as the same again.
            assert_eq!(fuzzing::credentials(&place).ok(), Some(users));
            let _ = Credentials::read(&place);
        }
        if let Some(key) = parts.get(1) {
            let _ = fs::remove_file(folder.path().join("sealed-with"));
            write(&place.key(), key);
            if let Ok(ids) = fuzzing::keys(&place) {
                assert!(!ids.is_empty() && ids.len() * 64 <= key.len(), "keys out of nothing");
                assert_eq!(fuzzing::keys(&place).ok(), Some(ids), "keys change");
            }
        }
        if let Some(server) = parts.get(2) {
            write(&folder.path().join("server"), server);
            let _ = ServerInfo::read(&place);
        }
    });
}

/// What a certificate says is text.
pub(crate) fn certificate(data: &[u8]) {
    if let Some(names) = fuzzing::certificate(data) {
        let bytes: usize = names.subject.iter().map(|(_, value)| value.len()).sum();
        assert!(bytes <= data.len(), "a subject out of nothing");
    }
}
