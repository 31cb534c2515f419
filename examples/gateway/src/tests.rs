use std::path::Path;

use http::Method;
use osb_sdk::{OriginatingIdentity, Reply, TestBroker};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::Instant;

use super::*;

const HOUR: Duration = Duration::from_secs(60 * 60);

struct World {
    folder: TempDir,
    broker: TestBroker,
}

impl World {
    /// With a user who is in these groups.
    async fn of(groups: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().to_owned();
        let broker = TestBroker::start(move || broker(path.clone())).await;
        let mut world = Self { folder, broker };
        world.user(groups);
        world
    }

    fn user(&mut self, groups: &[&str]) {
        let value = Object::from_iter([
            ("username".to_owned(), json!("ann")),
            ("groups".to_owned(), json!(groups)),
        ]);
        let platform = "kubernetes".to_owned();
        self.broker.set_user(Some(OriginatingIdentity { platform, value }));
    }

    async fn buy(&self, plan: &str, requests: u32) -> Reply {
        let parameters = json!({"team": "blue", "requests_per_second": requests});
        self.broker.provision("shop", plan, parameters).await
    }

    /// The one project, if there is one.
    fn project(&self) -> Option<PathBuf> {
        let mut entries = std::fs::read_dir(self.folder.path()).expect("a folder");
        Some(entries.next()?.expect("an entry").path())
    }

    /// The lines of the keys.
    fn keys(&self) -> Vec<String> {
        let project = self.project().expect("a project");
        let files = std::fs::read_dir(project)
            .expect("a folder")
            .map(|file| file.expect("a file").path());
        let keys = files.filter(|file| name(file).starts_with("key_"));
        keys.map(|key| std::fs::read_to_string(key).expect("a key")).collect()
    }
}

fn name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).expect("a name of text")
}

fn key(reply: &Reply) -> &str {
    reply.body["credentials"]["key"].as_str().expect("a key")
}

/// OSB-PROV-17, OSB-META-01, OSB-BIND-29, OSB-BIND-30
#[tokio::test(start_paused = true)]
async fn a_trial_is_made_at_once_and_its_key_ends_in_a_week() {
    let world = World::of(&["blue"]).await;
    let made = world.buy("trial", 5).await;
    assert_eq!(
        (made.status, &made.body["metadata"]["labels"]),
        (201, &json!({"team": "blue"}))
    );
    let project = world.project().expect("a project");
    let dashboard = format!("https://gateway.example.com/projects/{}", name(&project));
    assert_eq!(made.body["dashboard_url"], dashboard);
    assert!(project.join("project.json").exists());

    let bound = world.broker.bind("shop", "app", json!({})).await;
    assert_eq!(
        world.keys(),
        [format!(
            "{} {}\n",
            sha256(key(&bound)),
            bound.body["credentials"]["ends"]
        )]
    );
    let week = SystemTime::now() + 7 * DAY;
    let ends = bound.body["credentials"]["ends"].as_u64().expect("a time");
    assert!(week.duration_since(UNIX_EPOCH).expect("after 1970").as_secs() - ends < 60);
    let metadata = &bound.body["metadata"];
    assert!(
        metadata["renew_before"].as_str() < metadata["expires_at"].as_str(),
        "{metadata}"
    );
    assert_eq!(world.broker.unbind("shop", "app").await.status, 200);
    assert_eq!(world.keys(), [""; 0]);
    assert_eq!(world.broker.deprovision("shop").await.status, 200);
    assert_eq!(world.project(), None);
}

/// OSB-ROT-05
#[tokio::test(start_paused = true)]
async fn two_keys_are_good_while_one_takes_the_place_of_the_other() {
    let world = World::of(&["blue"]).await;
    world.buy("trial", 5).await;
    let old = world.broker.bind("shop", "old", json!({})).await;
    let new = world.broker.rotate("shop", "new", "old").await;
    assert_ne!(key(&old), key(&new));
    assert_eq!(world.keys().len(), 2);
    world.broker.unbind("shop", "old").await;
    assert!(world.keys()[0].starts_with(&sha256(key(&new))));
}

#[tokio::test(start_paused = true)]
async fn production_begins_when_somebody_has_approved_it() {
    let world = World::of(&["blue"]).await;
    assert_eq!(world.buy("production", 500).await.status, 202);
    tokio::time::sleep(3 * HOUR).await;
    let poll = world
        .broker
        .send(Method::GET, "/v2/service_instances/shop/last_operation", None)
        .await;
    let waits = json!({"state": "in progress", "description": "The project waits for somebody who approves it."});
    assert_eq!(poll.body, waits);
    let project = world.project().expect("a folder to approve");
    assert!(!project.join("project.json").exists());
    std::fs::write(project.join("approved"), "").expect("approved");
    assert_eq!(world.broker.settled("shop").await.body["state"], "succeeded");
    assert!(project.join("project.json").exists());

    // OSB-BIND-16: its keys belong to applications.
    let refused = world.broker.bind("shop", "nobody", json!({})).await;
    assert_eq!((refused.status, &refused.body["error"]), (422, &json!("RequiresApp")));
}

#[tokio::test(start_paused = true)]
async fn production_that_nobody_approves_has_failed_after_a_day() {
    let (world, begin) = (World::of(&["blue", "release-managers"]).await, Instant::now());
    world.buy("production", 500).await;
    assert_eq!(world.broker.settled("shop").await.body["state"], "failed");
    assert!(
        (22 * HOUR..26 * HOUR).contains(&begin.elapsed()),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(world.broker.deprovision("shop").await.status, 200);
    assert_eq!(world.project(), None);
}

#[tokio::test(start_paused = true)]
async fn a_project_is_made_by_a_member_of_its_team_and_fits_its_plan() {
    let mut world = World::of(&["red"]).await;
    let description = |reply: Reply| (reply.status, reply.body["description"].to_string());
    let (status, text) = description(world.buy("trial", 5).await);
    assert!(status == 400 && text.contains("not a member"), "{text}");
    world.user(&["red", "blue"]);
    let (status, text) = description(world.buy("trial", 11).await);
    assert!(status == 400 && text.contains("at most 10"), "{text}");
    assert_eq!(world.project(), None);
    assert_eq!(world.buy("trial", 10).await.status, 201);
}

/// A platform that cleans up comes without a user.
#[tokio::test(start_paused = true)]
async fn production_is_removed_by_release_managers_and_by_the_platform_itself() {
    let mut world = World::of(&["blue"]).await;
    for groups in [Some(&["release-managers"][..]), None] {
        world.user(&["blue"]);
        assert_eq!(world.buy("production", 500).await.status, 202);
        assert_eq!(world.broker.deprovision("shop").await.status, 403);
        match groups {
            Some(groups) => world.user(groups),
            None => world.broker.set_user(None),
        }
        assert_eq!(world.broker.deprovision("shop").await.status, 200);
        assert_eq!(world.broker.settled("shop").await.status, 410);
    }
    assert_eq!(world.project(), None);
}
