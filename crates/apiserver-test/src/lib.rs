//! A Kubernetes API server for tests: in the process of the test, without a download, in milliseconds.
//!
//! Each test has a server of its own: nothing is shared and nothing has to be cleaned up, and dozens run side by side
//! in one process, without a port or a file. It is the API server of the crate [`apiserver`]: with definitions of
//! custom resources that are served as soon as they are created, watches, finalizers, owner references, server-side
//! apply and access rules, and without nodes: a Pod is stored and never runs.
//!
//! ```
//! use apiserver_test::TestServer;
//! use k8s_openapi::api::core::v1::ConfigMap;
//! use kube::api::{Api, PostParams};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = TestServer::start().await?;
//! let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
//! let map = serde_json::from_str(r#"{"metadata": {"name": "a"}, "data": {"k": "v"}}"#)?;
//! maps.create(&PostParams::default(), &map).await?;
//! assert_eq!(maps.get("a").await?.data.unwrap_or_default()["k"], "v");
//! # Ok(())
//! # }
//! ```
//!
//! [`TestServer::listen`] gives a server a real port and a kubeconfig, for `kubectl` and for controllers in other
//! processes and languages.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use apiserver::{
    ApiServer, Authenticator, Authorization, BadCredentials, MASTERS, Options, PeerIdentity, Service, StartObjects,
    UserInfo,
};
use apiserver_host::{Pki, Port, Socket};
use http::{HeaderMap, Method, Request, header};
use tempfile::TempDir;

/// The namespace of [`TestServer::client`].
pub const NAMESPACE: &str = "default";
/// What the server calls itself in the kubeconfig.
const CLUSTER: &str = "test";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Why a server does not start, or cannot do what a test asks of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server does not start.
    #[error(transparent)]
    Open(#[from] apiserver::OpenError),
    /// The port cannot be opened.
    #[error(transparent)]
    Port(#[from] apiserver_host::Error),
    /// The folder of the kubeconfig cannot be made.
    #[error("there is no folder for the kubeconfig: {0}")]
    Folder(#[source] std::io::Error),
    /// A request was refused.
    #[error(transparent)]
    Refused(#[from] kube::Error),
}

/// An API server in memory. Clones share it; it ends with the last of them.
#[derive(Clone, Debug)]
pub struct TestServer {
    running: Arc<Running>,
}

struct Running {
    api: ApiServer,
    /// Of the administrator in a kubeconfig.
    token: String,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.api.close();
    }
}

impl TestServer {
    /// Starts a server that is as a cluster's: what a user may do, roles and bindings say, and the ClusterRoles and
    /// ServiceAccounts are there that every cluster has. Has to be called in a tokio runtime, on which the server
    /// then runs.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub async fn start() -> Result<TestServer, Error> {
        let options = Options {
            authorization: Authorization::Rbac,
            start: StartObjects::all(),
            ..Options::default()
        };
        TestServer::start_with(options).await
    }

    /// Starts a server with an authenticator, admission hooks and whatever else a test wants different.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub async fn start_with(mut options: Options) -> Result<TestServer, Error> {
        let token = apiserver_host::secret().ok_or(apiserver_host::Error::NoRandomness)?;
        options.authenticator = Arc::new(AdminToken {
            token: format!("Bearer {token}"),
            others: options.authenticator,
        });
        let store = objectstore::memory::open(objectstore::memory::Options::default());
        let api = ApiServer::open(store, options).await?;
        Ok(TestServer {
            running: Arc::new(Running { api, token }),
        })
    }

    /// A client that may do everything, in the namespace [`NAMESPACE`]. It calls the server without a socket.
    pub fn client(&self) -> kube::Client {
        self.client_as(UserInfo::admin())
    }

    /// A client whose requests are all sent by this user, in the namespace [`NAMESPACE`].
    ///
    /// ```
    /// # use apiserver::UserInfo;
    /// # use apiserver_test::TestServer;
    /// # use k8s_openapi::api::core::v1::Secret;
    /// # use kube::api::{Api, ListParams};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = TestServer::start().await?;
    /// let secrets: Api<Secret> = Api::default_namespaced(server.client_as(UserInfo::new("bob", ["dev"])));
    /// let refused = secrets.list(&ListParams::default()).await;
    /// assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 403));
    /// # Ok(())
    /// # }
    /// ```
    pub fn client_as(&self, user: UserInfo) -> kube::Client {
        kube::Client::new(self.running.api.service_as(user), NAMESPACE)
    }

    /// The server as an HTTP service whose requests each say who sends them, for tests of requests themselves.
    pub fn service(&self) -> Service {
        self.running.api.service()
    }

    /// The server itself.
    pub fn api(&self) -> &ApiServer {
        &self.running.api
    }

    /// Creates definitions of custom resources: YAML documents, separated by lines `---`. They are served when this
    /// returns.
    ///
    /// # Errors
    /// [`Error::Refused`]; the definitions before the refused one are there.
    pub async fn define(&self, definitions: &str) -> Result<(), Error> {
        let client = self.client();
        for definition in documents(definitions) {
            let request = Request::builder()
                .method(Method::POST)
                .uri(DEFINITIONS)
                .header(header::CONTENT_TYPE, "application/yaml")
                .body(definition.into_bytes())
                .expect("a request of constants");
            client.request::<serde_json::Value>(request).await?;
        }
        Ok(())
    }

    /// Opens a free port of this machine, with TLS, and writes a kubeconfig for it.
    ///
    /// ```
    /// # use apiserver_test::TestServer;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = TestServer::start().await?;
    /// let port = server.listen().await?;
    /// println!("kubectl --kubeconfig {} get namespaces", port.kubeconfig().display());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Port`], [`Error::Folder`].
    pub async fn listen(&self) -> Result<TestPort, Error> {
        let socket = Socket::bind(([127, 0, 0, 1], 0).into()).await?;
        let url = socket.url();
        let pki = Pki::with_token(socket.address, self.running.token.clone())?;
        let folder = tempfile::tempdir().map_err(Error::Folder)?;
        let kubeconfig = folder.path().join("kubeconfig");
        pki.write_kubeconfig(&kubeconfig, &url, CLUSTER, NAMESPACE)?;
        Ok(TestPort {
            port: Port::open(socket, &self.running.api, &pki)?,
            url,
            kubeconfig,
            _folder: folder,
            _server: self.clone(),
        })
    }
}

