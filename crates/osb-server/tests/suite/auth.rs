//! Who is let in, and as whom.

use http::header::AUTHORIZATION;
use osb_api::base64;

use crate::harness::*;

const ALL: [(&str, &str); 10] = [
    ("GET", "/v2/catalog"),
    ("GET", INSTANCE),
    ("PUT", INSTANCE),
    ("PATCH", INSTANCE),
    ("DELETE", INSTANCE),
    ("GET", "/v2/service_instances/i/last_operation"),
    ("GET", BINDING),
    ("PUT", BINDING),
    ("DELETE", BINDING),
    ("GET", "/v2/service_instances/i/service_bindings/b/last_operation"),
];

fn basic(login: &str) -> String {
    format!("Basic {}", base64::encode(login.as_bytes()))
}

/// OSB-AUTH-01, -02, -03, -04, -07, OSB-CAT-10, Amb-21: before version, route, identifiers and body.
#[tokio::test]
async fn nothing_is_said_without_valid_credentials() {
    let front = Front::new(Script::default());
    let others = [
        ("POST", "/v2/catalog"),
        ("GET", "/nothing"),
        ("GET", "/v2/service_instances/%zz"),
        ("GET", "/"),
    ];
    for (method, uri) in ALL.into_iter().chain(others) {
        for login in [
            None,
            Some(basic("user:wrong")),
            Some(basic("wrong:pass")),
            Some("Basic ?".into()),
            Some("Bearer x".into()),
        ] {
            let mut request = bare(method, uri).header("If-None-Match", "*");
            if let Some(login) = &login {
                request = request.header(AUTHORIZATION, login);
            }
            let answer = front.send(request, "{").await.refused(401);
            assert!(answer.header("www-authenticate").unwrap().starts_with("Basic realm="));
        }
    }
    assert_eq!(front.seen(), []);
}

/// OSB-GEN-04: a login belongs to a platform.
#[tokio::test]
async fn the_login_decides_the_platform() {
    let front = Front::with(
        Script::default(),
        &config().user("k8s", "secret", platform("kubernetes")),
    );
    front.json("PUT", INSTANCE, PROVISION).await;
    assert_eq!(front.caller().platform, platform("cf"));
    let request = bare("PUT", INSTANCE)
        .header(AUTHORIZATION, basic("k8s:secret"))
        .header("X-Broker-API-Version", "2.14");
    assert_eq!(front.send(request, PROVISION).await.status, 201);
    assert_eq!(front.caller().platform, platform("kubernetes"));
    assert_eq!(front.caller().version.minor, 14);
}

/// OSB-GEN-04: so does a prefix, and only its own logins are let in there.
#[tokio::test]
async fn a_prefix_decides_the_platform() {
    let config = config()
        .user("user", "pass", platform("b"))
        .user("other", "pass", platform("c"))
        .prefix("b", platform("b"))
        .prefix("c", platform("c"));
    let front = Front::with(Script::default(), &config);
    for (uri, of) in [(INSTANCE.to_owned(), "cf"), (format!("/b{INSTANCE}"), "b")] {
        assert_eq!(front.json("PUT", &uri, PROVISION).await.status, 201);
        assert_eq!(front.caller().platform, platform(of));
    }
    front
        .json("PUT", &format!("/c{INSTANCE}"), PROVISION)
        .await
        .refused(401);
    front
        .json("PUT", &format!("/d{INSTANCE}"), PROVISION)
        .await
        .refused(404);
    front.plain("GET", "/b").await.refused(404);
    front.plain("GET", "/b/b/v2/catalog").await.refused(404);
    assert_eq!(front.plain("GET", "/b/v2/catalog").await.status, 200);
}

#[test]
fn settings_that_cannot_work_are_refused() {
    use osb_server::{Config, ConfigError};
    let check = |config: Config| config.check().unwrap_err();
    assert_eq!(
        check(Config::default().user("a:b", "p", platform("x"))),
        ConfigError::UserName("a:b".into())
    );
    assert_eq!(
        check(Config::default().user("", "p", platform("x"))),
        ConfigError::EmptyCredentials
    );
    assert_eq!(
        check(Config::default().user("u", "", platform("x"))),
        ConfigError::EmptyCredentials
    );
    for segment in ["", "v2", "healthz", "a/b", "a b", ".."] {
        assert_eq!(
            check(Config::default().prefix(segment, platform("x"))),
            ConfigError::Prefix(segment.into())
        );
    }
    let twice = Config::default().prefix("a", platform("x")).prefix("a", platform("y"));
    assert_eq!(check(twice), ConfigError::RepeatedPrefix("a".into()));
    assert!(!format!("{:?}", config()).contains("pass"), "passwords are not printed");
}
