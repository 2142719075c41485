//! Which classes are learnt, and what their numbers become.

use std::fmt;

use gradus_core::{DType, Tensor};

use super::Dataset;
use crate::spec::preset::suggest;
use crate::{Error, Result};

/// What is done to the classes of a data set before anybody learns them: some are left out, and the others get new numbers.
///
/// A pure function of the data: doing it twice to the same set gives the same twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassMap {
    /// The classes that stay, numbered anew from 0 in this order; none means all, in their own order.
    pub keep: Vec<Class>,
    /// The classes that are left out; those behind move up.
    pub drop: Vec<Class>,
    /// The new numbers of those that stay.
    pub labels: Relabel,
    /// Whether each label becomes a row of zeros with a 1 in its place.
    pub one_hot: bool,
}

/// A class as users name it.
#[derive(Clone, Debug, PartialEq)]
pub enum Class {
    /// Its number in the data, from 0.
    Number(usize),
    /// Its name, where the data have names.
    Name(String),
}

/// New numbers for the classes that stay.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Relabel {
    /// Counted from 0, in order.
    #[default]
    InOrder,
    /// 1 for an even number in the data, 0 for an odd one.
    Parity,
    /// 1 for this class, 0 for all others.
    Only(Class),
    /// The new number of each class that stays, in their order.
    Numbers(Vec<usize>),
}

impl Relabel {
    /// Reads `parity`, `only:6` or `only:Shirt`.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            None if text == "parity" => Ok(Relabel::Parity),
            Some(("only", class)) if !class.trim().is_empty() => Ok(Relabel::Only(Class::parse(class.trim()))),
            _ => Err(Error::Config(format!(
                "labels {text:?}: must be parity (1 for even classes, 0 for odd ones), only:6 or only:Shirt (1 for one class, \
                 0 for the others), or a list with the new number of each class"
            ))),
        }
    }
}

impl fmt::Display for Relabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Relabel::InOrder => f.write_str("in order"),
            Relabel::Parity => f.write_str("parity"),
            Relabel::Only(class) => write!(f, "only:{class}"),
            Relabel::Numbers(numbers) => write!(f, "{numbers:?}"),
        }
    }
}

impl Class {
    fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Class::Name(text.into()), Class::Number)
    }

    /// The number of the class among `count`, of which some may have `names`.
    fn find(&self, names: &[String], count: usize) -> std::result::Result<usize, String> {
        match self {
            Class::Number(number) if *number < count => Ok(*number),
            Class::Number(number) => {
                Err(format!("there is no class {number}; there are 0 to {}", count.saturating_sub(1)))
            }
            Class::Name(name) if names.is_empty() => {
                Err(format!("there is no class {name:?}: the classes have no names, so give numbers"))
            }
            Class::Name(name) => names.iter().position(|other| other == name).ok_or_else(|| {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                format!("there is no class {name:?}{}", suggest(name, &names))
            }),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Class::Number(number) => write!(f, "{number}"),
            Class::Name(name) => f.write_str(name),
        }
    }
}

/// A [`ClassMap`] for a certain number of classes: it maps all parts of a data set alike.
#[derive(Clone, Debug)]
pub struct Relabelling {
    /// What each class becomes; `None` is left out.
    table: Vec<Option<usize>>,
    /// What the new classes are called.
    names: Vec<String>,
    /// How many there are.
    count: usize,
    one_hot: bool,
}

impl ClassMap {
    /// Whether nothing is done.
    pub fn is_identity(&self) -> bool {
        *self == Self::default()
    }

