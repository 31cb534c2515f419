//! A real Kubernetes API server as a part of a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::etcd::has_member;
use crate::folder::{Folder, secret};
use crate::process::{Process, Spec, Stop};
use crate::{Error, locate, ports};

const ETCD: &str = "etcd";
const APISERVER: &str = "kube-apiserver";
const CONTROLLERS: &str = "kube-controller-manager";

/// What runs beside the API server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Controllers {
    /// Nothing: namespaces stay while they are deleted, dependents of a deleted owner stay, there is no default ServiceAccount.
    #[default]
    None,
    /// kube-controller-manager with the garbage collector, the namespace and the ServiceAccount controller. The garbage
    /// collector looks for new kinds every 30 seconds only.
    Core,
    /// kube-controller-manager with everything that is on by default.
    All,
}

/// How an [`Oracle`] is started.
#[derive(Debug, Clone, Default)]
pub struct OracleOptions {
    /// What runs beside the API server.
    pub controllers: Controllers,
    /// Minor version to behave as, such as `1.34`; by default the server's own.
    pub emulated_version: Option<String>,
    /// Where etcd keeps its data and syncs it to disk, as it does by default. Without it the data lies in a temporary folder
    /// and is not synced, which is faster and enough for a test.
    pub durable_in: Option<PathBuf>,
}

/// A running etcd with kube-apiserver, and kube-controller-manager on request.
///
/// Share one over a test program (in a `static` [`OnceLock`](std::sync::OnceLock)) and give each test its own namespace: a start takes 3 to 5 seconds and 350 MB of
/// memory. A value in a `static` is never dropped; its processes end with the program all the same.
///
/// ServiceAccount admission is off, authorization is RBAC, anonymous requests are let in as `system:anonymous`.
#[derive(Debug)]
pub struct Oracle {
    // In the order in which they shall end.
    _controllers: Option<Process>,
    apiserver: Process,
    etcd: Process,
    bin: PathBuf,
    port: u16,
    token: String,
}

