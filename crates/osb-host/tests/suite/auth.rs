//! Who is let in: by password, by token, by certificate, on real sockets; and how that changes while the broker runs.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use osb_host::{Host, HostError, HostOptions};
use serde_json::{Value, json};

use crate::issuer::{Key, KeyServer};
use crate::raw::{Authority, Caller, Pair};
use crate::{broker, options};

const CATALOG: &str = "/v2/catalog";

fn basic(login: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(login))
}

/// Writes the auth file, as an editor does: whole.
fn write_auth(folder: &Path, text: &str) {
    let new = folder.join("auth.yaml.new");
    fs::write(&new, text).unwrap();
    fs::rename(new, folder.join("auth.yaml")).unwrap();
}

fn with_auth(folder: &tempfile::TempDir, text: &str) -> HostOptions {
    write_auth(folder.path(), text);
    HostOptions {
        auth_file: Some(folder.path().join("auth.yaml")),
        ..options(folder)
    }
}

/// Gives the broker a certificate of an authority.
fn with_tls(folder: &tempfile::TempDir, authority: &Authority, options: HostOptions) -> HostOptions {
    write_pair(folder.path(), &authority.sign("broker.example.com"));
    HostOptions {
        tls_cert: Some(folder.path().join("chain.pem")),
        tls_key: Some(folder.path().join("key.pem")),
        ..options
    }
}

fn write_pair(folder: &Path, pair: &Pair) {
    fs::write(folder.join("chain.pem"), &pair.chain).unwrap();
    fs::write(folder.join("key.pem"), &pair.key).unwrap();
}

async fn eventually(what: &str, mut holds: impl FnMut() -> bool + Send + 'static) {
    for _ in 0..600 {
        let (done, again) = tokio::task::spawn_blocking(move || (holds(), holds)).await.unwrap();
        if done {
            return;
        }
        holds = again;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never came: {what}");
}

/// The answer's status, asked for on a thread of its own.
async fn status(caller: Caller, path: &'static str, authorization: Option<String>) -> Option<u16> {
    tokio::task::spawn_blocking(move || caller.status(path, authorization.as_deref()))
        .await
        .unwrap()
}

/// OSB-AUTH-01, OSB-AUTH-02, OSB-GEN-04
#[tokio::test(flavor = "multi_thread")]
async fn users_and_tokens_of_the_file_belong_to_their_platforms() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "t0ken\n").unwrap();
    let options = with_auth(
        &folder,
        "users: [{username: a, password: b, platform: cf}, {username: c, password: d, platform: k8s}]\n\
         tokens: [{name: ci, token_file: token, platform: cf}]\n",
    );
    let host = Host::start(broker(), &options).await.unwrap();
    let url = host.info().url.clone();
    for (path, authorization, wanted) in [
        (CATALOG, Some(basic("a:b")), 200),
        (CATALOG, Some(basic("c:d")), 200),
        (CATALOG, Some("Bearer t0ken".to_owned()), 200),
        ("/cf/v2/catalog", Some("Bearer t0ken".to_owned()), 200),
        ("/k8s/v2/catalog", Some("Bearer t0ken".to_owned()), 401),
        ("/k8s/v2/catalog", Some(basic("a:b")), 401),
        (CATALOG, Some(basic("a:d")), 401),
        (CATALOG, Some("Bearer t0kem".to_owned()), 401),
        (CATALOG, None, 401),
    ] {
        let found = status(Caller::plain(&url), path, authorization.clone()).await;
        assert_eq!(found, Some(wanted), "{path} {authorization:?}");
    }
    // What a client may use is said in the refusal.
    let refused = tokio::task::spawn_blocking(move || Caller::plain(&url).connect()?.get(CATALOG, None)).await;
    let (_, head) = refused.unwrap().unwrap();
    assert!(
        head.contains("Basic realm=") && head.contains("Bearer realm="),
        "{head}"
    );
    host.stop().await;
}

