//! YAML as the tools of Kubernetes read it, and a writer of it.
//!
//! Plain texts mean what they mean to kubectl: `yes` and `on` are booleans, `0777` is octal, a date is a text. Other than there a
//! number keeps its text (`1.10`), and a key is the text that stands in the document (`on: push`).

mod read;
mod scalar;
mod write;

pub use read::read_all;
pub use write::to_yaml;

#[cfg(test)]
mod tests;
