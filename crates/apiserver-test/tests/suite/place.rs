//! The two servers that a script runs on, and the programs that it runs there.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use apiserver_test::{TestPort, TestServer};
use testparts::{Controllers, Oracle, OracleOptions};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

enum Server {
    Ours(#[expect(dead_code, reason = "it ends with its value")] TestPort),
    Kubernetes(#[expect(dead_code, reason = "it ends with its value")] Oracle),
}

/// A server that a program reaches, and a folder for the program's files.
pub(crate) struct Place {
    server: Server,
    kubeconfig: PathBuf,
    folder: tempfile::TempDir,
}

/// What came of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) async fn ours() -> Place {
        let port = TestServer::start().await.unwrap().listen().await.unwrap();
        let kubeconfig = port.kubeconfig().to_owned();
        Place::at(Server::Ours(port), kubeconfig)
    }

    /// The real server, `None` where it is missing and may be.
    pub(crate) async fn kubernetes() -> Option<Place> {
        let options = OracleOptions {
            controllers: Controllers::Core,
            ..OracleOptions::default()
        };
        let start = move || testparts::need(Oracle::start_with(&options));
        let oracle = tokio::task::spawn_blocking(start).await.unwrap()?;
        let kubeconfig = oracle.kubeconfig();
        Some(Place::at(Server::Kubernetes(oracle), kubeconfig))
    }

    fn at(server: Server, kubeconfig: PathBuf) -> Place {
        Place {
            server,
            kubeconfig,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn is_ours(&self) -> bool {
        matches!(self.server, Server::Ours(_))
    }

    /// Where the program finds the files of the script.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder().join(name), text).unwrap();
    }

    /// A program in the folder, that knows this server and nothing of the tester's environment.
    pub(crate) fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.folder())
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.folder())
            .env("KUBECACHEDIR", self.folder().join("cache"))
            .env("KUBE_EDITOR", "sed -i s/red/blue/")
            .env_remove("HTTPS_PROXY")
            .env_remove("https_proxy")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    pub(crate) fn spawn(&self, program: &Path, args: &[&str]) -> Child {
        self.command(program, args).spawn().unwrap()
    }

    pub(crate) async fn run(&self, program: &Path, args: &[&str], input: &str) -> Done {
        let mut child = self.spawn(program, args);
        let mut stdin = child.stdin.take().unwrap();
        // A program that does not read what it is given is no matter of ours.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = tokio::time::timeout(std::time::Duration::from_secs(120), child.wait_with_output())
            .await
            .unwrap_or_else(|_| panic!("{args:?} does not end"))
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Done {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }
}
