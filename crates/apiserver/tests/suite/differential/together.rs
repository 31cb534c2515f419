//! Several writers at once: which of them is the first nobody can say, but how many succeed, and what is there in the end, is the
//! same on both servers.

use futures::future::join_all;
use http::Method;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use super::player::{Exchange, Player};
use super::script::{APPLY, JSON, MERGE, Template};
use super::{SEED, cases, judge, number};
use crate::support::{TestServer, unique_name};

/// Of a hundred random scripts with one writer, so many have several.
const SHARE: u64 = 8;
const ROUNDS: usize = 4;
const MOST_WRITERS: usize = 6;

/// What all writers of a round do, each with a number of its own. In whatever order it is done, the outcome is the same.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// The same name.
    Create,
    /// Each another label and another key.
    Merge,
    /// Each as another manager and another key.
    Apply,
    /// The same content, for the same revision.
    Replace,
    /// Each once, by uid.
    Delete,
    /// The last finalizer of an object that is being deleted.
    Finish,
}

const DEEDS: [Deed; 6] = [
    Deed::Create,
    Deed::Merge,
    Deed::Apply,
    Deed::Replace,
    Deed::Delete,
    Deed::Finish,
];

/// Where the writers meet.
#[derive(Clone, Copy, Debug)]
struct Meeting {
    collection: &'static str,
    api_version: &'static str,
    kind: &'static str,
    /// The member with one value for each writer.
    data: &'static str,
}

const MEETINGS: [Meeting; 2] = [
    Meeting {
        collection: "maps",
        api_version: "v1",
        kind: "ConfigMap",
        data: "data",
    },
    Meeting {
        collection: "gadgets",
        api_version: "<group>/v1",
        kind: "Gadget",
        data: "texts",
    },
];

impl Meeting {
    fn object(self, data: Value) -> Value {
        let mut object = json!({"apiVersion": self.api_version, "kind": self.kind, "metadata": {"name": "x"}});
        match self.data {
            "data" => object["data"] = data,
            member => object["spec"] = json!({member: data}),
        }
        object
    }

    fn path(self) -> String {
        format!("<{}>/x", self.collection)
    }

    /// What stands before a round: an object, or none.
    fn before(self, deed: Deed) -> Vec<Template> {
        let mut object = self.object(json!({"first": "1"}));
        if matches!(deed, Deed::Finish) {
            object["metadata"]["finalizers"] = json!(["ex.io/hold"]);
        }
        let create = Template::new("POST", format!("<{}>", self.collection)).body(JSON, object);
        match deed {
            Deed::Create | Deed::Apply => Vec::new(),
            Deed::Finish => vec![create, Template::new("DELETE", self.path())],
            Deed::Merge | Deed::Replace | Deed::Delete => vec![create],
        }
    }

    fn deed(self, deed: Deed, writer: usize) -> Template {
        let own = json!({format!("k{writer}"): "1"});
        match deed {
            Deed::Create => {
                Template::new("POST", format!("<{}>", self.collection)).body(JSON, self.object(json!({"a": "1"})))
            }
            Deed::Merge => {
                let mut patch = self.object(own.clone());
                patch["metadata"] = json!({"labels": own});
                Template::new("PATCH", self.path()).body(MERGE, patch)
            }
            Deed::Apply => {
                Template::new("PATCH", format!("{}?fieldManager=m{writer}", self.path())).body(APPLY, self.object(own))
            }
            Deed::Replace => {
                let mut object = self.object(json!({"second": "2"}));
                object["metadata"]["resourceVersion"] = "<rv x>".into();
                Template::new("PUT", self.path()).body(JSON, object)
            }
            Deed::Delete => {
                Template::new("DELETE", self.path()).body(JSON, json!({"preconditions": {"uid": "<uid x>"}}))
            }
            Deed::Finish => Template::new("PATCH", self.path()).body(MERGE, json!({"metadata": {"finalizers": null}})),
        }
    }
}

type Round = (Meeting, Deed, usize);

/// A script on one server: the sorted codes of each round, and what is there in the end.
async fn play(server: &TestServer, name: &str, rounds: &[Round]) -> (Vec<Vec<u16>>, Vec<Exchange>) {
    let (mut codes, mut shown) = (Vec::new(), Vec::new());
    for (number, (meeting, deed, writers)) in rounds.iter().enumerate() {
        // A namespace for each round, so that the next one begins with nothing.
        let server = server.in_namespace(&format!("{name}-{number}")).await;
        let mut player = Player::new(&server);
        for template in meeting.before(*deed) {
            shown.extend(player.play(&template).await);
        }
        let sent = (0..*writers).map(|writer| {
            let template = meeting.deed(*deed, writer);
            let (path, body) = (player.resolve(&template.path), player.resolve(&template.body));
            let server = &server;
            async move {
                let method = Method::from_bytes(template.method.as_bytes()).unwrap();
                let headers: Vec<(&str, &str)> = template
                    .content_type
                    .map(|name| ("content-type", name))
                    .into_iter()
                    .collect();
                server.send(method, &path, &headers, body).await.code.as_u16()
            }
        });
        let mut round = join_all(sent).await;
        if matches!(deed, Deed::Finish) {
            // A real server says so or so to those who come too late, by how late they come.
            assert!(round.contains(&200), "{round:?}");
            round.retain(|code| ![200, 404].contains(code));
        }
        round.sort_unstable();
        codes.push(round);
        shown.extend(player.play(&Template::new("GET", meeting.path())).await);
    }
    (codes, shown)
}

fn scripts() -> Vec<Vec<Round>> {
    let config = Config {
        rng_seed: RngSeed::Fixed(number("OSB_DIFFERENTIAL_SEED", SEED)),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let round = (select(&MEETINGS[..]), select(&DEEDS[..]), 2..=MOST_WRITERS);
    let script = prop::collection::vec(round, 1..=ROUNDS);
    (0..(cases() * SHARE / 100).max(1))
        .map(|_| script.new_tree(&mut runner).unwrap().current())
        .collect()
}

#[tokio::test]
async fn writers_at_once_end_as_on_a_real_server() {
    let Some(real) = TestServer::kubernetes().await else {
        return;
    };
    let real = real.with_gadgets().await;
    let ours = TestServer::memory().await.with_gadgets().await;
    let (mut told, mut requests) = (String::new(), 0);
    let scripts = scripts();
    for script in &scripts {
        let name = format!("w-{}", unique_name());
        let (theirs, here) = tokio::join!(play(&real, &name, script), play(&ours, &name, script));
        requests += theirs.1.len() as u64 + theirs.0.iter().map(|round| round.len() as u64).sum::<u64>();
        if theirs.0 != here.0 {
            told.push_str(&format!("{script:?}\n  real {:?}\n  ours {:?}\n", theirs.0, here.0));
        } else if let Some(found) = judge(&[], &theirs.1, &here.1).unexplained {
            told.push_str(&format!("{script:?}\n{found}\n"));
        }
    }
    assert!(told.is_empty(), "\n{told}");
    testparts::long_run::count("requests", requests);
    testparts::long_run::count("scripts", scripts.len() as u64);
}
