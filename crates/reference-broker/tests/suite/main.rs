//! The reference broker, bought from over HTTP.

mod bindings;
mod catalog;
mod combinations;
mod failures;
mod plans;
mod platforms;
mod shop;
mod updates;
