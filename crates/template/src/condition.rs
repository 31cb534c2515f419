//! Conditions under which an object is made: the annotation `template.osb.internal/when`.
//!
//! ```text
//! condition = both { "||" both }
//! both      = single { "&&" single }
//! single    = "!" single | "(" condition ")" | NAME [ ("==" | "!=") text ]
//! text      = "'" anything but ' "'" | '"' anything but " '"'
//! ```
//!
//! A `NAME` on its own is a parameter whose value is `true` or `false`; an empty one counts as `false`. Anything else has to be
//! compared. Values are compared as texts and never read as a part of the condition.

use crate::reference::is_name_byte;

/// The longest condition, in bytes.
pub const MAX_CONDITION_BYTES: usize = 1024;

/// A condition.
///
/// ```
/// use template::condition::Condition;
///
/// let condition = Condition::parse("TLS && DATABASE != 'none'").unwrap();
/// let value = |name: &str| Some(if name == "TLS" { "true" } else { "mysql" });
/// assert_eq!(condition.holds(&value), Ok(true));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition(Node);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Is(String),
    Equal(String, String),
    Not(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
}

/// What is wrong with a condition. Quotes no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// It cannot be read.
    #[error("cannot be read at byte {position}: {what}")]
    Syntax {
        /// Where, in bytes from the start.
        position: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// A name without a parameter.
    #[error("names {0}, which is no parameter")]
    Unknown(String),
    /// A name on its own whose value is neither true nor false.
    #[error("takes {0} for true or false, but its value is neither")]
    NoBoolean(String),
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    ///
    /// When it is none, or longer than [`MAX_CONDITION_BYTES`].
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        let mut parser = Parser { text, at: 0 };
        if text.len() > MAX_CONDITION_BYTES {
            return Err(parser.wrong("longer than 1024 bytes"));
        }
        let node = parser.any(16)?;
        parser.spaces();
        if parser.at < text.len() {
            return Err(parser.wrong("expected && or ||"));
        }
        Ok(Self(node))
    }

    /// Whether it holds for these values.
    ///
    /// # Errors
    ///
    /// When it names a parameter that does not exist, or takes one for true or false that is neither.
    pub fn holds<'v>(&self, value: &impl Fn(&str) -> Option<&'v str>) -> Result<bool, ConditionError> {
        holds(&self.0, value)
    }

    /// The parameters that it names.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        collect(&self.0, &mut names);
        names
    }
}

fn holds<'v>(node: &Node, value: &impl Fn(&str) -> Option<&'v str>) -> Result<bool, ConditionError> {
    let of = |name: &String| value(name).ok_or_else(|| ConditionError::Unknown(name.clone()));
    // All parts are looked at, so that a mistake does not hide behind a value.
    let all = |nodes: &[Node]| {
        nodes
            .iter()
            .map(|node| holds(node, value))
            .collect::<Result<Vec<_>, _>>()
    };
    match node {
        Node::Is(name) => match of(name)? {
            "true" => Ok(true),
            "false" | "" => Ok(false),
            _ => Err(ConditionError::NoBoolean(name.clone())),
        },
        Node::Equal(name, text) => Ok(of(name)? == text),
        Node::Not(node) => Ok(!holds(node, value)?),
        Node::All(nodes) => Ok(all(nodes)?.into_iter().all(|holds| holds)),
        Node::Any(nodes) => Ok(all(nodes)?.into_iter().any(|holds| holds)),
    }
}

