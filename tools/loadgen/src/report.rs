//! The figures as text, and their place in `BENCHMARKS.md`.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::drive::Measured;

/// A part of `BENCHMARKS.md` that is written by a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    begin: &'static str,
    end: &'static str,
}

impl Place {
    pub(crate) const STANDARD: Self = Self {
        begin: "<!-- bench: begin. What follows is written by `cargo xtask bench`. -->",
        end: "<!-- bench: end -->",
    };
    pub(crate) const MILLION: Self = Self {
        begin: "<!-- million: begin. What follows is written by `cargo xtask bench --million`. -->",
        end: "<!-- million: end -->",
    };
    pub(crate) const APISERVER: Self = Self {
        begin: "<!-- apiserver: begin. What follows is written by `cargo xtask bench apiserver`. -->",
        end: "<!-- apiserver: end -->",
    };
}

/// What the project asks for, and whether this is it.
pub(crate) type Bar = (String, bool);

/// A scenario with its figures.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) figures: Measured,
    pub(crate) bar: Option<Bar>,
}

/// A figure that is no rate.
pub(crate) struct Fact {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) bar: Option<Bar>,
}

/// Everything that a run of the bench found.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) facts: Vec<Fact>,
    /// What was not measured, and why.
    pub(crate) missing: Vec<String>,
}

impl Report {
    pub(crate) fn row(&mut self, name: impl Into<String>, figures: Measured, bar: Option<Bar>) {
        let row = Row {
            name: name.into(),
            figures,
            bar,
        };
        eprintln!("{}", line(&row));
        self.rows.push(row);
    }

    pub(crate) fn fact(&mut self, name: impl Into<String>, value: impl Into<String>, bar: Option<Bar>) {
        let fact = Fact {
            name: name.into(),
            value: value.into(),
            bar,
        };
        eprintln!("| {} | {} | {} |", fact.name, fact.value, verdict(fact.bar.as_ref()));
        self.facts.push(fact);
    }

    /// The figures that are numbers, for the record of the run.
    pub(crate) fn counts(&self) -> Vec<(String, u64)> {
        let bars = || {
            let of_rows = self.rows.iter().map(|row| &row.bar);
            of_rows.chain(self.facts.iter().map(|fact| &fact.bar)).flatten()
        };
        let number = |met: bool| bars().filter(|(_, is_met)| *is_met == met).count() as u64;
        // Rates are positive, and far below what a u64 holds.
        let rates = self.rows.iter().flat_map(|row| {
            let cpu = u64::try_from(row.figures.server_cpu.as_micros()).unwrap_or(u64::MAX);
            [
                (format!("{}, per second", row.name), row.figures.per_second as u64),
                (format!("{}, µs of server CPU", row.name), cpu),
            ]
        });
        let verdicts = [("bars met", true), ("bars missed", false)].map(|(what, met)| (what.to_owned(), number(met)));
        rates.chain(verdicts).collect()
    }

    /// The generated section.
    pub(crate) fn markdown(&self, about: &str) -> String {
        let mut text = format!("{about}\n\n");
        if !self.rows.is_empty() {
            text.push_str("| scenario | per second | p50 | p99 | server CPU | generator CPU | bar |\n");
            text.push_str("|---|---:|---:|---:|---:|---:|---|\n");
        }
        for row in &self.rows {
            text.push_str(&line(row));
            text.push('\n');
        }
        text.push_str("\n| figure | value | bar |\n|---|---:|---|\n");
        for fact in &self.facts {
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} |",
                fact.name,
                fact.value,
                verdict(fact.bar.as_ref())
            );
        }
        for missing in &self.missing {
            let _ = writeln!(text, "\nNot measured: {missing}");
        }
        text
    }
}

fn line(row: &Row) -> String {
    let figures = &row.figures;
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |",
        row.name,
        thousands(figures.per_second),
        time(figures.p50),
        time(figures.p99),
        time(figures.server_cpu),
        time(figures.client_cpu),
        verdict(row.bar.as_ref())
    )
}

fn verdict(bar: Option<&Bar>) -> String {
    match bar {
        Some((text, true)) => format!("{text}: met"),
        Some((text, false)) => format!("{text}: **missed**"),
        None => String::new(),
    }
}

