//! A controller in a test: it keeps a ConfigMap for each Greeting, and puts right what somebody changes.
//!
//! `cargo run -p apiserver-test --example controller` prints
//!
//! ```text
//! the controller has written: hello hello hello
//! somebody changed it, and the controller has put it right
//! ```
//!
//! It is the bare loop, so that the example needs nothing but a client; what an operator uses for that, such as
//! `kube::runtime::Controller`, gets the same client.

use std::collections::BTreeMap;
use std::time::Duration;

use apiserver_test::TestServer;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ApiResource, GroupVersionKind, Object, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt as _};
use serde::{Deserialize, Serialize};
use serde_json::json;

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: greetings.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: greetings, kind: Greeting}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {text: {type: string}, times: {type: integer}}}
";

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Spec {
    text: String,
    times: usize,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Status {}

type Greeting = Object<Spec, Status>;

fn kind() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Greeting"))
}

/// What the ConfigMap of a Greeting has to say.
fn said(greeting: &Greeting) -> BTreeMap<String, String> {
    let text = vec![greeting.spec.text.as_str(); greeting.spec.times].join(" ");
    BTreeMap::from([("text".to_owned(), text)])
}

/// Brings one ConfigMap to what its Greeting says. With server-side apply that is one request, whatever is there.
async fn reconcile(greeting: &Greeting, maps: &Api<ConfigMap>) -> kube::Result<()> {
    let owner = json!({
        "apiVersion": "example.com/v1", "kind": "Greeting", "controller": true,
        "name": greeting.name_any(), "uid": greeting.uid(),
    });
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": said(greeting),
        "metadata": {"name": greeting.name_any(), "ownerReferences": [owner]},
    });
    let apply = PatchParams::apply("greeter").force();
    maps.patch(&greeting.name_any(), &apply, &Patch::Apply(&map))
        .await
        .map(drop)
}

/// Reconciles each Greeting whenever it or its ConfigMap changes.
async fn control(client: Client) -> kube::Result<()> {
    let greetings: Api<Greeting> = Api::default_namespaced_with(client.clone(), &kind());
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let wanted = greetings.watch(&WatchParams::default(), "0").await?.map_ok(changed);
    let written = maps.watch(&WatchParams::default(), "0").await?.map_ok(changed);
    let mut changes = stream::select(wanted.boxed(), written.boxed());
    while let Some(name) = changes.try_next().await? {
        if let Some(name) = name
            && let Some(greeting) = greetings.get_opt(&name).await?
        {
            reconcile(&greeting, &maps).await?;
        }
    }
    Ok(())
}

/// The name of the object that a watch speaks of.
fn changed<K: kube::Resource>(event: WatchEvent<K>) -> Option<String> {
    match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object) => {
            object.meta().name.clone()
        }
        WatchEvent::Bookmark(_) | WatchEvent::Error(_) => None,
    }
}

/// Looks until the ConfigMap says what it should.
async fn until(maps: &Api<ConfigMap>, expected: &BTreeMap<String, String>) -> kube::Result<()> {
    loop {
        let data = maps.get_opt("hello").await?.and_then(|map| map.data);
        if data.as_ref() == Some(expected) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = TestServer::start().await?;
    server.define(DEFINITION).await?;
    let greetings: Api<Greeting> = Api::default_namespaced_with(server.client(), &kind());
    let maps: Api<ConfigMap> = Api::default_namespaced(server.client());
    let controller = tokio::spawn(control(server.client()));

    let wanted = Spec {
        text: "hello".to_owned(),
        times: 3,
    };
    let greeting = Greeting::new("hello", &kind(), wanted);
    greetings.create(&PostParams::default(), &greeting).await?;
    until(&maps, &said(&greeting)).await?;
    println!("the controller has written: {}", said(&greeting)["text"]);

    let change = Patch::Merge(json!({"data": {"text": "bye"}}));
    maps.patch("hello", &PatchParams::default(), &change).await?;
    until(&maps, &said(&greeting)).await?;
    println!("somebody changed it, and the controller has put it right");
    controller.abort();
    Ok(())
}
