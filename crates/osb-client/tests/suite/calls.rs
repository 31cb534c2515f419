//! Every call, against the project's own front.

use osb_api::answer::State;
use osb_api::error::Reserved;
use osb_api::id::PlanId;
use osb_api::request::{FetchQuery, Incomplete, PollQuery, UpdateRequest};
use osb_client::{Client, Empty, End, Error, Options, PlainHttp, Reply};

use crate::broker::*;

#[tokio::test]
async fn the_catalog_is_read() {
    let read = client().await.catalog().await.unwrap();
    assert_eq!(&read, catalog().check().unwrap().catalog());
}

/// Provision, poll with a passing failure in between, bind, unbind, deprovision; ids that need encoding.
#[tokio::test]
async fn an_instance_lives_from_provision_to_deprovision() {
    let client = client().await;
    let (id, binding) = (instance("crn:v1:x/é %2F"), binding("b/last_operation"));
    let Reply::Accepted { operation, body } = client
        .provision(&id, &provision("p"), Incomplete::Accepted)
        .await
        .unwrap()
    else {
        panic!("no 202")
    };
    assert_eq!(body.dashboard_url.as_deref(), Some("https://d"));
    let query = PollQuery {
        operation,
        plan_id: PlanId::new("p").ok(),
        service_id: None,
    };
    let mut seen = Vec::new();
    let end = client
        .wait_for_instance(&id, &query, &quickly(), |progress| {
            seen.push(progress.description.clone().unwrap())
        })
        .await
        .unwrap();
    assert!(matches!(end, End::Succeeded(last) if last.state == State::Succeeded));
    assert_eq!(seen, ["2 to go"], "the failure that passed is no progress");

    let Reply::Created(bound) = client.bind(&id, &binding, &bind(), Incomplete::Refused).await.unwrap() else {
        panic!("no 201")
    };
    assert_eq!(bound.credentials.unwrap()["user"], "b/last_operation");
    assert_eq!(
        client
            .unbind(&id, &binding, &removal(), Incomplete::Refused)
            .await
            .unwrap(),
        Reply::Done(Empty {})
    );

    let Reply::Accepted { operation, .. } = client.deprovision(&id, &removal(), Incomplete::Accepted).await.unwrap()
    else {
        panic!("no 202")
    };
    let query = PollQuery {
        operation,
        ..PollQuery::default()
    };
    assert_eq!(
        client.wait_for_instance(&id, &query, &quickly(), |_| ()).await.unwrap(),
        End::Gone
    );
}

#[tokio::test]
async fn refusals_are_typed() {
    let client = client().await;
    let id = instance("i");
    let refused = |error: Error| error.refused().expect("a refusal").clone();
    let error = refused(
        client
            .provision(&id, &provision("p"), Incomplete::Refused)
            .await
            .unwrap_err(),
    );
    assert!(error.is(Reserved::AsyncRequired) && !error.is(Reserved::ConcurrencyError));
    let error = refused(
        client
            .provision(&id, &provision("x"), Incomplete::Accepted)
            .await
            .unwrap_err(),
    );
    assert_eq!(error.to_string(), "the broker answers 400: there is no such plan");
    assert_eq!(
        refused(
            client
                .deprovision(&id, &removal(), Incomplete::Accepted)
                .await
                .unwrap_err()
        )
        .status,
        410
    );
    assert_eq!(
        refused(
            client
                .bind(&id, &binding("b"), &bind(), Incomplete::Accepted)
                .await
                .unwrap_err()
        )
        .status,
        404
    );
    assert_eq!(
        refused(client.fetch_instance(&id, &FetchQuery::default()).await.unwrap_err()).status,
        404
    );
    assert_eq!(
        refused(
            client
                .fetch_binding(&id, &binding("b"), &FetchQuery::default())
                .await
                .unwrap_err()
        )
        .status,
        404
    );
    let update = UpdateRequest {
        service_id: provision("p").service_id,
        plan_id: None,
        parameters: None,
        context: None,
        previous_values: None,
        maintenance_info: None,
    };
    let error = refused(client.update(&id, &update, Incomplete::Accepted).await.unwrap_err());
    assert_eq!((error.status, error.body.update_repeatable), (422, Some(false)));
    let unknown = client
        .wait_for_instance(&id, &PollQuery::default(), &quickly(), |_| ())
        .await
        .unwrap_err();
    assert_eq!(
        unknown.status(),
        Some(404),
        "a refusal that does not pass ends the waiting"
    );
}

#[tokio::test]
async fn a_failed_operation_is_an_end() {
    let end = client()
        .await
        .wait_for_binding(&instance("i"), &binding("b"), &PollQuery::default(), &quickly(), |_| ())
        .await
        .unwrap();
    assert!(matches!(end, End::Failed(last) if last.description.as_deref() == Some("no")));
}

#[tokio::test]
async fn wrong_credentials_are_refused() {
    let url = format!("http://{}", serve().await);
    let client = Client::new(&Options::new(url, "user", "wrong")).unwrap();
    assert_eq!(client.catalog().await.unwrap_err().status(), Some(401));
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let new = |options: Options| Client::new(&options).unwrap_err();
    assert!(matches!(
        new(Options::new("http://example.com", "u", "p")),
        Error::Url(_)
    ));
    assert!(matches!(
        new(Options::new("http://localhost", "u:v", "p")),
        Error::Header(_)
    ));
    let everywhere = Options {
        plain_http: PlainHttp::Everywhere,
        ..Options::new("http://example.com", "u", "secret")
    };
    let printed = format!("{everywhere:?} {:?}", Client::new(&everywhere).unwrap());
    assert!(
        !printed.contains("secret") && !printed.contains(&osb_api::base64::encode(b"u:secret")),
        "{printed}"
    );
}
