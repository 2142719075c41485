//! CSV: one sample a row, with or without a header, perhaps with a column of labels.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use csv::{ReaderBuilder, StringRecord, Terminator, Trim};
use gradus_core::Tensor;

use super::Dataset;
use super::input::Input;
use crate::{Error, Result};

/// How a CSV file is to be read.
#[derive(Clone, Debug, PartialEq)]
pub struct CsvOptions {
    /// What stands between two cells.
    pub delimiter: u8,
    /// Whether the first row names the columns; `None` takes a first row without any number for names.
    pub header: Option<bool>,
    /// Which column is the target; without one, the inputs are their own targets, as an autoencoder wants.
    pub label: Option<Column>,
    /// What the label column holds.
    pub labels: Labels,
}

impl Default for CsvOptions {
    /// Commas, a header if there seems to be one, classes in the last column.
    fn default() -> Self {
        Self { delimiter: b',', header: None, label: Some(Column::Number(-1)), labels: Labels::Classes }
    }
}

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// By number, from 0; negative numbers count from the end.
    Number(isize),
    /// By its name in the header.
    Named(String),
}

impl Column {
    /// Reads a column as users write it: a whole number, else a name.
    pub fn parse(text: &str) -> Self {
        text.parse().map_or_else(|_| Column::Named(text.into()), Column::Number)
    }
}

/// What a column of labels holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// Class numbers from 0.
    Classes,
    /// Class names; the classes are numbered in the order of their names.
    Names,
    /// Real numbers, for regression.
    Values,
}

/// Reads a CSV file, packed by gzip or not, into inputs `[N, columns]` of `f32` and targets.
///
/// Every cell but a label's name must be a finite number. Fails with [`Error::Data`] naming line and column.
pub fn read_csv(path: impl AsRef<Path>, options: &CsvOptions) -> Result<Dataset> {
    parse(Input::open(path.as_ref())?, options)
}

/// Reads a CSV file that is in memory; `name` stands for its path in errors.
pub fn read_csv_bytes(name: &str, bytes: &[u8], options: &CsvOptions) -> Result<Dataset> {
    parse(Input::bytes(name, bytes)?, options)
}

fn parse(input: Input, options: &CsvOptions) -> Result<Dataset> {
    let name = input.name().to_string();
    // Rows end at line feeds alone, and the last row surely has one: so a row's line follows from where it ends. (Where it
    // begins, as the reader tells it, blank lines are still to come.) A carriage return is trimmed off the last cell.
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .terminator(Terminator::Any(b'\n'))
        .delimiter(options.delimiter)
        .from_reader(input.chain(&b"\n"[..]));
    let mut row = StringRecord::new();
    let mut next = |row: &mut StringRecord| -> Result<Option<u64>> {
        loop {
            let more = reader.read_record(row);
            let line = reader.position().line().saturating_sub(1);
            if !more.map_err(|error| unreadable(&name, line, &error))? {
                return Ok(None);
            }
            let is_blank = row.len() == 1 && row[0].is_empty();
            if !is_blank {
                let inside = row.iter().flat_map(str::bytes).filter(|&byte| byte == b'\n').count();
                return Ok(Some(line.saturating_sub(inside as u64)));
            }
        }
    };
    let Some(line) = next(&mut row)? else {
        return Err(Error::Data(format!("{name}: there are no rows in it")));
    };
    let header = options.header.unwrap_or_else(|| row.iter().all(|cell| cell.parse::<f32>().is_err()));
    let mut table = Table::new(&name, &row, header, options)?;
    if !header {
        table.push(&row, line)?;
    }
    while let Some(line) = next(&mut row)? {
        table.push(&row, line)?;
    }
    table.finish()
}

fn unreadable(name: &str, line: u64, error: &csv::Error) -> Error {
    let what = match error.kind() {
        csv::ErrorKind::Utf8 { err, .. } => {
            format!("line {line}, column {}: this is no UTF-8 text; is it a CSV file?", err.field() + 1)
        }
        csv::ErrorKind::Io(error) => format!("cannot be read: {error}"),
        _ => format!("line {line}: {error}"),
    };
    Error::Data(format!("{name}: {what}"))
}

/// The rows so far.
struct Table<'a> {
    name: &'a str,
    /// The names of the columns, if there is a header.
    header: Option<StringRecord>,
    width: usize,
    label: Option<usize>,
    labels: Labels,
    rows: usize,
    inputs: Vec<f32>,
    values: Vec<f32>,
    classes: Vec<i64>,
    names: Vec<String>,
}

impl<'a> Table<'a> {
    fn new(name: &'a str, first: &StringRecord, header: bool, options: &CsvOptions) -> Result<Self> {
        let width = first.len();
        let label = options.label.as_ref().map(|column| find(name, column, first, header)).transpose()?;
        if width == usize::from(label.is_some()) {
            let what = format!(
                "its one column is the label's, so nothing is left to learn from; is {:?} the delimiter?",
                options.delimiter as char
            );
            return Err(Error::Data(format!("{name}: {what}")));
        }
        Ok(Self {
            name,
            header: header.then(|| first.clone()),
            width,
            label,
            labels: options.labels,
            rows: 0,
            inputs: Vec::new(),
            values: Vec::new(),
            classes: Vec::new(),
            names: Vec::new(),
        })
    }

