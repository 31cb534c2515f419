//! The statements, as text. Names and passwords cannot be parameters of `CREATE ROLE` and its like, so they are escaped
//! here and nowhere else.

use postgres_protocol::escape::{escape_identifier as name, escape_literal as text};

use crate::parameters::{Encoding, Extension};
use crate::service::Database;

/// The bookkeeping of the broker: one row for each instance, with the highest epoch that has worked on it.
pub(crate) const BOOKKEEPING: &str = "\
    SELECT pg_advisory_xact_lock(hashtextextended('osb_broker', 0));\
    CREATE SCHEMA IF NOT EXISTS osb_broker;\
    REVOKE ALL ON SCHEMA osb_broker FROM PUBLIC;\
    CREATE TABLE IF NOT EXISTS osb_broker.instance (name text PRIMARY KEY, epoch bigint NOT NULL, removed timestamptz)";

/// Announces epoch `$2` for the instance `$1`. Changes no row when a higher one has been there.
pub(crate) const ANNOUNCE: &str = "\
    INSERT INTO osb_broker.instance AS known (name, epoch) VALUES ($1, $2) \
    ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch WHERE known.epoch <= excluded.epoch";

/// Whether `$2` is still the highest epoch of the instance `$1`.
pub(crate) const STILL_HIGHEST: &str = "SELECT epoch = $2 FROM osb_broker.instance WHERE name = $1";

/// Marks the instance `$1` as removed.
pub(crate) const MARK_REMOVED: &str = "UPDATE osb_broker.instance SET removed = now() WHERE name = $1";

/// Forgets what was removed so long ago that no process can still be working on it.
pub(crate) const FORGET_REMOVED: &str = "DELETE FROM osb_broker.instance WHERE removed < now() - interval '30 days'";

/// Ends the other sessions that hold the lock of the instance `$1` or wait for it, in whatever database.
pub(crate) const END_OTHERS: &str = "\
    SELECT pg_terminate_backend(pid) FROM pg_locks \
    WHERE locktype = 'advisory' AND objsubid = 1 AND pid <> pg_backend_pid() \
    AND ((classid::bigint << 32) | objid::bigint) = hashtextextended($1, 0)";

/// Takes the lock of the instance `$1` for this session.
pub(crate) const LOCK: &str = "SELECT pg_advisory_lock(hashtextextended($1, 0))";

/// Gives back every lock of this session.
pub(crate) const UNLOCK: &str = "SELECT pg_advisory_unlock_all()";

/// The number of the role `$1`.
pub(crate) const ROLE: &str = "SELECT oid FROM pg_roles WHERE rolname = $1";

/// The roles that are members of the role `$1`, without the broker's own.
pub(crate) const MEMBERS: &str = "\
    SELECT member.rolname::text FROM pg_auth_members JOIN pg_roles AS member ON member.oid = pg_auth_members.member \
    JOIN pg_roles AS owner ON owner.oid = pg_auth_members.roleid \
    WHERE owner.rolname = $1 AND member.rolname <> current_user";

/// The databases and roles that this login has made for instances and bindings. What another login of the server has made
/// is not its own: it is member of each role that it makes, and of no other.
pub(crate) const NAMES: &str = "\
    WITH own AS (SELECT oid FROM pg_roles WHERE rolname = current_user UNION \
    SELECT roleid FROM pg_auth_members JOIN pg_roles AS self ON self.oid = member WHERE self.rolname = current_user) \
    SELECT datname::text FROM pg_database WHERE datdba IN (SELECT oid FROM own) AND datname LIKE 'db\\_%' UNION ALL \
    SELECT rolname::text FROM pg_roles WHERE oid IN (SELECT oid FROM own) \
    AND (rolname LIKE 'owner\\_%' OR rolname LIKE 'login\\_%')";

/// Of the database `$1`: whether one can connect to it, and whether it is whole. A drop that was interrupted leaves one
/// that is not whole and that can only be dropped (its connection limit is -2 then).
pub(crate) const DATABASE: &str = "\
    SELECT datallowconn AND datconnlimit <> -2, datconnlimit <> -2 FROM pg_database WHERE datname = $1";

/// Ends the sessions of the role with the number `$1`; one row for each.
pub(crate) const END_SESSIONS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usesysid = $1";

/// Run inside of the database: the extensions of the role `$1` that are older than what the server has.
pub(crate) const OUTDATED: &str = "\
    SELECT extname::text FROM pg_extension JOIN pg_roles AS owner ON owner.oid = extowner \
    JOIN pg_available_extensions AS available ON available.name = extname \
    WHERE owner.rolname = $1 AND extversion <> available.default_version";

/// Run inside of the database: name and version of the extensions of the role `$1`.
pub(crate) const INSTALLED: &str = "\
    SELECT extname::text, extversion FROM pg_extension JOIN pg_roles AS owner ON owner.oid = extowner \
    WHERE owner.rolname = $1";

/// A role that owns what is in the database, and that nobody logs in as.
pub(crate) fn create_owner(owner: &str) -> String {
    format!("CREATE ROLE {} NOLOGIN", name(owner))
}

/// Lets the broker's login act for a role: with it the broker needs no superuser.
pub(crate) fn join(role: &str) -> String {
    format!("GRANT {} TO CURRENT_USER", name(role))
}

