//! Scripts of requests, played on a server of ours and on a real kube-apiserver: the answers must be the same.
//!
//! `OSB_DIFFERENTIAL_CASES` sets the number of random scripts with one writer, on which the numbers of the others depend, and
//! `OSB_DIFFERENTIAL_SEED` the seed.

mod accepted;
mod changing;
mod compare;
mod fixed;
mod generate;
mod kinds;
mod owners;
mod player;
mod script;
mod together;

use std::collections::BTreeMap;

use futures::StreamExt as _;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngSeed, TestRunner};

use accepted::{Accepted, OF_CHANGES, TABLE};
use compare::Difference;
pub(crate) use owners::gadgets;
use player::{Content, Exchange, Player};
use script::Template;

use crate::support::{TestServer, unique_name};

/// Together with the others about 10,000 requests.
const CASES: u64 = 600;
const SEED: u64 = 1;
/// Requests of a random script.
const LONGEST: usize = 24;
/// Scripts that are played at the same time.
const PARALLEL: usize = 4;
/// How many differences are shrunk and shown, and with how many scripts at most each.
const SHOWN: usize = 25;
const SHRINK_STEPS: usize = 150;

/// A difference that no row of the table explains.
struct Unexplained {
    script: Vec<Template>,
    real: Exchange,
    ours: Exchange,
    differences: Vec<Difference>,
}

/// What two servers made of a script.
struct Played {
    requests: usize,
    /// Rows of the table that occurred.
    explained: Vec<usize>,
    unexplained: Option<Unexplained>,
}

/// Plays a script on both servers, in a namespace of its own, up to the first request that only one of them accepts.
async fn play(real: &TestServer, ours: &TestServer, script: &[Template]) -> Played {
    let name = format!("d-{}", unique_name());
    let (on_real, on_ours) = (real.in_namespace(&name).await, ours.in_namespace(&name).await);
    let (mut real, mut ours) = (Player::new(&on_real), Player::new(&on_ours));
    let (mut answers_of_real, mut answers_of_ours) = (Vec::new(), Vec::new());
    let mut parted = false;
    for template in script {
        let (Some(real), Some(ours)) = tokio::join!(real.play(template), ours.play(template)) else {
            continue;
        };
        parted = (real.code < 300) != (ours.code < 300);
        answers_of_real.push(real);
        answers_of_ours.push(ours);
        if parted {
            break;
        }
    }
    if !parted {
        let (real, ours) = tokio::join!(real.end(), ours.end());
        answers_of_real.extend(real);
        answers_of_ours.extend(ours);
    }
    for server in [&on_real, &on_ours] {
        changing::clean_up(server, script).await;
    }
    judge(script, &answers_of_real, &answers_of_ours)
}

/// All that is known to differ.
fn rows() -> impl Iterator<Item = &'static Accepted> {
    TABLE.iter().chain(OF_CHANGES)
}

fn judge(script: &[Template], real: &[Exchange], ours: &[Exchange]) -> Played {
    let mut played = Played {
        requests: real.len(),
        explained: Vec::new(),
        unexplained: None,
    };
    for (position, difference) in compare::differences(real, ours) {
        let (real, ours) = (&real[position], &ours[position]);
        let found = rows().enumerate().find(|(_, row)| (row.is)(real, ours, &difference));
        if let Some((position, row)) = found {
            played.explained.push(position);
            if row.parts {
                break;
            }
            continue;
        }
        let first = played.unexplained.get_or_insert_with(|| Unexplained {
            script: script.to_vec(),
            real: real.clone(),
            ours: ours.clone(),
            differences: Vec::new(),
        });
        if first.real.template.to_string() == real.template.to_string() {
            first.differences.push(difference);
        }
    }
    played
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .map_or(default, |text| text.parse().expect("a number"))
}

/// How many random scripts with one writer are played.
fn cases() -> u64 {
    number("OSB_DIFFERENTIAL_CASES", CASES)
}

impl Unexplained {
    /// Differences of one kind are shown once.
    fn kind(&self) -> String {
        let (method, real, ours) = (self.real.template.method, self.real.code, self.ours.code);
        if real != ours {
            let words = |exchange: &Exchange| match &exchange.content {
                // What stands in quotes differs from case to case.
                Content::Json(value) => value["message"]
                    .as_str()
                    .unwrap_or_default()
                    .split('"')
                    .step_by(2)
                    .collect::<String>(),
                _ => String::new(),
            };
            return format!(
                "{method} {real} {:.80} | {ours} {:.80}",
                words(&self.real),
                words(&self.ours)
            );
        }
        let paths: Vec<&str> = self
            .differences
            .iter()
            .map(|difference| difference.path.as_str())
            .collect();
        format!("{method} {real} {}", paths.join(" "))
    }
}

