//! The example is as small as it says, and works.

#[path = "../../src/main.rs"]
#[expect(dead_code, reason = "here it is not a program")]
mod minimal;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use osb_api::id::{BindingId, InstanceId, OfferingId, PlanId};
use osb_api::request::{BindRequest, Incomplete, MissingOrganization, ProvisionRequest, RemovalQuery};
use osb_client::{Client, Options, Reply};
use osb_host::{Credentials, DataDir, ServerInfo};

#[test]
fn the_broker_is_at_most_thirty_lines_of_code() {
    let source = include_str!("../../src/main.rs");
    let code = source
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("//"));
    assert!(code.count() <= 30);
    assert!(
        source.lines().all(|line| line.chars().count() <= 120),
        "not by longer lines"
    );
}

/// What any author can do in a test of his own.
#[tokio::test]
async fn every_platform_gets_on_with_the_broker() {
    let broker = osb_sdk::TestBroker::start(minimal::broker).await;
    let options = osb_simulate::Options::with_parameters([("max_messages", 10)]);
    osb_simulate::assert_all_platforms_get_on(osb_simulate::InProcess::open(broker.service()), options).await;
}

/// The example as a process; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path) -> (Running, ServerInfo) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_minimal"));
    command
        .args(["--listen", "127.0.0.1:0", "--kube-listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder);
    command
        .env_remove("OSB_USERNAME")
        .env_remove("OSB_PASSWORD")
        .env_remove("OSB_KEY_FILE");
    let running = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        if let Ok(Some(info)) = ServerInfo::read(&DataDir::new(folder)) {
            return (running, info);
        }
        assert!(Instant::now() < deadline, "the example does not start");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn the_broker_does_what_its_catalog_says() {
    let folder = tempfile::tempdir().unwrap();
    let (_running, info) = start(folder.path());
    assert_eq!(info.broker, "queues");
    let login = Credentials::read(&DataDir::new(folder.path())).unwrap().unwrap();
    let client = Client::new(&Options::new(info.url, login.username, login.password)).unwrap();
    let served = serde_json::from_slice(&client.catalog_bytes().await.unwrap()).unwrap();
    assert_eq!(
        osb_lint::lint(&served),
        [],
        "what an author copies pleases every platform"
    );
    let catalog = client.catalog().await.unwrap();
    let (offering, plan) = (&catalog.services[0], &catalog.services[0].plans[0]);
    assert!(plan.schemas.instance_create.as_ref().unwrap()["properties"]["max_messages"].is_object());

    let (instance, binding) = (InstanceId::new("q").unwrap(), BindingId::new("b").unwrap());
    let request = |parameters: serde_json::Value| {
        let body = serde_json::json!({
            "service_id": offering.id, "plan_id": plan.id, "organization_guid": "o", "space_guid": "s",
            "parameters": parameters,
        });
        ProvisionRequest::from_json(body.to_string().as_bytes(), MissingOrganization::Refuse).unwrap()
    };
    let wrong = client
        .provision(&instance, &request(serde_json::json!({})), Incomplete::Accepted)
        .await
        .unwrap_err();
    assert!(
        wrong.status() == Some(400) && wrong.to_string().contains("max_messages"),
        "{wrong}"
    );
    let right = request(serde_json::json!({"max_messages": 10}));
    assert!(matches!(
        client.provision(&instance, &right, Incomplete::Accepted).await,
        Ok(Reply::Created(_))
    ));

    let body = serde_json::json!({"service_id": offering.id, "plan_id": plan.id});
    let bind = BindRequest::from_json(body.to_string().as_bytes()).unwrap();
    let Ok(Reply::Created(bound)) = client.bind(&instance, &binding, &bind, Incomplete::Accepted).await else {
        panic!("not bound");
    };
    let credentials = bound.credentials.unwrap();
    assert!(credentials["queue"].as_str().unwrap().starts_with("queue_"));
    assert!(credentials["user"].as_str().unwrap().starts_with("user_"));

    let query = RemovalQuery {
        service_id: OfferingId::new(&*offering.id).unwrap(),
        plan_id: PlanId::new(&*plan.id).unwrap(),
    };
    assert!(matches!(
        client.unbind(&instance, &binding, &query, Incomplete::Accepted).await,
        Ok(Reply::Done(_))
    ));
    assert!(matches!(
        client.deprovision(&instance, &query, Incomplete::Accepted).await,
        Ok(Reply::Done(_))
    ));
    assert_eq!(
        client
            .deprovision(&instance, &query, Incomplete::Accepted)
            .await
            .unwrap_err()
            .status(),
        Some(410)
    );
}
