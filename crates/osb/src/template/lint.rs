//! `osb template lint`: what is wrong with templates, or looks like it.

use ::template::document::{self, DocumentError};
use ::template::{Problem, Rule, Severity};
use anyhow::{Result, bail};
use serde::Serialize;

use super::text;
use crate::Usage;
use crate::output::{Format, table};

#[derive(clap::Args)]
pub(crate) struct LintArgs {
    /// Files with templates, JSON or YAML, or - for stdin
    #[arg(required_unless_present = "rules", value_name = "FILE")]
    files: Vec<String>,

    /// Lists the rules, and ends
    #[arg(long, conflicts_with = "files")]
    rules: bool,

    /// The form of what is printed
    #[arg(short, long, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
}

/// What `-o json` prints.
#[derive(Serialize)]
struct Report {
    errors: usize,
    warnings: usize,
    notices: usize,
    templates: usize,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    severity: String,
    file: String,
    template: String,
    rule: &'static str,
    place: String,
    what: String,
    mend: String,
}

pub(super) fn lint(args: &LintArgs) -> Result<()> {
    if args.rules {
        return rules(args.output);
    }
    if args.files.iter().filter(|file| *file == "-").count() > 1 {
        return Err(Usage("stdin can be read once only".to_owned()).into());
    }
    let mut report = Report {
        errors: 0,
        warnings: 0,
        notices: 0,
        templates: 0,
        findings: Vec::new(),
    };
    for file in &args.files {
        report.file(file, &text(file)?);
    }
    args.output.print(&report, || report.text())?;
    match report.errors {
        0 => Ok(()),
        errors => bail!("the templates have {}", counted(errors, "error")),
    }
}

fn rules(output: Format) -> Result<()> {
    #[derive(Serialize)]
    struct Described {
        rule: &'static str,
        severity: String,
        about: &'static str,
    }
    let rules = Rule::ALL.iter().map(|rule| Described {
        rule: rule.name(),
        severity: rule.severity().to_string(),
        about: rule.about(),
    });
    let rules: Vec<Described> = rules.collect();
    output.print(&rules, || {
        let rows = rules
            .iter()
            .map(|rule| [rule.rule.to_owned(), rule.severity.clone(), rule.about.to_owned()]);
        table(["RULE", "SEVERITY", "ABOUT"], &rows.collect::<Vec<_>>())
    })
}

impl Report {
    fn file(&mut self, file: &str, text: &str) {
        let templates = match document::each(text) {
            Ok(templates) => templates,
            Err(error) => return self.unreadable(file, &error),
        };
        for template in templates {
            self.templates += 1;
            match template {
                Ok(template) => {
                    let findings = template::lint::lint(&template);
                    findings
                        .into_iter()
                        .for_each(|finding| self.add(file, template.name(), finding));
                }
                Err(wrong) => {
                    let name = wrong.template;
                    wrong
                        .problems
                        .into_iter()
                        .for_each(|problem| self.add(file, &name, problem));
                }
            }
        }
    }

    fn unreadable(&mut self, file: &str, error: &DocumentError) {
        let place = template::Place::template();
        self.add(
            file,
            "",
            Problem::new(Rule::TemplateShape, place, error.to_string(), ""),
        );
    }

    fn add(&mut self, file: &str, template: &str, problem: Problem) {
        let severity = problem.rule.severity();
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
            Severity::Notice => self.notices += 1,
        }
        self.findings.push(Finding {
            severity: severity.to_string(),
            file: file.to_owned(),
            template: template.to_owned(),
            rule: problem.rule.name(),
            place: problem.place.to_string(),
            what: problem.what,
            mend: problem.mend,
        });
    }

    fn text(&self) -> String {
        if self.findings.is_empty() {
            return format!("Nothing to mend in {}.", counted(self.templates, "template"));
        }
        let finding = |finding: &Finding| {
            if finding.mend.is_empty() {
                finding.what.clone()
            } else {
                format!("{}; {}", finding.what, finding.mend)
            }
        };
        let row = |found: &Finding| {
            let [severity, file, template] = [&found.severity, &found.file, &found.template].map(Clone::clone);
            [
                severity,
                file,
                template,
                found.place.clone(),
                found.rule.to_owned(),
                finding(found),
            ]
        };
        let rows: Vec<_> = self.findings.iter().map(row).collect();
        let table = table(["SEVERITY", "FILE", "TEMPLATE", "PLACE", "RULE", "FINDING"], &rows);
        let counts = [
            counted(self.errors, "error"),
            counted(self.warnings, "warning"),
            counted(self.notices, "notice"),
        ];
        format!("{table}\n{}.\n", counts.join(", "))
    }
}

/// `1 error`, `2 errors`.
fn counted(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
