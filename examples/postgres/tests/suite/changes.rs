//! Instances and logins that change: another plan, further extensions, an upgrade, a rotation, an expiry.

use std::time::Duration;

use osb_api::answer::Updated;
use osb_api::error::{BindError, UpdateError};
use serde_json::json;
use testparts::{Postgres, need};
use tokio_postgres::Client;

use crate::platform::{Broker, Operator, SMALL, World, connect, login, refusal, settings};
use crate::proxy::{Fault, Proxy};

/// More messages than an update sends.
const MOST_MESSAGES: usize = 60;
const TOO_MANY_CONNECTIONS: &str = "53300";
const INVALID_PASSWORD: &str = "28P01";

async fn start(postgres: &Postgres) -> (World, Broker, Operator) {
    let world = World::new().await;
    let broker = world.broker(&postgres.url()).await;
    (world, broker, Operator::of(postgres).await)
}

/// A broker that has little time for an update, with an instance `shop`, and the wire to its server.
async fn behind_a_wire(postgres: &Postgres) -> (World, Broker, Operator, Proxy) {
    let (world, operator) = (World::new().await, Operator::impatient(postgres).await);
    let proxy = Proxy::to(postgres.port()).await;
    let url = proxy.url(&postgres.url(), postgres.port());
    let broker = world.hasty_broker(&settings(&[("POSTGRES_URL", &url)])).await;
    broker.buy("shop").await;
    (world, broker, operator, proxy)
}

async fn session(uri: &str) -> Client {
    connect(uri).await.expect("the login works")
}

/// Name and version of the extensions that are installed, beside the server's own.
async fn extensions(session: &Client) -> Vec<(String, String)> {
    let query = "SELECT extname::text, extversion FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1";
    let rows = session.query(query, &[]).await.expect("an answer");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn limit(operator: &Operator) -> i32 {
    let query = "SELECT datconnlimit FROM pg_database WHERE datname LIKE 'db\\_%'";
    operator
        .client
        .query_one(query, &[])
        .await
        .expect("one database")
        .get(0)
}

/// OSB-UPD-02, OSB-UPD-10
#[tokio::test]
async fn another_plan_changes_the_limit_of_connections_while_they_are_open() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator) = start(&postgres).await;
    broker.buy("shop").await;
    let credentials = broker.bind("shop", "one").await;
    let mut sessions = Vec::new();
    for _ in 0..10 {
        sessions.push(session(&credentials.uri).await);
    }
    assert_eq!(refusal(&credentials.uri).await, TOO_MANY_CONNECTIONS);

    let grown = broker.update("shop", json!({"plan": "medium"})).await;
    assert!(matches!(grown, Ok(Updated::Done(_))), "{grown:?}");
    assert_eq!(limit(&operator).await, 50);
    sessions.push(session(&credentials.uri).await);
    sessions[0]
        .query_one("SELECT 1", &[])
        .await
        .expect("the old sessions live");

    broker.update("shop", json!({"plan": SMALL})).await.expect("shrunk");
    assert_eq!(refusal(&credentials.uri).await, TOO_MANY_CONNECTIONS);
    sessions[10]
        .query_one("SELECT 1", &[])
        .await
        .expect("nobody is thrown out");
}

/// OSB-UPD-03
#[tokio::test]
async fn extensions_are_added_to_a_database_with_its_data() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, _) = start(&postgres).await;
    broker
        .provision("shop", SMALL, json!({"extensions": ["citext"]}))
        .await
        .expect("provisioned");
    let session = session(&broker.bind("shop", "one").await.uri).await;
    session
        .batch_execute("CREATE TABLE goods (name citext); INSERT INTO goods VALUES ('Tea')")
        .await
        .expect("written");
    let more = json!({"parameters": {"extensions": ["citext", "hstore"]}});
    broker.update("shop", more).await.expect("updated");
    let names: Vec<_> = extensions(&session).await.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["citext", "hstore"]);
    let shown = broker.fetch("shop").await.parameters.expect("parameters");
    assert_eq!(
        serde_json::Value::from(shown),
        json!({"extensions": ["citext", "hstore"]})
    );
    session
        .query_one("SELECT 1 FROM goods WHERE name = 'tea'", &[])
        .await
        .expect("the data");

    let refused = broker
        .update("shop", json!({"parameters": {"encoding": "LATIN1"}}))
        .await;
    assert!(
        matches!(refused, Err(UpdateError::Invalid(_))),
        "a character set is for ever: {refused:?}"
    );
}

