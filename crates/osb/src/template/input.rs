//! A template and values for it, as the command line names them.

use ::template::{Given, Template, Unknown, document};
use anyhow::{Context as _, Result, bail};

use super::{given, text};
use crate::Usage;

#[derive(clap::Args)]
pub(super) struct Input {
    /// The file with the template, JSON or YAML, or - for stdin; behind it values as NAME=VALUE
    #[arg(value_name = "FILE [NAME=VALUE]", required_unless_present = "filename")]
    words: Vec<String>,

    /// The file with the template, in front of values without it
    #[arg(short = 'f', long, value_name = "FILE")]
    filename: Option<String>,

    /// The value of a parameter; can be given more than once
    #[arg(short, long = "param", value_name = "NAME=VALUE")]
    param: Vec<String>,

    /// A file with a NAME=VALUE on each line, or - for stdin; the command line counts more
    #[arg(long, value_name = "FILE")]
    param_file: Vec<String>,

    /// Passes over values whose parameter the template does not have
    #[arg(long)]
    ignore_unknown_parameters: bool,

    /// Which template, where the file has several
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
}

/// What was read.
pub(super) struct Read<'a> {
    file: &'a str,
    source: String,
    pub(super) given: Given,
}

impl Input {
    pub(super) fn read(&self) -> Result<Read<'_>> {
        let (file, words) = match (&self.filename, self.words.split_first()) {
            (Some(file), _) => (file, self.words.as_slice()),
            (None, Some((file, words))) => (file, words),
            (None, None) => return Err(Usage("which file?".to_owned()).into()),
        };
        if self.param_file.iter().chain([file]).filter(|file| *file == "-").count() > 1 {
            return Err(Usage("stdin can be read once only".to_owned()).into());
        }
        Ok(Read {
            given: self.values(words)?,
            source: text(file)?,
            file,
        })
    }

    pub(super) fn template<'r>(&self, read: &'r Read<'_>) -> Result<Template<'r>> {
        let file = read.file;
        let templates = document::templates(&read.source).with_context(|| format!("{file} cannot be taken"))?;
        chosen(templates, self.template.as_deref())
    }

    pub(super) fn unknown(&self) -> Unknown {
        match self.ignore_unknown_parameters {
            true => Unknown::Ignored,
            false => Unknown::Refused,
        }
    }

    /// The values of files, and over them those of the command line.
    fn values(&self, words: &[String]) -> Result<Given> {
        let mut all = Given::new();
        for file in &self.param_file {
            let values = given::file(&text(file)?).with_context(|| format!("cannot take values from {file}"))?;
            all.extend(values);
        }
        for (name, value) in given::words(self.param.iter().chain(words))? {
            if all.insert(name.clone(), value).is_some() {
                eprintln!("warning: {name} is in a file of values, too; the one on the command line counts");
            }
        }
        Ok(all)
    }
}

fn chosen<'t>(mut templates: Vec<Template<'t>>, name: Option<&str>) -> Result<Template<'t>> {
    let names: Vec<String> = templates.iter().map(|template| template.name().to_owned()).collect();
    let position = match name {
        Some(name) => names.iter().position(|known| known == name),
        None if names.len() == 1 => Some(0),
        None => bail!(
            "there are several templates: {}; choose one with --template",
            names.join(", ")
        ),
    };
    match position {
        Some(position) => Ok(templates.swap_remove(position)),
        None => bail!("there is no such template; there are: {}", names.join(", ")),
    }
}