impl std::fmt::Display for Unexplained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for template in &self.script {
            writeln!(f, "  {template}")?;
        }
        for (who, exchange) in [("real", &self.real), ("ours", &self.ours)] {
            let body = match &exchange.content {
                Content::Json(value) => value.to_string(),
                Content::Text(text) => text.clone(),
                Content::Events(events) => serde_json::Value::from(events.clone()).to_string(),
            };
            writeln!(f, "  {who}: {} {:?} {body:.700}", exchange.code, exchange.warnings)?;
        }
        let shown = if self.real.code == self.ours.code {
            self.differences.as_slice()
        } else {
            &[]
        };
        for Difference { path, real, ours } in shown {
            writeln!(f, "  {path}:\n    real {real:.500}\n    ours {ours:.500}")?;
        }
        Ok(())
    }
}

/// The requests in the script that are needed for a difference of this kind.
async fn shrunk(real: &TestServer, ours: &TestServer, found: Unexplained) -> Unexplained {
    let kind = found.kind();
    let mut smallest = found;
    let mut position = 0;
    for _ in 0..SHRINK_STEPS {
        if position >= smallest.script.len() {
            break;
        }
        let mut script = smallest.script.clone();
        script.remove(position);
        match play(real, ours, &script).await.unexplained {
            Some(smaller) if smaller.kind() == kind => smallest = smaller,
            _ => position += 1,
        }
    }
    smallest
}

fn random_scripts() -> Vec<Vec<Template>> {
    let config = Config {
        rng_seed: RngSeed::Fixed(number("OSB_DIFFERENTIAL_SEED", SEED)),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let script = generate::script(LONGEST);
    (0..cases())
        .map(|_| script.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// What differs between two servers over many scripts.
struct Report {
    /// Each kind of difference with a small script; empty when there is none.
    text: String,
    kinds: usize,
    /// How often each row of the table occurred.
    explained: Vec<usize>,
}

/// Plays the scripts on both servers; with the number of requests and of scripts.
async fn report(real: &TestServer, ours: &TestServer, scripts: Vec<Vec<Template>>) -> (Report, u64, u64) {
    let played: Vec<Played> = futures::stream::iter(scripts)
        .map(|script| async move { play(real, ours, &script).await })
        .buffer_unordered(PARALLEL)
        .collect()
        .await;
    let scripts = played.len() as u64;
    let requests = played.iter().map(|played| played.requests as u64).sum();
    let mut explained = vec![0; rows().count()];
    let mut kinds: BTreeMap<String, Vec<Unexplained>> = BTreeMap::new();
    for played in played {
        played.explained.iter().for_each(|row| explained[*row] += 1);
        if let Some(unexplained) = played.unexplained {
            kinds.entry(unexplained.kind()).or_default().push(unexplained);
        }
    }
    let mut report = Report {
        text: String::new(),
        kinds: kinds.len(),
        explained,
    };
    for found in kinds.into_values().take(SHOWN) {
        let times = found.len();
        let found = shrunk(real, ours, found.into_iter().next().unwrap()).await;
        report.text += &format!("\n{} ({times} times)\n{found}", found.kind());
    }
    (report, requests, scripts)
}

#[tokio::test]
async fn requests_are_answered_as_by_a_real_server() {
    let Some(real) = TestServer::kubernetes().await else {
        return;
    };
    let real = real.with_widgets().await.with_instances().await;
    let ours = TestServer::memory().await.with_widgets().await.with_instances().await;
    let scripts = fixed::scripts().into_iter().chain(random_scripts()).collect();
    let (report, requests, scripts) = report(&real, &ours, scripts).await;
    let explained = report.explained;
    assert!(
        report.text.is_empty(),
        "{} kinds of differences in {requests} requests:{}",
        report.kinds,
        report.text
    );
    let gone: Vec<&str> = TABLE
        .iter()
        .zip(explained)
        .filter(|(_, times)| *times == 0)
        .map(|(row, _)| row.what)
        .collect();
    assert!(
        gone.is_empty(),
        "these do not differ any more, take them out of the table: {gone:?}"
    );
    testparts::long_run::count("requests", requests);
    testparts::long_run::count("scripts", scripts);
}