    /// What happens to the classes of `set`, of which all parts that this is applied to must have come.
    ///
    /// Without names there are as many classes as its largest label says. Fails with [`Error::Config`] where the map asks for
    /// classes that are not there.
    pub fn of(&self, set: &Dataset) -> Result<Relabelling> {
        let refuse = |what: String| Error::Config(format!("the classes of {}: {what}", set.name));
        if set.targets.dtype() != DType::I64 || set.targets.rank() != 1 {
            return Err(refuse(
                "the targets are not one class number a sample, so there are none to keep or to map".into(),
            ));
        }
        set.check_labels(usize::MAX)?;
        let count = match set.classes.len() {
            0 => set.targets.max(&[])?.item()? as usize + 1,
            count => count,
        };
        let find = |class: &Class| class.find(&set.classes, count).map_err(refuse);
        let kept: Vec<usize> = match (self.keep.as_slice(), self.drop.as_slice()) {
            (keep, []) if !keep.is_empty() => keep.iter().map(find).collect::<Result<_>>()?,
            ([], drop) => {
                let drop: Vec<usize> = drop.iter().map(find).collect::<Result<_>>()?;
                (0..count).filter(|class| !drop.contains(class)).collect()
            }
            _ => return Err(refuse("some are kept and some are dropped; one list says it all".into())),
        };
        let labels: Vec<usize> = match &self.labels {
            Relabel::InOrder => (0..kept.len()).collect(),
            Relabel::Parity => kept.iter().map(|class| usize::from(class % 2 == 0)).collect(),
            Relabel::Only(class) => {
                let one = find(class)?;
                kept.iter().map(|&class| usize::from(class == one)).collect()
            }
            Relabel::Numbers(numbers) if numbers.len() == kept.len() => numbers.clone(),
            Relabel::Numbers(numbers) => {
                return Err(refuse(format!("there are {} new labels for {} classes", numbers.len(), kept.len())));
            }
        };
        let new = labels.iter().max().map_or(0, |most| most + 1);
        let mut table = vec![None; count];
        for (&class, &label) in kept.iter().zip(&labels) {
            if table[class].replace(label).is_some() {
                return Err(refuse(format!("class {class} is named twice")));
            }
        }
        if let Some(missing) = (0..new).find(|label| !labels.contains(label)) {
            return Err(refuse(format!("no class becomes {missing}; new labels count from 0 without gaps")));
        }
        if new < 2 {
            return Err(refuse(format!("{new} is left; a network learns to tell at least two apart")));
        }
        let names = self.names(&set.classes, &kept, &labels, new);
        Ok(Relabelling { table, names, count: new, one_hot: self.one_hot })
    }

    fn names(&self, old: &[String], kept: &[usize], labels: &[usize], new: usize) -> Vec<String> {
        let members = |label| kept.iter().zip(labels).filter(move |pair| *pair.1 == label).map(|(&class, _)| class);
        match &self.labels {
            Relabel::Parity => ["odd", "even"].map(String::from).to_vec(),
            _ if old.is_empty() => Vec::new(),
            Relabel::Only(_) => {
                let one = members(1).map(|class| old[class].clone()).collect::<Vec<_>>().join(" or ");
                vec![format!("not {one}"), one]
            }
            _ => (0..new)
                .map(|label| members(label).map(|class| old[class].as_str()).collect::<Vec<_>>().join(" or "))
                .collect(),
        }
    }
}

