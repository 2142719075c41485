//! A model as three generations of Keras print it, character for character.

use clap::ValueEnum;
use nn::models::{Counts, Model, Row};

use crate::commands::summary::grouped;

/// Whose form a summary has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Style {
    /// TensorFlow 2.5: lines between the layers, long names cut off
    #[value(name = "tf2.5")]
    Tf25,
    /// TensorFlow 2.13: empty lines between the layers, and bytes
    #[value(name = "tf2.13")]
    Tf213,
    /// Keras 3: a table with frames, for a terminal of 80 columns
    #[value(name = "keras3")]
    Keras3,
}

/// The model in this style, each line ended by a line break.
pub fn text(name: &str, model: &Model, style: Style) -> String {
    let mut rows = model.summary();
    let is_chain = rows.windows(2).all(|pair| pair[1].inputs == [pair[0].name.clone()]);
    if is_chain {
        // Keras' Sequential does not count its input as a layer.
        rows.retain(|row| row.class != "Input");
    }
    let mut out = format!("Model: \"{name}\"\n");
    match style {
        Style::Tf25 => tf25(&rows, is_chain, &mut out),
        Style::Tf213 => tf213(&rows, is_chain, &mut out),
        Style::Keras3 => keras3(&rows, is_chain, &mut out),
    }
    totals(&model.counts(), style, &mut out);
    match style {
        Style::Keras3 => {}
        _ => rule('_', if is_chain { CHAIN } else { GRAPH }, &mut out),
    }
    out
}

/// How wide the older styles are.
const CHAIN: usize = 65;
const GRAPH: usize = 98;
const HEADING: [&str; 4] = ["Layer (type)", "Output Shape", "Param #", "Connected to"];

fn rule(sign: char, width: usize, out: &mut String) {
    out.extend(std::iter::repeat_n(sign, width));
    out.push('\n');
}

fn title(row: &Row) -> String {
    format!("{} ({})", row.name, if row.class == "Input" { "InputLayer" } else { row.class })
}

/// The shape with the batch in front, as Python writes a tuple.
fn shape(row: &Row) -> String {
    let sizes: String = row.shape.iter().map(|size| format!(", {size}")).collect();
    if sizes.is_empty() { "(None,)".into() } else { format!("(None{sizes})") }
}

/// The older styles show an input's shape as the list of one.
fn listed_shape(row: &Row) -> String {
    if row.class == "Input" { format!("[{}]", shape(row)) } else { shape(row) }
}

fn connections(row: &Row) -> Vec<String> {
    row.inputs.iter().map(|name| format!("{name}[0][0]")).collect()
}

fn tf25(rows: &[Row], is_chain: bool, out: &mut String) {
    let (width, ends): (usize, &[usize]) = if is_chain { (CHAIN, &[29, 55, 65]) } else { (GRAPH, &[32, 53, 65, 98]) };
    let line = |fields: &[String], out: &mut String| {
        let mut line = String::new();
        for (field, &end) in fields.iter().zip(ends) {
            if !line.is_empty() {
                line.pop();
                line.push(' ');
            }
            line.push_str(field);
            line = format!("{:end$}", line.chars().take(end).collect::<String>());
        }
        out.push_str(&line);
        out.push('\n');
    };
    rule('_', width, out);
    line(&HEADING.map(str::to_owned), out);
    for (i, row) in rows.iter().enumerate() {
        rule(if i == 0 { '=' } else { '_' }, width, out);
        let connections = connections(row);
        let first = connections.first().cloned().unwrap_or_default();
        line(&[title(row), listed_shape(row), row.params.total.to_string(), first], out);
        for connection in connections.into_iter().skip(1).filter(|_| !is_chain) {
            line(&["", "", "", &connection].map(str::to_owned), out);
        }
    }
    rule('=', width, out);
}

fn tf213(rows: &[Row], is_chain: bool, out: &mut String) {
    let (width, ends): (usize, &[usize]) = if is_chain { (CHAIN, &[29, 55, 65]) } else { (GRAPH, &[29, 58, 68, 98]) };
    rule('_', width, out);
    broken(&HEADING.map(str::to_owned), ends, out);
    rule('=', width, out);
    for row in rows {
        let list = connections(row).iter().map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        broken(&[title(row), listed_shape(row), row.params.total.to_string(), format!("[{list}]")], ends, out);
        rule(' ', width, out);
    }
    rule('=', width, out);
}

