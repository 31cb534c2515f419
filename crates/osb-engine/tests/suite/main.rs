//! The engine on a home: every test runs on the embedded API server and on a real kube-apiserver, so that what works
//! on one only is seen at once.

mod author;
mod bindings;
mod catalogs;
mod crashes;
mod faults;
mod fetches;
mod fields;
mod homes;
mod hooks;
mod instances;
mod kinds;
mod late_updates;
mod live;
mod measures;
mod model;
mod platform;
mod races;
mod repeats;
mod replicas;
mod rotations;
mod secrets;
mod updates;

/// Runs each test on every home.
macro_rules! on_each_home {
    ($($(#[$doc:meta])* async fn $name:ident($home:ident: TestHome) $body:block)*) => {
        $($(#[$doc])*
        mod $name {
            use super::*;

            async fn on($home: crate::homes::TestHome) $body

            #[tokio::test]
            async fn embedded() {
                on(crate::homes::TestHome::embedded().await).await;
            }

            #[tokio::test]
            async fn kubernetes() {
                if let Some(home) = crate::homes::TestHome::kubernetes().await {
                    on(home).await;
                }
            }
        })*
    };
}
pub(crate) use on_each_home;
