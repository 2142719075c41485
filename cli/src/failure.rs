//! Why a command did not do what was asked, and what the process tells its caller.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// A command that failed: a kind, which becomes the exit code, and a text that says what, where, why and how to mend it.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    text: String,
}

/// What scripts tell failures apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The run failed: a full disk, a folder that cannot be written, a shape that does not fit.
    Run,
    /// The command line or the recipe is wrong.
    Usage,
    /// Data is missing or corrupt.
    Data,
    /// A loss or a gradient is no longer a finite number.
    Numeric,
    /// A check ran to its end and found something wrong.
    Check,
    /// The device asked for is not there.
    Device,
    /// A signal stopped the run after it had saved its weights; the number of the signal.
    Signal(u8),
    /// Whoever read our output has gone: nothing to say, and nobody to say it to.
    Unheard,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: Kind, text: impl Into<String>) -> Failure {
        Failure { kind, text: text.into() }
    }

    /// What kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A file or folder that could not be read or written.
    pub fn io(what: impl fmt::Display, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::new(Kind::Unheard, ""),
            _ => Failure::new(Kind::Run, format!("{what}: {error}")),
        }
    }

    /// What the process tells its caller.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self.kind {
            Kind::Unheard => 0,
            Kind::Run => 1,
            Kind::Usage => 2,
            Kind::Data => 3,
            Kind::Numeric => 4,
            Kind::Check => 5,
            Kind::Device => 6,
            Kind::Signal(number) => 128 + number,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<nn::Error> for Failure {
    fn from(error: nn::Error) -> Failure {
        let kind = match &error {
            nn::Error::Config(_) => Kind::Usage,
            nn::Error::Data(_) => Kind::Data,
            nn::Error::Numeric(_) => Kind::Numeric,
            error if is_of_device(error) => Kind::Device,
            _ => Kind::Run,
        };
        Failure::new(kind, error.to_string())
    }
}

/// Whether it was the device that failed, not what it was asked to do.
pub fn is_of_device(error: &nn::Error) -> bool {
    use nn::core::{Error, kernels};
    let nn::Error::Tensor(error) = error else { return matches!(error, nn::Error::Device(_)) };
    matches!(error, Error::Device(_) | Error::Kernel(kernels::Error::Device(_)))
}

/// The nearest of `names`, as the end of a sentence: ` Did you mean "mnist"?`; empty if none is near.
pub fn did_you_mean<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let scored = names.into_iter().map(|name| (strsim::jaro_winkler(word, name), name));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, name)) if score > 0.7 => format!(" Did you mean \"{name}\"?"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_the_nearest_name_and_nothing_far_away() {
        let names = ["fashion-bn", "fashion-mlp", "mnist", "digits"];
        assert_eq!(did_you_mean("fasion-bn", names), " Did you mean \"fashion-bn\"?");
        assert_eq!(did_you_mean("mnits", names), " Did you mean \"mnist\"?");
        assert_eq!(did_you_mean("zzz", names), "");
    }
}
