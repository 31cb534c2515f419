//! Reading paths and templates.

use super::{Comparison, Filter, JsonPathError, MAX_TEXT_BYTES, Operand, Part, Step};

/// How deep filters and ranges may stand in each other.
const MAX_NESTING: usize = 8;

type Parsed<T> = Result<T, JsonPathError>;

pub(super) fn path(text: &str) -> Parsed<Vec<Step>> {
    let mut parser = Parser::new(text)?;
    parser.spaces();
    let steps = parser.path()?;
    parser.spaces();
    if parser.at == text.len() {
        Ok(steps)
    } else {
        Err(parser.error("unexpected character"))
    }
}

pub(super) fn template(text: &str) -> Parsed<Vec<Part>> {
    let mut parser = Parser::new(text)?;
    let mut open: Vec<(Vec<Step>, Vec<Part>)> = Vec::new();
    let mut parts = Vec::new();
    while parser.at < text.len() {
        if !parser.eat("{") {
            let end = parser.rest().find('{').unwrap_or_else(|| parser.rest().len());
            parts.push(Part::Text(parser.rest()[..end].to_owned()));
            parser.at += end;
            continue;
        }
        loop {
            parser.spaces();
            if parser.eat("}") {
                break;
            }
            match parser.expression()? {
                Expression::Part(part) => parts.push(part),
                Expression::Range(steps) => {
                    if open.len() == MAX_NESTING {
                        return Err(parser.error("ranges are nested too deeply"));
                    }
                    open.push((steps, std::mem::take(&mut parts)));
                }
                Expression::End => {
                    let (steps, outer) = open.pop().ok_or_else(|| parser.error("end without range"))?;
                    let inner = std::mem::replace(&mut parts, outer);
                    parts.push(Part::Range(steps, inner));
                }
            }
        }
    }
    if open.is_empty() {
        Ok(parts)
    } else {
        Err(parser.error("range without end"))
    }
}

enum Expression {
    Part(Part),
    Range(Vec<Step>),
    End,
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    nesting: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parsed<Self> {
        let parser = Self {
            text,
            at: 0,
            nesting: 0,
        };
        if text.len() > MAX_TEXT_BYTES {
            Err(parser.error("too long"))
        } else {
            Ok(parser)
        }
    }

