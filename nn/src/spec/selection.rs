//! Layers chosen by their place or their name: `..-1`, `dense*`, `2..4, output`.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// A choice of layers, which is the union of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// From the first place up to before the second, as Python slices; negative places count from the end.
    Range(Option<isize>, Option<isize>),
    /// The layer at this place.
    Place(isize),
    /// All whose names match, where `*` stands for any text.
    Name(String),
}

impl Selection {
    /// Which of the layers with these names are chosen.
    ///
    /// A part that chooses none is an error that lists the names: a layer misspelled would otherwise stay as it was in silence.
    pub fn of(&self, names: &[&str]) -> Result<Vec<bool>> {
        let mut chosen = vec![false; names.len()];
        for part in &self.parts {
            let is_chosen: Vec<bool> = (0..names.len()).map(|i| part.takes(i, names)).collect();
            if !is_chosen.contains(&true) {
                let text = format!("{part} is none of the {} layers: {}", names.len(), names.join(", "));
                return Err(Error::Config(text));
            }
            chosen.iter_mut().zip(is_chosen).for_each(|(chosen, new)| *chosen |= new);
        }
        Ok(chosen)
    }
}

impl Part {
    fn takes(&self, i: usize, names: &[&str]) -> bool {
        let count = names.len() as isize;
        let place = |place: isize| if place < 0 { count.saturating_add(place) } else { place };
        let i_signed = i as isize;
        match self {
            Part::Range(from, to) => (place(from.unwrap_or(0))..place(to.unwrap_or(count))).contains(&i_signed),
            Part::Place(at) => place(*at) == i_signed,
            Part::Name(pattern) => matches(pattern, names[i]),
        }
    }
}

/// Whether `text` is `pattern`, in which each `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|&i| rest.is_char_boundary(i)).any(|i| matches(after, &rest[i..]))
        }),
    }
}

impl FromStr for Selection {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let place = |text: &str| match text.trim() {
            "" => Some(None),
            number => number.parse::<isize>().ok().map(Some),
        };
        let part = |part: &str| match (part.split_once(".."), part.parse::<isize>()) {
            (_, Ok(at)) => Some(Part::Place(at)),
            (Some((from, to)), _) => Some(Part::Range(place(from)?, place(to)?)),
            (None, _) => (!part.is_empty()).then(|| Part::Name(part.into())),
        };
        match text.split(',').map(|text| part(text.trim())).collect::<Option<Vec<_>>>() {
            Some(parts) => Ok(Self { parts }),
            None => Err(Error::Config(format!(
                "layers {text:?}: write ..-1 for all but the last, 2.. or 0..3 for others by their places from 0, a name, or a \
                 pattern such as dense*; commas stand between several"
            ))),
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.parts.iter().map(Part::to_string).collect();
        f.write_str(&parts.join(", "))
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Part::Range(from, to) => {
                let number = |place: &Option<isize>| place.map_or_else(String::new, |place| place.to_string());
                write!(f, "{}..{}", number(from), number(to))
            }
            Part::Place(at) => write!(f, "{at}"),
            Part::Name(pattern) => f.write_str(pattern),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["flatten", "dense", "block_1_dense", "block_2_dense", "output"];

    fn chosen(text: &str) -> Vec<usize> {
        let selection: Selection = text.parse().unwrap();
        assert_eq!(selection.to_string().parse::<Selection>().unwrap(), selection);
        let chosen = selection.of(&NAMES).unwrap_or_else(|error| panic!("{error}"));
        (0..NAMES.len()).filter(|&i| chosen[i]).collect()
    }

    #[test]
    fn places_count_as_in_python() {
        assert_eq!(chosen("..-1"), [0, 1, 2, 3]);
        assert_eq!(chosen(".."), [0, 1, 2, 3, 4]);
        assert_eq!(chosen("3.."), [3, 4]);
        assert_eq!(chosen("-2..-1"), [3]);
        assert_eq!(chosen("-99..2"), [0, 1]);
        assert_eq!(chosen("-1"), [4]);
        assert_eq!(chosen("0, 2"), [0, 2]);
    }

    #[test]
    fn names_may_have_stars() {
        assert_eq!(chosen("dense"), [1]);
        assert_eq!(chosen("block_1_*"), [2]);
        assert_eq!(chosen("*dense"), [1, 2, 3]);
        assert_eq!(chosen("b*_*e, output"), [2, 3, 4]);
        assert_eq!(chosen("*"), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn what_chooses_nothing_lists_the_names() {
        for text in ["conv*", "dens", "7", "3..3", "dense, conv*"] {
            let error = text.parse::<Selection>().unwrap().of(&NAMES).unwrap_err().to_string();
            assert!(
                error.ends_with("is none of the 5 layers: flatten, dense, block_1_dense, block_2_dense, output"),
                "{error}"
            );
        }
        let error = "..x".parse::<Selection>().unwrap_err().to_string();
        assert!(error.starts_with("layers \"..x\": write ..-1 for all but the last"), "{error}");
        assert!("".parse::<Selection>().is_err() && "a,,b".parse::<Selection>().is_err());
    }
}
