//! Choices that users write as one text, a name with numbers behind it: `relu`, `leaky_relu(0.2)`, `random_normal(0, 1)`.

use std::fmt::Display;

use crate::spec::preset::suggest;
use crate::{Error, Result};

/// What may stand between the parentheses.
pub(crate) trait Argument: Display + Sized {
    /// What users must write: `a finite number`.
    const WANTED: &'static str;
    /// `None` if the text is something else.
    fn read(text: &str) -> Option<Self>;
}

impl Argument for f64 {
    const WANTED: &'static str = "a finite number";
    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|x: &f64| x.is_finite())
    }
}

impl Argument for usize {
    const WANTED: &'static str = "a whole number of 0 or more";
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Argument for isize {
    const WANTED: &'static str = "a whole number";
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// A name with arguments that are being taken one by one.
pub(crate) struct Call<'a> {
    what: &'static str,
    text: &'a str,
    /// The name before the parenthesis.
    pub name: &'a str,
    arguments: std::vec::IntoIter<&'a str>,
    count: usize,
}

impl<'a> Call<'a> {
    /// Takes `text` apart; `what` is what complaints call it.
    pub fn parse(what: &'static str, text: &'a str) -> Result<Self> {
        let text = text.trim();
        let (name, inside) = match text.split_once('(') {
            None => (text, ""),
            Some((name, rest)) => match rest.strip_suffix(')') {
                Some(inside) => (name.trim_end(), inside.trim()),
                None => return Err(Error::Config(format!("{what} {text:?}: the closing parenthesis is missing"))),
            },
        };
        let arguments: Vec<&str> =
            if inside.is_empty() { Vec::new() } else { inside.split(',').map(str::trim).collect() };
        Ok(Self { what, text, name, count: arguments.len(), arguments: arguments.into_iter() })
    }

    /// The next argument, or `default` if no more were written.
    pub fn argument<T: Argument>(&mut self, parameter: &str, default: T) -> Result<T> {
        let Some(text) = self.arguments.next() else { return Ok(default) };
        T::read(text).ok_or_else(|| self.refuse(&format!("{parameter} must be {}, not {text:?}", T::WANTED)))
    }

    /// Refuses arguments that nobody took.
    pub fn finish(self) -> Result<()> {
        match self.arguments.len() {
            0 => Ok(()),
            left => Err(self.refuse(&format!("takes {} numbers at most, not {}", self.count - left, self.count))),
        }
    }

    /// A complaint about this text.
    pub fn refuse(&self, why: &str) -> Error {
        Error::Config(format!("{} {:?}: {why}", self.what, self.text))
    }

    /// A complaint about the name.
    pub fn unknown(&self, names: &[&str]) -> Error {
        Error::Config(format!("unknown {} {:?}{}", self.what, self.name, suggest(self.name, names)))
    }
}

/// An enum whose rows are the name that users write, other names for the same, and parameters with their defaults.
///
/// Gives it `NAMES`, `name`, `FromStr` and `Display`, which writes every parameter. The enum has a method
/// `complaint(&self) -> Option<&'static str>` that says what is wrong with the parameters.
macro_rules! named {
    ($(#[$doc:meta])* $Enum:ident $what:literal {
        $($(#[$row:meta])* $Variant:ident $(($($p:ident: $T:ty = $default:expr),+))? = $name:literal $(| $alias:literal)*;)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum $Enum { $($(#[$row])* $Variant $(($($T),+))?,)* }

        impl $Enum {
            /// What users write.
            pub const NAMES: &[&str] = &[$($name),*];

            /// The name without parameters.
            pub fn name(&self) -> &'static str {
                match self { $($crate::named::pattern!($Variant $(($($p),+))?) => $name,)* }
            }
        }

        impl std::fmt::Display for $Enum {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())?;
                match self {
                    $(Self::$Variant $(($($p),+))? => {
                        $(
                            let written = [$($p.to_string()),+];
                            let usual = [$(<$T as Into<$T>>::into($default).to_string()),+];
                            // What is nothing unless somebody asks for it goes without saying.
                            if written != usual || usual.iter().any(|number| number != "0") {
                                write!(f, "({})", written.join(", "))?;
                            }
                        )?
                    })*
                }
                Ok(())
            }
        }

        impl std::str::FromStr for $Enum {
            type Err = $crate::Error;

            fn from_str(text: &str) -> $crate::Result<Self> {
                #[allow(unused_mut, reason = "a choice without parameters takes no arguments")]
                let mut call = $crate::named::Call::parse($what, text)?;
                let choice = match call.name {
                    $($name $(| $alias)* => Self::$Variant $(($(call.argument::<$T>(stringify!($p), $default)?),+))?,)*
                    _ => return Err(call.unknown(Self::NAMES)),
                };
                if let Some(why) = choice.complaint() {
                    return Err(call.refuse(why));
                }
                call.finish()?;
                Ok(choice)
            }
        }

        impl $crate::named::Argument for $Enum {
            const WANTED: &'static str = concat!("the name of a ", $what);
            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    };
}

/// Matches a variant whatever its parameters.
macro_rules! pattern {
    ($Variant:ident) => {
        Self::$Variant
    };
    ($Variant:ident ($($p:ident),+)) => {
        Self::$Variant(..)
    };
}

pub(crate) use {named, pattern};