/// A database that takes no connections yet. From the empty template: nothing of the server's own gets in.
pub(crate) fn create_database(database: &str, owner: &str, connections: u32, encoding: Option<Encoding>) -> String {
    // Only the locale C goes with every encoding.
    let encoding = encoding.map_or_else(String::new, |encoding| {
        format!(" ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'", text(encoding.as_str()))
    });
    format!(
        "CREATE DATABASE {} OWNER {} TEMPLATE template0{encoding} ALLOW_CONNECTIONS false CONNECTION LIMIT {connections}",
        name(database),
        name(owner)
    )
}

/// The most connections to a database from now on; sessions that are there stay.
pub(crate) fn limit_connections(database: &str, connections: u32) -> String {
    format!("ALTER DATABASE {} CONNECTION LIMIT {connections}", name(database))
}

/// Closes a database to everybody but its owner's members, and opens it to them.
pub(crate) fn open_database(database: &str, comment: &str) -> String {
    let database = name(database);
    format!(
        "REVOKE ALL ON DATABASE {database} FROM PUBLIC; COMMENT ON DATABASE {database} IS {}; \
         ALTER DATABASE {database} ALLOW_CONNECTIONS true",
        text(comment)
    )
}

/// No new sessions from here on.
pub(crate) fn close_database(database: &str) -> String {
    format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", name(database))
}

/// Ends the sessions of a database and drops it.
pub(crate) fn drop_database(database: &str) -> String {
    format!("DROP DATABASE {} WITH (FORCE)", name(database))
}

/// Run inside of the database. The owner gets the extensions, so that users may upgrade or drop them.
pub(crate) fn create_extensions(owner: &str, extensions: &[Extension]) -> String {
    let mut statements = format!("SET ROLE {}", name(owner));
    for extension in extensions {
        statements.push_str("; CREATE EXTENSION IF NOT EXISTS ");
        statements.push_str(&name(extension.as_str()));
    }
    statements
}

/// Run inside of the database. One that cannot be brought to the newest version is an error, and all stay as they are.
pub(crate) fn update_extensions(owner: &str, extensions: &[String]) -> String {
    let update = |extension: &String| format!("; ALTER EXTENSION {} UPDATE", name(extension));
    let updates: String = extensions.iter().map(update).collect();
    format!("SET ROLE {}{updates}", name(owner))
}

/// Run inside of the database: takes back what an update has done. An extension that is used by now is an error, and all
/// stays as it is.
pub(crate) fn take_back(database: &Database, added: &[Extension], connections: u32) -> String {
    let drop = |extension: &Extension| format!("DROP EXTENSION IF EXISTS {}; ", name(extension.as_str()));
    let drops: String = added.iter().map(drop).collect();
    let limit = limit_connections(&database.name, connections);
    format!("SET ROLE {}; {drops}{limit}", name(&database.owner))
}

/// A login, or a new password for it. `verifier` is what the server stores: the password itself is not sent, so it
/// stands in no log of the server. `valid_until` is a time of ISO 8601, or `infinity`.
///
/// Sessions act as the owner from their start on, so that what they create belongs to the instance, not to the login.
pub(crate) fn put_login(login: &str, owner: &str, verifier: &str, valid_until: &str, exists: bool) -> String {
    let (verb, login, owner) = (if exists { "ALTER" } else { "CREATE" }, name(login), name(owner));
    format!(
        "{verb} ROLE {login} LOGIN PASSWORD {} VALID UNTIL {}; GRANT {owner} TO {login}; GRANT {login} TO CURRENT_USER; \
         ALTER ROLE {login} SET role TO {owner}",
        text(verifier),
        text(valid_until)
    )
}

/// Run inside of the database: what a session creates after it went back to its login's own role (`SET ROLE NONE`) can
/// be used by the other logins of the instance, too.
pub(crate) fn share(login: &str, owner: &str) -> String {
    let (login, owner) = (name(login), name(owner));
    ["TABLES", "SEQUENCES", "ROUTINES", "TYPES", "SCHEMAS"]
        .map(|kind| format!("ALTER DEFAULT PRIVILEGES FOR ROLE {login} GRANT ALL ON {kind} TO {owner}"))
        .join("; ")
}

/// No new sessions of the login from here on.
pub(crate) fn close_login(login: &str) -> String {
    format!("ALTER ROLE {} NOLOGIN", name(login))
}

/// Run inside of the database: what belongs to the login belongs to the instance then.
pub(crate) fn hand_over(login: &str, owner: &str) -> String {
    let (login, owner) = (name(login), name(owner));
    format!("REASSIGN OWNED BY {login} TO {owner}; DROP OWNED BY {login}")
}

/// Drops a role, and what it may have made in the broker's own database.
pub(crate) fn drop_role(role: &str) -> String {
    let role = name(role);
    format!("DROP OWNED BY {role}; DROP ROLE {role}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_cannot_end_their_quotes() {
        assert_eq!(
            create_owner("a\"; DROP ROLE b; --"),
            "CREATE ROLE \"a\"\"; DROP ROLE b; --\" NOLOGIN"
        );
        let opened = open_database("d", "it's");
        assert!(opened.contains("IS 'it''s';"), "{opened}");
    }

    #[test]
    fn a_database_is_made_from_the_empty_template_and_closed() {
        assert_eq!(
            create_database("d", "o", 7, Some(Encoding::Latin1)),
            "CREATE DATABASE \"d\" OWNER \"o\" TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' \
             ALLOW_CONNECTIONS false CONNECTION LIMIT 7"
        );
        assert!(!create_database("d", "o", 7, None).contains("ENCODING"));
    }
}