/// Columns that end at `ends`, in as many lines as the longest field takes; breaks come after the item of a list or anywhere.
fn broken(fields: &[String], ends: &[usize], out: &mut String) {
    let mut left: Vec<&str> = fields.iter().take(ends.len()).map(String::as_str).collect();
    while left.iter().any(|text| !text.is_empty()) {
        let mut line = String::new();
        for (i, text) in left.iter_mut().enumerate() {
            let is_last = i + 1 == ends.len();
            let begin = if i == 0 { 0 } else { ends[i - 1] };
            let room = ends[i] - begin - if is_last { 0 } else { 3 };
            let cut = text.char_indices().nth(room).map_or(text.len(), |(at, _)| at);
            let item = ["),", "],", "',"].iter().filter_map(|end| text[..cut].find(end).map(|at| at + end.len())).min();
            let (now, later) = text.split_at(item.unwrap_or(cut));
            *text = later;
            line.push_str(if i == 0 { " " } else { "" });
            line.push_str(now);
            line.push_str(if is_last { "" } else { "  " });
            line = format!("{line:width$}", width = ends[i]);
        }
        out.push_str(&line);
        out.push('\n');
    }
}

fn keras3(rows: &[Row], is_chain: bool, out: &mut String) {
    let widths: &[usize] = if is_chain { &[31, 22, 13] } else { &[19, 17, 10, 17] };
    let frame = |signs: [char; 4], out: &mut String| {
        let [left, line, between, right] = signs;
        let cells: Vec<String> = widths.iter().map(|width| std::iter::repeat_n(line, width + 2).collect()).collect();
        out.push_str(&format!("{left}{}{right}\n", cells.join(&between.to_string())));
    };
    let cells = |fields: &[String], bar: char, out: &mut String| {
        let columns: Vec<Vec<String>> = fields.iter().zip(widths).map(|(text, &width)| wrapped(text, width)).collect();
        for i in 0..columns.iter().map(Vec::len).max().unwrap_or(0) {
            for (place, (lines, &width)) in columns.iter().zip(widths).enumerate() {
                let text = lines.get(i).map_or("", String::as_str);
                let padded = if place == 2 { format!("{text:>width$}") } else { format!("{text:width$}") };
                out.push_str(&format!("{bar} {padded} "));
            }
            out.push_str(&format!("{bar}\n"));
        }
    };
    frame(['┏', '━', '┳', '┓'], out);
    cells(&HEADING.map(str::to_owned), '┃', out);
    for (i, row) in rows.iter().enumerate() {
        frame(if i == 0 { ['┡', '━', '╇', '┩'] } else { ['├', '─', '┼', '┤'] }, out);
        let list = connections(row).join(", ");
        let list = if list.is_empty() { "-".into() } else { list };
        cells(&[title(row), shape(row), grouped(row.params.total), list], '│', out);
    }
    frame(['└', '─', '┴', '┘'], out);
}

/// A text in lines of at most `width` characters, broken between words; a longer word loses its end.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.into()),
        }
    }
    for line in lines.iter_mut().filter(|line| line.chars().count() > width) {
        *line = line.chars().take(width - 1).chain(['…']).collect();
    }
    lines
}

fn totals(counts: &Counts, style: Style, out: &mut String) {
    let Counts { total, trainable, non_trainable } = *counts;
    for (what, count) in [("Total", total), ("Trainable", trainable), ("Non-trainable", non_trainable)] {
        out.push_str(&match style {
            Style::Tf25 => format!("{what} params: {}\n", grouped(count)),
            Style::Tf213 => format!("{what} params: {count} ({})\n", memory(count, "Byte")),
            Style::Keras3 => format!(" {what} params: {} ({})\n", grouped(count), memory(count, "B")),
        });
    }
}

/// What so many numbers of 32 bits take.
fn memory(count: usize, one: &str) -> String {
    let mut size = 4.0 * count as f64;
    for unit in [one, "KB", "MB", "GB"] {
        if size < 1024.0 {
            return format!("{size:.2} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.2} TB")
}
