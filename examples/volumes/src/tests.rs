use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use osb_sdk::TestBroker;
use serde_json::json;
use tempfile::TempDir;

use super::*;

/// A server with two disks, and the file that says which of them are for sale.
struct Server(TempDir);

impl Server {
    fn selling(disks: &[&str]) -> Self {
        let server = Self(tempfile::tempdir().expect("a folder"));
        for disk in ["standard", "fast"] {
            std::fs::create_dir(server.disk(disk)).expect("a disk");
        }
        server.sell(disks);
        server
    }

    fn disk(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("offer.json")
    }

    fn sell(&self, disks: &[&str]) {
        let disk = |name: &&str| json!({"plan_id": name, "plan": name, "description": name, "folder": self.disk(name)});
        let disks: Vec<Value> = disks.iter().map(disk).collect();
        self.write(&json!({"server": "nfs.example.com", "disks": disks}).to_string());
    }

    fn write(&self, text: &str) {
        // In one piece, as every good editor does it.
        let new = self.0.path().join("new");
        std::fs::write(&new, text).expect("written");
        std::fs::rename(new, self.file()).expect("in place");
    }

    async fn broker(&self) -> TestBroker {
        let file = self.file();
        TestBroker::start(move || broker(&file).expect("a good file")).await
    }

    fn folders(&self, disk: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.disk(disk)).expect("a disk");
        entries
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
            .collect()
    }
}

/// The names of the plans that are for sale.
async fn plans(broker: &TestBroker) -> Vec<String> {
    let catalog = broker.send(http::Method::GET, "/v2/catalog", None).await.body;
    let plans = catalog["services"][0]["plans"].as_array().expect("plans");
    plans
        .iter()
        .map(|plan| plan["name"].as_str().expect("a name").to_owned())
        .collect()
}

async fn until_it_sells(broker: &mut TestBroker, expected: &[&str]) {
    for _ in 0..100 {
        if plans(broker).await == expected {
            return broker.reload_catalog().await;
        }
        tokio::time::sleep(PAUSE).await;
    }
    panic!("{expected:?} never was for sale: {:?}", plans(broker).await);
}

/// OSB-BIND-24, OSB-BIND-25
#[tokio::test(start_paused = true)]
async fn a_folder_is_made_mounted_and_removed() {
    let server = Server::selling(&["standard", "fast"]);
    let broker = server.broker().await;
    assert_eq!(broker.provision("photos", "fast", json!({})).await.status, 201);
    let [folder] = &server.folders("fast")[..] else {
        panic!("one folder: {:?}", server.folders("fast"))
    };
    let bound = broker.bind("photos", "app", json!({"read_only": true})).await;
    let mount = &bound.body["volume_mounts"][0];
    assert_eq!(
        (&mount["container_dir"], &mount["mode"]),
        (&json!("/data"), &json!("r")),
        "{bound:?}"
    );
    let source = format!("nfs://nfs.example.com{}", server.disk("fast").join(folder).display());
    assert_eq!(mount["device"]["mount_config"]["source"], source);
    assert_eq!(
        broker.bind("photos", "odd", json!({"path": "relative"})).await.status,
        400
    );
    std::fs::write(server.disk("fast").join(folder).join("a.jpg"), "…").expect("written");
    assert_eq!(broker.deprovision("photos").await.status, 200);
    assert_eq!(server.folders("fast"), [""; 0]);
}

