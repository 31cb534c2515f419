//! What the store promises, on every engine, and what only the durable one can be asked.

mod crash;
mod damage;
mod disk;
mod folder;
mod history;
mod model;
mod reopen;
mod support;
mod transactions;
mod watches;
