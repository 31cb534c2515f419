//! A broker's state on the move: out of a home into an archive, and out of an archive into a home of any kind.
//!
//! [`Backup`] writes what a home holds at one moment into an [`archive`]; [`Restore`] makes it anew somewhere else. All
//! that they know of a home is its Kubernetes API, [`Api`], and how it names namespaces, [`Layout`]. Sealed fields stay
//! sealed: no key lies in an archive, and nothing here opens one.
//!
//! The crate does not know where homes are, nor how they are opened; that is `osb-host`.
//!
//! ```
//! use osb_move::Layout;
//!
//! // What belongs to the platform `cf` in a folder is found again in a cluster.
//! let folder = Layout { system: "osb-system".to_owned(), tenant_prefix: String::new() };
//! let cluster = Layout { system: "brokers".to_owned(), tenant_prefix: "brokers-".to_owned() };
//! assert_eq!(cluster.renamed(&folder, "cf"), "brokers-cf");
//! ```

mod api;
pub mod archive;
mod backup;
mod fsck;
mod inventory;
mod layout;
mod needs;
mod pages;
mod restore;

pub use api::{Api, ApiError};
pub use backup::{Backup, BackupError, Extent, Made, Secrets};
pub use fsck::{Finding, Fsck, FsckError, Looked, Mending, Repair, Weight};
pub use inventory::broker_groups;
pub use layout::{Layout, Owner};
pub use restore::{Existing, Restore, RestoreError, Restored, Target};