/// OSB-AUTH-01, OSB-AUTH-02, OSB-AUTH-06: tokens of an issuer whose keys are fetched over TLS.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_an_issuer_are_believed_as_far_as_they_go() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    let issuer = KeyServer::start(&authority);
    let keys = [Key::rs256(), Key::es256(), Key::eddsa()];
    issuer.serve(
        keys.iter()
            .zip(["r", "e", "d"])
            .map(|(key, id)| key.public(id))
            .collect(),
    );
    let options = with_auth(
        &folder,
        &format!(
            "oidc:\n\
             - issuer: https://login.example.com\n\
             \x20 audience: osb\n\
             \x20 jwks_url: {}\n\
             \x20 ca_file: ca.pem\n\
             \x20 refetch_secs: 1\n\
             \x20 platform_claim: azp\n\
             \x20 platforms: {{cf-client: cf, k8s-client: k8s}}\n",
            issuer.url
        ),
    );
    let host = Host::start(broker(), &options).await.unwrap();
    let url = host.info().url.clone();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = |change: Value| {
        let mut claims =
            json!({"iss": "https://login.example.com", "aud": ["osb"], "exp": now + 300, "azp": "cf-client"});
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    let ask = |path: &'static str, bearer: String| status(Caller::plain(&url), path, Some(bearer));
    for (key, id) in keys.iter().zip(["r", "e", "d"]) {
        assert_eq!(
            ask(CATALOG, key.bearer(id, &claims(json!({})))).await,
            Some(200),
            "{id}"
        );
        assert_eq!(
            ask("/cf/v2/catalog", key.bearer(id, &claims(json!({})))).await,
            Some(200),
            "{id}"
        );
        for (id, change) in [
            (id, json!({"iss": "https://other.example.com"})),
            (id, json!({"aud": "other"})),
            (id, json!({"exp": now - 300})),
            (id, json!({"exp": null})),
            (id, json!({"nbf": now + 300})),
            (id, json!({"azp": "stranger"})),
            ("another", json!({})),
        ] {
            let found = ask(CATALOG, key.bearer(id, &claims(change.clone()))).await;
            assert_eq!(found, Some(401), "{id} {change}");
        }
        assert_eq!(
            ask("/k8s/v2/catalog", key.bearer(id, &claims(json!({})))).await,
            Some(401)
        );
    }
    // Somebody else's key under a known id.
    assert_eq!(
        ask(CATALOG, Key::eddsa().bearer("d", &claims(json!({})))).await,
        Some(401)
    );

    // The issuer changes its keys.
    let new = Key::es256();
    issuer.serve(vec![new.public("new")]);
    let before = issuer.asked();
    let (bearer, address) = (new.bearer("new", &claims(json!({}))), url.clone());
    eventually("the new key is known", move || {
        Caller::plain(&address).status(CATALOG, Some(&bearer)) == Some(200)
    })
    .await;
    assert!(issuer.asked() > before);
    assert_eq!(
        ask(CATALOG, keys[2].bearer("d", &claims(json!({})))).await,
        Some(401),
        "taken back"
    );
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_cannot_be_reached_keeps_nobody_else_out() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("keys.json"),
        json!({"keys": [Key::eddsa().public("x")]}).to_string(),
    )
    .unwrap();
    let options = with_auth(
        &folder,
        "users: [{username: a, password: b}]\n\
         oidc: [{issuer: i, audience: a, jwks_url: 'http://127.0.0.1:1/keys'}, {issuer: j, audience: a, jwks_file: keys.json}]\n",
    );
    let host = Host::start(broker(), &options).await.unwrap();
    let url = &host.info().url;
    let bearer = Key::eddsa().bearer("x", &json!({"iss": "i", "aud": "a", "exp": 9_999_999_999_u64}));
    assert_eq!(status(Caller::plain(url), CATALOG, Some(bearer)).await, Some(401));
    assert_eq!(status(Caller::plain(url), CATALOG, Some(basic("a:b"))).await, Some(200));
    host.stop().await;
}

