//! The API server as its clients see it: through `kube::Client` and through plain HTTP requests.

mod client;
mod recordings;
mod support;
