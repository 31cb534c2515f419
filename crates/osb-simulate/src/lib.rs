//! The platforms as clients: Cloud Foundry, Korifi, Kubernetes Service Catalog, SAP Service Manager and IBM Cloud,
//! simulated closely enough to tell before the first deployment whether a broker will get on with them.
//!
//! Each [`Platform`] sends what the real one sends (version, headers, user, context, what it leaves out, what it writes
//! as `null`) and does what the real one does with each answer: when it polls and for how long, when it sends a request
//! again, when it removes what may be left (orphan mitigation), and whether it asks what became of that. A
//! [`Simulation`] plays scenarios: a whole life, repeats, calls at the same time, answers that are lost at every call,
//! a broker that is away for 34 hours. It looks whether anything is left at the end, and tells the story of the exchange
//! when something is wrong.
//!
//! It knows no broker and no server: a [`Transport`] leads to one, over [`Http`] or [`InProcess`] to any tower service.
//! Time is a [`Clock`]: a [`VirtualClock`] plays a week in a moment.
//!
//! A test of a broker of one's own on this SDK, in two lines, where `broker` is the function that makes it:
//!
//! ```ignore
//! let test = osb_sdk::TestBroker::start(broker).await;
//! osb_simulate::assert_all_platforms_get_on(InProcess::open(test.service()), Options::default()).await;
//! ```
//!
//! Step by step, with any other broker:
//!
//! ```
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//! use osb_simulate::{InProcess, Options, Platform, Simulation, VirtualClock};
//!
//! # async fn broker(_: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, std::io::Error> {
//! #     Ok(Response::new(Full::new(Bytes::from_static(b"{\"services\": []}"))))
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! // Any tower service; for a broker on this SDK its `osb_server::Server`.
//! let service = tower::service_fn(broker);
//! let transport = InProcess::new(service, "user", "password");
//! let simulation = Simulation::new(transport, VirtualClock::new(), Options::default());
//! for platform in Platform::ALL {
//!     let report = simulation.run(platform).await;
//!     println!("{report}");
//!     assert!(!report.passed(), "this broker has nothing to offer");
//! }
//! # }
//! ```

mod answer;
mod call;
mod clock;
mod job;
mod options;
mod platform;
mod play;
mod report;
mod scenario;
mod simulation;
mod story;
mod transport;
mod wire;

pub use clock::{Clock, RealClock, VirtualClock};
pub use options::Options;
pub use platform::{Platform, UnknownPlatform};
pub use report::{Report, ScenarioReport, Verdict};
pub use simulation::{Simulation, assert_all_platforms_get_on};
pub use story::Story;
pub use transport::{Http, InProcess, Lost, Transport};
