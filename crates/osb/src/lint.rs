//! `osb lint`: what platforms refuse in a catalog, and what a change of it breaks.

use std::io::Read as _;

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use osb_api::catalog::Catalog;
use osb_lint::{Finding, Platform, Severity};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::connect::Connect;
use crate::output::table;

/// The largest catalog that is read from a file, in bytes.
const MAX_CATALOG: u64 = 64 << 20;

#[derive(clap::Args)]
pub(crate) struct LintArgs {
    /// The catalog: a file of JSON or YAML, the URL of a broker, or - for stdin [default: the broker on this machine]
    catalog: Option<String>,

    /// The catalog that was served before: also tells what the change means for instances that exist
    #[arg(long, value_name = "FILE|URL")]
    previous: Option<String>,

    /// Only what this platform minds, beside the specification; can be given more than once [default: all]
    #[arg(long, value_enum, value_name = "PLATFORM")]
    platform: Vec<PlatformName>,

    /// Lists the rules beside those of the specification, and ends
    #[arg(long, conflicts_with_all = ["catalog", "previous", "platform"])]
    rules: bool,

    #[command(flatten)]
    connect: Connect,
}

/// A platform, on the command line.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PlatformName {
    CloudFoundry,
    Korifi,
    ServiceCatalog,
    ServiceManager,
}

impl From<PlatformName> for Platform {
    fn from(name: PlatformName) -> Self {
        match name {
            PlatformName::CloudFoundry => Self::CloudFoundry,
            PlatformName::Korifi => Self::Korifi,
            PlatformName::ServiceCatalog => Self::ServiceCatalog,
            PlatformName::ServiceManager => Self::ServiceManager,
        }
    }
}

/// What `-o json` prints.
#[derive(Serialize)]
struct Report<'a> {
    errors: usize,
    warnings: usize,
    notices: usize,
    findings: &'a [Finding],
}

pub(crate) async fn lint(args: LintArgs) -> Result<()> {
    if args.rules {
        return rules(&args.connect);
    }
    let catalog = document(args.catalog.as_deref(), &args.connect).await?;
    let mut findings = osb_lint::lint(&catalog);
    if let Some(previous) = &args.previous {
        let previous = document(Some(previous), &args.connect).await?;
        let previous = Catalog::deserialize(&previous).context("the previous catalog cannot be compared with")?;
        // What cannot be read as a catalog has findings already.
        if let Ok(current) = Catalog::deserialize(&catalog) {
            findings.extend(osb_lint::compare(&previous, &current));
        }
    }
    if !args.platform.is_empty() {
        let wanted: Vec<Platform> = args.platform.iter().map(|name| Platform::from(*name)).collect();
        findings = only(findings, &wanted);
    }
    report(&args.connect, &catalog, &findings)
}

fn rules(connect: &Connect) -> Result<()> {
    let rules: serde_json::Map<String, Value> = osb_lint::RULES
        .iter()
        .map(|(rule, about)| ((*rule).to_owned(), Value::from(*about)))
        .collect();
    connect.output.print(&rules, || {
        let rows: Vec<_> = osb_lint::RULES
            .iter()
            .map(|(rule, about)| [(*rule).to_owned(), (*about).to_owned()])
            .collect();
        table(["RULE", "ABOUT"], &rows)
    })
}

fn report(connect: &Connect, catalog: &Value, findings: &[Finding]) -> Result<()> {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let report = Report {
        errors: count(Severity::Error),
        warnings: count(Severity::Warning),
        notices: count(Severity::Notice),
        findings,
    };
    connect.output.print(&report, || text(catalog, &report))?;
    match report.errors {
        0 => Ok(()),
        errors => bail!("the catalog has {}", counted(errors, "error")),
    }
}

fn text(catalog: &Value, report: &Report<'_>) -> String {
    if report.findings.is_empty() {
        let services = catalog["services"].as_array().map(Vec::as_slice).unwrap_or_default();
        let plans = services
            .iter()
            .filter_map(|service| service["plans"].as_array())
            .map(Vec::len);
        let (services, plans) = (services.len(), plans.sum::<usize>());
        let (services, plans) = (counted(services, "service"), counted(plans, "plan"));
        return format!("Nothing to mend in {services} and {plans}.");
    }
    let rows: Vec<_> = report.findings.iter().flat_map(rows).collect();
    let table = table(["SEVERITY", "PLATFORM", "RULE", "PLACE", "FINDING"], &rows);
    let counts = [
        counted(report.errors, "error"),
        counted(report.warnings, "warning"),
        counted(report.notices, "notice"),
    ];
    format!("{table}\n{}.\n", counts.join(", "))
}

