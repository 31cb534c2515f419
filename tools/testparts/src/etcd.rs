//! An etcd of one or more members as a part of a test.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::folder::{Folder, secret};
use crate::process::{Process, Spec, Stop};
use crate::{Error, locate, ports};

const ETCD: &str = "etcd";

/// How an [`Etcd`] is started.
#[derive(Debug, Clone, Default)]
pub struct EtcdOptions {
    /// Where the members keep their data and sync it to disk, as etcd does by default. Without it the data lies in a
    /// temporary folder and is not synced, which is faster and enough for a test.
    pub durable_in: Option<PathBuf>,
    /// Certificate, key and authority of clients, PEM files: clients have to come with a certificate then.
    pub tls: Option<EtcdTls>,
}

/// The files of a cluster that is reached with TLS.
#[derive(Debug, Clone)]
pub struct EtcdTls {
    /// The certificate of the members.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority that signs for clients; without it they need no certificate.
    pub clients: Option<PathBuf>,
}

/// A running etcd cluster. Ends with the value.
#[derive(Debug)]
pub struct Etcd {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    process: Process,
    port: u16,
    secure: bool,
}

impl Etcd {
    /// Starts a cluster of one member.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when the program has not been built, [`Error::Start`] otherwise.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(1, &EtcdOptions::default())
    }

    /// Starts a cluster; returns when it has a leader.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(members: usize, options: &EtcdOptions) -> Result<Self, Error> {
        let bin = locate::oracle_bin()?;
        ports::retry(|| start(&bin.join(ETCD), members, options))
    }

    /// Where the members listen for clients.
    pub fn endpoints(&self) -> Vec<String> {
        let url = |member: &Member| {
            let scheme = if member.secure { "https" } else { "http" };
            format!("{scheme}://127.0.0.1:{}", member.port)
        };
        self.members.iter().map(url).collect()
    }

    /// The process number of a member, for those who pause it or look at what it uses.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] when it has ended.
    pub fn process(&self, member: usize) -> Result<u32, Error> {
        let process = &self.members[member].process;
        process.server(ETCD).map_err(|error| Error::start(ETCD, error))
    }

    /// What a member says at a path of its HTTP side, such as `/metrics`; only without TLS.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn get(&self, member: usize, path: &str) -> std::io::Result<String> {
        ask(self.members[member].port, &format!("GET {path}"), "")
    }

    /// What a member answers to a call of its JSON gateway, such as `/v3/auth/user/add`; only without TLS.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn call(&self, member: usize, path: &str, body: &str) -> std::io::Result<String> {
        ask(self.members[member].port, &format!("POST {path}"), body)
    }
}

fn start(program: &Path, count: usize, options: &EtcdOptions) -> Result<Etcd, Error> {
    let failed = |error: std::io::Error| Error::start(ETCD, error);
    let token = secret().map_err(failed)?;
    let mut places = Vec::new();
    for number in 0..count {
        let (client, peer) = (ports::free().map_err(failed)?, ports::free().map_err(failed)?);
        places.push((format!("{token}-{number}"), client, peer));
    }
    let list = places
        .iter()
        .map(|(name, _, peer)| format!("{name}=http://127.0.0.1:{peer}"));
    let list = list.collect::<Vec<_>>().join(",");
    let mut members = Vec::new();
    for (name, client, peer) in &places {
        let args = arguments(name, *client, *peer, &token, &list, options);
        let spec = Spec {
            part: ETCD,
            program,
            args: &args,
            stop: Stop::Kill,
            user: None,
        };
        let folder = match &options.durable_in {
            Some(parent) => Folder::create_in(parent, None),
            None => Folder::create(None),
        };
        members.push(Member {
            process: Process::start(&spec, folder.map_err(failed)?)?,
            port: *client,
            secure: options.tls.is_some(),
        });
    }
    for (member, (name, ..)) in members.iter_mut().zip(&places) {
        let (port, secure) = (member.port, member.secure);
        member.process.wait_until(|folder| match secure {
            true => has_begun_to_serve(folder),
            false => has_member(port, name).unwrap_or(false),
        })?;
    }
    Ok(Etcd { members })
}

fn arguments(name: &str, client: u16, peer: u16, token: &str, list: &str, options: &EtcdOptions) -> Vec<String> {
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let (client, peer) = (
        format!("{scheme}://127.0.0.1:{client}"),
        format!("http://127.0.0.1:{peer}"),
    );
    let mut args = vec![
        format!("--name={name}"),
        "--data-dir=data".to_owned(),
        // At this level it says when it is ready; at `info` it would fill the log.
        format!("--log-level={}", if options.tls.is_some() { "info" } else { "warn" }),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster={list}"),
        format!("--initial-cluster-token={token}"),
    ];
    if options.durable_in.is_none() {
        args.push("--unsafe-no-fsync".to_owned());
    }
    if let Some(tls) = &options.tls {
        args.push(format!("--cert-file={}", tls.certificate.display()));
        args.push(format!("--key-file={}", tls.key.display()));
        if let Some(clients) = &tls.clients {
            args.push(format!("--trusted-ca-file={}", clients.display()));
            args.push("--client-cert-auth".to_owned());
        }
    }
    args
}

fn has_begun_to_serve(folder: &Path) -> bool {
    std::fs::read(folder.join("log"))
        .is_ok_and(|log| String::from_utf8_lossy(&log).contains("ready to serve client requests"))
}

/// Whether the etcd on this port has a member of this name: ours has a random one, so no other etcd is taken for it. The
/// answer needs a leader.
pub(crate) fn has_member(port: u16, name: &str) -> std::io::Result<bool> {
    let answer = ask(port, "POST /v3/cluster/member/list", "{}")?;
    Ok(answer.starts_with("HTTP/1.1 200") && answer.contains(&format!("\"name\":\"{name}\"")))
}

fn ask(port: u16, line: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let head = "Host: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close";
    let request = format!(
        "{line} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(4 << 20).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_members_find_a_leader() {
        let Some(etcd) = crate::need(Etcd::start_with(3, &EtcdOptions::default())) else {
            return;
        };
        let members = etcd.call(2, "/v3/cluster/member/list", "{}").unwrap();
        assert_eq!(members.matches("\"clientURLs\"").count(), 3, "{members}");
        assert_ne!(etcd.process(0).unwrap(), etcd.process(1).unwrap());
    }
}
