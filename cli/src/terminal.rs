//! What is written where: results to stdout, talk to stderr.

use std::env;
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use crate::args::{ColorWhen, Common};
use crate::failure::Failure;

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object when all is done.
    Json,
    /// One JSON object a line, as things happen.
    JsonLines,
}

/// Where and how to write, decided once.
#[derive(Clone, Debug)]
pub struct Terminal {
    format: Format,
    quiet: bool,
    verbose: u8,
    color_out: bool,
    color_err: bool,
    bars: bool,
}

impl Terminal {
    /// Reads the options, the environment, and what stdout and stderr are connected to.
    pub fn new(options: &Common) -> Terminal {
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        let format = match (options.json, options.jsonl) {
            (true, _) => Format::Json,
            (_, true) => Format::JsonLines,
            _ => Format::Text,
        };
        let color = |is_terminal: bool| match options.color {
            ColorWhen::Always => true,
            ColorWhen::Never => false,
            ColorWhen::Auto if set("NO_COLOR") => false,
            ColorWhen::Auto if env::var_os("CLICOLOR_FORCE").is_some_and(|v| !v.is_empty() && v != "0") => true,
            ColorWhen::Auto => is_terminal && !dumb,
        };
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Terminal {
            format,
            quiet: options.quiet,
            verbose: options.verbose,
            color_out: color(out) && format == Format::Text,
            color_err: color(err),
            bars: err && !dumb && !options.quiet && options.color != ColorWhen::Never,
        }
    }

    /// How the result is to be printed.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Whether progress may be drawn as a moving bar on stderr.
    pub fn bars(&self) -> bool {
        self.bars
    }

    /// Tells people something on stderr.
    pub fn say(&self, text: impl AsRef<str>) {
        if !self.quiet {
            // Nobody can be told that stderr is closed.
            let _ = writeln!(io::stderr().lock(), "{}", text.as_ref());
        }
    }

    /// Tells those who asked with `-v` something on stderr.
    pub fn detail(&self, text: impl FnOnce() -> String) {
        if self.verbose > 0 {
            self.say(text());
        }
    }

    /// Tells people on stderr that something is odd though it works.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.say(format!("{} {}", self.paint_err("warning:", "33;1"), text.as_ref()));
    }

    /// Says on stderr why a command failed; also with `--quiet`.
    pub fn fail(&self, failure: &Failure) {
        let text = failure.to_string();
        if !text.is_empty() {
            let _ = writeln!(io::stderr().lock(), "{} {text}", self.paint_err("error:", "31;1"));
        }
    }

    /// Writes a result for people to stdout.
    ///
    /// # Errors
    /// If stdout is closed or full.
    pub fn result(&self, text: impl AsRef<str>) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", text.as_ref()).and_then(|()| out.flush()).map_err(|error| Failure::io("stdout", &error))
    }

    /// Writes a value to stdout as JSON: over several lines for `--json` on a terminal, else on one.
    ///
    /// # Errors
    /// If stdout is closed or full.
    pub fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        if !(self.format == Format::Json && io::stdout().is_terminal()) {
            return self.json_line(value);
        }
        self.result(serde_json::to_string_pretty(value).map_err(|error| Failure::io("stdout", &error.into()))?)
    }

    /// Writes a value to stdout as JSON on one line, as one of several.
    ///
    /// # Errors
    /// If stdout is closed or full.
    pub fn json_line(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.result(serde_json::to_string(value).map_err(|error| Failure::io("stdout", &error.into()))?)
    }

    /// Writes a result in the form that was asked for: `value` as JSON, or else what `text` makes.
    ///
    /// # Errors
    /// If stdout is closed or full.
    pub fn answer(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        match self.format {
            Format::Text => self.result(text()),
            Format::Json | Format::JsonLines => self.json(value),
        }
    }

    /// `text` in bold, if stdout shows colours.
    pub fn bold(&self, text: &str) -> String {
        paint(text, "1", self.color_out)
    }

    /// `text` in grey, if stdout shows colours.
    pub fn dim(&self, text: &str) -> String {
        paint(text, "2", self.color_out)
    }

    fn paint_err(&self, text: &str, code: &str) -> String {
        paint(text, code, self.color_err)
    }
}

fn paint(text: &str, code: &str, really: bool) -> String {
    if really { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}
