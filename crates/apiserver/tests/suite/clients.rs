//! Programs of client-go (`oracle/clients`), run against this server and against a real one: what they see is the same.

use std::path::Path;
use std::process::Command;

use apiserver::{ApiServer, UserInfo};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use serde_json::json;

use crate::kubernetes::Kubernetes;
use crate::support::TestServer;

/// A server of ours on a loopback port, for programs. Everybody who reaches it may do everything.
pub(crate) struct Listening {
    folder: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Listening {
    pub(crate) async fn on(api: ApiServer) -> Listening {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "ours",
            "clusters": [{"name": "ours", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "admin", "user": {"token": "any"}}],
            "contexts": [{"name": "ours", "context": {"cluster": "ours", "user": "admin"}}],
        });
        std::fs::write(folder.path().join("kubeconfig"), config.to_string()).unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let service = TowerToHyperService::new(api.service_as(UserInfo::admin()));
                tokio::spawn(async move {
                    // A program that breaks its connection off is no matter of ours.
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service)
                        .await;
                });
            }
        });
        Listening { folder, task }
    }

    pub(crate) fn kubeconfig(&self) -> std::path::PathBuf {
        self.folder.path().join("kubeconfig")
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a scenario prints.
async fn play(program: &Path, kubeconfig: &Path, namespace: &str, scenario: &str) -> String {
    let mut command = Command::new(program);
    command
        .arg("-kubeconfig")
        .arg(kubeconfig)
        .args(["-namespace", namespace, scenario]);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let (seen, said) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{scenario} on {}:\n{seen}{said}",
        kubeconfig.display()
    );
    assert!(!seen.is_empty(), "{scenario}");
    seen.into_owned()
}

async fn see_the_same(scenario: &str) {
    let Some(program) = testparts::need(testparts::go_clients()) else {
        return;
    };
    let Some(real) = TestServer::kubernetes().await else {
        return;
    };
    let kubernetes = Kubernetes::connect().await.expect("it has been started");
    let ours = TestServer::memory().await;
    let listening = Listening::on(ours.ours().api.clone()).await;
    let there = play(&program, &kubernetes.kubeconfig(), &real.namespace, scenario).await;
    let here = play(&program, &listening.kubeconfig(), &ours.namespace, scenario).await;
    assert_eq!(here, there, "{scenario}: ours, and the real server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typed_objects_come_and_go_alike() {
    see_the_same("objects").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn informers_are_told_the_same() {
    see_the_same("informers").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn informers_of_metadata_are_told_the_same() {
    see_the_same("metadata").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_is_streamed_alike() {
    see_the_same("watchlist").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_follow_each_other_alike() {
    see_the_same("leader").await;
}