/// `1 plan`, `2 plans`.
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A finding and, below it, what is said and what it means.
fn rows(finding: &Finding) -> Vec<[String; 5]> {
    let below = |text: String| [String::new(), String::new(), String::new(), String::new(), text];
    let place = if finding.place.is_empty() { "/" } else { &finding.place };
    let first = [
        finding.severity.to_string(),
        finding.platform.to_string(),
        finding.rule.to_owned(),
        place.to_owned(),
        format!("{}; {}", finding.what, finding.mend),
    ];
    let speaker = match finding.platform {
        Platform::Specification => Platform::CloudFoundry,
        platform => platform,
    };
    let says = finding
        .says
        .iter()
        .map(|words| below(format!("  {speaker} says: {words}")));
    let means = finding.meaning.iter().map(|meaning| {
        below(match meaning.platform {
            Platform::Specification => format!("  everywhere: {}", meaning.text),
            platform => format!("  on {platform}: {}", meaning.text),
        })
    });
    std::iter::once(first).chain(says).chain(means).collect()
}

/// The findings of these platforms and of the specification, with what these platforms say and do.
fn only(findings: Vec<Finding>, platforms: &[Platform]) -> Vec<Finding> {
    let wanted = |platform: Platform| platform == Platform::Specification || platforms.contains(&platform);
    let mut kept: Vec<Finding> = findings
        .into_iter()
        .filter(|finding| wanted(finding.platform))
        .collect();
    for finding in &mut kept {
        finding.meaning.retain(|meaning| wanted(meaning.platform));
        if finding.platform == Platform::Specification && !wanted(Platform::CloudFoundry) {
            finding.says = None;
        }
    }
    kept
}

/// A catalog as JSON, from wherever it is.
async fn document(source: Option<&str>, connect: &Connect) -> Result<Value> {
    let bytes = match source {
        Some("-") => bounded(std::io::stdin().lock()).context("cannot read stdin")?,
        Some(path) if !is_url(path) => {
            let read = || bounded(std::fs::File::open(path)?);
            let bytes = read().with_context(|| format!("cannot read {path}"))?;
            return parse(&bytes).with_context(|| format!("{path} is no catalog"));
        }
        url => {
            let broker = match url {
                Some(url) => connect.broker_at(Some(url))?,
                None => connect.broker()?,
            };
            broker.client.catalog_bytes().await?.to_vec()
        }
    };
    parse(&bytes).context("that is no catalog")
}

fn is_url(source: &str) -> bool {
    source.starts_with("http://") || source.starts_with("https://")
}

/// JSON is read strictly, so that a member that stands twice is told; everything else is taken for YAML.
fn parse(bytes: &[u8]) -> Result<Value> {
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    if first.is_none_or(|byte| b"{[\"".contains(byte)) {
        return Ok(osb_api::json::read(bytes)?);
    }
    let text = std::str::from_utf8(bytes).context("it is not UTF-8")?;
    Ok(serde_saphyr::from_str(text)?)
}

fn bounded(reader: impl std::io::Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_CATALOG + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_CATALOG {
        bail!("it is larger than {MAX_CATALOG} bytes");
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_yaml_are_told_apart() {
        assert_eq!(parse(b" {\"services\": []}").unwrap(), json!({ "services": [] }));
        assert_eq!(
            parse(b"# a catalog\nservices: []\n").unwrap(),
            json!({ "services": [] })
        );
        assert!(
            parse(b"{\"services\": [], \"services\": []}")
                .unwrap_err()
                .to_string()
                .contains("twice")
        );
        assert!(parse(b"").is_err());
        assert!(parse(b"a: [").is_err());
        assert!(parse(b"\xff").is_err());
    }

    #[test]
    fn one_platform_is_told_alone() {
        let catalog = json!({ "services": [] });
        let findings = osb_lint::lint(&catalog);
        assert_eq!(findings.len(), 1);
        assert_eq!(only(findings.clone(), &[Platform::CloudFoundry]), findings);
        assert_eq!(only(findings, &[Platform::Korifi]), []);
        let missing = osb_lint::lint(&json!({ "services": [{ "id": "i" }] }));
        assert!(missing[0].says.is_some());
        assert!(only(missing, &[Platform::Korifi])[0].says.is_none());
    }
}
