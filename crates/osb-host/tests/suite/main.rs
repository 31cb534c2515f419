//! A broker inside a test: its listeners with and without TLS, and its stop.

mod auth;
mod cluster;
mod issuer;
mod moving;
mod raw;
mod test_broker;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use osb_client::{Client, Options, Trust};
use osb_engine::Broker;
use osb_engine::{Binding, NoParameters, Operation, Result, Service};
use osb_host::{Credentials, Host, HostError, HostOptions};
use rcgen::{CertificateParams, KeyPair};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Nothing {}

struct Nothings;

impl Service for Nothings {
    type Parameters = NoParameters;
    type BindParameters = NoParameters;
    type State = Nothing;
    type Credentials = Nothing;

    async fn provision(&self, _: &Operation, _: NoParameters) -> Result<Nothing> {
        Ok(Nothing {})
    }

    async fn deprovision(&self, _: &Operation, _: Option<Nothing>) -> Result<()> {
        Ok(())
    }

    async fn bind(&self, _: &Operation, _: &Nothing, _: NoParameters) -> Result<Binding<Nothing>> {
        Ok(Binding::new(Nothing {}))
    }

    async fn unbind(&self, _: &Operation, _: &Nothing, _: Option<Nothing>) -> Result<()> {
        Ok(())
    }
}

fn broker() -> Broker {
    use osb_api::catalog::{Offering, Plan};
    let offering = Offering::new("6f2e", "nothing", "Nothing at all").plan(Plan::new("7a3b", "free", "For nothing"));
    Broker::new("nothings").service(offering, Nothings)
}

/// A client of the Kubernetes API, as its kubeconfig makes one.
async fn kube_client(host: &Host) -> kube::Client {
    use kube::config::{Config, KubeConfigOptions, Kubeconfig};
    let kubeconfig = Kubeconfig::read_from(host.data_dir().kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    kube::Client::try_from(config).unwrap()
}

fn options(folder: &tempfile::TempDir) -> HostOptions {
    HostOptions::on(folder.path().join("data"))
}

/// Writes a certificate that is its own authority, and its key.
fn certificate(folder: &tempfile::TempDir, options: &mut HostOptions) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let (chain_path, key_path) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    fs::write(&chain_path, certificate.pem()).unwrap();
    fs::write(&key_path, key.serialize_pem()).unwrap();
    (options.tls_cert, options.tls_key) = (Some(chain_path), Some(key_path));
    certificate.pem().into_bytes()
}

/// OSB-AUTH-05.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_certificate_the_broker_speaks_tls_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder);
    let authority = certificate(&folder, &mut options);
    let host = Host::start(broker(), &options).await.unwrap();
    let url = host.info().url.clone();
    let address = url.strip_prefix("https://").unwrap().to_owned();
    let login = Credentials::read(host.data_dir()).unwrap().unwrap();

    let mut trusting = Options::new(url, login.username, login.password);
    trusting.trust = Trust::Authorities(authority);
    assert_eq!(
        Client::new(&trusting).unwrap().catalog().await.unwrap().services[0].name,
        "nothing"
    );

    let plain = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    });
    let answer = plain.await.unwrap();
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_does_not_fit_its_key_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder);
    certificate(&folder, &mut options);
    let other = KeyPair::generate().unwrap().serialize_pem();
    fs::write(folder.path().join("key.pem"), &other).unwrap();
    let error = Host::start(broker(), &options).await.err().unwrap();
    assert!(matches!(&error, HostError::Tls { .. }), "{error}");
    fs::write(folder.path().join("key.pem"), "canary, no key").unwrap();
    let error = Host::start(broker(), &options).await.err().unwrap().to_string();
    assert!(error.contains("private key") && !error.contains("canary"), "{error}");
    assert!(!folder.path().join("data").exists(), "nothing was made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_on_the_folder_is_refused_until_the_first_has_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    let first = Host::start(broker(), &options).await.unwrap();
    assert!(first.made_key());
    assert!(matches!(
        Host::start(broker(), &options).await,
        Err(HostError::Store(_))
    ));
    first.stop().await;
    let second = Host::start(broker(), &options).await.unwrap();
    assert!(!second.made_key());
    second.stop().await;
}

/// Platforms are tenants: each has its own login, path and namespace.
#[tokio::test(flavor = "multi_thread")]
async fn platforms_of_the_file_have_their_own_paths() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(&folder);
    Host::start(broker(), &options).await.unwrap().stop().await;
    let path = options.data_dir.resolve().unwrap().credentials();
    let users =
        r#"{"users": [{"username": "a", "password": "b"}, {"username": "c", "password": "d", "platform": "cf"}]}"#;
    fs::write(path, users).unwrap();
    let host = Host::start(broker(), &options).await.unwrap();
    let url = &host.info().url;
    for (url, login, fine) in [
        (url.clone(), ("a", "b"), true),
        (url.clone(), ("c", "d"), true),
        (format!("{url}/cf"), ("c", "d"), true),
        (format!("{url}/cf"), ("a", "b"), false),
    ] {
        let client = Client::new(&Options::new(&url, login.0, login.1)).unwrap();
        assert_eq!(client.catalog().await.is_ok(), fine, "{url} {login:?}");
    }
    host.stop().await;
}

/// A client of the Kubernetes API that keeps a watch open does not keep the process from ending.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_watch_ends_with_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start(broker(), &options(&folder)).await.unwrap();
    let client = kube_client(&host).await;
    let request = http::Request::get("/api/v1/namespaces?watch=true")
        .body(kube::client::Body::empty())
        .unwrap();
    let watch = client.send(request).await.unwrap();
    assert!(watch.status().is_success());
    host.stop().await;
    let end = http_body_util::BodyExt::collect(watch.into_body()).await;
    drop(end);
}

/// What is refused before it is a request has the form that clients of that API read.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_bomb_gets_the_error_body_of_its_api() {
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start(broker(), &options(&folder)).await.unwrap();
    let client = kube_client(&host).await;
    let bomb = |path: &str, count: usize| {
        let request = (0..count).fold(http::Request::get(path), |request, n| {
            request.header(format!("x-{n}"), "y")
        });
        request.body(kube::client::Body::empty()).unwrap()
    };
    assert_eq!(client.send(bomb("/version", 50)).await.unwrap().status(), 200);
    let refused = client.send(bomb("/version", 150)).await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["content-type"]),
        (431, &"application/json".parse().unwrap())
    );
    let body = http_body_util::BodyExt::collect(refused.into_body())
        .await
        .unwrap()
        .to_bytes();
    let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&status["kind"], &status["code"]), (&"Status".into(), &431.into()));
    host.stop().await;
}
