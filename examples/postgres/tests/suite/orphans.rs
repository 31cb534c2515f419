//! What is in the server and belongs to no instance and no binding is told to the operator.

use testparts::{Postgres, need};

use crate::platform::{Operator, World};

const STRAY: &str = "db_aaaaaaaaaaaaaaaaaaaaaaaaaa";
const FOREIGN: [&str; 2] = ["inventory", "db_of_somebody"];

#[tokio::test]
async fn a_stray_database_is_reported_and_a_foreign_one_is_not() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (world, operator) = (World::new().await, Operator::of(&postgres).await);
    let broker = world.broker(&postgres.url()).await;
    broker.buy("shop").await;
    broker.bind("shop", "app").await;
    for name in FOREIGN {
        let create = format!("CREATE DATABASE {name}");
        operator.client.batch_execute(&create).await.expect("created");
    }
    assert_eq!(broker.orphans().await, (vec![], Some(0)));

    let create = format!("CREATE DATABASE {STRAY}");
    operator.client.batch_execute(&create).await.expect("created");
    assert_eq!(broker.orphans().await, (vec![STRAY.to_owned()], Some(1)));
    assert_eq!(operator.databases().await.len(), 3, "nothing is removed");

    let drop = format!("DROP DATABASE {STRAY}");
    operator.client.batch_execute(&drop).await.expect("dropped");
    assert_eq!(broker.orphans().await, (vec![], Some(0)));
}

/// What happens when the data of a broker is lost, or an old backup of it is brought back.
#[tokio::test]
async fn what_a_broker_that_has_lost_its_memory_made_is_reported() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let (lost, operator) = (World::new().await, Operator::of(&postgres).await);
    let broker = lost.broker(&postgres.url()).await;
    broker.buy("shop").await;
    let forgotten = broker.bind("shop", "app").await;

    let world = World::new().await;
    let broker = world.broker(&postgres.url()).await;
    broker.buy("shop").await;
    broker.bind("shop", "app").await;
    let (names, count) = broker.orphans().await;
    let owner = forgotten.database.replace("db_", "owner_");
    assert_eq!(names, [forgotten.database, forgotten.username, owner]);
    assert_eq!(count, Some(3));
    assert_eq!(operator.roles().await.len(), 4, "nothing is removed");
}

/// Two brokers with logins of their own may share a server.
#[tokio::test]
async fn what_another_broker_made_is_not_reported() {
    let Some(postgres) = need(Postgres::start()) else {
        return;
    };
    let operator = Operator::of(&postgres).await;
    let (one, two) = (World::new().await, World::new().await);
    let mut brokers = Vec::new();
    for (world, name) in [(&one, "one"), (&two, "two")] {
        let role = format!("CREATE ROLE {name} LOGIN CREATEDB CREATEROLE PASSWORD 'pw'");
        operator.client.batch_execute(&role).await.expect("a role");
        let database = format!("CREATE DATABASE {name} OWNER {name}");
        operator.client.batch_execute(&database).await.expect("a database");
        let url = format!("postgres://{name}:pw@127.0.0.1:{}/{name}", postgres.port());
        let broker = world.broker(&url).await;
        broker.buy("shop").await;
        broker.bind("shop", "app").await;
        brokers.push(broker);
    }
    for broker in brokers {
        assert_eq!(broker.orphans().await, (vec![], Some(0)));
    }
}
