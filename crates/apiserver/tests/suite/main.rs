//! The API server as its clients see it: through `kube::Client` and through plain HTTP requests. Each test runs on each engine of the
//! store.

macro_rules! on_engine {
    ($engine:ident, durable: $durable:literal) => {
        #[path = "."]
        #[expect(clippy::duplicate_mod, reason = "the same tests run on each engine")]
        mod $engine {
            const DURABLE: bool = $durable;

            mod client;
            mod definitions;
            mod facts;
            mod model;
            mod namespaces;
            mod requests;
            pub(crate) mod support;
            mod watches;
        }
    };
}

on_engine!(memory, durable: false);
on_engine!(embedded, durable: true);

mod recordings;
