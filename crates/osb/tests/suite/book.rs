//! `docs/`: what a page shows in a shell is what happens.
//!
//! Blocks marked `console` are played, all of a page in one shell, in an empty home folder: a line that begins with `$ ` is a command,
//! which goes on after a line that ends with `\` and up to the `EOF` that it names, and what follows is what it prints, but for the
//! width of its gaps. `…` stands for anything in a line, and alone on a line for any lines. After an `osb serve … &` it
//! is waited until that broker serves, in the default data folder. A page with the comment `<!-- cluster -->` has
//! a real API server in `KUBECONFIG`, one with `<!-- etcd -->` a real etcd in `ETCD`. Blocks with other marks are not played.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use testparts::{Oracle, need};

/// Before what each command prints; then its number.
const MARK: char = '\u{1}';

/// How long a page may take, in seconds.
const PATIENCE: &str = "180";

const AWAIT: &str = "for try in $(seq 900); do [ -e ~/.local/share/osb/server ] && break; sleep 0.1; done\n";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

struct Step {
    command: String,
    printed: Vec<String>,
}

/// Whether the next line is still the command's.
fn goes_on(step: &Step) -> bool {
    let has_text = step.command.contains("<<'EOF'");
    step.printed.is_empty() && (step.command.ends_with('\\') || has_text && !step.command.ends_with("\nEOF"))
}

/// The commands of a page, and what each prints.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```console" => inside = true,
            "```" => inside = false,
            _ if !inside => {}
            _ => match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => steps.push(Step {
                    command: command.to_owned(),
                    printed: Vec::new(),
                }),
                (None, Some(step)) if goes_on(step) => {
                    step.command = format!("{}\n{line}", step.command);
                }
                (None, Some(step)) => step.printed.push(line.to_owned()),
                (None, None) => panic!("{line:?} is printed by no command"),
            },
        }
    }
    steps
}

/// Whether a text is as a line of a page has it.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// With one space for each gap.
fn narrow(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether lines are as a page has them.
fn lines_fit(patterns: &[String], lines: &[&str]) -> bool {
    match patterns.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "…" => (0..=lines.len()).any(|skipped| lines_fit(rest, &lines[skipped..])),
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| fits(&narrow(first), &narrow(line)) && lines_fit(rest, others)),
    }
}

/// All as one script, which says before each command which it is.
fn script(steps: &[Step]) -> String {
    let mut script = "set -e\nexec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait || true' EXIT\n".to_owned();
    for (number, step) in steps.iter().enumerate() {
        let _ = writeln!(script, "printf '\\001{number}\\n'");
        match step.command.strip_suffix('&') {
            Some(command) => {
                let is_server = command.starts_with("osb serve ");
                // One that was killed has left it.
                script.push_str(if is_server {
                    "rm -f ~/.local/share/osb/server\n"
                } else {
                    ""
                });
                let _ = writeln!(script, "{command} >>log 2>&1 &");
                script.push_str(if is_server { AWAIT } else { "" });
            }
            None => {
                let _ = writeln!(script, "{}", step.command);
            }
        }
    }
    script
}

