//! Text cut into statements, with their lines.

use super::ParseError;

/// Directives that end with their line.
const LINE_DIRECTIVES: [&str; 6] = [".version", ".target", ".address_size", ".file", ".loc", ".section"];

/// What opens a body with `{`.
pub(super) const HEADERS: [&str; 3] = [".visible .entry", ".weak .entry", ".entry"];

/// A statement without what ends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// The line it begins in, from 1.
    pub line: u32,
    /// Its text; `{`, `}` and labels with their `:` are statements too.
    pub text: String,
}

impl Statement {
    pub fn wrong(&self, reason: impl Into<String>) -> ParseError {
        ParseError { line: self.line, reason: reason.into(), text: self.text.clone() }
    }
}

/// The statements of a text, one after another.
pub(super) struct Statements<'a> {
    rest: &'a str,
    line: u32,
}

impl<'a> Statements<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { rest: text, line: 1 }
    }

    /// The next statement, if there is one.
    pub fn next(&mut self) -> Result<Option<Statement>, ParseError> {
        self.skip_space()?;
        let line = self.line;
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        let found = |text: &str| Ok(Some(Statement { line, text: text.trim().to_owned() }));
        if matches!(first, '{' | '}') {
            return found(self.take(1));
        }
        if let Some(len) = label(self.rest) {
            return found(self.take(len));
        }
        let word = self.rest.split(char::is_whitespace).next().unwrap_or("");
        if LINE_DIRECTIVES.contains(&word) {
            let len = self.rest.find('\n').unwrap_or(self.rest.len());
            let text = self.take(len);
            return found(text.split("//").next().unwrap_or(text));
        }
        self.until_end(line).map(Some)
    }

    /// Skips the body of a debug section: it says nothing about what a kernel computes.
    pub fn skip_section(&mut self) -> Result<(), String> {
        self.skip_space().map_err(|error| error.reason)?;
        let end = self.rest.find('}').filter(|_| self.rest.starts_with('{')).ok_or("a section has a body in braces")?;
        self.take(end + 1);
        Ok(())
    }

    /// A statement that ends with `;`, or the head of a kernel, which ends before `{`.
    fn until_end(&mut self, line: u32) -> Result<Statement, ParseError> {
        let mut text = String::new();
        loop {
            let Some(end) = self.rest.find([';', '{', '/', '\n']) else {
                text.push_str(self.take(self.rest.len()));
                return Err(Statement { line, text }.wrong("the file ends within a statement"));
            };
            text.push_str(self.take(end));
            match self.rest.as_bytes()[0] {
                b';' => {
                    self.take(1);
                    return Ok(Statement { line, text: one_line(&text) });
                }
                b'{' if HEADERS.iter().any(|head| one_line(&text).starts_with(head)) => {
                    return Ok(Statement { line, text: one_line(&text) });
                }
                b'/' if self.rest.starts_with("//") || self.rest.starts_with("/*") => self.skip_space()?,
                _ => text.push_str(self.take(1)),
            }
        }
    }

    /// Skips blanks and comments.
    fn skip_space(&mut self) -> Result<(), ParseError> {
        loop {
            let blanks = self.rest.len() - self.rest.trim_start().len();
            self.take(blanks);
            let len = if self.rest.starts_with("//") {
                self.rest.find('\n').unwrap_or(self.rest.len())
            } else if self.rest.starts_with("/*") {
                let open = Statement { line: self.line, text: "/*".into() };
                self.rest.find("*/").ok_or_else(|| open.wrong("a comment without an end"))? + 2
            } else {
                return Ok(());
            };
            self.take(len);
        }
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.line += taken.matches('\n').count() as u32;
        self.rest = rest;
        taken
    }
}

/// The length of a label with its colon, if the text begins with one.
fn label(text: &str) -> Option<usize> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '$' && c != '_')?;
    let rest = &text[end..];
    (end > 0 && rest.starts_with(':') && !rest.starts_with("::")).then_some(end + 1)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