fn collect<'n>(node: &'n Node, names: &mut Vec<&'n str>) {
    match node {
        Node::Is(name) | Node::Equal(name, _) => names.push(name),
        Node::Not(node) => collect(node, names),
        Node::All(nodes) | Node::Any(nodes) => nodes.iter().for_each(|node| collect(node, names)),
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn wrong(&self, what: &'static str) -> ConditionError {
        ConditionError::Syntax {
            position: self.at,
            what,
        }
    }

    fn spaces(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.spaces();
        let found = self.text[self.at..].starts_with(token);
        self.at += if found { token.len() } else { 0 };
        found
    }

    fn any(&mut self, depth: usize) -> Result<Node, ConditionError> {
        let mut nodes = vec![self.all(depth)?];
        while self.eat("||") {
            nodes.push(self.all(depth)?);
        }
        Ok(if nodes.len() == 1 {
            nodes.remove(0)
        } else {
            Node::Any(nodes)
        })
    }

    fn all(&mut self, depth: usize) -> Result<Node, ConditionError> {
        let mut nodes = vec![self.single(depth)?];
        while self.eat("&&") {
            nodes.push(self.single(depth)?);
        }
        Ok(if nodes.len() == 1 {
            nodes.remove(0)
        } else {
            Node::All(nodes)
        })
    }

    fn single(&mut self, depth: usize) -> Result<Node, ConditionError> {
        let inner = || depth.checked_sub(1);
        if self.eat("!") {
            let depth = inner().ok_or_else(|| self.wrong("nested too deeply"))?;
            return Ok(Node::Not(Box::new(self.single(depth)?)));
        }
        if self.eat("(") {
            let depth = inner().ok_or_else(|| self.wrong("nested too deeply"))?;
            let node = self.any(depth)?;
            if !self.eat(")") {
                return Err(self.wrong("expected )"));
            }
            return Ok(node);
        }
        let name = self.name()?;
        if self.eat("==") {
            return Ok(Node::Equal(name, self.quoted()?));
        }
        if self.eat("!=") {
            return Ok(Node::Not(Box::new(Node::Equal(name, self.quoted()?))));
        }
        Ok(Node::Is(name))
    }

    fn name(&mut self) -> Result<String, ConditionError> {
        self.spaces();
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(|byte| is_name_byte(*byte)).count();
        if length == 0 {
            return Err(self.wrong("expected the name of a parameter, without ${}"));
        }
        self.at += length;
        Ok(rest[..length].to_owned())
    }

    fn quoted(&mut self) -> Result<String, ConditionError> {
        self.spaces();
        let rest = &self.text[self.at..];
        let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'));
        let quote = quote.ok_or_else(|| self.wrong("expected a text in quotes"))?;
        let end = rest[1..]
            .find(quote)
            .ok_or_else(|| self.wrong("a quote is not closed"))?;
        self.at += end + 2;
        Ok(rest[1..=end].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(text: &str) -> Result<bool, ConditionError> {
        Condition::parse(text)?.holds(&|name| match name {
            "T" => Some("true"),
            "F" => Some("false"),
            "EMPTY" => Some(""),
            "DB" => Some("mysql"),
            _ => None,
        })
    }

    #[test]
    fn conditions_are_computed() {
        for (text, expected) in [
            ("T", true),
            ("F", false),
            ("EMPTY", false),
            ("!F", true),
            ("DB == 'mysql'", true),
            ("DB=='mysql'", true),
            ("DB != \"mysql\"", false),
            ("DB == ''", false),
            ("EMPTY == ''", true),
            ("F || T && F", false),
            ("(F || T) && T", true),
            ("!(T && F) && !!T", true),
            (" T&&DB!='x'||F ", true),
        ] {
            assert_eq!(holds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for text in [
            "",
            "T T",
            "&&",
            "(T",
            "T)",
            "DB == mysql",
            "DB == 'x",
            "${T}",
            "T = 'true'",
            "é",
            "T &",
            "== 'a'",
        ] {
            assert!(
                matches!(Condition::parse(text), Err(ConditionError::Syntax { .. })),
                "{text}"
            );
        }
        assert!(Condition::parse(&"!".repeat(1000)).is_err() && Condition::parse(&"(".repeat(1000)).is_err());
        assert!(Condition::parse(&" T".repeat(1000)).is_err());
    }

    #[test]
    fn mistakes_do_not_hide_and_no_value_is_quoted() {
        assert_eq!(holds("T || NOBODY"), Err(ConditionError::Unknown("NOBODY".to_owned())));
        let error = holds("F && DB").unwrap_err();
        assert_eq!(
            error.to_string(),
            "takes DB for true or false, but its value is neither"
        );
    }

    #[test]
    fn names_are_known() {
        assert_eq!(
            Condition::parse("!A && (B == 'x' || C)").unwrap().names(),
            ["A", "B", "C"]
        );
    }
}
