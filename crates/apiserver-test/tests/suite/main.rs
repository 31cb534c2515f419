//! Real clients, which nobody here wrote, on a [`TestServer`](apiserver_test::TestServer) and on a real kube-apiserver.

mod compare;
mod controllers;
mod examples;
mod kubectl;
mod library;
mod place;
mod python;
