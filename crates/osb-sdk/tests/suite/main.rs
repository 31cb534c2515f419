//! What an author reads is whole.

mod examples;
mod exports;
