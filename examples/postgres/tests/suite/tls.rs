//! A server that takes connections only with TLS.

use std::sync::Arc;

use osb_sdk::Service as _;
use postgres_broker::{Databases, Settings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tempfile::NamedTempFile;
use testparts::{Postgres, need};
use tokio_postgres::Client;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::platform::{World, settings};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority")
}

/// A server with a certificate for `localhost`, and for no address.
fn server(authority: &Authority) -> Option<Postgres> {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, authority).expect("a certificate");
    need(Postgres::start_with_tls(&certificate.pem(), &key.serialize_pem()))
}

fn file(authority: &Authority) -> NamedTempFile {
    let file = NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), authority.pem()).expect("written");
    file
}

fn url(postgres: &Postgres, host: &str, mode: &str) -> String {
    let plain = postgres.url().replace("127.0.0.1", host);
    format!("{plain}?sslmode={mode}")
}

fn trusting(url: &str, authorities: &NamedTempFile) -> Settings {
    let path = authorities.path().to_str().expect("a path of text");
    settings(&[("POSTGRES_URL", url), ("POSTGRES_CA_FILE", path)])
}

async fn reaches(settings: &Settings) -> bool {
    Databases::new(settings).list_backend().await.is_ok()
}

async fn session(uri: &str, authority: &Authority) -> Client {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from(authority.der().to_vec()))
        .expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (client, connection) = tokio_postgres::connect(uri, MakeRustlsConnect::new(config))
        .await
        .expect("the login works");
    tokio::spawn(async move { drop(connection.await) });
    client
}

#[tokio::test]
async fn a_database_is_bought_and_used_over_tls() {
    let authority = authority();
    let Some(postgres) = server(&authority) else {
        return;
    };
    let world = World::new().await;
    let url = url(&postgres, "localhost", "require");
    let broker = world.broker_with(&trusting(&url, &file(&authority))).await;
    broker.buy("shop").await;
    let login = broker.bind("shop", "app").await;
    assert!(login.uri.ends_with("?sslmode=require"), "{}", login.uri);

    let user = session(&login.uri, &authority).await;
    user.batch_execute("CREATE TABLE goods (name text)")
        .await
        .expect("written");
    let operator = session(&url, &authority).await;
    let query = "SELECT count(*) FILTER (WHERE application_name = 'postgres-broker'), \
                 count(*) FILTER (WHERE usename = $1), bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE backend_type = 'client backend'";
    let row = operator.query_one(query, &[&login.username]).await.expect("an answer");
    let (broker_has, user_has): (i64, i64) = (row.get(0), row.get(1));
    assert!(broker_has > 0 && user_has == 1 && row.get(2), "{row:?}");
    broker.deprovision("shop").await.expect("deprovisioned");
    assert!(broker.orphans().await.0.is_empty());
}

#[tokio::test]
async fn a_server_that_cannot_prove_its_name_is_not_talked_to() {
    let (right, wrong) = (authority(), authority());
    let Some(postgres) = server(&right) else {
        return;
    };
    let (trusted, unknown) = (file(&right), file(&wrong));
    for (host, mode, authorities, expected) in [
        ("localhost", "require", &trusted, true),
        ("localhost", "prefer", &trusted, true),
        // Another server's certificate, as far as the broker can tell.
        ("localhost", "require", &unknown, false),
        ("localhost", "prefer", &unknown, false),
        // The certificate is of another name.
        ("127.0.0.1", "require", &trusted, false),
        // The server takes nothing in the clear.
        ("localhost", "disable", &trusted, false),
    ] {
        let settings = trusting(&url(&postgres, host, mode), authorities);
        assert_eq!(reaches(&settings).await, expected, "{host} {mode}");
    }
}

/// A server without TLS, and settings that will have nothing else.
#[tokio::test]
async fn a_password_is_not_sent_in_the_clear_where_tls_is_required() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let authorities = file(&authority());
    assert!(!reaches(&trusting(&url(&postgres, "127.0.0.1", "require"), &authorities)).await);
    assert!(reaches(&trusting(&url(&postgres, "127.0.0.1", "prefer"), &authorities)).await);
}