    fn push(&mut self, row: &StringRecord, line: u64) -> Result<()> {
        if row.len() != self.width {
            let hint =
                if row.len() < self.width { "a cell is missing" } else { "perhaps a text with a comma lacks quotes" };
            let what = format!("the row has {} cells, the first row has {}; {hint}", row.len(), self.width);
            return Err(Error::Data(format!("{}: line {line}: {what}", self.name)));
        }
        for (column, cell) in row.iter().enumerate() {
            if self.label != Some(column) {
                let value = self.number(cell, line, column)?;
                self.inputs.push(value);
                continue;
            }
            match self.labels {
                Labels::Values => {
                    let value = self.number(cell, line, column)?;
                    self.values.push(value);
                }
                Labels::Names => self.names.push(cell.to_string()),
                Labels::Classes => {
                    // Some programs write whole numbers as 3.0.
                    let whole = cell.parse().ok().or_else(|| {
                        cell.parse::<f64>().ok().filter(|x| x.fract() == 0.0 && x.abs() < 1e15).map(|x| x as i64)
                    });
                    let wrong = || self.wrong(cell, line, column, "no class number; classes are whole numbers from 0");
                    let class = whole.filter(|&class| class >= 0).ok_or_else(wrong)?;
                    self.classes.push(class);
                }
            }
        }
        self.rows += 1;
        Ok(())
    }

    fn number(&self, cell: &str, line: u64, column: usize) -> Result<f32> {
        match cell.parse::<f32>() {
            Ok(value) if value.is_finite() => Ok(value),
            Ok(_) => Err(self.wrong(
                cell,
                line,
                column,
                "not finite; networks cannot learn from it: leave the row out or mend it",
            )),
            Err(_) if self.rows == 0 && self.header.is_none() => Err(self.wrong(
                cell,
                line,
                column,
                "not a number; if the first row names the columns, set header = true",
            )),
            Err(_) => Err(self.wrong(cell, line, column, "not a number")),
        }
    }

    fn wrong(&self, cell: &str, line: u64, column: usize, what: &str) -> Error {
        let named = self.header.as_ref().and_then(|header| header.get(column));
        let named = named.map(|name| format!(" ({name:?})")).unwrap_or_default();
        let cell = if cell.is_empty() { "the empty cell is".into() } else { format!("{cell:?} is") };
        Error::Data(format!("{}: line {line}, column {}{named}: {cell} {what}", self.name, column + 1))
    }

    fn finish(self) -> Result<Dataset> {
        let columns = self.width - usize::from(self.label.is_some());
        let inputs = Tensor::from_slice(&self.inputs, &[self.rows, columns])?;
        let (targets, classes) = match (self.label, self.labels) {
            (None, _) => (inputs.clone(), Vec::new()),
            (_, Labels::Values) => (Tensor::from_slice(&self.values, &[self.rows, 1])?, Vec::new()),
            (_, Labels::Classes) => (Tensor::from_slice(&self.classes, &[self.rows])?, Vec::new()),
            (_, Labels::Names) => {
                let sorted: BTreeSet<&String> = self.names.iter().collect();
                let sorted: Vec<String> = sorted.into_iter().cloned().collect();
                let number = |name| sorted.binary_search(name).map_or(-1, |number| number as i64);
                let numbers: Vec<i64> = self.names.iter().map(number).collect();
                (Tensor::from_slice(&numbers, &[self.rows])?, sorted)
            }
        };
        Dataset::new(self.name, inputs, targets, classes)
    }
}

