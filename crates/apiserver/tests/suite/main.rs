//! The API server as its clients see it: through `kube::Client` and through plain HTTP requests.

mod client;
mod definitions;
mod facts;
mod model;
mod namespaces;
mod recordings;
mod requests;
mod support;
mod watches;
