//! PostgreSQL as a part of a test.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::folder::{Folder, User, secret, unprivileged};
use crate::process::{Process, Spec, Stop, become_user};
use crate::{Error, locate, ports};

const PART: &str = "PostgreSQL";
const SUPERUSER: &str = "osb_admin";

/// A running PostgreSQL server with one superuser, who logs in with a password (SCRAM) over TCP.
///
/// A server of a test: it does not wait for its disk, so it loses data with the machine. It has no Unix socket and no login without a
/// password. Runs as `postgres` or `nobody` where the test runs as root, which PostgreSQL refuses.
#[derive(Debug)]
pub struct Postgres {
    // Held for its end.
    _process: Process,
    port: u16,
    password: String,
}

impl Postgres {
    /// Makes a new data folder and starts a server on it; returns when it takes connections, after about 2 seconds.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] without PostgreSQL's programs, [`Error::Start`] otherwise.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(None)
    }

    /// As [`start`](Self::start), a server that takes only connections with TLS and shows this certificate (chain and
    /// key in PEM).
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with_tls(certificate: &str, key: &str) -> Result<Self, Error> {
        Self::start_with(Some(&Tls { certificate, key }))
    }

    fn start_with(tls: Option<&Tls<'_>>) -> Result<Self, Error> {
        let bin = locate::postgres_bin()?;
        ports::retry(|| Self::start_on_a_free_port(&bin, tls))
    }

    /// `postgres://user:password@127.0.0.1:port/postgres`, of the superuser.
    pub fn url(&self) -> String {
        format!(
            "postgres://{SUPERUSER}:{}@127.0.0.1:{}/postgres",
            self.password, self.port
        )
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Name of the superuser.
    pub fn user(&self) -> &str {
        SUPERUSER
    }

    /// Password of the superuser: 32 hexadecimal digits, new for each server.
    pub fn password(&self) -> &str {
        &self.password
    }

    fn start_on_a_free_port(bin: &Path, tls: Option<&Tls<'_>>) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::start(PART, error);
        let mut folder = Folder::create(None).map_err(failed)?;
        let user = if folder.is_roots().map_err(failed)? {
            unprivileged().map_err(failed)?
        } else {
            None
        };
        if user.is_some() {
            folder = Folder::create(user).map_err(failed)?;
        }
        let (password, port) = (secret().map_err(failed)?, ports::free().map_err(failed)?);
        make_data(bin, &folder, user, &password)?;
        let mut args = arguments(port);
        if let Some(tls) = tls {
            tls.write(folder.path(), user).map_err(failed)?;
            args.extend(Tls::arguments());
        }
        let spec = Spec {
            part: PART,
            program: &bin.join("postgres"),
            args: &args,
            stop: Stop::Quit,
            user,
        };
        let mut process = Process::start(&spec, folder)?;
        process.wait_until(is_ready)?;
        Ok(Self {
            _process: process,
            port,
            password,
        })
    }
}

/// What a server with TLS shows.
struct Tls<'a> {
    certificate: &'a str,
    key: &'a str,
}

impl Tls<'_> {
    const CERTIFICATE: &'static str = "server.crt";
    const KEY: &'static str = "server.key";

    /// The server refuses a key that others can read, and with these rules every connection without TLS.
    fn write(&self, folder: &Path, user: Option<User>) -> std::io::Result<()> {
        let data = folder.join("data");
        for (name, text) in [(Self::CERTIFICATE, self.certificate), (Self::KEY, self.key)] {
            let path = data.join(name);
            fs::write(&path, text)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
            if let Some(User { uid, gid }) = user {
                std::os::unix::fs::chown(&path, Some(uid), Some(gid))?;
            }
        }
        fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 scram-sha-256\n")
    }

    fn arguments() -> impl Iterator<Item = String> {
        let settings = [
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", Self::CERTIFICATE),
            format!("ssl_key_file={}", Self::KEY),
        ];
        settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting])
    }
}

fn make_data(bin: &Path, folder: &Folder, user: Option<User>, password: &str) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::start(PART, error);
    let password_file = folder.path().join("password");
    fs::write(&password_file, password).map_err(failed)?;
    if let Some(User { uid, gid }) = user {
        std::os::unix::fs::chown(&password_file, Some(uid), Some(gid)).map_err(failed)?;
    }
    let mut initdb = Command::new(bin.join("initdb"));
    initdb
        .args([
            "--pgdata=data",
            "--pwfile=password",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
        ])
        .args(["--no-sync", "--no-instructions", "--username", SUPERUSER])
        .current_dir(folder.path());
    become_user(&mut initdb, user);
    let output = initdb.output().map_err(failed)?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(Error::start(PART, format_args!("initdb: {}: {message}", output.status)));
    }
    Ok(())
}

fn arguments(port: u16) -> Vec<String> {
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        "fsync=off".to_owned(),
        "synchronous_commit=off".to_owned(),
        "full_page_writes=off".to_owned(),
    ];
    let mut args = vec!["-D".to_owned(), "data".to_owned()];
    args.extend(settings.into_iter().flat_map(|setting| ["-c".to_owned(), setting]));
    args
}

/// The last line of the server's own pid file is its state, so another server on the same port cannot be taken for this one.
fn is_ready(folder: &Path) -> bool {
    fs::read_to_string(folder.join("data/postmaster.pid"))
        .is_ok_and(|text| text.lines().any(|line| line.trim() == "ready"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn psql(postgres: &Postgres, url: &str, statement: &str) -> Result<String, String> {
        let bin = locate::postgres_bin().unwrap();
        let output = Command::new(bin.join("psql"))
            .args(["--no-password", "--no-psqlrc", "-tAc", statement, url])
            .env_remove("PGPASSWORD")
            .current_dir("/")
            .output()
            .unwrap();
        assert!(postgres.port() > 0);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err(text(output.stderr))
        }
    }

    #[test]
    fn only_the_right_password_logs_in() {
        let Some(postgres) = crate::need(Postgres::start()) else {
            return;
        };
        assert_eq!(
            psql(&postgres, &postgres.url(), "select current_user").as_deref(),
            Ok(SUPERUSER)
        );
        assert_eq!(
            psql(&postgres, &postgres.url(), "create database x").as_deref(),
            Ok("CREATE DATABASE")
        );
        let wrong = postgres.url().replace(postgres.password(), "wrong");
        let refused = psql(&postgres, &wrong, "select 1").unwrap_err();
        assert!(refused.contains("password authentication failed"), "{refused}");
    }

    #[test]
    fn two_servers_know_nothing_of_each_other() {
        let Some(one) = crate::need(Postgres::start()) else {
            return;
        };
        let Some(two) = crate::need(Postgres::start()) else {
            return;
        };
        assert_ne!(one.port(), two.port());
        psql(&one, &one.url(), "create role only_here").unwrap();
        let count = "select count(*) from pg_roles where rolname = 'only_here'";
        assert_eq!(psql(&one, &one.url(), count).as_deref(), Ok("1"));
        assert_eq!(psql(&two, &two.url(), count).as_deref(), Ok("0"));
    }
}
