//! The engine of a broker: the author's trait, idempotency, durable operations, sealed state.