/// A port of a [`TestServer`]: it closes, and its kubeconfig goes, with this value.
#[derive(Debug)]
pub struct TestPort {
    port: Port,
    url: String,
    kubeconfig: PathBuf,
    _folder: TempDir,
    _server: TestServer,
}

impl TestPort {
    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A file for `kubectl --kubeconfig`: its user may do everything.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }
}

impl Drop for TestPort {
    fn drop(&mut self) {
        self.port.cut_off();
    }
}

/// The administrator's token, before whatever else the test has.
struct AdminToken {
    /// As the header has it.
    token: String,
    others: Arc<dyn Authenticator>,
}

impl Authenticator for AdminToken {
    fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: Option<&PeerIdentity>,
    ) -> Result<Option<UserInfo>, BadCredentials> {
        match headers.get(header::AUTHORIZATION) {
            Some(sent) if sent.as_bytes() == self.token.as_bytes() => Ok(Some(UserInfo::new("admin", [MASTERS]))),
            _ => self.others.authenticate(headers, peer),
        }
    }
}

/// The documents of a YAML file that hold anything.
fn documents(yaml: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in yaml.lines() {
        if line.trim_end() == "---" {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    let says = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    documents.retain(|document| document.lines().any(says));
    documents
}

#[cfg(doctest)]
#[doc = include_str!("../../apiserver/README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_definitions_falls_into_its_documents() {
        let documents = documents("# head\n---\na: 1\n---  \n\n---\nb: |\n  x---y\n");
        assert_eq!(documents, ["a: 1\n", "b: |\n  x---y\n"]);
    }
}
