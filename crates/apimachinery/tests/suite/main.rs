//! Scenarios of the crate: answers recorded on a real kube-apiserver, the laws of each rule, and a definition as brokers have it.

mod definition;
mod laws;
mod recorded;
