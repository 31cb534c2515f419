//! Python's client library on our server and on a real one.

use crate::place::{Done, Place};

const SCRIPT: &str = include_str!("../data/client.py");

async fn play(place: &Place, python: &std::path::Path) -> Done {
    place.write("client.py", SCRIPT);
    let done = place.run(python, &["client.py"], "").await;
    assert_eq!(done.code, Some(0), "{}\n{}", done.stdout, done.stderr);
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_prints_the_same_as_on_a_real_server() {
    let Some(python) = testparts::need(testparts::python()) else {
        return;
    };
    let ours = play(&Place::ours().await, &python).await;
    assert!(ours.stdout.contains("saw DELETED"), "{}", ours.stdout);
    let Some(theirs) = Place::kubernetes().await else {
        return;
    };
    let theirs = play(&theirs, &python).await;
    let (ours, theirs): (Vec<&str>, Vec<&str>) = (ours.stdout.lines().collect(), theirs.stdout.lines().collect());
    assert_eq!(ours, theirs);
}
