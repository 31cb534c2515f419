//! The template broker on an API server, with the controller of TemplateInstances beside it, and platforms that buy from it.

mod bindings;
mod catalog;
mod corpus;
mod fronts;
mod life;
mod mall;
mod measures;
mod projection;
mod rights;
