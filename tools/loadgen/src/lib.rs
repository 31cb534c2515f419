//! What the tools of the project share to speak with a broker: a small HTTP/1.1 client that costs little CPU, and a
//! histogram of latencies. It knows nothing of the broker's code, so that it shares no bug with it.

pub mod histogram;
pub mod http;