/// OSB-UPD-19
#[tokio::test]
async fn an_update_that_fails_half_way_has_changed_nothing() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator) = start(&postgres).await;
    broker.buy("shop").await;
    let session = session(&broker.bind("shop", "one").await.uri).await;
    // In the way of the extension's type of that name.
    session.batch_execute("CREATE TABLE hstore ()").await.expect("made");
    let change = json!({"plan": "medium", "parameters": {"extensions": ["citext", "hstore"]}});
    let refused = broker.update("shop", change).await.expect_err("refused");
    assert!(
        format!("{refused:?}").contains("a name that an extension needs"),
        "{refused:?}"
    );
    assert_eq!((limit(&operator).await, extensions(&session).await), (10, vec![]));
}

/// OSB-UPD-19: the platform gets an error once the budget is over, so nothing of the update may be in effect, however
/// far it had come.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_hangs_anywhere_is_taken_back() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator, proxy) = behind_a_wire(&postgres).await;
    let session = session(&broker.bind("shop", "one").await.uri).await;
    for message in 1..=MOST_MESSAGES {
        proxy.arm(message, Fault::Hang);
        let change = json!({"plan": "medium", "parameters": {"extensions": ["citext"]}});
        let outcome = broker.update("shop", change).await;
        if !proxy.fired() {
            outcome.expect("updated");
            assert!(message > 6, "an update sent only {message} messages");
            return;
        }
        assert!(outcome.is_err(), "at message {message}: {outcome:?}");
        broker.idle().await;
        for when in ["at the end", "when the old session has come to life again"] {
            let found = (limit(&operator).await, extensions(&session).await.len());
            assert_eq!(found, (10, 0), "at message {message}, {when}: {outcome:?}");
            proxy.revive();
        }
    }
    panic!("after {MOST_MESSAGES} messages there is no end yet");
}

/// What hangs from the first use on cannot be taken from its users.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extension_that_is_used_at_once_stays() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator, proxy) = behind_a_wire(&postgres).await;
    let session = session(&broker.bind("shop", "one").await.uri).await;
    for message in 1..=MOST_MESSAGES {
        proxy.arm(message, Fault::Hang);
        let (updating, change) = (broker.clone(), json!({"parameters": {"extensions": ["citext"]}}));
        let update = tokio::spawn(async move { updating.update("shop", change).await });
        while !proxy.has_fired() && !update.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        // Only the update whose statements were carried out before it hung has the extension in the database.
        let used = loop {
            match session.batch_execute("CREATE TABLE goods (name citext)").await {
                Ok(()) => break true,
                Err(_) if update.is_finished() => break false,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let outcome = update.await.expect("no panic");
        proxy.revive();
        broker.idle().await;
        match (used, outcome) {
            (true, Err(refused)) => {
                assert!(format!("{refused:?}").contains("may be in effect"), "{refused:?}");
                assert_eq!((limit(&operator).await, extensions(&session).await.len()), (10, 1));
                return;
            }
            (true, Ok(_)) => panic!("no update hung after its statements were carried out"),
            (false, _) => {}
        }
    }
    panic!("after {MOST_MESSAGES} messages there is no end yet");
}

/// OSB-UPD-06, OSB-UPD-14, OSB-GETI-08
#[tokio::test]
async fn an_upgrade_brings_the_extensions_to_the_newest_versions() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (world, old, _) = start(&postgres).await;
    old.buy("shop").await;
    let session = session(&old.bind("shop", "one").await.uri).await;
    // As if the server had been older when they were installed.
    session
        .batch_execute("CREATE EXTENSION pg_trgm VERSION '1.3'; CREATE EXTENSION hstore VERSION '1.4'")
        .await
        .expect("installed");
    let newest = "SELECT name::text, default_version FROM pg_available_extensions \
                  WHERE name IN ('hstore', 'pg_trgm') ORDER BY 1";
    let rows = session.query(newest, &[]).await.expect("an answer");
    let newest: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_ne!(extensions(&session).await, newest);

    let new = world.broker_at(&postgres.url(), "1.1.0").await;
    let version = async || new.fetch("shop").await.maintenance_info.expect("a version").version;
    assert_eq!(version().await, "1.0.0");
    new.update("shop", json!({"plan": "medium"}))
        .await
        .expect("a change of plan is no upgrade");
    assert_ne!(extensions(&session).await, newest);
    let wrong = new
        .update("shop", json!({"maintenance_info": {"version": "9.9.9"}}))
        .await;
    assert_eq!(wrong, Err(UpdateError::MaintenanceInfoConflict));

    new.update("shop", json!({"maintenance_info": {"version": "1.1.0"}}))
        .await
        .expect("upgraded");
    assert_eq!(extensions(&session).await, newest);
    assert_eq!(version().await, "1.1.0");
}

