//! A typed client of any Open Service Broker.
//!
//! ```no_run
//! use osb_api::id::InstanceId;
//! use osb_api::request::{Incomplete, PollQuery, ProvisionRequest};
//! use osb_client::{Client, Options, Reply, Wait};
//!
//! # async fn run(request: ProvisionRequest) -> Result<(), osb_client::Error> {
//! let client = Client::new(&Options::new("http://127.0.0.1:8080", "user", "password"))?;
//! let id = InstanceId::new("my-database").expect("not empty, not too long");
//! if let Reply::Accepted { operation, .. } = client.provision(&id, &request, Incomplete::Accepted).await? {
//!     let query = PollQuery { operation, ..PollQuery::default() };
//!     let end = client.wait_for_instance(&id, &query, &Wait::default(), |progress| println!("{progress:?}")).await?;
//!     println!("{end:?}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! An answer counts only if its code is one that the route has and its body an object of the right shape; everything
//! else is an [`Error`]. The texts of errors hold no part of a body but `error` and `description`.

mod client;
mod error;
mod options;
mod raw;
mod uri;
mod wait;

pub use client::{Client, Empty, Reply};
pub use error::{Error, Refused};
pub use options::{Options, PlainHttp, Trust};
pub use raw::Raw;
pub use wait::{End, Wait};