/// OSB-CAT-03
#[tokio::test(start_paused = true)]
async fn what_is_for_sale_follows_the_file_and_what_was_sold_stays() {
    let server = Server::selling(&["fast"]);
    let mut broker = server.broker().await;
    assert_eq!(broker.provision("photos", "fast", json!({})).await.status, 201);

    server.sell(&["standard"]);
    until_it_sells(&mut broker, &["standard"]).await;
    assert_eq!(broker.provision("films", "standard", json!({})).await.status, 201);
    assert_eq!(server.folders("standard").len(), 1);

    assert_eq!(broker.bind("photos", "app", json!({})).await.status, 201, "sold before");
    broker.restart().await;
    assert_eq!(
        broker.bind("photos", "job", json!({})).await.status,
        201,
        "also after a restart"
    );
    assert_eq!(broker.deprovision("photos").await.status, 200);
    assert_eq!(server.folders("fast"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_makes_no_sense_changes_nothing_until_it_is_mended() {
    let server = Server::selling(&["fast"]);
    let mut broker = server.broker().await;
    for wrong in [
        "{",
        r#"{"server": "x", "disks": [], "discs": []}"#,
        r#"{"server": "x", "disks": []}"#,
    ] {
        server.write(wrong);
        tokio::time::sleep(10 * PAUSE).await;
        assert_eq!(plans(&broker).await, ["fast"], "{wrong}");
    }
    server.sell(&["fast", "standard"]);
    until_it_sells(&mut broker, &["fast", "standard"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_away_is_waited_for() {
    let server = Server::selling(&["fast"]);
    let broker = server.broker().await;
    std::fs::rename(server.disk("fast"), server.disk("away")).expect("unmounted");
    assert_eq!(broker.provision("photos", "fast", json!({})).await.status, 202);
    std::fs::rename(server.disk("away"), server.disk("fast")).expect("mounted");
    assert_eq!(broker.settled("photos").await.body["state"], "succeeded");
    assert_eq!(server.folders("fast").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_belongs_to_nothing_is_reported() {
    let server = Server::selling(&["standard", "fast"]);
    let broker = server.broker().await;
    broker.provision("photos", "fast", json!({})).await;
    for name in ["lost+found", "vol_aaaaaaaaaaaaaaaaaaaaaaaaaa"] {
        std::fs::create_dir(server.disk("standard").join(name)).expect("made");
    }
    assert_eq!(broker.orphans().await, ["vol_aaaaaaaaaaaaaaaaaaaaaaaaaa"]);
    assert_eq!(server.folders("standard").len(), 2, "nothing is removed");
}

/// The broker as it was when there was one disk.
struct FirstVersion(PathBuf);

impl Service for FirstVersion {
    type Parameters = NoParameters;
    type BindParameters = NoParameters;
    type State = String;
    type Credentials = NoParameters;

    async fn provision(&self, op: &Operation, _: NoParameters) -> Result<String> {
        let name = op.stable_name("vol");
        unless(ErrorKind::AlreadyExists, fs::create_dir(self.0.join(&name)).await)?;
        Ok(name)
    }

    async fn deprovision(&self, _: &Operation, _: Option<String>) -> Result<()> {
        Err(Error::failed("This version removes nothing."))
    }

    async fn bind(&self, _: &Operation, _: &String, _: NoParameters) -> Result<Binding<NoParameters>> {
        Err(Error::failed("This version binds nothing."))
    }

    async fn unbind(&self, _: &Operation, _: &String, _: Option<NoParameters>) -> Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_first_version_stored_is_still_known() {
    let server = Server::selling(&["standard", "fast"]);
    let is_new = Arc::new(AtomicBool::new(false));
    let (file, disk, new) = (server.file(), server.disk("standard"), is_new.clone());
    let mut broker = TestBroker::start(move || {
        if new.load(Ordering::SeqCst) {
            return broker(&file).expect("a good file");
        }
        let plan = Plan::new("standard", "standard", "The one disk");
        let offering = Offering::new(OFFERING, "volume", "Shared folders").bindable(true);
        Broker::new("volumes").service(offering.plan(plan), FirstVersion(disk.clone()))
    })
    .await;
    assert_eq!(broker.provision("photos", "standard", json!({})).await.status, 201);
    is_new.store(true, Ordering::SeqCst);
    broker.restart().await;
    let bound = broker.bind("photos", "app", json!({})).await;
    let source = bound.body["volume_mounts"][0]["device"]["mount_config"]["source"].as_str();
    let folder = server.disk("standard").join(&server.folders("standard")[0]);
    assert!(
        source.is_some_and(|source| source.ends_with(&folder.display().to_string())),
        "{bound:?}"
    );
    assert_eq!(broker.deprovision("photos").await.status, 200);
    assert_eq!(server.folders("standard"), [""; 0]);
}
