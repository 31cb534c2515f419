//! An API server with hooks of its own: every namespace gets an owner, and production keeps its config maps.
//!
//! `cargo run -p apiserver --example admission`
//!
//! Prints:
//!
//! ```text
//! shop belongs to system:admin
//! configmaps "prices" is forbidden: config maps of production are not deleted
//! ```

use std::sync::Arc;

use apiserver::{AdmissionRequest, ApiServer, Mutate, Operation, Options, Refusal, UserInfo, Validate, Warnings};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};

/// Writes down who has made a namespace.
struct Owner;

impl Mutate for Owner {
    fn wants(&self, request: &AdmissionRequest<'_>) -> bool {
        request.kind == "Namespace" && request.operation == Operation::Create
    }

    fn mutate<'a>(
        &'a self,
        request: &'a AdmissionRequest<'a>,
        _: Option<&'a Value>,
        new: &'a mut Value,
    ) -> BoxFuture<'a, Result<Warnings, Refusal>> {
        async move {
            new["metadata"]["annotations"]["example.com/owner"] = json!(request.user.name);
            Ok(Warnings::new())
        }
        .boxed()
    }
}

/// Lets nobody delete a config map that says it is for production.
struct Keep;

impl Validate for Keep {
    fn wants(&self, request: &AdmissionRequest<'_>) -> bool {
        request.kind == "ConfigMap" && request.operation == Operation::Delete
    }

    fn validate<'a>(
        &'a self,
        _: &'a AdmissionRequest<'a>,
        old: Option<&'a Value>,
        _: Option<&'a Value>,
    ) -> BoxFuture<'a, Result<Warnings, Refusal>> {
        async move {
            match old {
                Some(old) if old["metadata"]["labels"]["tier"] == "production" => {
                    Err(Refusal::forbidden("config maps of production are not deleted"))
                }
                _ => Ok(Warnings::new()),
            }
        }
        .boxed()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options {
        mutating: vec![Arc::new(Owner)],
        validating: vec![Arc::new(Keep)],
        ..Options::default()
    };
    let store = objectstore::memory::open(objectstore::memory::Options::default());
    let server = ApiServer::open(store, options).await?;
    let client = kube::Client::new(server.service_as(UserInfo::admin()), "shop");

    let namespaces: Api<Namespace> = Api::all(client.clone());
    let shop = serde_json::from_value(json!({"metadata": {"name": "shop"}}))?;
    let shop = namespaces.create(&PostParams::default(), &shop).await?;
    let owner = shop
        .metadata
        .annotations
        .and_then(|mut all| all.remove("example.com/owner"));
    println!("shop belongs to {}", owner.unwrap_or_default());

    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let prices = serde_json::from_value(json!({"metadata": {"name": "prices", "labels": {"tier": "production"}}}))?;
    maps.create(&PostParams::default(), &prices).await?;
    if let Err(kube::Error::Api(refusal)) = maps.delete("prices", &DeleteParams::default()).await {
        println!("{}", refusal.message);
    }
    server.shutdown().await;
    Ok(())
}
