//! OpenShift Templates.

use template::json::{self, Value};
use template::lint::lint;
use template::{Given, NoRandomness, Options, Random, Template, Unknown, document, yaml};

/// The same bytes each time, so that an input always does the same.
struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}

/// A file with templates: looked over and processed with their defaults; what comes out is read back as the same.
pub(crate) fn templates(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for template in document::each(text).into_iter().flatten().flatten() {
        for finding in lint(&template) {
            assert!(finding.to_string().len() < 4096, "a message swells");
        }
        process(&template);
    }
}

fn process(template: &Template<'_>) {
    let Ok(values) = template.resolve(&Given::new(), Unknown::Refused, &mut Counting(0)) else {
        return;
    };
    // A value that is empty is generated anew; all others come back as they were.
    if let Ok(again) = template.resolve(&values.frozen(), Unknown::Refused, &mut Counting(7)) {
        for (first, again) in values
            .iter()
            .zip(again.iter())
            .filter(|(first, _)| !first.value.is_empty())
        {
            assert_eq!(first.value, again.value, "a frozen value changes");
        }
    }
    let Ok(processed) = template.process(&values, &Options::default()) else {
        return;
    };
    for made in processed.objects {
        let object = Value::Object(made.object);
        let text = object.to_string();
        // What a value brings in may stand deeper than a reader goes.
        let Ok(read) = json::read(&text) else { continue };
        assert_eq!(read.value.to_string(), text, "JSON that reads as something else");
        assert_eq!(read.twice, [""; 0], "a key stands twice");
        if let Ok(read) = yaml::read_all(&yaml::to_yaml(&object)) {
            assert_eq!(read[0].value.to_string(), text, "YAML that reads as something else");
        }
    }
}
