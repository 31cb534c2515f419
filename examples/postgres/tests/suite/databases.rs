//! What a user gets, and what is left when it is given back.

use osb_api::answer::Provisioned;
use osb_api::error::ProvisionError;
use postgres_broker::Login;
use serde_json::json;
use testparts::{Postgres, need};
use tokio_postgres::Client;

use crate::platform::{Broker, Operator, SMALL, World, connect, refusal};

const INVALID_PASSWORD: &str = "28P01";

async fn login(login: &Login) -> Client {
    connect(&login.uri).await.expect("the login works")
}

async fn start(postgres: &Postgres) -> (World, Broker, Operator) {
    let world = World::new().await;
    let broker = world.broker(&postgres.url()).await;
    (world, broker, Operator::of(postgres).await)
}

/// OSB-PROV-10, OSB-BIND-09, OSB-UNB-03, OSB-DEP-03
#[tokio::test]
async fn a_bought_database_works_and_nothing_of_it_is_left_in_the_end() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator) = start(&postgres).await;
    broker.buy("shop").await;
    let (one, two) = (broker.bind("shop", "one").await, broker.bind("shop", "two").await);
    assert_eq!(operator.databases().await, [one.database.as_str()]);
    assert_eq!((one.host.as_str(), one.port), ("127.0.0.1", postgres.port()));
    assert_ne!(one.username, two.username);
    assert!(one.uri.contains(&one.username) && one.uri.contains(&one.password) && one.uri.contains(&one.database));

    let first = login(&one).await;
    first
        .batch_execute("CREATE TABLE goods (name text); INSERT INTO goods VALUES ('tea')")
        .await
        .expect("written");
    let second = login(&two).await;
    let row = second
        .query_one("SELECT name FROM goods", &[])
        .await
        .expect("the other login reads it");
    assert_eq!(row.get::<_, String>(0), "tea");
    second
        .batch_execute("ALTER TABLE goods ADD price int")
        .await
        .expect("and changes it");

    broker.unbind("shop", "one").await.expect("unbound");
    assert!(first.query("SELECT 1", &[]).await.is_err(), "its session has ended");
    assert_eq!(refusal(&one.uri).await, INVALID_PASSWORD);
    assert_eq!(operator.logins().await, [two.username.as_str()]);
    second
        .query_one("SELECT name FROM goods", &[])
        .await
        .expect("what the login made stays");

    // With a binding and a session that still live.
    broker.deprovision("shop").await.expect("deprovisioned");
    assert_eq!(operator.databases().await, [] as [&str; 0]);
    assert_eq!(operator.roles().await, [] as [&str; 0]);
    assert!(second.query("SELECT 1", &[]).await.is_err());
}

/// A connection pool that cleans its sessions sets their role back to the login's own.
#[tokio::test]
async fn what_a_login_makes_in_its_own_role_is_shared_and_outlives_it() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator) = start(&postgres).await;
    broker.buy("shop").await;
    let (one, two) = (broker.bind("shop", "one").await, broker.bind("shop", "two").await);
    let first = login(&one).await;
    first.batch_execute("SET ROLE NONE").await.expect("its own role");
    first
        .batch_execute("CREATE TABLE goods (id serial, name text)")
        .await
        .expect("a table");
    first
        .batch_execute("CREATE SCHEMA s; CREATE TABLE s.t (); SELECT lo_create(0)")
        .await
        .expect("other things");
    let owner = "SELECT count(*) FROM pg_class JOIN pg_roles r ON r.oid = relowner WHERE rolname = session_user";
    assert!(
        first.query_one(owner, &[]).await.expect("a count").get::<_, i64>(0) > 0,
        "the login owns something"
    );

    let second = login(&two).await;
    second
        .batch_execute("INSERT INTO goods (name) VALUES ('tea'); SELECT * FROM s.t")
        .await
        .expect("shared");
    broker
        .unbind("shop", "one")
        .await
        .expect("unbound, although it owned something");
    assert_eq!(operator.logins().await, [two.username.as_str()]);
    second
        .batch_execute("ALTER TABLE goods ADD price int; DROP SCHEMA s CASCADE")
        .await
        .expect("the instance owns it");
}

/// OSB-BIND-12
#[tokio::test]
async fn a_repeated_bind_gives_the_same_login() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator) = start(&postgres).await;
    broker.buy("shop").await;
    let (one, again) = (broker.bind("shop", "one").await, broker.bind("shop", "one").await);
    assert_eq!((one.uri, one.username.clone()), (again.uri, again.username));
    assert_eq!(operator.logins().await, [one.username]);
}

#[tokio::test]
async fn the_plan_limits_the_connections() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, _) = start(&postgres).await;
    broker.buy("shop").await;
    let credentials = broker.bind("shop", "one").await;
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(login(&credentials).await);
    }
    assert_eq!(refusal(&credentials.uri).await, "53300");
    // The broker itself is not kept out by that.
    broker.bind("shop", "two").await;
    broker.unbind("shop", "one").await.expect("unbound");
}

#[tokio::test]
async fn instances_are_closed_to_each_other() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator) = start(&postgres).await;
    let (one, two) = tokio::join!(
        async {
            broker.buy("one").await;
            broker.bind("one", "same").await
        },
        async {
            broker.buy("two").await;
            broker.bind("two", "same").await
        },
    );
    assert_eq!(operator.databases().await.len(), 2);
    assert_ne!((&one.database, &one.username), (&two.database, &two.username));
    assert_eq!(refusal(&one.uri.replace(&one.database, &two.database)).await, "42501");
    broker.deprovision("one").await.expect("deprovisioned");
    assert_eq!(operator.databases().await, [two.database.as_str()]);
    login(&two)
        .await
        .query_one("SELECT 1", &[])
        .await
        .expect("the other one is left alone");
}