fn find(name: &str, column: &Column, first: &StringRecord, header: bool) -> Result<usize> {
    let width = first.len();
    match column {
        Column::Number(number) => {
            let found = if *number < 0 { width.checked_add_signed(*number) } else { Some(*number as usize) };
            found.filter(|&found| found < width).ok_or_else(|| {
                Error::Config(format!(
                    "{name}: label column {number} does not exist: there are {width} columns, numbered from 0"
                ))
            })
        }
        Column::Named(wanted) if header => first.iter().position(|known| known == wanted).ok_or_else(|| {
            let known = first.iter().collect::<Vec<_>>().join(", ");
            Error::Config(format!("{name}: there is no column {wanted:?} for the label; the header names {known}"))
        }),
        Column::Named(wanted) => Err(Error::Config(format!(
            "{name}: the label column {wanted:?} needs a header, and the first row seems to be none; \
             give the column's number or set header = true"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::input::tests::gzip;

    fn read(text: &str, options: &CsvOptions) -> Result<Dataset> {
        read_csv_bytes("iris.csv", text.as_bytes(), options)
    }

    fn refusal(text: &str) -> String {
        let error = read(text, &CsvOptions::default()).unwrap_err();
        assert!(matches!(error, Error::Data(_)), "{error:?}");
        error.to_string()
    }

    fn options(label: Option<&str>, labels: Labels) -> CsvOptions {
        CsvOptions { label: label.map(Column::parse), labels, ..CsvOptions::default() }
    }

    #[test]
    fn reads_with_and_without_a_header() {
        for text in
            ["1,2.5,0\n3,-4e1,2\n", "\u{feff}a, b ,class\r\n1, 2.5 ,0\r\n\r\n3,-4e1,2.0", "# x,y,z\n1,2.5,0\n3,-40,2"]
        {
            let set = read(text, &CsvOptions::default()).unwrap();
            assert_eq!((set.inputs.shape(), set.name.as_str()), (&[2, 2][..], "iris.csv"), "{text:?}");
            assert_eq!(set.inputs.to_vec::<f32>().unwrap(), [1.0, 2.5, 3.0, -40.0]);
            assert_eq!(set.targets.to_vec::<i64>().unwrap(), [0, 2]);
        }
        let packed = read_csv_bytes("d.csv.gz", &gzip(b"1,0\n2,1\n"), &CsvOptions::default()).unwrap();
        assert_eq!(packed.inputs.to_vec::<f32>().unwrap(), [1.0, 2.0]);
    }

    #[test]
    fn the_label_can_stand_anywhere_and_be_of_any_kind() {
        let text = "kind,width,height\nb,1,2\na,3,4\nb,5,6\n";
        let named = read(text, &options(Some("kind"), Labels::Names)).unwrap();
        assert_eq!(named.classes, ["a", "b"]);
        assert_eq!(named.targets.to_vec::<i64>().unwrap(), [1, 0, 1]);
        assert_eq!(named.inputs.to_vec::<f32>().unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let values =
            read("1;2;0.5\n3;4;-0.5\n", &CsvOptions { delimiter: b';', ..options(Some("2"), Labels::Values) }).unwrap();
        assert_eq!((values.targets.shape(), values.targets.to_vec::<f32>().unwrap()), (&[2, 1][..], vec![0.5, -0.5]));
        let none = read("1,2\n3,4\n", &options(None, Labels::Classes)).unwrap();
        assert_eq!(none.targets.to_vec::<f32>().unwrap(), none.inputs.to_vec::<f32>().unwrap());
    }

    #[test]
    fn a_short_row_is_named_by_its_line() {
        let text = "iris.csv: line 4: the row has 2 cells, the first row has 3; a cell is missing";
        assert_eq!(refusal("a,b,c\n1,2,0\n\n3,4\n"), text);
        let two_lines =
            read("kind,width\n\"a\nb\",wide\n", &options(Some("kind"), Labels::Names)).unwrap_err().to_string();
        assert!(two_lines.starts_with("iris.csv: line 2, column 2"), "{two_lines}");
        let long =
            "iris.csv: line 2: the row has 4 cells, the first row has 3; perhaps a text with a comma lacks quotes";
        assert_eq!(refusal("1,2,0\n1,2,3,0\n"), long);
    }

    #[test]
    fn text_in_a_number_is_named_by_line_and_column() {
        assert_eq!(
            refusal("a,width,c\n1,2,0\n3,wide,1\n"),
            "iris.csv: line 3, column 2 (\"width\"): \"wide\" is not a number"
        );
        assert_eq!(refusal("1,2,0\n3,,1\n"), "iris.csv: line 2, column 2: the empty cell is not a number");
        let header =
            "iris.csv: line 1, column 2: \"b\" is not a number; if the first row names the columns, set header = true";
        assert_eq!(refusal("1,b,c\n1,2,0\n"), header);
        assert!(refusal("1,nan,0\n").starts_with("iris.csv: line 1, column 2: \"nan\" is not finite"));
        for class in ["1.5", "-1", "cat"] {
            let text =
                format!("iris.csv: line 1, column 3: {class:?} is no class number; classes are whole numbers from 0");
            assert_eq!(refusal(&format!("1,2,{class}\n")), text);
        }
        let latin = read_csv_bytes("x.csv", b"1,2\n\xe4,1\n", &CsvOptions::default()).unwrap_err().to_string();
        assert_eq!(latin, "x.csv: line 2, column 1: this is no UTF-8 text; is it a CSV file?");
    }

    #[test]
    fn empty_tables_and_wrong_columns_are_refused() {
        assert_eq!(refusal(""), "iris.csv: there are no rows in it");
        assert!(refusal("a,b\n").starts_with("iris.csv: there are no samples in it"));
        assert!(refusal("1;2;3\n").contains("is ',' the delimiter?"));
        let error = |label| read("a,b\n1,0\n", &options(Some(label), Labels::Classes)).unwrap_err().to_string();
        assert_eq!(error("2"), "iris.csv: label column 2 does not exist: there are 2 columns, numbered from 0");
        assert_eq!(error("-3"), "iris.csv: label column -3 does not exist: there are 2 columns, numbered from 0");
        assert_eq!(error("c"), "iris.csv: there is no column \"c\" for the label; the header names a, b");
        let headless = read("1,0\n", &options(Some("c"), Labels::Classes)).unwrap_err().to_string();
        assert!(headless.contains("needs a header"), "{headless}");
    }
}