/// OSB-AUTH-01, OSB-AUTH-02, OSB-AUTH-06, OSB-GEN-04
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_names_the_platform() {
    let folder = tempfile::tempdir().unwrap();
    let (own, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    fs::write(folder.path().join("clients.pem"), &clients.pem).unwrap();
    let options = with_auth(
        &folder,
        "users: [{username: a, password: b}]\n\
         client_certificates:\n\
         \x20 ca_file: clients.pem\n\
         \x20 clients:\n\
         \x20 - {subject: 'CN=cloud-controller,O=Example', platform: cf}\n\
         \x20 - {dns: catalog.example.com, platform: k8s}\n",
    );
    let host = Host::start(broker(), &with_tls(&folder, &own, options)).await.unwrap();
    let url = host.info().url.clone();
    let cf = clients.sign("cloud-controller");
    let ask = |own_pair: Option<&Pair>, path, authorization: Option<&str>| {
        status(
            Caller::secure(&url, &own, own_pair),
            path,
            authorization.map(str::to_owned),
        )
    };
    assert_eq!(ask(Some(&cf), CATALOG, None).await, Some(200));
    assert_eq!(ask(Some(&cf), "/cf/v2/catalog", None).await, Some(200));
    assert_eq!(ask(Some(&cf), "/k8s/v2/catalog", None).await, Some(401));
    assert_eq!(
        ask(Some(&clients.sign("catalog.example.com")), "/k8s/v2/catalog", None).await,
        Some(200)
    );
    assert_eq!(
        ask(Some(&clients.sign("nobody")), CATALOG, None).await,
        Some(401),
        "signed, but unknown"
    );
    assert_eq!(
        ask(Some(&strangers.sign("cloud-controller")), CATALOG, None).await,
        None,
        "no handshake"
    );
    assert_eq!(ask(None, CATALOG, None).await, Some(401));
    assert_eq!(
        ask(None, CATALOG, Some(&basic("a:b"))).await,
        Some(200),
        "a password still does"
    );
    assert_eq!(ask(Some(&cf), CATALOG, Some(&basic("a:wrong"))).await, Some(401));

    // Another authority from now on, and all have to show a certificate. Who was let in is asked again.
    let mut open = Caller::secure(&url, &own, Some(&cf)).connect().unwrap();
    assert_eq!(open.get(CATALOG, None).unwrap().0, 200);
    fs::write(folder.path().join("clients.pem"), &strangers.pem).unwrap();
    let required =
        "client_certificates: {ca_file: clients.pem, required: true, clients: [{subject: CN=cc, platform: cf}]}";
    write_auth(folder.path(), required);
    host.reload();
    let cc = strangers.sign("cc");
    let (caller, outside) = (Caller::secure(&url, &own, Some(&cc)), Caller::secure(&url, &own, None));
    eventually("the new authority counts", move || {
        caller.status(CATALOG, None) == Some(200)
    })
    .await;
    assert_eq!(
        status(outside, "/healthz", None).await,
        None,
        "no certificate, no handshake"
    );
    assert!(
        tokio::task::spawn_blocking(move || open.is_closed()).await.unwrap(),
        "the old connection has ended"
    );
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_change_while_the_broker_runs_and_a_wrong_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let options = with_auth(&folder, "users: [{username: a, password: first}]");
    let host = Host::start(broker(), &options).await.unwrap();
    let url = host.info().url.clone();
    let lets_in = |login: &'static str, path: String| {
        let caller = Caller::plain(&path);
        move || caller.status(CATALOG, Some(&basic(login))) == Some(200)
    };
    assert_eq!(
        status(Caller::plain(&url), CATALOG, Some(basic("a:first"))).await,
        Some(200)
    );
    // Nobody tells it: the file is seen to have changed.
    write_auth(folder.path(), "users: [{username: a, password: second}]");
    eventually("the new password counts", lets_in("a:second", url.clone())).await;
    assert_eq!(
        status(Caller::plain(&url), CATALOG, Some(basic("a:first"))).await,
        Some(401)
    );
    // One that cannot be used, one with a platform that has no namespace: told, and left.
    for wrong in [
        "users: [{username: a}",
        "users: [{username: a, password: third, platform: new}]",
    ] {
        write_auth(folder.path(), wrong);
        host.reload();
        // A further user of the data folder would be known after a reload that works.
        for _ in 0..5 {
            tokio::task::yield_now().await;
            assert_eq!(
                status(Caller::plain(&url), CATALOG, Some(basic("a:second"))).await,
                Some(200),
                "{wrong}"
            );
        }
        assert_eq!(
            status(Caller::plain(&url), CATALOG, Some(basic("a:third"))).await,
            Some(401)
        );
    }
    write_auth(folder.path(), "users: [{username: a, password: fourth}]");
    eventually("it is well again", lets_in("a:fourth", url.clone())).await;
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_used_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let own = Authority::new();
    let options = with_tls(&folder, &own, with_auth(&folder, ""));
    let host = Host::start(broker(), &options).await.unwrap();
    let url = host.info().url.clone();
    let mut open = Caller::secure(&url, &own, None).connect().unwrap();
    let before = open.certificate.clone().unwrap();
    // First the one, then the other: together they fit, and only then they count.
    let pair = own.sign("broker.example.com");
    fs::write(folder.path().join("chain.pem"), &pair.chain).unwrap();
    host.reload();
    assert_eq!(
        Caller::secure(&url, &own, None).connect().unwrap().certificate,
        Some(before.clone())
    );
    fs::write(folder.path().join("key.pem"), &pair.key).unwrap();
    let caller = Caller::secure(&url, &own, None);
    eventually("the new certificate is shown", move || {
        caller
            .connect()
            .is_ok_and(|line| line.certificate.is_some_and(|found| found != before))
    })
    .await;
    let goes_on = tokio::task::spawn_blocking(move || open.get("/healthz", None).unwrap().0);
    assert_eq!(goes_on.await.unwrap(), 200, "what was open goes on");
    host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_auth_file_is_said_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("ca.pem"), Authority::new().pem).unwrap();
    for (text, said) in [
        (
            "users: [{username: u, password: canary, role: x}]",
            "auth.yaml is not what it should be at line 1",
        ),
        (
            "client_certificates: {ca_file: ca.pem, clients: [{dns: x}]}",
            "give --tls-cert and --tls-key",
        ),
    ] {
        let error = Host::start(broker(), &with_auth(&folder, text)).await.err().unwrap();
        let error = match error {
            HostError::Content { .. } => error.to_string(),
            other => panic!("{other}"),
        };
        assert!(error.contains(said) && !error.contains("canary"), "{error}");
    }
    let options = with_tls(&folder, &Authority::new(), with_auth(&folder, ""));
    write_auth(
        folder.path(),
        "client_certificates: {ca_file: auth.yaml, clients: [{dns: x}]}",
    );
    let error = Host::start(broker(), &options).await.err().unwrap();
    assert!(matches!(&error, HostError::Tls { .. }), "{error}");
    assert!(!folder.path().join("data").exists(), "nothing was made");
}
