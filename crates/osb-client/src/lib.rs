//! A typed client of any Open Service Broker.
