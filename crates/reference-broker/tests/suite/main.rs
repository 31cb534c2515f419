//! The reference broker, bought from over HTTP.

use std::time::Duration;

use osb_api::answer::{InstanceBody, LastOperation};
use osb_api::error::Reserved;
use osb_api::id::{BindingId, InstanceId, OfferingId, PlanId};
use osb_api::request::{BindRequest, Incomplete, PollQuery, ProvisionRequest, RemovalQuery};
use osb_client::{Client, End, Error, Options, Reply, Wait};
use osb_sdk::{Credentials, Host, HostOptions};
use reference_broker::{ASYNC, FAST, NARROW, OFFERING, UNBINDABLE};
use serde_json::{Value, json};

struct Shop {
    _folder: tempfile::TempDir,
    host: Host,
    client: Client,
}

impl Shop {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::start(reference_broker::broker(), &HostOptions::on(folder.path()))
            .await
            .unwrap();
        let login = Credentials::read(host.data_dir()).unwrap().unwrap();
        let client = Client::new(&Options::new(&host.info().url, login.username, login.password)).unwrap();
        Self {
            _folder: folder,
            host,
            client,
        }
    }

    async fn provision(&self, id: &str, plan: &str, order: Value) -> Result<Reply<InstanceBody>, Error> {
        let Value::Object(parameters) = order else {
            panic!("parameters are an object")
        };
        let request = ProvisionRequest {
            service_id: OfferingId::new(OFFERING).unwrap(),
            plan_id: PlanId::new(plan).unwrap(),
            organization_guid: "o".into(),
            space_guid: "s".into(),
            context: None,
            parameters: Some(parameters),
            maintenance_info: None,
        };
        self.client
            .provision(&instance(id), &request, Incomplete::Accepted)
            .await
    }

    async fn bind(&self, id: &str, plan: &str, binding: &str) -> Result<Value, Error> {
        let request = BindRequest {
            service_id: Some(OfferingId::new(OFFERING).unwrap()),
            plan_id: Some(PlanId::new(plan).unwrap()),
            context: None,
            app_guid: None,
            bind_resource: None,
            parameters: None,
            predecessor_binding_id: None,
        };
        let binding = BindingId::new(binding).unwrap();
        match self
            .client
            .bind(&instance(id), &binding, &request, Incomplete::Refused)
            .await?
        {
            Reply::Created(body) | Reply::Done(body) => Ok(Value::Object(body.credentials.unwrap())),
            Reply::Accepted { .. } => panic!("nobody asked for a 202"),
        }
    }

    async fn unbind(&self, id: &str, binding: &str) -> Result<(), Error> {
        let binding = BindingId::new(binding).unwrap();
        self.client
            .unbind(&instance(id), &binding, &removal(FAST), Incomplete::Refused)
            .await
            .map(|_| ())
    }

    async fn deprovision(&self, id: &str) -> Result<(), Error> {
        self.client
            .deprovision(&instance(id), &removal(FAST), Incomplete::Refused)
            .await
            .map(|_| ())
    }

    /// The end of what a 202 has begun, and the texts of its progress.
    async fn end(&self, id: &str, reply: Reply<InstanceBody>) -> (End, Vec<String>) {
        let Reply::Accepted { operation, .. } = reply else {
            panic!("{reply:?}")
        };
        let query = PollQuery {
            operation,
            ..PollQuery::default()
        };
        let mut texts = Vec::new();
        let note = |last: &LastOperation| texts.extend(last.description.clone());
        let wait = Wait {
            longest_interval: Duration::from_millis(100),
            ..Wait::default()
        };
        let end = self
            .client
            .wait_for_instance(&instance(id), &query, &wait, note)
            .await
            .unwrap();
        (end, texts)
    }
}

fn instance(id: &str) -> InstanceId {
    InstanceId::new(id).unwrap()
}

fn removal(plan: &str) -> RemovalQuery {
    RemovalQuery {
        service_id: OfferingId::new(OFFERING).unwrap(),
        plan_id: PlanId::new(plan).unwrap(),
    }
}