impl Relabelling {
    /// The samples of the classes that stay, with their new labels.
    pub fn apply(&self, set: &Dataset) -> Result<Dataset> {
        set.check_labels(self.table.len())?;
        let labels = set.targets.to_vec::<i64>()?;
        let new = |row: usize| self.table[labels[row] as usize];
        let rows: Vec<usize> = (0..labels.len()).filter(|&row| new(row).is_some()).collect();
        if rows.is_empty() {
            return Err(Error::Config(format!("{}: no sample is of a class that stays", set.name)));
        }
        let part = if rows.len() == labels.len() { set.clone() } else { set.select(&rows)? };
        let labels: Vec<i64> = rows.iter().filter_map(|&row| new(row)).map(|label| label as i64).collect();
        let labels = Tensor::from_slice(&labels, &[rows.len()])?;
        let targets = if self.one_hot { labels.one_hot(self.count, DType::F32)? } else { labels };
        Ok(Dataset { targets, classes: self.names.clone(), ..part })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten classes in turn, named `a` to `j`; the input of a sample is its row number.
    fn letters(count: usize) -> Dataset {
        let rows: Vec<u8> = (0..count).map(|row| row as u8).collect();
        let labels: Vec<u8> = (0..count).map(|row| (row % 10) as u8).collect();
        let names = ('a'..='j').map(String::from).collect();
        let tensor = |values: &[u8]| Tensor::from_slice(values, &[count]).unwrap();
        Dataset::new("letters", tensor(&rows), tensor(&labels), names).unwrap()
    }

    fn numbers(numbers: &[usize]) -> Vec<Class> {
        numbers.iter().map(|&number| Class::Number(number)).collect()
    }

    /// Rows, labels and names after `map`.
    fn mapped(map: &ClassMap) -> (Vec<u8>, Vec<i64>, Vec<String>) {
        let set = letters(10);
        let new = map.of(&set).unwrap().apply(&set).unwrap();
        (new.inputs.to_vec().unwrap(), new.targets.to_vec().unwrap(), new.classes)
    }

    #[test]
    fn kept_classes_are_numbered_in_the_order_of_the_list() {
        let named = ClassMap { keep: vec![Class::Name("g".into()), Class::Number(5)], ..ClassMap::default() };
        let (rows, labels, names) = mapped(&named);
        assert_eq!((rows, labels, names.join("")), (vec![5, 6], vec![1, 0], "gf".into()));
    }

    #[test]
    fn dropping_moves_the_others_up() {
        let (rows, labels, names) = mapped(&ClassMap { drop: numbers(&[5, 6]), ..ClassMap::default() });
        assert_eq!((rows, labels), (vec![0, 1, 2, 3, 4, 7, 8, 9], vec![0, 1, 2, 3, 4, 5, 6, 7]));
        assert_eq!(names.join(""), "abcdehij");
    }

    #[test]
    fn new_labels_by_rule_and_by_list() {
        let map = |labels| ClassMap { labels, ..ClassMap::default() };
        let (_, labels, names) = mapped(&map(Relabel::Parity));
        assert_eq!((labels, names.join(" ")), (vec![1, 0, 1, 0, 1, 0, 1, 0, 1, 0], "odd even".into()));
        let (_, labels, names) = mapped(&map(Relabel::parse("only:c").unwrap()));
        assert_eq!((labels, names), (vec![0, 0, 1, 0, 0, 0, 0, 0, 0, 0], vec!["not c".to_string(), "c".into()]));
        let list = ClassMap {
            labels: Relabel::Numbers(vec![0, 1, 0]),
            ..ClassMap { keep: numbers(&[7, 8, 9]), ..map(Relabel::Parity) }
        };
        let (rows, labels, names) = mapped(&list);
        assert_eq!((rows, labels, names), (vec![7, 8, 9], vec![0, 1, 0], vec!["h or j".to_string(), "i".into()]));
        // Parity is that of the number in the data, whatever is kept.
        assert_eq!(mapped(&ClassMap { keep: numbers(&[3, 4, 6]), ..map(Relabel::Parity) }).1, [0, 1, 1]);
    }

    #[test]
    fn mapping_twice_from_the_same_set_gives_the_same_twice() {
        // The document's function wrote into the labels it was given, so that calling it again turned the classes round.
        let (set, map) = (letters(20), ClassMap { labels: Relabel::Parity, ..ClassMap::default() });
        let labels = || map.of(&set).unwrap().apply(&set).unwrap().targets.to_vec::<i64>().unwrap();
        assert_eq!(labels(), labels());
        assert_eq!(set.targets.to_vec::<i64>().unwrap()[..3], [0, 1, 2]);
    }

    #[test]
    fn one_hot_rows_stand_for_labels() {
        let (set, map) = (letters(10), ClassMap { keep: numbers(&[2, 0]), one_hot: true, ..ClassMap::default() });
        let new = map.of(&set).unwrap().apply(&set).unwrap();
        assert_eq!((new.targets.shape(), new.targets.dtype()), (&[2, 2][..], DType::F32));
        assert_eq!(new.targets.to_vec::<f32>().unwrap(), [0.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let refusal = |map: ClassMap| map.of(&letters(10)).unwrap_err().to_string();
        let map = ClassMap::default;
        let name = |text: &str| vec![Class::Name(text.into())];
        assert_eq!(
            refusal(ClassMap { keep: name("A"), ..map() }),
            "the classes of letters: there is no class \"A\"; did you mean \"a\"?"
        );
        assert!(
            refusal(ClassMap { drop: numbers(&[10]), ..map() }).ends_with("there is no class 10; there are 0 to 9")
        );
        assert!(refusal(ClassMap { keep: numbers(&[1, 1]), ..map() }).ends_with("class 1 is named twice"));
        assert!(refusal(ClassMap { keep: numbers(&[1]), ..map() }).contains("1 is left"));
        assert!(
            refusal(ClassMap { keep: numbers(&[1]), drop: numbers(&[2]), ..map() }).contains("one list says it all")
        );
        let list =
            |list: &[usize]| ClassMap { keep: numbers(&[1, 2]), labels: Relabel::Numbers(list.to_vec()), ..map() };
        assert!(refusal(list(&[0])).ends_with("there are 1 new labels for 2 classes"));
        assert!(refusal(list(&[0, 2])).contains("no class becomes 1"));
        let set = Dataset { classes: Vec::new(), ..letters(10) };
        let error = ClassMap { keep: name("a"), ..map() }.of(&set).unwrap_err().to_string();
        assert!(error.contains("the classes have no names, so give numbers"), "{error}");
        let error = Relabel::parse("partiy").unwrap_err().to_string();
        assert!(error.starts_with("labels \"partiy\": must be parity"), "{error}");
    }
}
