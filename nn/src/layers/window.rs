//! How a layer moves over an image: what convolutions and pools share.

use std::fmt;
use std::str::FromStr;

use gradus_core::Window;

use crate::spec::preset::suggest;
use crate::{Error, Result};

/// What stands around an image where a window reaches beyond it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Padding {
    /// Nothing: windows lie within the image.
    #[default]
    Valid,
    /// As much as makes one result for every stride, by TensorFlow's rule: where the sum is odd, the end gets one more.
    Same,
    /// So many rows above and below, and columns left and right.
    Explicit([[usize; 2]; 2]),
}

impl Padding {
    /// What users write, besides numbers.
    pub const NAMES: &[&str] = &["valid", "same"];
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Padding::Valid => f.write_str("valid"),
            Padding::Same => f.write_str("same"),
            Padding::Explicit(sides) => write!(f, "{sides:?}"),
        }
    }
}

impl FromStr for Padding {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "valid" => Ok(Padding::Valid),
            "same" => Ok(Padding::Same),
            _ => Err(Error::Config(format!("unknown padding {text:?}{}", suggest(text, Self::NAMES)))),
        }
    }
}

/// A window of a size, and how it moves. Each pair is for height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sliding {
    /// Its size.
    pub size: [usize; 2],
    /// How far it moves from one result to the next.
    pub stride: [usize; 2],
    /// The distance between the elements that it reads; 1 leaves none out.
    pub dilation: [usize; 2],
    /// What is around the image.
    pub padding: Padding,
}

impl Sliding {
    /// A window that moves by one element, within the image.
    pub const fn new(size: [usize; 2]) -> Self {
        Self { size, stride: [1; 2], dilation: [1; 2], padding: Padding::Valid }
    }

    /// Where it stands on an image of `input` rows and columns.
    pub fn on(&self, input: [usize; 2]) -> Window {
        let window = Window { stride: self.stride, dilation: self.dilation, padding: [[0; 2]; 2] };
        match self.padding {
            Padding::Valid => window,
            Padding::Same => Window::same(input, self.size, self.stride, self.dilation),
            Padding::Explicit(padding) => window.padded(padding),
        }
    }

    /// How many places it has on an image of `input` rows and columns; `layer` is who asks.
    ///
    /// # Errors
    /// If it is larger than the image with its padding, or a size, stride or dilation is 0.
    pub fn places(&self, layer: &str, input: [usize; 2]) -> Result<[usize; 2]> {
        for (name, pair) in [("a size", self.size), ("a stride", self.stride), ("a dilation", self.dilation)] {
            if pair.contains(&0) {
                return Err(Error::Config(format!("{layer}: {name} of {pair:?} is not possible; both are 1 or more")));
            }
        }
        self.on(input).output(input, self.size).ok_or_else(|| {
            let [height, width] = self.size;
            let gaps =
                if self.dilation == [1; 2] { String::new() } else { format!(" at distances {:?}", self.dilation) };
            let padding = match self.padding {
                Padding::Explicit(sides) => format!(" with padding {sides:?}"),
                _ => String::new(),
            };
            let mend = "use a smaller one, or padding = \"same\"";
            Error::Config(format!(
                "{layer}: a window of {height} x {width}{gaps} is larger than images of {} x {}{padding}; {mend}",
                input[0], input[1]
            ))
        })
    }
}

/// Height, width and channels of samples of images; `layer` is who asks.
///
/// # Errors
/// If samples have another shape.
pub(super) fn image(layer: &str, sample: &[usize]) -> Result<[usize; 3]> {
    sample.try_into().map_err(|_| {
        let mend = match sample {
            [height, width] => {
                format!("; put a reshape to [{height}, {width}, 1] in front, or channels = 1 into [data]")
            }
            _ => String::new(),
        };
        Error::Config(format!("{layer}: takes images [height, width, channels], a sample has shape {sample:?}{mend}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_counted_by_the_rules_of_tensorflow_and_pytorch() {
        let of = |padding, stride, size| Sliding { stride: [stride; 2], padding, ..Sliding::new([size; 2]) };
        let places = |sliding: Sliding, side| sliding.places("conv2d", [side; 2]).unwrap()[0];
        assert_eq!(places(of(Padding::Valid, 1, 3), 28), 26);
        assert_eq!(places(of(Padding::Valid, 2, 2), 13), 6);
        assert_eq!(places(of(Padding::Same, 2, 3), 224), 112);
        assert_eq!(of(Padding::Same, 2, 3).on([224; 2]).padding, [[0, 1]; 2]);
        assert_eq!(places(of(Padding::Same, 2, 2), 13), 7);
        assert_eq!(places(of(Padding::Explicit([[1, 1], [1, 1]]), 2, 3), 224), 112);
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        let refusal = |sliding: Sliding, input| sliding.places("conv2d", input).unwrap_err().to_string();
        assert_eq!(
            refusal(Sliding::new([5, 3]), [4, 9]),
            "conv2d: a window of 5 x 3 is larger than images of 4 x 9; use a smaller one, or padding = \"same\""
        );
        let still = Sliding { stride: [1, 0], ..Sliding::new([3, 3]) };
        assert_eq!(refusal(still, [4, 9]), "conv2d: a stride of [1, 0] is not possible; both are 1 or more");
        let error = image("conv2d", &[28, 28]).unwrap_err().to_string();
        assert!(error.ends_with("put a reshape to [28, 28, 1] in front, or channels = 1 into [data]"), "{error}");
        assert!("smae".parse::<Padding>().unwrap_err().to_string().contains("did you mean \"same\"?"));
    }
}