fn play(page: &str) {
    let text = fs::read_to_string(docs().join(page)).unwrap();
    let steps = steps(&text);
    let kubectl = if text.contains("kubectl ") {
        let Some(kubectl) = need(testparts::kubectl()) else {
            return;
        };
        Some(kubectl)
    } else {
        None
    };
    let cluster = if text.contains("<!-- cluster -->") {
        let Some(oracle) = need(Oracle::start()) else { return };
        Some(oracle)
    } else {
        None
    };
    let etcd = if text.contains("<!-- etcd -->") {
        let Some(etcd) = need(testparts::Etcd::start()) else {
            return;
        };
        Some(etcd)
    } else {
        None
    };
    let home = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_osb"));
    let mut path: Vec<PathBuf> = vec![program.parent().unwrap().to_owned()];
    path.extend(kubectl.and_then(|kubectl| Some(kubectl.parent()?.to_owned())));
    path.extend(["/usr/bin", "/bin"].map(PathBuf::from));
    let mut shell = Command::new("timeout");
    shell
        .args([PATIENCE, "bash", "-c", &script(&steps)])
        .current_dir(home.path())
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", std::env::join_paths(path).unwrap())
        .envs([("OSB_LISTEN", "127.0.0.1:0"), ("OSB_KUBE_LISTEN", "127.0.0.1:0")])
        .stdin(Stdio::null());
    if let Some(cluster) = &cluster {
        shell.env("KUBECONFIG", cluster.kubeconfig());
    }
    if let Some(etcd) = &etcd {
        shell.env("ETCD", etcd.endpoints().join(","));
    }
    let shell = shell.stdout(Stdio::piped()).spawn().unwrap();
    // `timeout` makes a group of its own, and a page may leave something in it.
    let group = format!("-{}", shell.id());
    let output = shell.wait_with_output().unwrap();
    drop(
        Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status(),
    );
    let printed = String::from_utf8_lossy(&output.stdout);
    let log = fs::read_to_string(home.path().join("log")).unwrap_or_default();
    let mut played = printed.split(MARK).skip(1);
    for (number, step) in steps.iter().enumerate() {
        let command = &step.command;
        let said = played
            .next()
            .unwrap_or_else(|| panic!("{page}: `{command}` was not reached:\n{printed}\n{log}"));
        // The shell tells of each process that was killed.
        let lines = said.lines().skip(1).filter(|line| !line.starts_with("bash: line "));
        let mut lines: Vec<&str> = lines.collect();
        while lines.last().is_some_and(|line| line.trim().is_empty()) {
            lines.pop();
        }
        assert!(
            lines_fit(&step.printed, &lines),
            "{page}: command {number}, `{command}`, prints\n{}\n{log}",
            lines.join("\n")
        );
    }
    assert!(
        output.status.success(),
        "{page}: the last command fails:\n{printed}\n{log}"
    );
}

/// A test for each page, so that they are played side by side.
macro_rules! pages {
    ($($name:ident: $page:literal),* $(,)?) => {
        $(#[test] fn $name() { play($page); })*

        const PLAYED: &[&str] = &[$($page),*];
    };
}

pages! {
    first_steps: "first-steps.md",
    first_broker: "first-broker.md",
    home_etcd: "home-etcd.md",
    home_folder: "home-folder.md",
    home_kubernetes: "home-kubernetes.md",
    operating_keys: "operating-keys.md",
    operating_logins: "operating-logins.md",
    operating_monitoring: "operating-monitoring.md",
    operating_trouble: "operating-trouble.md",
    templates: "templates.md",
}

#[test]
fn each_page_is_in_the_contents_and_what_it_shows_is_played() {
    let contents = fs::read_to_string(docs().join("SUMMARY.md")).unwrap();
    for entry in fs::read_dir(docs()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_none_or(|extension| extension != "md") || name == "SUMMARY.md" {
            continue;
        }
        assert!(
            contents.contains(&format!("({name})")),
            "SUMMARY.md does not have {name}"
        );
        let shows = fs::read_to_string(&path).unwrap().contains("```console");
        assert_eq!(shows, PLAYED.contains(&name.as_str()), "{name} has commands: {shows}");
    }
    for link in contents.split("](").skip(1) {
        let (name, _) = link.split_once(')').unwrap();
        assert!(
            docs().join(name).is_file(),
            "SUMMARY.md names {name}, which is not there"
        );
    }
}

#[test]
fn what_a_page_says_is_compared() {
    assert!(fits("a … c", "a b c") && fits("…", "") && fits("a…", "a"));
    assert!(!fits("a … c", "a b d") && !fits("a", "ab") && !fits("a…b…c", "acb"));
    let patterns = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert!(lines_fit(&patterns(&["a", "…", "c"]), &["a", "b", "b", "c"]));
    assert!(!lines_fit(&patterns(&["a", "c"]), &["a", "b", "c"]));
    let steps = steps("```console\n$ one \\\n  more\nprinted\n$ two\n```\n```sh\n$ three\n```\n");
    assert_eq!((steps.len(), steps[0].printed.len()), (2, 1));
    assert_eq!(steps[0].command, "one \\\n  more");
}
