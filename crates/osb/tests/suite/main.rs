//! The program as a person uses it: real processes, real sockets, a real folder.

mod admin;
mod apiserver;
mod audit;
mod bad_input;
mod book;
mod check;
mod cut_off;
mod deploy;
mod disk;
mod etcd;
mod harness;
mod image;
mod kubectl;
mod life;
mod lint;
mod moving;
mod new;
mod promises;
mod refusals;
mod replicas;
mod secrets;
mod simulate;
mod template;
mod templates;
mod templates_in_cluster;
mod verbs;
