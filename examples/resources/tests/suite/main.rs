//! The example does what it says: in the process of a test, with days that pass in milliseconds, and for `kubectl`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use osb_sdk::{DataDir, ServerInfo, TestBroker};
use resources::{Backup, BackupPlan, Shown};
use serde_json::json;

const HOUR: Duration = Duration::from_secs(60 * 60);

/// The names of the backups, as soon as there are so many.
async fn backups(broker: &TestBroker, wanted: usize) -> Vec<String> {
    for _ in 0..1_000 {
        let found = broker.resources::<Backup>().list().await.expect("a list");
        if found.len() == wanted {
            return found.iter().map(|backup| backup.name().to_owned()).collect();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("there are never {wanted} backups");
}

#[tokio::test(start_paused = true)]
async fn a_database_is_backed_up_until_it_is_removed() {
    let mut broker = TestBroker::start(resources::broker).await;
    let wish = json!({"sizeGib": 5, "backupEveryHours": 6});
    assert_eq!(broker.provision("mine", "small", wish).await.status, 201);
    let shown = broker.fields::<Shown>("mine").await.expect("fields");
    assert_eq!((shown.size_gib, shown.host.as_str()), (5, "db.example.com:5432"));
    let bound = broker.bind("mine", "app", json!({})).await;
    assert_eq!(bound.body["credentials"]["host"], "db.example.com:5432");

    assert!(backups(&broker, 1).await[0].ends_with("-1"));
    tokio::time::sleep(7 * HOUR).await;
    backups(&broker, 2).await;
    broker.restart().await;
    tokio::time::sleep(13 * HOUR).await;
    let kept = backups(&broker, 3).await;
    assert!(kept.iter().all(|name| !name.ends_with("-1")), "{kept:?}");

    let plans = broker.resources::<BackupPlan>();
    let mut plan = plans.list().await.expect("a list").remove(0);
    plan.spec.keep = 1;
    plan.spec.every_hours = 1;
    plans.update(&plan).await.expect("updated");
    tokio::time::sleep(2 * HOUR).await;
    backups(&broker, 1).await;
    assert_eq!(broker.deprovision("mine").await.status, 200);
    backups(&broker, 0).await;
    assert!(plans.list().await.expect("a list").is_empty());
}

/// The example as a process; killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path) -> (Running, ServerInfo) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_resources"));
    command
        .args(["--listen", "127.0.0.1:0", "--kube-listen", "127.0.0.1:0", "--data-dir"])
        .arg(folder);
    command
        .env_remove("OSB_USERNAME")
        .env_remove("OSB_PASSWORD")
        .env_remove("OSB_KEY_FILE");
    let running = Running(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts"),
    );
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        if let Ok(Some(info)) = ServerInfo::read(&DataDir::new(folder)) {
            return (running, info);
        }
        assert!(Instant::now() < deadline, "the example does not start");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `kubectl` shows the author's columns and kinds, and what it writes is looked after.
#[test]
fn kubectl_shows_fields_and_kinds_and_changes_them() {
    let Some(program) = testparts::need(testparts::kubectl()) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (_running, info) = start(folder.path());
    let kubectl = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("--kubeconfig").arg(folder.path().join("kubeconfig"));
        command
            .env("HOME", folder.path())
            .env("KUBECACHEDIR", folder.path().join("cache"));
        let output = command.args(args).output().expect("kubectl runs");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let plan = json!({
        "apiVersion": format!("{}/v1", info.group), "kind": "BackupPlan", "metadata": {"name": "by-hand"},
        "spec": {"database": "db_x", "everyHours": 2, "keep": 1},
    });
    let file = folder.path().join("plan.json");
    std::fs::write(&file, plan.to_string()).expect("a file");
    kubectl(&["create", "--validate=false", "-f", &file.to_string_lossy()]);
    kubectl(&["wait", "--for=jsonpath={.status.made}=1", "bp/by-hand", "--timeout=60s"]);
    let shown = kubectl(&["get", "bp"]);
    assert!(
        shown.starts_with("NAME      EVERY   LAST   AGE\nby-hand   2 "),
        "{shown}"
    );
    assert!(kubectl(&["get", "backups"]).contains("by-hand-1"));
    kubectl(&["delete", "bp", "by-hand", "--timeout=60s"]);
    assert!(!kubectl(&["get", "backups"]).contains("by-hand-1"));
    let columns = kubectl(&["get", "crd", &format!("serviceinstances.{}", info.group), "-o", "json"]);
    assert!(columns.contains(".ext.sizeGib"), "{columns}");
}
