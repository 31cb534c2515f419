//! The smallest broker: message queues, in thirty lines of code.
//!
//! `cargo run -p minimal` prints
//!
//! ```text
//! The broker `queues` is ready.
//! ```
//!
//! and where it listens, where its login, its kubeconfig and its data are, and what to type next.
//!
//! A real broker would make the queue and the user in its backend where the comments say so. Everything else is there:
//! the functions may be interrupted at any moment and called again, and `stable_name` gives the same name each time.
#![cfg_attr(rustfmt, rustfmt::skip)] // Laid out by hand: the broker fits on one screen.

use osb_sdk::{Binding, Broker, NoParameters, Offering, Operation, Plan, Result, Service};
use serde::{Deserialize, Serialize};

#[derive(Deserialize, schemars::JsonSchema)]
struct NewQueue { max_messages: u32 }

#[derive(Serialize, Deserialize)]
struct Queue { name: String, max_messages: u32 }

#[derive(Serialize, Deserialize)]
struct Login { queue: String, user: String }

struct Queues;

impl Service for Queues {
    type Parameters = NewQueue;
    type BindParameters = NoParameters;
    type State = Queue;
    type Credentials = Login;

    // Make the queue if it is not there.
    async fn provision(&self, op: &Operation, new: NewQueue) -> Result<Queue> {
        Ok(Queue { name: op.stable_name("queue"), max_messages: new.max_messages })
    }

    // Remove the queue `op.stable_name("queue")` if it is there.
    async fn deprovision(&self, _op: &Operation, _queue: Option<Queue>) -> Result<()> { Ok(()) }

    // Make a user for the application if it is not there.
    async fn bind(&self, op: &Operation, queue: &Queue, _: NoParameters) -> Result<Binding<Login>> {
        Ok(Binding::new(Login { queue: queue.name.clone(), user: op.stable_name("user") }))
    }

    // Remove the user `op.stable_name("user")` if it is there.
    async fn unbind(&self, _op: &Operation, _queue: &Queue, _login: Option<Login>) -> Result<()> { Ok(()) }
}

pub(crate) fn broker() -> Broker {
    let plan = Plan::new("4dbf1a86-8d0f-4c2b-a1f5-0f6f5d3c7e02", "small", "One queue");
    let offering = Offering::new("8a3c6b50-2b7e-4f0d-9d6e-7c1b5e4a9f01", "queue", "Message queues").plan(plan);
    Broker::new("queues").service(offering.bindable(true), Queues)
}

fn main() -> std::process::ExitCode { osb_sdk::run(broker()) }
