//! The one dependency of a broker author.