#[tokio::test]
async fn an_instance_of_the_same_id_is_another_database() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator) = start(&postgres).await;
    broker.buy("shop").await;
    let old = broker.bind("shop", "one").await;
    broker.deprovision("shop").await.expect("deprovisioned");
    broker.buy("shop").await;
    let new = broker.bind("shop", "one").await;
    assert_ne!((&old.database, &old.username), (&new.database, &new.username));
    assert_eq!(operator.databases().await, [new.database]);
}

#[tokio::test]
async fn parameters_choose_character_set_and_extensions() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, _) = start(&postgres).await;
    let parameters = json!({"encoding": "LATIN1", "extensions": ["citext", "pg_trgm", "citext", "uuid-ossp"]});
    broker.provision("shop", SMALL, parameters).await.expect("provisioned");
    let session = login(&broker.bind("shop", "one").await).await;
    let row = session
        .query_one("SELECT current_setting('server_encoding')", &[])
        .await
        .expect("an answer");
    assert_eq!(row.get::<_, String>(0), "LATIN1");
    session
        .batch_execute("SELECT uuid_generate_v4(); SELECT 'A'::citext = 'a'")
        .await
        .expect("extensions");
    session
        .batch_execute("DROP EXTENSION pg_trgm")
        .await
        .expect("they are the user's own");
}

/// OSB-PROV-06
#[tokio::test]
async fn parameters_beyond_the_schema_are_refused_and_nothing_is_made() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator) = start(&postgres).await;
    for parameters in [
        json!({"extensions": ["plpython3u"]}),
        json!({"extensions": ["citext\"; DROP DATABASE postgres; --"]}),
        json!({"encoding": "EBCDIC"}),
        json!({"extensions": vec!["citext"; 17]}),
        json!({"size": 5}),
    ] {
        let refused = broker.provision("shop", SMALL, parameters).await;
        assert!(matches!(refused, Err(ProvisionError::Invalid(_))), "{refused:?}");
    }
    assert_eq!(operator.databases().await, [] as [&str; 0]);
}

#[tokio::test]
async fn hostile_ids_are_only_text() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator) = start(&postgres).await;
    for id in ["'; DROP DATABASE postgres; --", "a\0b", "ä/\\\"", "%s"] {
        let made = broker.provision(id, "medium", json!({})).await.expect("provisioned");
        assert!(matches!(made, Provisioned::Created(_)));
    }
    assert_eq!(operator.databases().await.len(), 4);
}

/// The broker's login may create databases and roles, and nothing else.
#[tokio::test]
async fn a_login_without_superuser_is_enough() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let operator = Operator::of(&postgres).await;
    operator
        .client
        .batch_execute("CREATE ROLE osb LOGIN CREATEDB CREATEROLE PASSWORD 'pw'")
        .await
        .expect("a role");
    operator
        .client
        .batch_execute("CREATE DATABASE osb OWNER osb")
        .await
        .expect("a database");
    let world = World::new().await;
    let broker = world
        .broker(&format!("postgres://osb:pw@127.0.0.1:{}/osb", postgres.port()))
        .await;

    broker
        .provision("shop", SMALL, json!({"extensions": ["hstore"]}))
        .await
        .expect("provisioned");
    let (one, two) = (broker.bind("shop", "one").await, broker.bind("shop", "two").await);
    let first = login(&one).await;
    first
        .batch_execute("SET ROLE NONE; CREATE TABLE goods ()")
        .await
        .expect("written");
    broker.unbind("shop", "one").await.expect("unbound");
    let second = login(&two).await;
    second
        .batch_execute("DROP TABLE goods")
        .await
        .expect("the instance owns it");
    broker.deprovision("shop").await.expect("deprovisioned");
    assert_eq!((operator.databases().await, operator.roles().await), (vec![], vec![]));
}

/// What a login has made where it should not have been does not stand in the way.
#[tokio::test]
async fn leftovers_in_the_brokers_own_database_are_removed() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator) = start(&postgres).await;
    broker.buy("shop").await;
    let credentials = broker.bind("shop", "one").await;
    let elsewhere = connect(&credentials.uri.replace(&credentials.database, "postgres"))
        .await
        .expect("open to all");
    elsewhere
        .batch_execute("SELECT lo_create(0)")
        .await
        .expect("of the owner's");
    elsewhere
        .batch_execute("SET ROLE NONE; SELECT lo_create(0)")
        .await
        .expect("of the login's");
    broker.unbind("shop", "one").await.expect("unbound");
    broker.deprovision("shop").await.expect("deprovisioned");
    assert_eq!(operator.roles().await, [] as [&str; 0]);
}

#[tokio::test]
async fn the_passwords_are_not_sent_to_the_server() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator) = start(&postgres).await;
    broker.buy("shop").await;
    let credentials = broker.bind("shop", "one").await;
    let query = "SELECT rolpassword FROM pg_authid WHERE rolname = $1";
    let row = operator
        .client
        .query_one(query, &[&credentials.username])
        .await
        .expect("a role");
    assert!(row.get::<_, String>(0).starts_with("SCRAM-SHA-256$"));
}
