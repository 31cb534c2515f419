//! What a user can ask for.

use schemars::JsonSchema;
use serde::Deserialize;

/// Parameters of a provision: `{"encoding": "UTF8", "extensions": ["pg_trgm", "uuid-ossp"]}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewDatabase {
    /// Character set of the database, with plain byte order as its collation. Without it, character set and collation
    /// are the server's.
    pub encoding: Option<Encoding>,
    /// Extensions that are installed in the database.
    #[schemars(length(max = 16))]
    pub extensions: Vec<Extension>,
}

/// Parameters of an update: `{"extensions": ["hstore"]}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChangeDatabase {
    /// Extensions that are installed in the database, too. Those that are there already stay.
    #[schemars(length(max = 16))]
    pub extensions: Vec<Extension>,
}

/// Parameters of a bind: `{"valid_days": 30}`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewLogin {
    /// How many days the password is valid; without it, until the binding is removed.
    #[schemars(range(min = 1, max = 3650))]
    pub valid_days: Option<u32>,
}

/// A character set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Encoding {
    /// Unicode.
    Utf8,
    /// ISO 8859-1.
    Latin1,
    /// ISO 8859-15.
    Latin9,
}

impl Encoding {
    /// PostgreSQL's name of it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF8",
            Self::Latin1 => "LATIN1",
            Self::Latin9 => "LATIN9",
        }
    }
}

/// An extension that can be asked for: those of PostgreSQL's own that it calls trusted, which give no rights beyond the
/// database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "their names are PostgreSQL's")]
pub enum Extension {
    BtreeGin,
    BtreeGist,
    Citext,
    Cube,
    Fuzzystrmatch,
    Hstore,
    Intarray,
    Isn,
    Ltree,
    PgTrgm,
    Pgcrypto,
    Seg,
    Tablefunc,
    Unaccent,
    #[serde(rename = "uuid-ossp")]
    UuidOssp,
}

impl Extension {
    /// PostgreSQL's name of it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::BtreeGin => "btree_gin",
            Self::BtreeGist => "btree_gist",
            Self::Citext => "citext",
            Self::Cube => "cube",
            Self::Fuzzystrmatch => "fuzzystrmatch",
            Self::Hstore => "hstore",
            Self::Intarray => "intarray",
            Self::Isn => "isn",
            Self::Ltree => "ltree",
            Self::PgTrgm => "pg_trgm",
            Self::Pgcrypto => "pgcrypto",
            Self::Seg => "seg",
            Self::Tablefunc => "tablefunc",
            Self::Unaccent => "unaccent",
            Self::UuidOssp => "uuid-ossp",
        }
    }
}
