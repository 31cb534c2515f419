//! The API server as its clients see it: through `kube::Client` and through plain HTTP requests.
//!
//! What speaks of the Kubernetes API runs on each engine of the store and on a real kube-apiserver, which decides who is right
//! when the two differ ([`on_each_server`]); what speaks of the store, of restarts and of the process runs on the engines only
//! ([`on_each_engine`]).

mod access;
mod builtins;
mod client;
mod clients;
mod collection;
mod controllers;
mod definitions;
mod differential;
mod facts;
mod forms;
mod indexes;
mod kubernetes;
mod log;
mod model;
mod namespaces;
mod openapi;
mod parts;
mod recordings;
mod requests;
mod support;
mod watches;

/// Runs each test on a server of ours for each engine, and on a real one.
macro_rules! on_each_server {
    ($($(#[$doc:meta])* async fn $name:ident($server:ident: TestServer) $body:block)*) => {
        $($(#[$doc])*
        mod $name {
            use super::*;

            async fn on($server: TestServer) $body

            #[tokio::test]
            async fn memory() {
                on(TestServer::memory().await).await;
            }

            #[tokio::test]
            async fn embedded() {
                on(TestServer::embedded().await).await;
            }

            #[tokio::test]
            async fn etcd() {
                if let Some(server) = TestServer::etcd().await {
                    on(server).await;
                }
            }

            #[tokio::test]
            async fn kubernetes() {
                if let Some(server) = TestServer::kubernetes().await {
                    on(server).await;
                }
            }
        })*
    };
}
pub(crate) use on_each_server;

/// Runs each test on a server of ours for each engine.
macro_rules! on_each_engine {
    ($($(#[$doc:meta])* async fn $name:ident($server:ident: TestServer) $body:block)*) => {
        $($(#[$doc])*
        mod $name {
            use super::*;

            async fn on($server: TestServer) $body

            #[tokio::test]
            async fn memory() {
                on(TestServer::memory().await).await;
            }

            #[tokio::test]
            async fn embedded() {
                on(TestServer::embedded().await).await;
            }

            #[tokio::test]
            async fn etcd() {
                if let Some(server) = TestServer::etcd().await {
                    on(server).await;
                }
            }
        })*
    };
}
pub(crate) use on_each_engine;