impl Oracle {
    /// Starts etcd and kube-apiserver, without controllers; returns when requests are answered.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] when the programs have not been built, [`Error::Start`] otherwise.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(&OracleOptions::default())
    }

    /// Starts with options.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn start_with(options: &OracleOptions) -> Result<Self, Error> {
        let bin = locate::oracle_bin()?;
        let (etcd, etcd_port) = ports::retry(|| start_etcd(&bin, options))?;
        let (apiserver, port, token) = ports::retry(|| start_apiserver(&bin, etcd_port, options))?;
        let mut oracle = Self {
            _controllers: None,
            apiserver,
            etcd,
            bin,
            port,
            token,
        };
        if options.controllers != Controllers::None {
            oracle._controllers = Some(ports::retry(|| start_controllers(&oracle, options.controllers))?);
        }
        Ok(oracle)
    }

    /// A kubeconfig with the server's certificate and the administrator's token.
    pub fn kubeconfig(&self) -> PathBuf {
        kubeconfig_path(self.apiserver.folder())
    }

    /// `https://127.0.0.1:port`.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Bearer token of the user `admin` in the group `system:masters`; new for each server.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// PEM file with the certificate to trust.
    pub fn ca_file(&self) -> PathBuf {
        certificate(self.apiserver.folder())
    }

    /// The process numbers of etcd and kube-apiserver, for those who look at what they use.
    ///
    /// # Errors
    ///
    /// [`Error::Start`] when one of them has ended.
    pub fn processes(&self) -> Result<[u32; 2], Error> {
        let number = |process: &Process, name| process.server(name).map_err(|error| Error::start(name, error));
        Ok([number(&self.etcd, ETCD)?, number(&self.apiserver, APISERVER)?])
    }

    /// The oracle's kubectl, as its administrator, with a cache of its own.
    pub fn kubectl(&self) -> Command {
        let mut command = Command::new(self.bin.join("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig());
        command
            .arg("--cache-dir")
            .arg(self.apiserver.folder().join("kubectl-cache"));
        command
    }
}

fn start_etcd(bin: &Path, options: &OracleOptions) -> Result<(Process, u16), Error> {
    let failed = |error: std::io::Error| Error::start(ETCD, error);
    let (name, port) = (secret().map_err(failed)?, ports::free().map_err(failed)?);
    let url = format!("http://127.0.0.1:{port}");
    let mut args = vec![
        format!("--name={name}"),
        "--data-dir=data".to_owned(),
        "--log-level=warn".to_owned(),
        format!("--listen-client-urls={url}"),
        format!("--advertise-client-urls={url}"),
        "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
    ];
    if options.durable_in.is_none() {
        args.push("--unsafe-no-fsync".to_owned());
    }
    let spec = Spec {
        part: ETCD,
        program: &bin.join(ETCD),
        args: &args,
        stop: Stop::Kill,
        user: None,
    };
    let folder = match &options.durable_in {
        Some(parent) => Folder::create_in(parent, None),
        None => Folder::create(None),
    };
    let mut process = Process::start(&spec, folder.map_err(failed)?)?;
    process.wait_until(|_| has_member(port, &name).unwrap_or(false))?;
    Ok((process, port))
}

fn start_apiserver(bin: &Path, etcd_port: u16, options: &OracleOptions) -> Result<(Process, u16, String), Error> {
    let failed = |error: std::io::Error| Error::start(APISERVER, error);
    let folder = Folder::create(None).map_err(failed)?;
    let (token, port) = (secret().map_err(failed)?, ports::free().map_err(failed)?);
    fs::write(
        folder.path().join("tokens.csv"),
        format!("{token},admin,admin,\"system:masters\"\n"),
    )
    .map_err(failed)?;
    fs::write(kubeconfig_path(folder.path()), kubeconfig(folder.path(), port, &token)).map_err(failed)?;
    let args = apiserver_arguments(port, etcd_port, options);
    let spec = Spec {
        part: APISERVER,
        program: &bin.join(APISERVER),
        args: &args,
        stop: Stop::Kill,
        user: None,
    };
    let mut process = Process::start(&spec, folder)?;
    let kubectl = bin.join("kubectl");
    process.wait_until(|folder| {
        let kubeconfig = kubeconfig_path(folder);
        certificate(folder).exists() && answers(&kubectl, &kubeconfig, &url(port), &certificate(folder), "/readyz")
    })?;
    Ok((process, port, token))
}

fn apiserver_arguments(port: u16, etcd_port: u16, options: &OracleOptions) -> Vec<String> {
    let mut args = vec![
        format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        // Without a default route the server finds no address of its own.
        "--advertise-address=127.0.0.1".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--cert-dir=certs".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
        // The key of the certificate that the server makes for itself serves for both: no further key to make.
        format!("--service-account-key-file={SERVER_KEY}"),
        format!("--service-account-signing-key-file={SERVER_KEY}"),
        "--token-auth-file=tokens.csv".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--anonymous-auth=true".to_owned(),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--allow-privileged".to_owned(),
    ];
    args.extend(
        options
            .emulated_version
            .as_ref()
            .map(|version| format!("--emulated-version={version}")),
    );
    args
}

const SERVER_KEY: &str = "certs/apiserver.key";

/// A running kube-controller-manager of any server, ours too. Ends with the value.
#[derive(Debug)]
pub struct ControllerManager(Process);

impl ControllerManager {
    /// Starts the named controllers (with commas between them) on the server that a file leads to, whose user is an
    /// administrator; `more` are further arguments. Returns when they run.
    ///
    /// # Errors
    ///
    /// As [`Oracle::start`].
    pub fn start(kubeconfig: &Path, names: &str, more: &[&str]) -> Result<Self, Error> {
        let bin = locate::oracle_bin()?;
        let mut arguments = vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--controllers={names}"),
        ];
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        ports::retry(|| start_manager(&bin, kubeconfig, &arguments)).map(Self)
    }

    /// All that it has said until now.
    pub fn log(&self) -> String {
        self.0.log()
    }
}

