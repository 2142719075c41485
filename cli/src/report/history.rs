//! The numbers of a run, epoch by epoch.

use std::fmt::Write;

use nn::spec::training::Document;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::svg::{Line, Panel, Role};

/// Numbers with names, in the order in which people want to read them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers(pub Vec<(String, f64)>);

impl Numbers {
    /// The number of this name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(other, _)| other == name).map(|&(_, value)| value)
    }

    /// `loss 0.3621  accuracy 0.8732`
    pub fn line(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name} {value:.4}")).collect::<Vec<_>>().join("  ")
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// One epoch: `loss`, the metrics, and the same with `val_` before them if there is validation data.
#[derive(Clone, Debug, PartialEq)]
pub struct Epoch {
    /// From 1.
    pub epoch: usize,
    /// What was measured.
    pub numbers: Numbers,
    /// How long it took, validation included.
    pub seconds: f64,
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("epoch", &self.epoch)?;
        for (name, value) in &self.numbers.0 {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("seconds", &self.seconds)?;
        map.end()
    }
}

/// The history as CSV with a header.
pub fn csv(history: &[Epoch]) -> String {
    let names: Vec<&str> = history.first().into_iter().flat_map(|e| e.numbers.0.iter().map(|n| n.0.as_str())).collect();
    let mut text = "epoch".to_owned();
    // Writing to a string cannot fail, so the results of `write!` are dropped.
    for name in &names {
        let _ = write!(text, ",{name}");
    }
    text += ",seconds\n";
    for epoch in history {
        let _ = write!(text, "{}", epoch.epoch);
        for name in &names {
            let _ = write!(text, ",{}", epoch.numbers.get(name).unwrap_or(f64::NAN));
        }
        let _ = writeln!(text, ",{}", epoch.seconds);
    }
    text
}

/// One panel for the loss and one for each metric, with what the document reports behind our own curves.
pub fn panels(history: &[Epoch], document: Option<&Document>) -> Vec<Panel> {
    let Some(first) = history.first() else { return Vec::new() };
    let titles = first.numbers.0.iter().map(|(name, _)| name).filter(|name| !name.starts_with("val_"));
    let panel = |title: &String| {
        let validation = format!("val_{title}");
        let line = |name: &str, role, key: &str| {
            let values: Option<Vec<f64>> = history.iter().map(|epoch| epoch.numbers.get(key)).collect();
            values.map(|values| Line { name: name.to_owned(), role, values })
        };
        let reported = document.and_then(|document| document.history.get(&validation)).map(|values| Line {
            name: "document".to_owned(),
            role: Role::Document,
            values: values.iter().copied().take(history.len()).collect(),
        });
        let ours = [line("training", Role::Training, title), line("validation", Role::Validation, &validation)];
        Panel { title: title.clone(), lines: ours.into_iter().flatten().chain(reported).collect() }
    };
    titles.map(panel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> Vec<Epoch> {
        let epoch = |epoch, loss, val_loss| Epoch {
            epoch,
            numbers: Numbers(vec![("loss".into(), loss), ("val_loss".into(), val_loss)]),
            seconds: 0.5,
        };
        vec![epoch(1, 0.75, 0.5), epoch(2, 0.25, f64::NAN)]
    }

    #[test]
    fn csv_and_json_hold_every_number() {
        assert_eq!(csv(&history()), "epoch,loss,val_loss,seconds\n1,0.75,0.5,0.5\n2,0.25,NaN,0.5\n");
        let json = serde_json::to_string(&history()[0]).unwrap();
        assert_eq!(json, r#"{"epoch":1,"loss":0.75,"val_loss":0.5,"seconds":0.5}"#);
        assert_eq!(csv(&[]), "epoch,seconds\n");
    }

    #[test]
    fn a_panel_shows_training_validation_and_the_document() {
        let reported = [("val_loss".to_owned(), vec![0.6, 0.5, 0.4])];
        let document = Document {
            id: "x".into(),
            values: Default::default(),
            history: reported.into(),
            tolerance: Default::default(),
        };
        let panels = panels(&history(), Some(&document));
        let [panel] = &panels[..] else { panic!("{panels:?}") };
        let roles: Vec<Role> = panel.lines.iter().map(|line| line.role).collect();
        assert_eq!(roles, [Role::Training, Role::Validation, Role::Document]);
        assert_eq!(panel.lines[2].values, [0.6, 0.5], "no further than our own run went");
    }
}
