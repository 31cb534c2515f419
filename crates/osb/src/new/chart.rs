//! The chart of a broker of one's own: the one in `deploy/chart`, with the broker's name and image.

/// A file of the chart.
macro_rules! files {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../../../../deploy/chart/", $path)))),*]
    };
}

const FILES: [(&str, &str); 17] = files![
    "Chart.yaml",
    "values.yaml",
    "values.schema.json",
    "files/alerts.yaml",
    "files/dashboard.json",
    "files/definitions.yaml",
    "templates/NOTES.txt",
    "templates/_helpers.tpl",
    "templates/definitions.yaml",
    "templates/monitoring.yaml",
    "templates/namespaces.yaml",
    "templates/policies.yaml",
    "templates/rights.yaml",
    "templates/secrets.yaml",
    "templates/service-catalog.yaml",
    "templates/service.yaml",
    "templates/workload.yaml",
];

/// What stands in the chart of the reference broker, and in that of another one: its program is the image's only one.
const NAMES: [(&str, &str, &str); 4] = [
    ("Chart.yaml", "name: osb-broker\n", "name: @\n"),
    ("values.yaml", "repository: osb\n", "repository: @\n"),
    ("values.yaml", "name: reference\n", "name: @\n"),
    ("values.yaml", "command: [serve, reference]\n", "command: []\n"),
];

/// Path and text of each file.
pub(super) fn files(name: &str) -> impl Iterator<Item = (String, String)> {
    FILES.into_iter().map(move |(path, text)| {
        let own = NAMES.iter().filter(|(file, ..)| *file == path);
        let text = own.fold(text.to_owned(), |text, (_, old, new)| {
            text.replacen(old, &new.replace('@', name), 1)
        });
        (format!("chart/{path}"), text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_found_and_each_file_of_the_chart_is_there() {
        for (path, old, _) in NAMES {
            let (_, text) = FILES
                .iter()
                .find(|(file, _)| *file == path)
                .expect("a file of the chart");
            assert_eq!(text.matches(old).count(), 1, "{path}: {old}");
        }
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/chart");
        let mut found = Vec::new();
        for sub in ["", "files", "templates"] {
            for entry in std::fs::read_dir(folder.join(sub)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    found.push(format!("chart/{}", path.strip_prefix(&folder).unwrap().display()));
                }
            }
        }
        let mut made: Vec<String> = files("queues").map(|(path, _)| path).collect();
        found.sort();
        made.sort();
        assert_eq!(found, made);
    }
}
