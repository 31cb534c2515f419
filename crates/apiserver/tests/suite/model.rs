//! Random writes against a small model; a watch from any revision must end where the list ends.

use std::collections::BTreeMap;

use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Events, TestServer};

#[derive(Clone, Debug)]
enum Step {
    Create { name: u8, held: bool },
    Update { name: u8, value: u8 },
    Patch { name: u8, value: u8 },
    Delete { name: u8 },
    Release { name: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..4_u8;
    prop_oneof![
        (name.clone(), any::<bool>()).prop_map(|(name, held)| Step::Create { name, held }),
        (name.clone(), 0..3_u8).prop_map(|(name, value)| Step::Update { name, value }),
        (name.clone(), 0..3_u8).prop_map(|(name, value)| Step::Patch { name, value }),
        name.clone().prop_map(|name| Step::Delete { name }),
        name.prop_map(|name| Step::Release { name }),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Known {
    value: Option<u8>,
    held: bool,
    deleting: bool,
}

type Model = BTreeMap<u8, Known>;

/// The code that a step must be answered with, and the model behind it.
fn expect(model: &mut Model, step: &Step) -> u16 {
    match *step {
        Step::Create { name, held } => {
            if model.contains_key(&name) {
                return 409;
            }
            model.insert(
                name,
                Known {
                    value: None,
                    held,
                    deleting: false,
                },
            );
            201
        }
        Step::Update { name, value } | Step::Patch { name, value } => match model.get_mut(&name) {
            None => 404,
            Some(known) => {
                known.value = Some(value);
                200
            }
        },
        Step::Delete { name } => match model.get_mut(&name) {
            None => 404,
            Some(known) if known.held => {
                known.deleting = true;
                200
            }
            Some(_) => {
                model.remove(&name);
                200
            }
        },
        Step::Release { name } => match model.get_mut(&name) {
            None => 404,
            Some(known) => {
                known.held = false;
                if known.deleting {
                    model.remove(&name);
                }
                200
            }
        },
    }
}

async fn play(server: &TestServer, model: &Model, step: &Step) -> u16 {
    let maps = server.maps();
    let path = |name: u8| format!("{maps}/m{name}");
    let finalizers = |held: bool| if held { json!(["ex.io/hold"]) } else { json!([]) };
    let answer = match *step {
        Step::Create { name, held } => {
            server
                .post(
                    &maps,
                    json!({"metadata": {"name": format!("m{name}"), "finalizers": finalizers(held)}}),
                )
                .await
        }
        Step::Update { name, value } => {
            let held = model.get(&name).is_some_and(|known| known.held);
            server.put(&path(name), json!({"metadata": {"name": format!("m{name}"), "finalizers": finalizers(held)}, "data": {"v": value.to_string()}})).await
        }
        Step::Patch { name, value } => {
            server
                .merge(&path(name), json!({"data": {"v": value.to_string()}}))
                .await
        }
        Step::Delete { name } => server.delete(&path(name)).await,
        Step::Release { name } => {
            server
                .merge(&path(name), json!({"metadata": {"finalizers": null}}))
                .await
        }
    };
    answer.code.as_u16()
}

fn shown(objects: &[Value]) -> Model {
    objects
        .iter()
        .map(|object| {
            let name = object["metadata"]["name"].as_str().unwrap()[1..].parse().unwrap();
            let value = object["data"]["v"].as_str().map(|value| value.parse().unwrap());
            (
                name,
                Known {
                    value,
                    held: object["metadata"]["finalizers"].is_array(),
                    deleting: object["metadata"]["deletionTimestamp"].is_string(),
                },
            )
        })
        .collect()
}

async fn list(server: &TestServer) -> (String, Vec<Value>) {
    let list = server.get(&server.maps()).await.ok();
    (
        list["metadata"]["resourceVersion"].as_str().unwrap().to_owned(),
        list["items"].as_array().unwrap().clone(),
    )
}

async fn run(server: TestServer, steps: Vec<Step>, look: usize) {
    let mut model = Model::new();
    let mut from = list(&server).await;
    for (position, step) in steps.iter().enumerate() {
        if position == look {
            from = list(&server).await;
        }
        let before = model.clone();
        let expected = expect(&mut model, step);
        assert_eq!(play(&server, &before, step).await, expected, "{step:?} at {position}");
        assert_eq!(shown(&list(&server).await.1), model, "after {step:?} at {position}");
    }
    // The state at `look` and the changes since make the state at the end.
    let (end, _) = list(&server).await;
    server
        .post(&server.maps(), json!({"metadata": {"name": "the-end"}}))
        .await
        .ok();
    let mut state: BTreeMap<String, Value> = from
        .1
        .into_iter()
        .map(|object| (object["metadata"]["name"].to_string(), object))
        .collect();
    let mut events = Events::of(
        server
            .open(
                Method::GET,
                &format!("{}?watch=1&resourceVersion={}", server.maps(), from.0),
                &[],
                "",
            )
            .await,
    );
    let mut last: u64 = from.0.parse().unwrap();
    loop {
        let event = events.next().await.unwrap();
        let object = event["object"].clone();
        let revision: u64 = object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(revision > last, "revisions grow");
        last = revision;
        let name = object["metadata"]["name"].to_string();
        if name == "\"the-end\"" {
            break;
        }
        let before = match event["type"].as_str().unwrap() {
            "DELETED" => state.remove(&name),
            kind => {
                let before = state.insert(name, object);
                assert_eq!(before.is_none(), kind == "ADDED");
                continue;
            }
        };
        assert!(before.is_some());
    }
    assert!(last > end.parse().unwrap());
    assert_eq!(shown(&state.into_values().collect::<Vec<_>>()), model);
}

fn on_runtime(run: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(run);
}

fn scripts() -> impl Strategy<Value = (Vec<Step>, usize)> {
    (prop::collection::vec(step(), 1..40), 0..40_usize)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn the_server_in_memory_does_as_the_model_and_a_watch_tells_all((steps, look) in scripts()) {
        on_runtime(async { run(TestServer::memory().await, steps, look).await });
    }

    #[test]
    fn the_embedded_server_does_as_the_model_and_a_watch_tells_all((steps, look) in scripts()) {
        on_runtime(async { run(TestServer::embedded().await, steps, look).await });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn the_server_on_etcd_does_as_the_model_and_a_watch_tells_all((steps, look) in scripts()) {
        on_runtime(async {
            if let Some(server) = TestServer::etcd().await {
                run(server, steps, look).await;
            }
        });
    }

    /// It is the model that is tested here.
    #[test]
    fn a_real_server_does_as_the_model_and_a_watch_tells_all((steps, look) in scripts()) {
        on_runtime(async {
            if let Some(server) = TestServer::kubernetes().await {
                run(server, steps, look).await;
            }
        });
    }
}
