//! Many writers at once: whatever a watch starts from, it tells exactly what the log holds, and reads are never older than
//! what a client has seen.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt as _;
use objectstore::{Delivery, Revision};
use serde_json::{Value, json};

use crate::on_each_engine;
use crate::support::{Events, TestServer};

const WRITERS: u64 = 6;
const WRITES: u64 = 40;
const SELECTOR: &str = "labelSelector=app%3Dx";

/// What a watch tells of one change: type, name, resourceVersion, content.
type Told = (String, String, u64, Value);

fn number(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap()
}

fn is_selected(labels: &Value) -> bool {
    labels["app"] == "x"
}

/// One of a few objects is made, changed, taken out of the selector's sight or deleted, by turns that no two writers share.
async fn write(server: &TestServer, writer: u64, seen: &mut u64) {
    for turn in 0..WRITES {
        let random = (writer * 7919 + turn * 104_729) % 31;
        let path = format!("{}/m{}", server.maps(), random % 5);
        let label = if random.is_multiple_of(3) { "x" } else { "y" };
        let answer = match random % 4 {
            0 => server.delete(&path).await,
            1 => {
                let patch = json!({"metadata": {"labels": {"app": label}}, "data": {"by": format!("{writer}-{turn}")}});
                server.merge(&path, patch).await
            }
            _ => {
                let labels = json!({"app": label});
                let metadata = json!({"name": format!("m{}", random % 5), "labels": labels});
                server.post(&server.maps(), json!({"metadata": metadata})).await
            }
        };
        if answer.code.is_success() && !random.is_multiple_of(4) {
            let written = number(&answer.json());
            assert!(written > *seen, "a write of one client comes behind its last one");
            *seen = written;
            // What was written is in every later list, or something newer.
            let list = server.get(&format!("{}?limit=1", server.maps())).await.ok();
            assert!(number(&list) >= written);
        }
    }
}

/// The events of a watch up to a revision.
async fn told(mut events: Events, upto: u64) -> Vec<Told> {
    let mut told = Vec::new();
    loop {
        let event = events.next().await.expect("the watch goes on");
        let object = &event["object"];
        let revision = number(object);
        if event["type"] == "BOOKMARK" {
            continue;
        }
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        if revision >= upto {
            assert_eq!(name, "end");
            return told;
        }
        told.push((
            event["type"].as_str().unwrap().to_owned(),
            name,
            revision,
            object["data"].clone(),
        ));
    }
}

/// What the log holds, as a watch with or without the selector has to tell it.
async fn expected(server: &TestServer, upto: u64, selected: bool) -> Vec<Told> {
    let prefix = format!("/registry/core/configmaps/{}/", server.namespace);
    let mut log = server
        .ours()
        .store
        .watch(objectstore::prefix(prefix.as_bytes()), Some(Revision(0)))
        .await
        .unwrap();
    let (mut before, mut told) = (BTreeMap::<String, (Value, Value)>::new(), Vec::new());
    loop {
        let Delivery::Events(events) = log.next().await.unwrap().unwrap() else {
            continue;
        };
        for event in events.iter() {
            if event.revision.0 >= upto {
                return told;
            }
            let name = String::from_utf8(event.key[prefix.len()..].to_vec()).unwrap();
            let new = event.value.as_ref().map(|value| stored(value));
            let old = match &new {
                Some(new) => before.insert(name.clone(), new.clone()),
                None => before.remove(&name),
            };
            let sees = |object: &Option<(Value, Value)>| {
                object
                    .as_ref()
                    .is_some_and(|(labels, _)| !selected || is_selected(labels))
            };
            let (kind, shown) = match (sees(&old), sees(&new)) {
                (false, true) => ("ADDED", &new),
                (true, true) => ("MODIFIED", &new),
                (true, false) => ("DELETED", &old),
                (false, false) => continue,
            };
            let data = shown.as_ref().unwrap().1.clone();
            told.push((kind.to_owned(), name, event.revision.0, data));
        }
    }
}

/// Labels and data of a stored object: metadata and the rest are JSON, behind a header of 13 bytes.
fn stored(value: &[u8]) -> (Value, Value) {
    let end = u32::from_be_bytes(value[9..13].try_into().unwrap()) as usize;
    let parse = |text: &[u8]| serde_json::from_slice::<Value>(&[b"{".as_slice(), text, b"}"].concat()).unwrap();
    let metadata = parse(&value[13..end]);
    let rest = std::str::from_utf8(&value[end + 1..value.len() - 1])
        .unwrap()
        .trim_start_matches(',');
    (metadata["labels"].clone(), parse(rest.as_bytes())["data"].clone())
}

on_each_engine! {
    async fn a_watch_from_any_revision_tells_exactly_the_log(server: TestServer) {
        let server = Arc::new(server);
        let first = server.ours().store.revision().0;
        let mut early = Vec::new();
        for query in [String::new(), format!("&{SELECTOR}")] {
            let events = server.watch(&server.maps(), &format!("resourceVersion={first}{query}")).await;
            early.push((first, !query.is_empty(), events));
        }
        let writers = (0..WRITERS).map(|writer| {
            let server = server.clone();
            tokio::spawn(async move { write(&server, writer, &mut 0).await })
        });
        let writers: Vec<_> = writers.collect();
        // Some are opened in the midst of it, from whatever has been reached.
        let mut watches = early;
        for _ in 0..8 {
            tokio::task::yield_now().await;
            let from = server.ours().store.revision().0;
            let selected = from.is_multiple_of(2);
            let query = format!("resourceVersion={from}{}", if selected { format!("&{SELECTOR}") } else { String::new() });
            watches.push((from, selected, server.watch(&server.maps(), &query).await));
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let last = json!({"metadata": {"name": "end", "labels": {"app": "x"}}});
        let upto = number(&server.post(&server.maps(), last).await.ok());
        for from in [first, (first + upto) / 2, upto - 1] {
            for selected in [false, true] {
                let query = format!("resourceVersion={from}{}", if selected { format!("&{SELECTOR}") } else { String::new() });
                watches.push((from, selected, server.watch(&server.maps(), &query).await));
            }
        }
        let log = [expected(&server, upto, false).await, expected(&server, upto, true).await];
        assert!(log[0].len() > 50 && log[1].len() > 10, "{} {}", log[0].len(), log[1].len());
        for (from, selected, events) in watches {
            let all = &log[usize::from(selected)];
            let behind: Vec<Told> = all.iter().filter(|(_, _, revision, _)| *revision > from).cloned().collect();
            assert_eq!(told(events, upto).await, behind, "from {from}, selected: {selected}");
        }
    }

    async fn a_watcher_that_reads_nothing_goes_on_where_it_was(server: TestServer) {
        let from = server.ours().store.revision().0;
        let mut events = server.watch(&server.maps(), &format!("resourceVersion={from}")).await;
        server.post(&server.maps(), json!({"metadata": {"name": "a"}})).await.ok();
        // The watch is under way, and then far behind: more waits for it than is kept for it.
        assert_eq!(events.change().await, ("ADDED".into(), "a".into()));
        let large = "x".repeat(1_000_000);
        for round in 0..20 {
            let data = json!({"data": {"round": round.to_string(), "large": large}});
            server.merge(&format!("{}/a", server.maps()), data).await.ok();
        }
        for round in 0..20 {
            let event = events.next().await.expect("no change is lost");
            assert_eq!((event["type"].as_str(), event["object"]["data"]["round"].as_str()), (Some("MODIFIED"), Some(round.to_string().as_str())));
        }
    }
}
