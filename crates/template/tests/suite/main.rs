//! Real templates, processed and compared with what the library in Go makes of them.

mod corpus;
mod laws;
mod own;
