//! The front alone, over a broker that answers what a test tells it to.

mod arbitrary;
mod auth;
mod bad_input;
mod calls;
mod catalog;
mod errors;
mod harness;
mod headers;
mod pages;
mod updates;
mod urls;
mod versions;
mod wire;
