//! The forms of names, label keys and label values.

/// The form that the names of a kind have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// A DNS-1123 subdomain of at most 253 bytes: the default.
    Subdomain,
    /// A DNS-1123 label of at most 63 bytes: namespaces.
    Label,
    /// Anything that can be one segment of a URL path: the kinds of RBAC.
    PathSegment,
}

impl NameRule {
    /// What is wrong with a name; empty when nothing is.
    pub fn problems(self, name: &str) -> Vec<String> {
        match self {
            Self::Subdomain => dns_subdomain_problems(name),
            Self::Label => dns_label_problems(name),
            Self::PathSegment => path_segment_problems(name),
        }
    }

    /// What is wrong with a `generateName`: like [`NameRule::problems`], but it may end in a dash. The empty one is right.
    pub(super) fn prefix_problems(self, base: &str) -> Vec<String> {
        if base.is_empty() {
            return Vec::new();
        }
        match base.strip_suffix('-') {
            Some(stem) => self.problems(&format!("{stem}a")),
            None => self.problems(base),
        }
    }
}

const LABEL_FORM: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end \
    with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN_FORM: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
    start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const DNS_1035_FORM: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic \
    character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is \
    '[a-z]([-a-z0-9]*[a-z0-9])?')";
const NAME_FORM: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric \
    character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_FORM: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start \
    and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

fn is_dns_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    matches!((bytes.first(), bytes.last()), (Some(&first), Some(&last)) if inner(first) && inner(last))
        && bytes.iter().all(|&b| inner(b) || b == b'-')
}

fn is_dns_subdomain(text: &str) -> bool {
    text.split('.').all(is_dns_label)
}

/// Letters, digits, `-`, `_` and `.`, the first and last a letter or digit.
fn is_name_part(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = matches!((bytes.first(), bytes.last()), (Some(a), Some(b)) if a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric());
    ends && bytes
        .iter()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn too_long(text: &str, max: usize) -> Option<String> {
    (text.len() > max).then(|| format!("must be no more than {max} bytes"))
}

/// What is wrong with a DNS-1123 label (at most 63 bytes); empty when nothing is.
pub fn dns_label_problems(text: &str) -> Vec<String> {
    let mut problems: Vec<String> = too_long(text, 63).into_iter().collect();
    if !is_dns_label(text) {
        let problem = if is_dns_subdomain(text) {
            "must not contain dots"
        } else {
            LABEL_FORM
        };
        problems.push(problem.to_owned());
    }
    problems
}

/// What is wrong with a DNS-1123 subdomain (at most 253 bytes); empty when nothing is.
pub fn dns_subdomain_problems(text: &str) -> Vec<String> {
    let mut problems: Vec<String> = too_long(text, 253).into_iter().collect();
    if !is_dns_subdomain(text) {
        problems.push(SUBDOMAIN_FORM.to_owned());
    }
    problems
}

/// What is wrong with a DNS-1035 label (at most 63 bytes, begins with a letter); empty when nothing is.
pub fn dns_1035_label_problems(text: &str) -> Vec<String> {
    let mut problems: Vec<String> = too_long(text, 63).into_iter().collect();
    if !is_dns_label(text) || !text.starts_with(|c: char| c.is_ascii_lowercase()) {
        problems.push(DNS_1035_FORM.to_owned());
    }
    problems
}

/// What is wrong with a name that must only be one segment of a path; empty when nothing is.
pub fn path_segment_problems(text: &str) -> Vec<String> {
    if matches!(text, "." | "..") {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"]
        .iter()
        .filter(|c| text.contains(**c))
        .map(|c| format!("may not contain '{c}'"))
        .collect()
}

/// What is wrong with a label key, or another name of the form `[prefix/]name`; empty when nothing is.
pub fn qualified_name_problems(text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let name = match text.split_once('/') {
        None => text,
        Some((_, name)) if name.contains('/') => {
            return vec![format!(
                "a qualified name {NAME_FORM} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
        Some(("", name)) => {
            problems.push("prefix part must be non-empty".to_owned());
            name
        }
        Some((prefix, name)) => {
            problems.extend(
                dns_subdomain_problems(prefix)
                    .into_iter()
                    .map(|p| format!("prefix part {p}")),
            );
            name
        }
    };
    if name.is_empty() {
        problems.push("name part must be non-empty".to_owned());
    }
    problems.extend(too_long(name, 63).map(|p| format!("name part {p}")));
    if !is_name_part(name) {
        problems.push(format!("name part {NAME_FORM}"));
    }
    problems
}

/// What is wrong with a label value (at most 63 bytes, may be empty); empty when nothing is.
pub fn label_value_problems(text: &str) -> Vec<String> {
    let mut problems: Vec<String> = too_long(text, 63).into_iter().collect();
    if !text.is_empty() && !is_name_part(text) {
        problems.push(VALUE_FORM.to_owned());
    }
    problems
}

/// Letters of generated names: no vowels and nothing that looks like them.
const SUFFIX_LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
const SUFFIX_LENGTH: usize = 5;

/// A name of `base`, cut to 58 bytes, and five random letters. `random` must give uniform numbers.
pub fn generate_name(base: &str, random: &mut dyn FnMut() -> u32) -> String {
    let max = 63 - SUFFIX_LENGTH;
    let cut = (0..=max.min(base.len()))
        .rev()
        .find(|&i| base.is_char_boundary(i))
        .unwrap_or(0);
    let mut name = String::with_capacity(cut + SUFFIX_LENGTH);
    name.push_str(&base[..cut]);
    for _ in 0..SUFFIX_LENGTH {
        let letter = usize::try_from(random()).unwrap_or(0) % SUFFIX_LETTERS.len();
        name.push(char::from(SUFFIX_LETTERS[letter]));
    }
    name
}
