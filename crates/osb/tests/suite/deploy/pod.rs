//! The container of an installed workload as a process of this machine, since no kubelet starts it: its own command line and
//! environment, its Secrets as files, and the token of its service account.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testparts::Oracle;

use crate::harness::{osb, poll};

pub(crate) struct Pod {
    root: tempfile::TempDir,
    args: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A Secret's value.
fn value(secret: &Value, key: &str) -> Vec<u8> {
    let text = secret["data"][key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key} in the Secret"));
    STANDARD.decode(text).unwrap()
}

impl Pod {
    /// The first container, with what `secret` finds by name.
    pub(crate) fn of(pod: &Value, secret: &dyn Fn(&str) -> Value) -> Self {
        let root = tempfile::tempdir().unwrap();
        let container = &pod["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        let mut args: Vec<String> = Vec::new();
        for arg in container["args"].as_array().unwrap() {
            let arg = arg.as_str().unwrap();
            args.push(match arg {
                "--listen=0.0.0.0:8080" => "--listen=127.0.0.1:0".to_owned(),
                // Nobody has to be told that it stops.
                "--drain-delay=5" => "--drain-delay=0".to_owned(),
                arg => arg.to_owned(),
            });
        }
        for mount in container["volumeMounts"].as_array().unwrap() {
            let (name, place) = (&mount["name"], mount["mountPath"].as_str().unwrap());
            let here = root.path().join(place.trim_start_matches('/'));
            fs::create_dir_all(&here).unwrap();
            let volumes = pod["volumes"].as_array().unwrap();
            let volume = volumes.iter().find(|volume| volume["name"] == *name);
            // What is not there is claimed: the volume with the data.
            let secret_name = volume.and_then(|volume| volume["secret"]["secretName"].as_str());
            if let Some(name) = secret_name {
                let secret = secret(name);
                for key in secret["data"].as_object().unwrap().keys() {
                    fs::write(here.join(key), value(&secret, key)).unwrap();
                }
            }
            for arg in &mut args {
                *arg = arg.replace(&format!("={place}"), &format!("={}", here.display()));
            }
        }
        let mut environment = Vec::new();
        for variable in container["env"].as_array().into_iter().flatten() {
            let reference = &variable["valueFrom"]["secretKeyRef"];
            let found = secret(reference["name"].as_str().unwrap());
            let text = String::from_utf8(value(&found, reference["key"].as_str().unwrap())).unwrap();
            environment.push((variable["name"].as_str().unwrap().to_owned(), text));
        }
        Self {
            root,
            args,
            environment,
        }
    }

    /// Starts it with the rights of that token in a cluster.
    pub(crate) fn start_in(mut self, oracle: &Oracle, token: &str) -> Running {
        let kubeconfig = self.root.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": oracle.url(), "certificate-authority": oracle.ca_file()}}],
            "users": [{"name": "it", "user": {"token": token}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        });
        fs::write(&kubeconfig, config.to_string()).unwrap();
        let kubeconfig = kubeconfig.to_str().unwrap().to_owned();
        self.environment.push(("OSB_HOME_KUBECONFIG".to_owned(), kubeconfig));
        self.start()
    }

    pub(crate) fn start(self) -> Running {
        let (stdout, log) = (self.root.path().join("stdout"), self.root.path().join("log"));
        let child = osb()
            .args(&self.args)
            .envs(self.environment.iter().cloned())
            .env("OSB_KUBE_LISTEN", "127.0.0.1:0")
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut running = Running {
            pod: self,
            child,
            port: 0,
        };
        running.port = poll("the pod says where it listens", || {
            let ended = running.child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", fs::read_to_string(&log).unwrap());
            let printed = fs::read_to_string(&stdout).unwrap();
            let (_, rest) = printed.split_once("https://127.0.0.1:")?;
            rest.split_once('\n')?.0.trim().parse().ok()
        });
        running
    }
}

pub(crate) struct Running {
    pod: Pod,
    child: Child,
    port: u16,
}

impl Running {
    /// What `deploy/smoke/all.sh` prints, with the login and the certificate of the pod.
    pub(crate) fn smoke(&self, service: &str, namespace: &str, plan: &str) -> String {
        let host = format!("{service}.{namespace}.svc");
        let tls = self.pod.root.path().join("etc/osb/tls");
        let authority = [tls.join("ca.crt"), tls.join("tls.crt")];
        let authority = authority.iter().find(|file| file.exists()).unwrap();
        let script: PathBuf = super::deploy().join("smoke/all.sh");
        let mut command = Command::new(script);
        command
            .envs(self.pod.environment.iter().cloned())
            .env("OSB_URL", format!("https://{host}:{}", self.port))
            .env("OSB_CURL", format!("--resolve {host}:{}:127.0.0.1", self.port))
            .env("OSB_CACERT", authority)
            .envs([("OSB_SERVICE", "reference"), ("OSB_PLAN", plan)])
            .env("OSB_PARAMETERS", r#"{"seconds": 1}"#);
        let output = command.output().unwrap();
        let log = fs::read_to_string(self.pod.root.path().join("log")).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}\n{log}");
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Makes a certificate of that host.
pub(crate) fn certificate(host: &str, certificate: &Path, key: &Path) {
    let output = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args([
            "-subj",
            &format!("/CN={host}"),
            "-addext",
            &format!("subjectAltName=DNS:{host}"),
        ])
        .arg("-keyout")
        .arg(key)
        .arg("-out")
        .arg(certificate)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
