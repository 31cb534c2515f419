//! What only the engine on etcd can be asked: several processes, members that are lost, logins.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use objectstore::etcd::{self, Login, OpenError, Options};
use objectstore::{Compare, Error, Outcome, Revision, Store, Transaction, Window, prefix};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use testparts::{Etcd, EtcdOptions, EtcdTls, need};

use crate::clusters::lease;
use crate::support::*;

fn options(cluster: &Etcd) -> Options {
    Options {
        endpoints: cluster.endpoints(),
        prefix: "/test/members".to_owned(),
        ..Options::default()
    }
}

fn three() -> Option<Etcd> {
    need(Etcd::start_with(3, &EtcdOptions::default()))
}

fn signal(cluster: &Etcd, member: usize, signal: Signal) {
    let number = i32::try_from(cluster.process(member).unwrap()).unwrap();
    kill(Pid::from_raw(number), signal).unwrap();
}

/// The member that leads.
fn leader(cluster: &Etcd) -> usize {
    let leads = |member: &usize| {
        let status = cluster.call(*member, "/v3/maintenance/status", "{}").unwrap();
        let text = |name: &str| {
            let start = status.find(&format!("\"{name}\":\"")).unwrap() + name.len() + 4;
            status[start..].split('"').next().unwrap().to_owned()
        };
        text("member_id") == text("leader")
    };
    (0..3).find(leads).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_acknowledges_others_read_and_watch_and_of_two_changes_one_wins() {
    let Some(lease) = lease() else { return };
    let one = etcd::open(lease.options()).await.unwrap();
    let two = etcd::open(lease.options()).await.unwrap();
    let mut watch = two.watch(prefix(b"k"), None).await.unwrap();
    for n in 0..30 {
        let at = put(&one, "k", &n.to_string()).await;
        assert_eq!(two.get(b("k"), None).await.unwrap().unwrap().modified, at);
        let page = two.range(prefix(b""), 10, None).await.unwrap();
        assert!(page.revision >= at && two.latest().await.unwrap() >= at);
        assert_eq!(next_events(&mut watch).await[0].revision, at);
    }
    for round in 0..30 {
        let seen = get(&one, "k", None).await.unwrap().modified;
        let change = |who: &str| {
            Transaction::default()
                .when(Compare::Modified(b("k"), seen))
                .put("k", format!("{who} {round}"))
        };
        let (first, second) = tokio::join!(one.transact(change("one")), two.transact(change("two")));
        let won = |outcome: &Result<Outcome, Error>| matches!(outcome, Ok(Outcome::Committed(_)));
        assert!(won(&first) != won(&second), "{first:?} {second:?}");
    }
}

/// Keys that are counted up, each by a task of its own, until told to stop: every step compares the one before, so that none
/// can be taken twice, and none may fail.
struct Counters {
    over: Arc<AtomicBool>,
    tasks: Vec<tokio::task::JoinHandle<u64>>,
    steps: Arc<std::sync::atomic::AtomicU64>,
}

impl Counters {
    fn start(stores: &[Store]) -> Counters {
        let (over, steps) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let tasks = (0..8).map(|number: usize| {
            let store = stores[number % stores.len()].clone();
            let (over, steps) = (over.clone(), Arc::clone(&steps));
            tokio::spawn(count_up(store, format!("c{number}"), over, steps))
        });
        Counters {
            tasks: tasks.collect(),
            over,
            steps,
        }
    }

    /// Until there are so many more.
    async fn go_on(&self, more: u64) {
        let wanted = self.steps.load(Ordering::Relaxed) + more;
        eventually("the counters go on", async || {
            assert!(
                !self.tasks.iter().any(|task| task.is_finished()),
                "a request has failed"
            );
            self.steps.load(Ordering::Relaxed) >= wanted
        })
        .await;
    }

    /// Every step is there, once.
    async fn check(self, store: &Store) {
        self.over.store(true, Ordering::Relaxed);
        let mut watch = store.watch(prefix(b"c"), Some(Revision(0))).await.unwrap();
        let last = async {
            let mut last = Vec::new();
            for task in self.tasks {
                last.push(task.await.expect("no request fails"));
            }
            last
        };
        let last = last.await;
        let events = events_until(&mut watch, store.latest().await.unwrap()).await;
        for (number, last) in last.into_iter().enumerate() {
            let key = b(format!("c{number}"));
            let of_key = events.iter().filter(|event| event.key == key);
            let values: Vec<_> = of_key.map(|event| event.value.clone().unwrap()).collect();
            let expected: Vec<_> = (1..=last).map(|n| b(n.to_string())).collect();
            assert_eq!(values, expected);
        }
    }
}

async fn count_up(store: Store, key: String, over: Arc<AtomicBool>, steps: Arc<std::sync::atomic::AtomicU64>) -> u64 {
    let (mut count, mut seen) = (0_u64, None);
    while !over.load(Ordering::Relaxed) {
        let compare = match seen {
            None => Compare::Absent(b(&key)),
            Some(at) => Compare::Modified(b(&key), at),
        };
        count += 1;
        let step = Transaction::default().when(compare).put(b(&key), count.to_string());
        match store.transact(step).await {
            Ok(Outcome::Committed(at)) => seen = Some(at),
            other => panic!("{key} {count}: {other:?}"),
        }
        steps.fetch_add(1, Ordering::Relaxed);
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_leader_of_three_killed_no_request_fails_and_none_is_carried_out_twice() {
    let Some(cluster) = three() else { return };
    let stores = [
        etcd::open(options(&cluster)).await.unwrap(),
        etcd::open(options(&cluster)).await.unwrap(),
    ];
    let counters = Counters::start(&stores);
    counters.go_on(200).await;
    signal(&cluster, leader(&cluster), Signal::SIGKILL);
    counters.go_on(200).await;
    counters.check(&stores[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_paused_and_comes_back_carries_out_nothing_late() {
    let Some(cluster) = three() else { return };
    let mut endpoints = cluster.endpoints();
    // The one that will be paused is asked first.
    let paused = leader(&cluster);
    endpoints.rotate_left(paused);
    let options = Options {
        endpoints,
        ..options(&cluster)
    };
    let stores = [
        etcd::open(options.clone()).await.unwrap(),
        etcd::open(options).await.unwrap(),
    ];
    let counters = Counters::start(&stores);
    for _ in 0..2 {
        counters.go_on(100).await;
        signal(&cluster, paused, Signal::SIGSTOP);
        counters.go_on(100).await;
        signal(&cluster, paused, Signal::SIGCONT);
    }
    counters.go_on(300).await;
    counters.check(&stores[1]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_requests_are_refused_in_time_and_what_was_acknowledged_is_there_after() {
    let Some(cluster) = three() else { return };
    let options = Options {
        deadline: Duration::from_secs(4),
        attempt: Duration::from_secs(1),
        ..options(&cluster)
    };
    let store = etcd::open(options).await.unwrap();
    let mut watch = store.watch(prefix(b""), None).await.unwrap();
    put(&store, "before", "1").await;
    for member in [0, 1] {
        signal(&cluster, member, Signal::SIGSTOP);
    }
    let begun = Instant::now();
    assert!(matches!(store.get(b("before"), None).await, Err(Error::Unavailable(_))));
    let tries = (0..4).map(|n| store.transact(Transaction::default().put(format!("try{n}"), "1")));
    let tries = futures::future::join_all(tries).await;
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    for member in [0, 1] {
        signal(&cluster, member, Signal::SIGCONT);
    }
    eventually("it goes on", async || {
        store.transact(Transaction::default().put("after", "1")).await.is_ok()
    })
    .await;
    assert!(get(&store, "before", None).await.is_some());
    for (n, outcome) in tries.into_iter().enumerate() {
        let found = get(&store, &format!("try{n}"), None).await;
        match outcome {
            Err(Error::Unavailable(_)) => assert_eq!(found, None, "nothing was written"),
            Err(Error::Unknown(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    // The watch has gone on, too.
    let mut keys = Vec::new();
    while keys.last() != Some(&b("after")) {
        keys.extend(next_events(&mut watch).await.iter().map(|event| event.key.clone()));
    }
    assert_eq!(keys[0], b("before"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_processes_one_cuts_history_and_another_when_that_has_gone() {
    let Some(lease) = lease() else { return };
    let every = Duration::from_millis(400);
    let options = Options {
        window: Window {
            age: Duration::from_millis(200),
            bytes: 1 << 30,
        },
        compact_every: every,
        ..lease.options()
    };
    let cuts = || {
        let metrics = lease.etcd().get(0, "/metrics").unwrap();
        let name = "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds_count ";
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse::<f64>().unwrap()
    };
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(etcd::open(options.clone()).await.unwrap());
    }
    let (before, begun) = (cuts(), Instant::now());
    for _ in 0..2 {
        let now = stores[0].latest().await.unwrap();
        eventually("history is cut, and all know", async || {
            put(&stores[0], "a", "1").await;
            stores.iter().all(|store| store.oldest() > now)
        })
        .await;
    }
    // All four would make it four times as many.
    let most = 2.0 * begun.elapsed().as_secs_f64() / every.as_secs_f64() + 2.0;
    assert!(cuts() - before <= most, "{} {most}", cuts() - before);
    while stores.len() > 1 {
        stores.pop().unwrap().close().await.unwrap();
    }
    let now = stores[0].latest().await.unwrap();
    eventually("the last one goes on", async || {
        put(&stores[0], "a", "2").await;
        stores[0].oldest() > now
    })
    .await;
}

#[tokio::test]
async fn a_store_may_begin_at_any_revision_and_keeps_to_itself() {
    let Some(lease) = lease() else { return };
    let options = Options {
        first_revision: Revision(1000),
        ..lease.options()
    };
    let store = etcd::open(options.clone()).await.unwrap();
    assert_eq!(
        (store.revision(), put(&store, "a", "1").await),
        (Revision(1000), Revision(1001))
    );
    assert!(matches!(
        store.get(b("a"), Some(Revision(999))).await,
        Err(Error::Compacted { .. })
    ));
    drop(store);
    let first_revision = Revision(5);
    let store = etcd::open(Options {
        first_revision,
        ..options.clone()
    })
    .await
    .unwrap();
    assert_eq!(get(&store, "a", None).await, Some(entry("a", "1", 1001, 1001)));

    let prefix = |more: &str| Options {
        prefix: format!("{}{more}", options.prefix),
        ..options.clone()
    };
    let other = etcd::open(prefix("/data")).await.unwrap();
    assert_eq!(get(&other, "a", None).await, None);
    let foreign = etcd::open(prefix("-inner/data"))
        .await
        .and(etcd::open(prefix("-inner")).await);
    assert!(matches!(foreign.err(), Some(OpenError::Foreign { .. })));
    assert!(matches!(
        etcd::open(Options {
            prefix: "/".to_owned(),
            ..options
        })
        .await
        .err(),
        Some(OpenError::Prefix(_))
    ));
}

/// The bodies of etcd's JSON gateway, which writes keys in Base64.
#[tokio::test]
async fn a_user_needs_the_right_password_and_the_keys_of_the_prefix_only() {
    let Some(cluster) = need(Etcd::start()) else { return };
    let call = |path: &str, body: &str| {
        let answer = cluster.call(0, path, body).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    };
    for name in ["root", "osb"] {
        call(
            "/v3/auth/user/add",
            &format!(r#"{{"name": "{name}", "password": "secret-{name}"}}"#),
        );
        call("/v3/auth/role/add", &format!(r#"{{"name": "{name}"}}"#));
        call(
            "/v3/auth/user/grant",
            &format!(r#"{{"user": "{name}", "role": "{name}"}}"#),
        );
    }
    // Base64 of /test/ and of its end, /test0.
    let all = r#"{"name": "osb", "perm": {"permType": 2, "key": "L3Rlc3Qv", "range_end": "L3Rlc3Qw"}}"#;
    call("/v3/auth/role/grant", all);
    call("/v3/auth/enable", "{}");
    let login = |password: &str| {
        Some(Login {
            name: "osb".to_owned(),
            password: password.to_owned(),
        })
    };
    let with = |login| Options {
        login,
        ..options(&cluster)
    };
    for wrong in [None, login("secret-root")] {
        let refused = etcd::open(with(wrong)).await.err();
        assert!(matches!(refused, Some(OpenError::Refused(_))), "{refused:?}");
    }
    let store = etcd::open(with(login("secret-osb"))).await.unwrap();
    let mut watch = store.watch(prefix(b""), None).await.unwrap();
    put(&store, "a", "1").await;
    put(&store, "a", "2").await;
    assert_eq!(next_events(&mut watch).await[0].revision, Revision(1));
    store.compact(Revision(2)).await.unwrap();
    let elsewhere = Options {
        prefix: "/elsewhere".to_owned(),
        ..with(login("secret-osb"))
    };
    assert!(matches!(etcd::open(elsewhere).await.err(), Some(OpenError::Refused(_))));
    let text = format!("{:?}", with(login("secret-osb")));
    assert!(!text.contains("secret"), "{text}");
}

/// An authority, and what it has signed for this machine.
struct Pki {
    folder: tempfile::TempDir,
}

impl Pki {
    fn make() -> Pki {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        for name in ["member", "client"] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
            let certificate = params.signed_by(&key, &authority).unwrap();
            fs::write(folder.path().join(format!("{name}.pem")), certificate.pem()).unwrap();
            fs::write(folder.path().join(format!("{name}-key.pem")), key.serialize_pem()).unwrap();
        }
        Pki { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, as_client: bool) -> Arc<ClientConfig> {
        let certificate = |path: &Path| CertificateDer::from_pem_file(path).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate(&self.path("ca.pem"))).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match as_client {
            true => {
                let key = PrivateKeyDer::from_pem_file(self.path("client-key.pem")).unwrap();
                let chain = vec![certificate(&self.path("client.pem"))];
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            false => builder.with_no_client_auth(),
        })
    }
}

#[tokio::test]
async fn with_tls_both_sides_know_each_other() {
    let pki = Pki::make();
    let tls = EtcdTls {
        certificate: pki.path("member.pem"),
        key: pki.path("member-key.pem"),
        clients: Some(pki.path("ca.pem")),
    };
    let started = Etcd::start_with(
        1,
        &EtcdOptions {
            tls: Some(tls),
            ..EtcdOptions::default()
        },
    );
    let Some(cluster) = need(started) else { return };
    let with = |tls| Options {
        tls,
        attempt: Duration::from_millis(500),
        deadline: Duration::from_secs(2),
        ..options(&cluster)
    };
    let store = etcd::open(Options {
        attempt: Duration::from_secs(5),
        deadline: Duration::from_secs(20),
        ..with(Some(pki.config(true)))
    })
    .await
    .unwrap();
    put(&store, "a", "1").await;
    assert_eq!(get(&store, "a", None).await, Some(entry("a", "1", 1, 1)));
    let stranger = etcd::open(with(Some(Pki::make().config(true)))).await.err();
    assert!(matches!(stranger, Some(OpenError::Unreachable(_))), "{stranger:?}");
    let nobody = etcd::open(with(Some(pki.config(false)))).await.err();
    assert!(matches!(nobody, Some(OpenError::Unreachable(_))), "{nobody:?}");
    assert!(matches!(
        etcd::open(with(None)).await.err(),
        Some(OpenError::Endpoint(_))
    ));
}