/// OSB-ROT-05, OSB-ROT-07
#[tokio::test]
async fn both_logins_work_until_the_old_one_is_unbound() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator) = start(&postgres).await;
    broker.buy("shop").await;
    let old = broker.bind("shop", "old").await;
    let first = session(&old.uri).await;
    first
        .batch_execute("CREATE TABLE goods (name text)")
        .await
        .expect("written");
    let new = login(broker.rotate("shop", "new", "old").await.expect("rotated"));
    assert_ne!((&old.username, &old.password), (&new.username, &new.password));
    assert_eq!(operator.logins().await.len(), 2);
    for uri in [&old.uri, &new.uri] {
        session(uri)
            .await
            .batch_execute("INSERT INTO goods VALUES ('tea')")
            .await
            .expect("both write");
    }
    let again = login(broker.rotate("shop", "new", "old").await.expect("asked again"));
    assert_eq!(again.uri, new.uri);

    broker.unbind("shop", "old").await.expect("unbound");
    assert_eq!(refusal(&old.uri).await, INVALID_PASSWORD);
    assert!(first.query("SELECT 1", &[]).await.is_err(), "its session has ended");
    session(&new.uri)
        .await
        .query("SELECT * FROM goods", &[])
        .await
        .expect("the new one stays");
    assert_eq!(operator.logins().await, [new.username]);
}

/// OSB-BIND-29, OSB-BIND-30, OSB-ROT-06
#[tokio::test]
async fn a_password_expires_when_the_metadata_says_so() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (_world, broker, operator) = start(&postgres).await;
    broker
        .provision("shop", "medium", json!({}))
        .await
        .expect("provisioned");
    broker.update("shop", json!({"plan": SMALL})).await.expect("updated");
    let plan = broker.fetch("shop").await.plan_id.expect("a plan");
    let days = |days: u32| json!({"plan_id": plan.as_str(), "parameters": {"valid_days": days}});
    let body = broker.try_bind_with("shop", "old", days(30)).await.expect("bound");
    // The parameters are those of the old binding.
    let rotated = broker.rotate("shop", "new", "old").await.expect("rotated");
    for body in [body, rotated] {
        let metadata = body.metadata.clone().expect("metadata");
        let (expires, renew) = (
            metadata.expires_at.expect("an end"),
            metadata.renew_before.expect("a date"),
        );
        let login = login(body);
        session(&login.uri).await;
        let query = "SELECT abs(extract(epoch FROM rolvaliduntil - $2::text::timestamptz)) < 1 \
                     AND $3::text::timestamptz BETWEEN now() + interval '22 days' AND rolvaliduntil \
                     FROM pg_roles WHERE rolname = $1";
        let row = operator
            .client
            .query_one(query, &[&login.username, &expires, &renew])
            .await;
        assert!(row.expect("a role").get::<_, bool>(0), "{expires} {renew}");
    }
    let forever = broker.try_bind("shop", "forever").await.expect("bound");
    assert_eq!(forever.metadata, None);
    for wrong in [0, 100_000] {
        let refused = broker.try_bind_with("shop", "wrong", days(wrong)).await;
        assert!(matches!(refused, Err(BindError::Invalid(_))), "{refused:?}");
    }
}

/// Every message of an update is lost once, before and after the server has it: the outcome is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_is_cut_off_anywhere_is_done_in_the_end() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (world, operator) = (World::new().await, Operator::of(&postgres).await);
    let proxy = Proxy::to(postgres.port()).await;
    let broker = world.broker(&proxy.url(&postgres.url(), postgres.port())).await;
    broker.buy("shop").await;
    let mut faults = 0;
    for message in 1..=MOST_MESSAGES {
        let mut fired = false;
        for (fault, plan, connections, extension) in [
            (Fault::CutBefore, "medium", 50, "citext"),
            (Fault::CutAfter, "large", 200, "hstore"),
        ] {
            proxy.arm(message, fault);
            let change = json!({"plan": plan, "parameters": {"extensions": [extension]}});
            broker.update("shop", change).await.expect("updated");
            let hit = proxy.fired();
            faults += usize::from(hit);
            fired |= hit;
            assert_eq!(limit(&operator).await, connections, "{fault:?} at message {message}");
        }
        if !fired {
            assert!(faults > 10, "only {faults} messages were lost");
            return;
        }
    }
    panic!("after {MOST_MESSAGES} messages there is no end yet");
}
