//! A custom resource in a test: its schema is enforced, a watch sees it.
//!
//! `cargo run -p apiserver-test --example custom_resource` prints
//!
//! ```text
//! created hello
//! refused: Greeting.example.com "long" is invalid: spec.times: Invalid value: 99: spec.times in body should be less than or equal to 10
//! the watch saw hello
//! ```
//!
//! An operator would derive the type with `kube::CustomResource` and define `Greeting::crd()`.

use apiserver_test::TestServer;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{Api, ApiResource, GroupVersionKind, Object, PostParams, WatchEvent, WatchParams};
use serde::{Deserialize, Serialize};

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
          spec:
            type: object
            required: [text, times]
            properties:
              text: {type: string}
              times: {type: integer, minimum: 1, maximum: 10}
";

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Spec {
    text: String,
    times: u32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Status {}

type Greeting = Object<Spec, Status>;

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = TestServer::start().await?;
    server.define(DEFINITION).await?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("example.com", "v1", "Greeting"));
    let greetings: Api<Greeting> = Api::default_namespaced_with(server.client(), &kind);

    let wanted = |name: &str, times| {
        Greeting::new(
            name,
            &kind,
            Spec {
                text: "hello".to_owned(),
                times,
            },
        )
    };
    let made = greetings.create(&PostParams::default(), &wanted("hello", 3)).await?;
    println!("created {}", made.metadata.name.unwrap_or_default());

    if let Err(kube::Error::Api(status)) = greetings.create(&PostParams::default(), &wanted("long", 99)).await {
        println!("refused: {}", status.message);
    }

    let mut watch = greetings.watch(&WatchParams::default(), "0").await?.boxed();
    if let Some(WatchEvent::Added(seen)) = watch.try_next().await? {
        println!("the watch saw {}", seen.metadata.name.unwrap_or_default());
    }
    Ok(())
}