fn failed(end: &End) -> &str {
    let End::Failed(LastOperation {
        description: Some(text),
        ..
    }) = end
    else {
        panic!("{end:?}")
    };
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn each_binding_has_a_login_of_its_own_that_stays() {
    let shop = Shop::open().await;
    assert!(matches!(
        shop.provision("a", FAST, json!({"label": "mine"})).await,
        Ok(Reply::Created(_))
    ));
    let one = shop.bind("a", FAST, "one").await.unwrap();
    let two = shop.bind("a", FAST, "two").await.unwrap();
    assert_eq!((&one["label"], &two["label"]), (&json!("mine"), &json!("mine")));
    assert_ne!(one["password"], two["password"]);
    assert_ne!(one["username"], two["username"]);
    assert_eq!(shop.bind("a", FAST, "one").await.unwrap(), one);
    shop.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_provision_tells_its_progress() {
    let shop = Shop::open().await;
    let reply = shop.provision("slow", ASYNC, json!({"seconds": 2})).await.unwrap();
    let (end, texts) = shop.end("slow", reply).await;
    assert!(matches!(end, End::Succeeded(_)), "{end:?}");
    assert!(texts.iter().any(|text| text == "1 of 2 seconds"), "{texts:?}");
    shop.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_provision_can_be_interrupted_by_its_removal() {
    let shop = Shop::open().await;
    assert!(matches!(
        shop.provision("slow", ASYNC, json!({"seconds": 3600})).await,
        Ok(Reply::Accepted { .. })
    ));
    let removed = shop
        .client
        .deprovision(&instance("slow"), &removal(ASYNC), Incomplete::Accepted)
        .await
        .unwrap();
    let Reply::Accepted { operation, .. } = removed else {
        panic!("{removed:?}")
    };
    let query = PollQuery {
        operation,
        ..PollQuery::default()
    };
    let end = shop
        .client
        .wait_for_instance(&instance("slow"), &query, &Wait::default(), |_| {})
        .await
        .unwrap();
    assert!(matches!(end, End::Gone | End::Succeeded(_)), "{end:?}");
    shop.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provision_that_fails_for_good_can_be_removed() {
    let shop = Shop::open().await;
    let reply = shop
        .provision("bad", ASYNC, json!({"fail_at": "provision"}))
        .await
        .unwrap();
    let (end, _) = shop.end("bad", reply).await;
    assert_eq!(failed(&end), "Fails as ordered.");
    shop.client
        .deprovision(&instance("bad"), &removal(ASYNC), Incomplete::Accepted)
        .await
        .unwrap();
    shop.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_failure_passes() {
    let shop = Shop::open().await;
    for verb in ["provision", "bind", "unbind", "deprovision"] {
        let order = json!({"fail_at": verb, "fail_times": 2});
        assert!(
            matches!(shop.provision(verb, FAST, order).await, Ok(Reply::Created(_))),
            "{verb}"
        );
        shop.bind(verb, FAST, "b").await.unwrap();
        shop.unbind(verb, "b").await.unwrap();
        shop.deprovision(verb).await.unwrap();
    }
    shop.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bind_that_fails_for_good_leaves_its_instance_usable() {
    let shop = Shop::open().await;
    shop.provision("a", FAST, json!({"fail_at": "bind"})).await.unwrap();
    let error = shop.bind("a", FAST, "b").await.unwrap_err();
    assert!(error.status() >= Some(400), "{error}");
    shop.unbind("a", "b")
        .await
        .or_else(|error| {
            if error.status() == Some(410) {
                Ok(())
            } else {
                Err(error)
            }
        })
        .unwrap();
    shop.deprovision("a").await.unwrap();
    shop.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_fails_for_good_fails_once() {
    let shop = Shop::open().await;
    shop.provision("a", FAST, json!({"fail_at": "unbind"})).await.unwrap();
    shop.bind("a", FAST, "b").await.unwrap();
    assert!(shop.unbind("a", "b").await.is_err());
    shop.unbind("a", "b").await.unwrap();
    shop.deprovision("a").await.unwrap();
    shop.provision("d", FAST, json!({"fail_at": "deprovision"}))
        .await
        .unwrap();
    assert!(shop.deprovision("d").await.is_err());
    // The instance is still whole.
    shop.bind("d", FAST, "b").await.unwrap();
    shop.unbind("d", "b").await.unwrap();
    shop.deprovision("d").await.unwrap();
    shop.host.stop().await;
}

/// OSB-BIND-11.
#[tokio::test(flavor = "multi_thread")]
async fn an_unbindable_plan_is_not_bound() {
    let shop = Shop::open().await;
    shop.provision("a", UNBINDABLE, json!({})).await.unwrap();
    assert_eq!(shop.bind("a", UNBINDABLE, "b").await.unwrap_err().status(), Some(400));
    shop.host.stop().await;
}

/// OSB-ASY-04: the plan `async` has nothing for a platform that does not poll.
#[tokio::test(flavor = "multi_thread")]
async fn the_plan_async_needs_a_platform_that_polls() {
    let shop = Shop::open().await;
    let reply = shop.provision("a", ASYNC, json!({})).await.unwrap();
    assert!(matches!(shop.end("a", reply).await.0, End::Succeeded(_)));
    let error = shop
        .client
        .deprovision(&instance("a"), &removal(ASYNC), Incomplete::Refused)
        .await
        .unwrap_err();
    assert!(
        error
            .refused()
            .is_some_and(|refused| refused.is(Reserved::AsyncRequired)),
        "{error}"
    );
    shop.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_narrow_does_one_thing_at_a_time() {
    let shop = Shop::open().await;
    let first = shop.provision("n1", NARROW, json!({"seconds": 3600}));
    let second = shop.provision("n2", NARROW, json!({}));
    let (first, second) = tokio::join!(first, second);
    // Whichever came first, the instant one has waited for the slow one, or was done before it began.
    assert!(matches!(first, Ok(Reply::Accepted { .. })));
    let fast = shop.provision("n3", NARROW, json!({}));
    let other_plan = shop.provision("other", FAST, json!({}));
    let (narrow, other) = tokio::join!(fast, other_plan);
    assert!(
        matches!(narrow, Ok(Reply::Accepted { .. })),
        "{narrow:?}, after {second:?}"
    );
    assert!(matches!(other, Ok(Reply::Created(_))), "{other:?}");
    shop.host.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_order_is_refused_at_its_field() {
    let shop = Shop::open().await;
    for (order, field) in [
        (json!({"seconds": -1}), "parameters.seconds"),
        (json!({"seconds": 4000}), "parameters.seconds"),
        (json!({"fail_at": "lunch"}), "parameters.fail_at"),
        (json!({"fail_times": 0}), "parameters.fail_times"),
        (json!({"secnods": 1}), "secnods"),
    ] {
        let error = shop.provision("a", FAST, order).await.unwrap_err();
        assert_eq!(error.status(), Some(400));
        assert!(error.to_string().contains(field), "{error}");
    }
    shop.host.stop().await;
}