    fn error(&self, problem: &'static str) -> JsonPathError {
        JsonPathError {
            position: self.at,
            problem,
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn expect(&mut self, text: &str, problem: &'static str) -> Parsed<()> {
        if self.eat(text) {
            Ok(())
        } else {
            Err(self.error(problem))
        }
    }

    fn spaces(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn expression(&mut self) -> Parsed<Expression> {
        if let Some('"' | '\'') = self.peek() {
            return self.quoted().map(|text| Expression::Part(Part::Text(text)));
        }
        for word in ["range", "end"] {
            let follows = self
                .rest()
                .strip_prefix(word)
                .map(|rest| rest.starts_with([' ', '\t', '\n', '\r', '}']));
            if follows == Some(true) {
                self.at += word.len();
                self.spaces();
                return if word == "end" {
                    Ok(Expression::End)
                } else {
                    self.path().map(Expression::Range)
                };
            }
        }
        self.path().map(|steps| Expression::Part(Part::Path(steps)))
    }

    fn path(&mut self) -> Parsed<Vec<Step>> {
        let rooted = self.eat("$") || self.eat("@");
        let start = self.at;
        let mut steps = Vec::new();
        loop {
            if self.eat("..") {
                steps.push(Step::Recursive);
                self.name_or_wildcard(&mut steps)?;
            } else if self.eat(".") {
                self.name_or_wildcard(&mut steps)?;
            } else if self.eat("[") {
                steps.push(self.bracket()?);
            } else if rooted || self.at > start {
                return Ok(steps);
            } else {
                return Err(self.error("a path begins with a dot, a bracket, $ or @"));
            }
        }
    }

    /// What follows a dot; nothing, if a bracket or the end does.
    fn name_or_wildcard(&mut self, steps: &mut Vec<Step>) -> Parsed<()> {
        if self.eat("*") {
            steps.push(Step::Wildcard);
            return Ok(());
        }
        let mut name = String::new();
        while let Some(c) = self.peek() {
            match c {
                '\\' => {
                    self.at += 1;
                    let escaped = self.peek().ok_or_else(|| self.error("nothing behind a backslash"))?;
                    name.push(escaped);
                    self.at += escaped.len_utf8();
                }
                c if c.is_whitespace() || ".,[]{}()$@=!<>'\"*?".contains(c) => break,
                c => {
                    name.push(c);
                    self.at += c.len_utf8();
                }
            }
        }
        if !name.is_empty() {
            steps.push(Step::Field(name));
        }
        Ok(())
    }

    /// What stands in brackets, behind the opening one.
    fn bracket(&mut self) -> Parsed<Step> {
        self.spaces();
        if self.eat("?(") {
            let filter = self.filter()?;
            self.expect(")", "a filter ends with )]")?;
            self.expect("]", "a filter ends with )]")?;
            return Ok(Step::Filter(Box::new(filter)));
        }
        let mut steps = vec![self.bracket_item()?];
        self.spaces();
        while self.eat(",") {
            self.spaces();
            steps.push(self.bracket_item()?);
            self.spaces();
        }
        self.expect("]", "expected ]")?;
        Ok(if steps.len() == 1 {
            steps.remove(0)
        } else {
            Step::Union(steps)
        })
    }

    fn bracket_item(&mut self) -> Parsed<Step> {
        match self.peek() {
            Some('*') => {
                self.at += 1;
                Ok(Step::Wildcard)
            }
            Some('\'' | '"') => self.quoted().map(Step::Field),
            _ => self.slice(),
        }
    }

    fn slice(&mut self) -> Parsed<Step> {
        let start = self.integer()?;
        if !self.eat(":") {
            return start
                .map(Step::Index)
                .ok_or_else(|| self.error("expected an index, a name in quotes or *"));
        }
        let end = self.integer()?;
        let step = if self.eat(":") { self.integer()? } else { None };
        let step = usize::try_from(step.unwrap_or(1)).ok().filter(|step| *step > 0);
        let step = step.ok_or_else(|| self.error("a step is greater than zero"))?;
        Ok(Step::Slice {
            start: start.unwrap_or(0),
            end,
            step,
        })
    }

    fn integer(&mut self) -> Parsed<Option<i64>> {
        let sign = usize::from(self.rest().starts_with('-'));
        let digits = self.rest()[sign..].bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return if sign == 0 {
                Ok(None)
            } else {
                Err(self.error("expected a digit"))
            };
        }
        let number = self.rest()[..sign + digits]
            .parse()
            .map_err(|_| self.error("the number is too large"))?;
        self.at += sign + digits;
        Ok(Some(number))
    }

    fn filter(&mut self) -> Parsed<Filter> {
        if self.nesting == MAX_NESTING {
            return Err(self.error("filters are nested too deeply"));
        }
        self.nesting += 1;
        self.spaces();
        let left = self.path()?;
        self.spaces();
        let comparison = match self.comparison() {
            None => None,
            Some(comparison) => {
                self.spaces();
                let operand = self.operand()?;
                self.spaces();
                Some((comparison, operand))
            }
        };
        self.nesting -= 1;
        Ok(Filter { left, comparison })
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let all = [
            ("==", Comparison::Equal),
            ("!=", Comparison::NotEqual),
            ("<=", Comparison::LessOrEqual),
            (">=", Comparison::GreaterOrEqual),
            ("<", Comparison::Less),
            (">", Comparison::Greater),
        ];
        all.into_iter()
            .find_map(|(text, comparison)| self.eat(text).then_some(comparison))
    }

    fn operand(&mut self) -> Parsed<Operand> {
        match self.peek() {
            Some('"' | '\'') => self.quoted().map(|text| Operand::Literal(text.into())),
            Some('@' | '$' | '.' | '[') => self.path().map(Operand::Path),
            _ => {
                let end = self.rest().find([')', ' ']).unwrap_or_else(|| self.rest().len());
                let literal = serde_json::from_str(&self.rest()[..end])
                    .ok()
                    .filter(|value: &serde_json::Value| value.is_number() || value.is_boolean())
                    .ok_or_else(|| self.error("expected a text in quotes, a number, true, false or a path"))?;
                self.at += end;
                Ok(Operand::Literal(literal.into()))
            }
        }
    }

    /// A text in quotes, with Go's usual escapes.
    fn quoted(&mut self) -> Parsed<String> {
        let quote = self.peek().ok_or_else(|| self.error("expected a quote"))?;
        self.at += 1;
        let mut out = String::new();
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match c {
                c if c == quote => return Ok(out),
                '\\' => {
                    let escaped = self.peek().ok_or_else(|| self.error("nothing behind a backslash"))?;
                    self.at += escaped.len_utf8();
                    out.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        other => other,
                    });
                }
                c => out.push(c),
            }
        }
        Err(self.error("a quote is not closed"))
    }
}
