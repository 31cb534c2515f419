//! Three processes of a broker on one cluster: one is killed, one is stopped and goes on later.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};
use testparts::{Oracle, need};

use crate::harness::{Place, Server, Verb, osb, poll};

const LEASE: &str = "--lease=4";

struct Cluster {
    oracle: Oracle,
    kubeconfig: String,
    key: String,
    _folder: tempfile::TempDir,
}

impl Cluster {
    fn start() -> Option<Self> {
        let oracle = need(Oracle::start())?;
        let args = ["serve", "reference", "--manifests"];
        let manifests = Verb::of(&args, &osb().args(args).output().unwrap()).ok().to_owned();
        let mut apply = oracle.kubectl();
        let apply = apply
            .args(["apply", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let mut apply = apply.spawn().unwrap();
        apply.stdin.take().unwrap().write_all(manifests.as_bytes()).unwrap();
        assert!(apply.wait().unwrap().success());
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        fs::write(&key, format!("{}\n", "5e".repeat(32))).unwrap();
        Some(Self {
            kubeconfig: oracle.kubeconfig().display().to_string(),
            key: key.display().to_string(),
            oracle,
            _folder: folder,
        })
    }

    fn replica<'a>(&self, place: &'a Place, name: &str) -> Server<'a> {
        let flags = [
            "--home",
            "kubernetes",
            LEASE,
            "--key-file",
            &self.key,
            "--replica-name",
            name,
        ];
        place.start_with(&[&flags[..], &["--home-kubeconfig", &self.kubeconfig]].concat(), &[])
    }

    fn objects(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let kind = format!("{kind}.reference.osb.internal");
        let args = ["get", &kind, "-n", namespace, "-o", "json"];
        let output = self.oracle.kubectl().args(args).output().unwrap();
        let list: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    fn wait_for_owners(&self, expected: &[(&str, usize)]) {
        let expected: BTreeMap<String, usize> = expected
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect();
        poll("the shards are shared", || {
            let mut owned: BTreeMap<String, usize> = BTreeMap::new();
            for shard in self.objects("shardtables", "osb-system").first()?["spec"]["shards"].as_array()? {
                let (name, _) = shard["owner"].as_str()?.rsplit_once('-')?;
                *owned.entry(name.to_owned()).or_default() += 1;
            }
            (owned == expected).then_some(())
        });
    }

    /// By name: whether it is complete, and its resource version.
    fn instances(&self) -> BTreeMap<String, (bool, String)> {
        let all = self.objects("serviceinstances", "osb-system-default");
        let told = all.iter().map(|object| {
            let complete = object["record"]["outputs"].is_string() && object["record"]["operation"].is_null();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let meta = &object["metadata"];
            (text(&meta["name"]), (complete, text(&meta["resourceVersion"])))
        });
        told.collect()
    }

    fn wait_for_all(&self, count: usize) {
        poll("all are complete", || {
            let all = self.instances();
            (all.len() == count && all.values().all(|(complete, _)| *complete)).then_some(())
        });
    }
}

/// Begins something that takes so many seconds, each of them a step.
fn begin(server: &Server<'_>, id: &str, seconds: u32) {
    let order = json!({
        "service_id": reference_broker::OFFERING, "plan_id": reference_broker::ASYNC,
        "organization_guid": "o", "space_guid": "s", "parameters": {"seconds": seconds},
    });
    let path = format!("/v2/service_instances/{id}?accepts_incomplete=true");
    let (code, answer) = server.call("PUT", &path, Some(&order));
    assert_eq!(code, 202, "{answer}");
}

fn provision(server: &Server<'_>, id: &str) -> u16 {
    let order = crate::harness::order(&json!({}));
    server
        .call("PUT", &format!("/v2/service_instances/{id}"), Some(&order))
        .0
}

#[test]
fn what_a_killed_or_stopped_replica_did_is_carried_on_by_the_others() {
    let Some(cluster) = Cluster::start() else { return };
    let places = [Place::new(), Place::new(), Place::new(), Place::new()];
    let a = cluster.replica(&places[0], "a");
    let b = cluster.replica(&places[1], "b");
    let c = cluster.replica(&places[2], "c");
    cluster.wait_for_owners(&[("a", 22), ("b", 21), ("c", 21)]);
    // The answer of who does the work comes from whoever is asked.
    for number in 0..6 {
        assert_eq!(provision([&a, &b, &c][number % 3], &format!("sync-{number}")), 201);
    }

    for number in 0..12 {
        begin([&a, &b, &c][number % 3], &format!("killed-{number}"), 6);
    }
    a.kill();
    cluster.wait_for_owners(&[("b", 32), ("c", 32)]);
    cluster.wait_for_all(18);

    let d = cluster.replica(&places[3], "d");
    cluster.wait_for_owners(&[("b", 22), ("c", 21), ("d", 21)]);
    for number in 0..12 {
        begin([&b, &c, &d][number % 3], &format!("stopped-{number}"), 6);
    }
    b.signal("STOP");
    cluster.wait_for_owners(&[("c", 32), ("d", 32)]);
    cluster.wait_for_all(30);
    let before = cluster.instances();
    b.signal("CONT");
    // It finds out that others have taken over, has written nothing, and takes its share under a new name.
    cluster.wait_for_owners(&[("b", 21), ("c", 22), ("d", 21)]);
    assert!(
        places[1].log().contains("this replica was declared dead"),
        "{}",
        places[1].log()
    );
    assert_eq!(cluster.instances(), before);
    assert_eq!(provision(&b, "again"), 201);
    for server in [b, c, d] {
        assert_eq!(server.stop(), Some(0));
    }
    assert!(cluster.objects("replicas", "osb-system").is_empty());
}
