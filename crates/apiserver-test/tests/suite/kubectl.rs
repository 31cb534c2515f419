//! Every command of kubectl that needs no pod, on our server and on a real one: the outputs are the same.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::compare::difference;
use crate::place::{Done, Place};

mod script;

use script::{Expect, FILES, SCRIPT, Step};

/// The program, `None` where it is missing and may be.
fn kubectl() -> Option<PathBuf> {
    testparts::need(testparts::kubectl())
}

/// Words, of which those in single quotes may hold spaces.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (position, part) in line.split('\'').enumerate() {
        if position % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// Carries out a step. What a real server does a moment later is tried again for a while.
async fn carry_out(place: &Place, kubectl: &std::path::Path, step: &Step) -> Done {
    let words = words(step.command);
    let args: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut done = place.run(kubectl, &args, step.input).await;
    let patience = if step.expect == Expect::SameSoon && !place.is_ours() {
        100
    } else {
        0
    };
    for _ in 0..patience {
        if done.code == Some(0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        done = place.run(kubectl, &args, step.input).await;
    }
    done
}

async fn play(place: &Place, kubectl: &std::path::Path) -> Vec<Done> {
    for (name, text) in FILES {
        place.write(name, text);
    }
    let mut outputs = Vec::new();
    for step in SCRIPT {
        outputs.push(carry_out(place, kubectl, step).await);
    }
    outputs
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_says_the_same_as_on_a_real_server() {
    let Some(kubectl) = kubectl() else { return };
    let Some(theirs) = Place::kubernetes().await else {
        return;
    };
    let ours = Place::ours().await;
    let (ours, theirs) = tokio::join!(play(&ours, &kubectl), play(&theirs, &kubectl));
    let mut told = String::new();
    for ((step, ours), theirs) in SCRIPT.iter().zip(&ours).zip(&theirs) {
        let differs = match step.expect {
            Expect::Same | Expect::SameSoon => difference(ours, theirs),
            Expect::Differs(reason) if difference(ours, theirs).is_none() => {
                Some(format!("  the same by now, but said to differ: {reason}\n"))
            }
            Expect::Differs(_) => {
                (ours.code != theirs.code).then(|| format!("  codes: ours {ours:?}, theirs {theirs:?}\n"))
            }
        };
        if let Some(differs) = differs {
            told.push_str(&format!("$ kubectl {}\n{differs}", step.command));
        }
    }
    assert!(told.is_empty(), "\n{told}");
}

/// The same script without a real server to compare with: every command does what it is for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_command_works() {
    let Some(kubectl) = kubectl() else { return };
    let place = Place::ours().await;
    let mut told = String::new();
    for (step, done) in SCRIPT.iter().zip(play(&place, &kubectl).await) {
        if done.code != Some(step.code) {
            told.push_str(&format!("$ kubectl {}\n  {done:?}\n", step.command));
        }
    }
    assert!(told.is_empty(), "\n{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_prints_each_change_as_it_comes() {
    let Some(kubectl) = kubectl() else { return };
    let watched = async |place: Place| {
        for (name, text) in FILES {
            place.write(name, text);
        }
        place.run(&kubectl, &["create", "-f", "watched.yaml"], "").await;
        let args = ["get", "configmap", "watched", "--watch", "--output-watch-events"];
        let mut child = place.spawn(&kubectl, &args);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = Vec::new();
        let patch = [
            "patch",
            "configmap",
            "watched",
            "--type=merge",
            "-p",
            r#"{"data":{"b":"2"}}"#,
        ];
        while let Ok(Ok(Some(line))) = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await {
            let words: Vec<String> = line.split_whitespace().take(3).map(str::to_owned).collect();
            match words[0].as_str() {
                "ADDED" => drop(place.run(&kubectl, &patch, "").await),
                "MODIFIED" => drop(
                    place
                        .run(&kubectl, &["delete", "configmap", "watched", "--wait=false"], "")
                        .await,
                ),
                _ => {}
            }
            let is_last = words[0] == "DELETED";
            seen.push(words.join(" "));
            if is_last {
                break;
            }
        }
        child.kill().await.unwrap();
        seen
    };
    let expected = [
        "EVENT NAME DATA",
        "ADDED watched 1",
        "MODIFIED watched 2",
        "DELETED watched 2",
    ];
    assert_eq!(watched(Place::ours().await).await, expected);
    if let Some(theirs) = Place::kubernetes().await {
        assert_eq!(watched(theirs).await, expected);
    }
}