/// A duration in the unit that fits.
pub(crate) fn time(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    match micros {
        _ if micros < 1000.0 => format!("{micros:.0} µs"),
        _ if micros < 100_000.0 => format!("{:.1} ms", micros / 1e3),
        _ if micros < 1e6 => format!("{:.0} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// A rate, with a comma between the thousands.
pub(crate) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in MiB.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The median of each figure on its own.
///
/// # Panics
/// When there is no run.
pub(crate) fn median_of(runs: &[Measured]) -> Measured {
    let duration = |of: fn(&Measured) -> Duration| median(runs.iter().map(of).collect());
    let mut rates: Vec<f64> = runs.iter().map(|run| run.per_second).collect();
    rates.sort_by(f64::total_cmp);
    Measured {
        operations: runs.iter().map(|run| run.operations).sum(),
        per_second: rates[rates.len() / 2],
        p50: duration(|run| run.p50),
        p99: duration(|run| run.p99),
        server_cpu: duration(|run| run.server_cpu),
        client_cpu: duration(|run| run.client_cpu),
    }
}

/// The middle one; of an even number the upper of the two.
///
/// # Panics
/// When there is none.
pub(crate) fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort_unstable();
    values[values.len() / 2]
}

/// Machine, date and commit, as a sentence.
pub(crate) fn about(root: &Path) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let models: Vec<&str> = processors
        .lines()
        .filter_map(|line| line.strip_prefix("model name"))
        .collect();
    let model = models
        .first()
        .map_or("unknown processor", |model| model.trim_start_matches([' ', '\t', ':']));
    let memory = read("/proc/meminfo");
    let kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    format!(
        "{} on {} × {model}, {:.0} GiB of memory, Linux {}; commit {}.",
        jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC"),
        std::thread::available_parallelism().map_or(models.len(), std::num::NonZero::get),
        kib as f64 / f64::from(1 << 20),
        kernel.trim(),
        commit(root).unwrap_or_else(|| "unknown".to_owned()),
    )
}

/// What else the machine was doing, as a sentence: figures from a busy machine say little of the broker.
pub(crate) fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    match text.split_whitespace().next() {
        Some(average) => format!("Load average of the minute before: {average}."),
        None => String::new(),
    }
}

fn commit(root: &Path) -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(root).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = !git(&["status", "--porcelain", "--", ".", ":!BENCHMARKS.md", ":!proofs"])?.is_empty();
    Some(if changed {
        format!("{commit} with changes")
    } else {
        commit
    })
}

/// Puts the section into the file; the text around it stays.
pub(crate) fn write(path: &Path, place: Place, section: &str) -> Result<()> {
    let before = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let after = replaced(&before, place, section).with_context(|| {
        format!(
            "{} has lost its lines {:?} and {:?}",
            path.display(),
            place.begin,
            place.end
        )
    })?;
    std::fs::write(path, after).with_context(|| format!("cannot write {}", path.display()))
}

fn replaced(text: &str, Place { begin, end }: Place, section: &str) -> Option<String> {
    let (head, rest) = text.split_once(begin)?;
    let (_, tail) = rest.split_once(end)?;
    Some(format!("{head}{begin}\n\n{}\n\n{end}{tail}", section.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_rest_stays() {
        let place = |Place { begin, end }: Place, text: &str| format!("{begin}\n{text}\n{end}\n");
        let other = place(Place::MILLION, "untouched");
        let text = format!("before\n{}after\n{other}", place(Place::STANDARD, "old"));
        let once = replaced(&text, Place::STANDARD, "new\n").unwrap();
        let expected = format!("before\n{}after\n{other}", place(Place::STANDARD, "\nnew\n"));
        assert_eq!(once, expected);
        assert_eq!(replaced(&once, Place::STANDARD, "new").unwrap(), once);
        assert_eq!(replaced("without", Place::STANDARD, "new"), None);
    }

    #[test]
    fn the_places_are_in_the_file() {
        let text = std::fs::read_to_string(testparts::recipe::checkout().join("BENCHMARKS.md")).unwrap();
        for place in [Place::STANDARD, Place::MILLION, Place::APISERVER] {
            assert!(replaced(&text, place, "new").is_some(), "{place:?}");
        }
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            [thousands(7.4), thousands(1234.0), thousands(1_234_567.0)],
            ["7", "1,234", "1,234,567"]
        );
        let times = [48, 8_040, 250_000, 3_200_000].map(|micros| time(Duration::from_micros(micros)));
        assert_eq!(times, ["48 µs", "8.0 ms", "250 ms", "3.20 s"]);
        assert_eq!(mebibytes(15 << 20), "15.0 MiB");
    }

    #[test]
    fn a_bar_that_is_missed_stands_out() {
        let mut report = Report::default();
        report.fact("a", "1", Some(("<= 2".to_owned(), true)));
        report.fact("b", "3", Some(("<= 2".to_owned(), false)));
        report.missing.push("the peer".to_owned());
        let text = report.markdown("today");
        assert!(
            text.contains("| a | 1 | <= 2: met |\n| b | 3 | <= 2: **missed** |\n"),
            "{text}"
        );
        assert!(text.contains("Not measured: the peer"), "{text}");
        let expected = [("bars met".to_owned(), 1), ("bars missed".to_owned(), 1)];
        assert_eq!(report.counts(), expected);
    }

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!((median(vec![3, 1, 2]), median(vec![9])), (2, 9));
    }
}
