//! `report.html`: all of a run on one page that needs nothing beside itself, on a desk and on a phone, in light and dark.

use std::fmt::Write;

use serde_json::Value;

use super::confusion::ClassReport;
use super::images::{Section, data_uri};
use super::svg::{self, Panel, STYLE, escape};
use super::table::Table;

/// What the page shows. What is `None` or empty has no place on it.
#[derive(Debug)]
pub struct Page<'a> {
    /// The heading.
    pub title: &'a str,
    /// One sentence below it.
    pub about: String,
    /// The numbers that people look for first, by name.
    pub facts: Vec<(String, String)>,
    /// The curves.
    pub panels: Vec<Panel>,
    /// Our numbers beside those of a document.
    pub comparison: Option<Table>,
    /// Which classes were taken for which.
    pub confusion: Option<&'a ClassReport>,
    /// Samples with what the model says.
    pub sections: &'a [Section],
    /// The layers.
    pub layers: Table,
    /// The complete recipe.
    pub recipe: String,
    /// Objects in JSON under headings: the environment, the data.
    pub objects: Vec<(&'a str, Value)>,
}

impl Page<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let mut body = String::new();
        // Writing to a string cannot fail, so the results of `write!` are dropped.
        let _ = writeln!(body, "<h1>{}</h1>\n<p class=\"sub\">{}</p>", escape(self.title), escape(&self.about));
        body += "<dl class=\"facts\">";
        for (name, value) in &self.facts {
            let _ = write!(body, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
        }
        body += "</dl>\n";
        if !self.panels.is_empty() {
            let panels: String = self.panels.iter().map(svg::element).collect();
            section(&mut body, "Curves", &format!("<div class=\"panels\">\n{panels}</div>"));
        }
        if let Some(table) = &self.comparison {
            section(&mut body, "Beside the document", &wide(&html_table(table)));
        }
        if let Some(confusion) = self.confusion {
            section(&mut body, "Confusion matrix of the test", &wide(&confusion.element()));
            section(&mut body, "Scores by class", &wide(&html_table(&confusion.scores())));
        }
        if !self.sections.is_empty() {
            section(&mut body, "Samples of the test", &self.sections.iter().map(tiles).collect::<String>());
        }
        section(&mut body, "Layers", &wide(&html_table(&self.layers)));
        section(&mut body, "Recipe", &format!("<pre>{}</pre>", escape(self.recipe.trim_end())));
        for (name, value) in &self.objects {
            section(&mut body, name, &wide(&object(value)));
        }
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n\
             <style>\n{STYLE}\n{}</style>\n</head>\n<body>\n<main>\n{body}<footer>Made by gradus {}. Everything on this \
             page is inside this file.</footer>\n</main>\n</body>\n</html>\n",
            escape(self.title),
            include_str!("page.css"),
            env!("CARGO_PKG_VERSION"),
        )
    }
}

fn section(body: &mut String, title: &str, content: &str) {
    let _ = writeln!(body, "<section>\n<h2>{}</h2>\n{content}\n</section>", escape(title));
}

/// Content that may be wider than a phone scrolls by itself, and the page stays still.
fn wide(content: &str) -> String {
    format!("<div class=\"wide\">\n{content}</div>")
}

fn html_table(table: &Table) -> String {
    let mut html = String::from("<table class=\"full\">\n");
    for (i, row) in table.rows().iter().enumerate() {
        let tag = if i == 0 { "th" } else { "td" };
        html += "<tr>";
        for (column, cell) in row.iter().enumerate() {
            let class = if table.is_right(column) { " class=\"num\"" } else { "" };
            let _ = write!(html, "<{tag}{class}>{}</{tag}>", escape(cell));
        }
        html += "</tr>\n";
    }
    html + "</table>\n"
}

fn tiles(section: &Section) -> String {
    let mut html = format!("<h3>{}</h3>\n<div class=\"tiles\">\n", escape(&section.title));
    for tile in &section.tiles {
        let said = escape(&tile.said);
        let (class, caption) = match &tile.truth {
            Some(truth) => (" class=\"wrong\"", format!("{said}<br><b>is {}</b>", escape(truth))),
            None => ("", said),
        };
        let alt = escape(tile.truth.as_deref().unwrap_or(&tile.said));
        let image = data_uri(&tile.image);
        let _ = writeln!(
            html,
            "<figure{class}><img src=\"{image}\" alt=\"{alt}\"><figcaption>{caption}</figcaption></figure>"
        );
    }
    html + "</div>\n"
}

/// A JSON object as a table of two columns.
fn object(value: &Value) -> String {
    let mut html = String::from("<table class=\"full\">\n");
    for (key, value) in value.as_object().into_iter().flatten() {
        if !value.is_null() {
            let _ = writeln!(html, "<tr><th>{}</th><td class=\"any\">{}</td></tr>", escape(key), plain(value));
        }
    }
    html + "</table>\n"
}

/// A JSON value as people write it: words in a row, and each object of a list on a line of its own.
fn plain(value: &Value) -> String {
    let join = |values: &mut dyn Iterator<Item = &Value>, between: &str| {
        values.filter(|value| !value.is_null()).map(plain).collect::<Vec<_>>().join(between)
    };
    match value {
        Value::String(text) => escape(text),
        Value::Array(items) => join(&mut items.iter(), if items.iter().any(Value::is_object) { "<br>" } else { " " }),
        Value::Object(fields) => join(&mut fields.values(), " · "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_page_escapes_what_it_shows_and_leaves_out_what_is_not_there() {
        let mut layers = Table::new(["layer", "params"]).right([1]);
        layers.row(["<dense>".to_owned(), "7".to_owned()]);
        let page = Page {
            title: "a & b",
            about: "one <two>".into(),
            facts: vec![("x".into(), "1".into())],
            panels: Vec::new(),
            comparison: None,
            confusion: None,
            sections: &[],
            layers,
            recipe: "seed = 1 # <script>".into(),
            objects: vec![(
                "Environment",
                json!({ "cpu": null, "command": ["a", "<b>"], "threads": 2, "files": [{ "a": 1, "b": "x" }, { "a": null, "b": "y" }] }),
            )],
        };
        let html = page.html();
        assert!(
            html.contains("<title>a &amp; b</title>")
                && html.contains("<td>&lt;dense&gt;</td><td class=\"num\">7</td>")
        );
        assert!(
            html.contains("a &lt;b&gt;") && html.contains("# &lt;script&gt;") && !html.contains("<th>cpu</th>"),
            "{html}"
        );
        assert!(html.contains(">1 · x<br>y<"), "{html}");
        assert!(!html.contains("Confusion") && !html.contains("Curves") && !html.contains("Samples"), "{html}");
    }
}