fn start_controllers(oracle: &Oracle, controllers: Controllers) -> Result<Process, Error> {
    let names = match controllers {
        Controllers::All => "*",
        Controllers::None | Controllers::Core => {
            "garbage-collector-controller,namespace-controller,serviceaccount-controller"
        }
    };
    let apiserver = oracle.apiserver.folder();
    let args = [
        format!("--kubeconfig={}", oracle.kubeconfig().display()),
        format!(
            "--service-account-private-key-file={}",
            apiserver.join(SERVER_KEY).display()
        ),
        format!("--root-ca-file={}", oracle.ca_file().display()),
        format!("--controllers={names}"),
    ];
    start_manager(&oracle.bin, &oracle.kubeconfig(), &args)
}

fn start_manager(bin: &Path, kubeconfig: &Path, arguments: &[String]) -> Result<Process, Error> {
    let failed = |error: std::io::Error| Error::start(CONTROLLERS, error);
    let port = ports::free().map_err(failed)?;
    let mut args = arguments.to_vec();
    args.extend([
        format!("--secure-port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--leader-elect=false".to_owned(),
        "--cert-dir=certs".to_owned(),
    ]);
    let spec = Spec {
        part: CONTROLLERS,
        program: &bin.join(CONTROLLERS),
        args: &args,
        stop: Stop::Kill,
        user: None,
    };
    let mut process = Process::start(&spec, Folder::create(None).map_err(failed)?)?;
    let kubectl = bin.join("kubectl");
    process.wait_until(|folder| {
        let own = folder.join("certs/kube-controller-manager.crt");
        own.exists() && answers(&kubectl, kubeconfig, &url(port), &own, "/healthz")
    })?;
    Ok(process)
}

/// Whether a server with this certificate answers 200 on a path; kubectl verifies the certificate, so no other server is taken for ours.
fn answers(kubectl: &Path, kubeconfig: &Path, server: &str, ca: &Path, path: &str) -> bool {
    let mut command = Command::new(kubectl);
    command.arg("--kubeconfig").arg(kubeconfig).args(["--server", server]);
    command
        .arg("--certificate-authority")
        .arg(ca)
        .args(["get", "--raw", path, "--request-timeout=5s"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

fn kubeconfig_path(folder: &Path) -> PathBuf {
    folder.join("kubeconfig")
}

fn certificate(folder: &Path) -> PathBuf {
    folder.join("certs/apiserver.crt")
}

/// JSON is YAML, and quotes every path correctly.
fn kubeconfig(folder: &Path, port: u16, token: &str) -> String {
    let value = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "oracle", "cluster": {"server": url(port), "certificate-authority": certificate(folder)}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "oracle", "context": {"cluster": "oracle", "user": "admin"}}],
        "current-context": "oracle",
    });
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(mut command: Command, args: &[&str]) -> String {
        let output = command.args(args).output().unwrap();
        assert!(
            output.status.success(),
            "{args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_api_server_answers_and_reports_its_version() {
        let Some(oracle) = crate::need(Oracle::start()) else {
            return;
        };
        let namespaces = print(oracle.kubectl(), &["get", "namespaces", "--output=name"]);
        assert!(namespaces.contains("namespace/default"), "{namespaces}");
        let version = print(oracle.kubectl(), &["version", "--output=json"]);
        let version: serde_json::Value = serde_json::from_str(&version).unwrap();
        for side in ["clientVersion", "serverVersion"] {
            assert!(
                version[side]["gitVersion"].as_str().unwrap().starts_with("v1."),
                "{version}"
            );
        }
    }

    #[test]
    fn controllers_finish_the_deletion_of_a_namespace() {
        let options = OracleOptions {
            controllers: Controllers::Core,
            emulated_version: Some("1.35".to_owned()),
            ..OracleOptions::default()
        };
        let Some(oracle) = crate::need(Oracle::start_with(&options)) else {
            return;
        };
        print(oracle.kubectl(), &["create", "namespace", "short"]);
        print(oracle.kubectl(), &["delete", "namespace", "short", "--timeout=120s"]);
        let left = print(oracle.kubectl(), &["get", "namespace", "short", "--ignore-not-found"]);
        assert_eq!(left, "");
        let token = print(oracle.kubectl(), &["create", "token", "default"]);
        assert_eq!(token.trim().split('.').count(), 3, "a service account's token is a JWT");
    }
}
