use http::Method;
use osb_sdk::{Reply, TestBroker};
use serde_json::{Value, json};

use super::*;

async fn start() -> TestBroker {
    TestBroker::start(|| broker("logs.test", "of the client")).await
}

/// A bind as a platform sends it, with what is bound.
async fn bind(broker: &TestBroker, (instance, binding): (&str, &str), offering: usize, resource: Value) -> Reply {
    let catalog = broker.send(Method::GET, "/v2/catalog", None).await.body;
    let offering = &catalog["services"][offering];
    let body = json!({
        "service_id": offering["id"], "plan_id": offering["plans"][0]["id"], "bind_resource": resource,
    });
    let path = format!("/v2/service_instances/{instance}/service_bindings/{binding}");
    broker.send(Method::PUT, &path, Some(body)).await
}

/// OSB-BIND-22, OSB-BIND-27, OSB-PROV-17
#[tokio::test(start_paused = true)]
async fn the_log_of_an_application_goes_to_the_archive_with_a_dashboard() {
    let broker = start().await;
    let made = broker.provision("logs", "log-archive/month", json!({})).await;
    let dashboard = made.body["dashboard_url"].as_str().expect("a dashboard");
    let name = dashboard
        .strip_prefix("https://logs.test/archives/")
        .expect("its address");
    let bound = bind(&broker, ("logs", "app"), 0, json!({"app_guid": "shop"})).await;
    let drain = format!("syslog-tls://logs.test:6514/?archive={name}");
    assert_eq!((bound.status, &bound.body["syslog_drain_url"]), (201, &json!(drain)));
    let endpoint = json!([{"host": "logs.test", "ports": ["6514"], "protocol": "tcp"}]);
    assert_eq!(bound.body["endpoints"], endpoint);
}

/// OSB-BIND-23
#[tokio::test(start_paused = true)]
async fn a_route_goes_through_the_proxy_and_an_application_cannot() {
    let broker = start().await;
    broker.provision("access", "access-log/day", json!({})).await;
    let refused = bind(&broker, ("access", "app"), 1, json!({"app_guid": "shop"})).await;
    assert!(
        refused.body["description"].to_string().contains("to a route"),
        "{refused:?}"
    );
    let bound = bind(&broker, ("access", "route"), 1, json!({"route": "shop.example.com"})).await;
    let url = bound.body["route_service_url"].as_str().expect("a proxy");
    assert!(url.starts_with("https://logs.test/through/proxy_"), "{url}");
}

/// OSB-SVC-05, OSB-SVC-11
#[tokio::test(start_paused = true)]
async fn the_catalog_says_what_the_platform_has_to_permit() {
    let catalog = start().await.send(Method::GET, "/v2/catalog", None).await.body;
    let [archive, access_log] = [0, 1].map(|at| &catalog["services"][at]);
    assert_eq!(archive["requires"], json!(["syslog_drain"]));
    assert_eq!(access_log["requires"], json!(["route_forwarding"]));
    let client = json!({"id": "log-archive", "secret": "of the client", "redirect_uri": "https://logs.test/login"});
    assert_eq!(archive["dashboard_client"], client);
}
