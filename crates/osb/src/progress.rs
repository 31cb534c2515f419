//! A line on the terminal while something runs.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

const TICK: Duration = Duration::from_millis(200);
/// Shorter waits need no line.
const FIRST: Duration = Duration::from_millis(300);
const WHEEL: [char; 4] = ['-', '\\', '|', '/'];
/// A line that is longer would wrap on common terminals and could not be erased.
const WIDTH: usize = 78;

/// Shows what is being done until it is dropped; on a terminal only.
pub(crate) struct Progress {
    text: Arc<Mutex<String>>,
    ticking: Option<JoinHandle<()>>,
}

impl Progress {
    pub(crate) fn start(what: String) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let shown = text.clone();
        let ticking = std::io::stderr().is_terminal().then(|| {
            tokio::spawn(async move {
                let started = Instant::now();
                tokio::time::sleep(FIRST).await;
                for wheel in WHEEL.iter().cycle() {
                    let text = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
                    eprint!("\r\x1b[2K{}", line(*wheel, &what, &text, started.elapsed()));
                    let _ = std::io::stderr().flush();
                    tokio::time::sleep(TICK).await;
                }
            })
        });
        Self { text, ticking }
    }

    /// What the broker says of it.
    pub(crate) fn say(&self, text: Option<&str>) {
        text.unwrap_or_default()
            .clone_into(&mut self.text.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(ticking) = &self.ticking {
            ticking.abort();
            eprint!("\r\x1b[2K");
        }
    }
}

/// The broker's text is from outside: nothing in it may steer the terminal.
fn line(wheel: char, what: &str, text: &str, elapsed: Duration) -> String {
    let more = if text.is_empty() {
        String::new()
    } else {
        format!(": {text}")
    };
    let line = format!("{wheel} {what}, {} s{more}", elapsed.as_secs());
    line.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(WIDTH)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line() {
        let text = line('-', "provisioning a", "x\n\x1b[31m", Duration::from_secs(3));
        assert_eq!(text, "- provisioning a, 3 s: x  [31m");
        assert_eq!(line('-', "a", &"é".repeat(200), Duration::ZERO).chars().count(), WIDTH);
    }
}
