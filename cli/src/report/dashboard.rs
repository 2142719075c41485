//! A training run on the whole screen: curves, numbers and speed.
//!
//! The terminal stays in its usual mode, since no key is needed and Ctrl-C is to arrive as the signal that it is.

use std::io::{Stderr, stderr};

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph};
use ratatui::{Frame, Terminal as Screen};

use super::history::Epoch;
use super::progress::{Moment, Plan, View};
use crate::interrupt;
use crate::terminal::Terminal;

/// The colours of training and validation, as in the pictures.
const COLORS: [Color; 2] = [Color::Blue, Color::Yellow];

/// The whole screen while it lives; when it is closed, the lines of the epochs stand where they usually do.
pub struct Dashboard<'a> {
    terminal: &'a Terminal,
    screen: Option<Screen<CrosstermBackend<Stderr>>>,
    plan: Option<Plan>,
    lines: Vec<String>,
}

impl<'a> Dashboard<'a> {
    /// A dashboard that takes the screen when the run begins.
    pub fn new(terminal: &'a Terminal) -> Dashboard<'a> {
        Dashboard { terminal, screen: None, plan: None, lines: Vec::new() }
    }

    /// A screen that can no longer be drawn on is no reason to end a training.
    fn draw(&mut self, moment: Option<&Moment>, history: &[Epoch]) {
        if let (Some(screen), Some(plan)) = (&mut self.screen, &self.plan) {
            let _ = screen.draw(|frame| draw(frame, plan, moment, history));
        }
    }

    fn close(&mut self) {
        if self.screen.take().is_some() {
            restore();
            interrupt::before_exit(None);
            self.lines.drain(..).for_each(|line| self.terminal.say(line));
        }
    }
}

/// Gives the terminal back as it was.
fn restore() {
    // Nobody can be told that the terminal has gone.
    let _ = execute!(stderr(), LeaveAlternateScreen, Show);
}

impl View for Dashboard<'_> {
    fn start(&mut self, plan: Plan) {
        self.plan = Some(plan);
        let screen = Screen::new(CrosstermBackend::new(stderr()));
        interrupt::before_exit(Some(restore));
        self.screen = screen.and_then(|screen| execute!(stderr(), EnterAlternateScreen, Hide).map(|()| screen)).ok();
        self.draw(None, &[]);
    }

    fn step(&mut self, moment: &Moment, history: &[Epoch]) {
        self.draw(Some(moment), history);
    }

    fn remark(&mut self, line: &str) {
        match self.screen {
            Some(_) => self.lines.push(line.to_owned()),
            None => self.terminal.say(line),
        }
    }

    fn epoch(&mut self, line: &str, history: &[Epoch]) {
        self.remark(line);
        self.draw(None, history);
    }

    fn finish(&mut self) {
        self.close();
    }
}

impl Drop for Dashboard<'_> {
    fn drop(&mut self) {
        self.close();
    }
}

fn draw(frame: &mut Frame<'_>, plan: &Plan, moment: Option<&Moment>, history: &[Epoch]) {
    let rows = [Constraint::Length(1), Constraint::Length(1), Constraint::Min(6), Constraint::Length(2)];
    let [title, progress, curves, footer] = Layout::vertical(rows).areas(frame.area());
    let epoch = moment.map_or(history.len(), |moment| moment.epoch);
    let line = vec![plan.name.clone().bold(), format!("  epoch {epoch}/{}", plan.epochs).into()];
    frame.render_widget(Line::from(line), title);
    let share = moment.map_or(0.0, |moment| moment.step as f64 / plan.steps.max(1) as f64);
    let label = moment.map_or_else(String::new, |moment| {
        format!("{}/{}  {}", moment.step, plan.steps, moment.pace(plan, history.last()))
    });
    let gauge = Gauge::default().ratio(share.clamp(0.0, 1.0)).label(label).gauge_style(Style::new().fg(COLORS[0]));
    frame.render_widget(gauge, progress);
    panels(frame, curves, moment, history);
    let now = moment.map(|moment| &moment.numbers).or(history.last().map(|last| &last.numbers));
    let numbers = now.map_or_else(String::new, |numbers| numbers.line());
    let footer_lines = vec![Line::from(numbers), Line::from("Ctrl-C finishes the step and saves".dim())];
    frame.render_widget(Paragraph::new(footer_lines), footer);
}

/// One chart for the loss and one for each metric, side by side; the running epoch is the last point of training.
fn panels(frame: &mut Frame<'_>, area: Rect, moment: Option<&Moment>, history: &[Epoch]) {
    let known = history.last().map(|last| &last.numbers).or(moment.map(|moment| &moment.numbers));
    let names = known.into_iter().flat_map(|numbers| &numbers.0).map(|(name, _)| name);
    let names: Vec<&String> = names.filter(|name| !name.starts_with("val_")).collect();
    let areas = Layout::horizontal(names.iter().map(|_| Constraint::Fill(1))).split(area);
    for (name, area) in names.into_iter().zip(areas.iter()) {
        let points = |key: &str| -> Vec<(f64, f64)> {
            let past = history.iter().filter_map(|epoch| Some((epoch.epoch as f64, epoch.numbers.get(key)?)));
            let now = moment.and_then(|moment| Some((moment.epoch as f64, moment.numbers.get(key)?)));
            past.chain(now).filter(|point| point.1.is_finite()).collect()
        };
        chart(frame, *area, name, &[("training", points(name)), ("validation", points(&format!("val_{name}")))]);
    }
}

fn chart(frame: &mut Frame<'_>, area: Rect, title: &str, curves: &[(&str, Vec<(f64, f64)>)]) {
    let points = || curves.iter().flat_map(|(_, points)| points);
    let span = |number: fn(&(f64, f64)) -> f64, least: f64| {
        let low = points().map(number).fold(f64::INFINITY, f64::min);
        let high = points().map(number).fold(f64::NEG_INFINITY, f64::max);
        // Nothing, or a single point, still needs a scale.
        if low <= high { [low, high.max(low + least)] } else { [0.0, 1.0] }
    };
    let (across, up) = (span(|point| point.0, 1.0), span(|point| point.1, 1e-3));
    let sets =
        curves.iter().zip(COLORS).filter(|((_, points), _)| !points.is_empty()).map(|((name, points), color)| {
            let set = Dataset::default().name(*name).marker(Marker::Braille).graph_type(GraphType::Line);
            set.style(Style::new().fg(color)).data(points)
        });
    let labels = |span: [f64; 2], digits: usize| span.map(|value| Line::from(format!("{value:.digits$}")));
    let chart = Chart::new(sets.collect())
        .block(Block::bordered().title(title.to_owned()))
        .x_axis(Axis::default().bounds(across).labels(labels(across, 0)))
        .y_axis(Axis::default().bounds(up).labels(labels(up, 3)));
    frame.render_widget(chart, area);
}

#[cfg(test)]
mod tests {
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::report::history::Numbers;

    fn text(width: u16, height: u16, moment: Option<&Moment>, history: &[Epoch]) -> String {
        let plan = Plan { name: "digits".into(), epochs: 5, steps: 40 };
        let mut screen = Screen::new(TestBackend::new(width, height)).unwrap();
        screen.draw(|frame| draw(frame, &plan, moment, history)).unwrap();
        screen.backend().to_string()
    }

    fn numbers(loss: f64) -> Numbers {
        Numbers(vec![("loss".into(), loss), ("accuracy".into(), 1.0 - loss), ("val_loss".into(), loss / 2.0)])
    }

    #[test]
    fn the_screen_shows_curves_numbers_and_speed() {
        let history: Vec<Epoch> = [0.8, 0.4]
            .iter()
            .zip(1..)
            .map(|(&loss, epoch)| Epoch { epoch, numbers: numbers(loss), seconds: 2.0 })
            .collect();
        let moment = Moment { epoch: 3, step: 20, numbers: numbers(0.3), samples: 640, seconds: 1.0 };
        let text = text(120, 24, Some(&moment), &history);
        for part in [
            "digits  epoch 3/5",
            "20/40  50.00 ms/step  640 samples/s  5 seconds left",
            "accuracy",
            "loss 0.3000",
            "Ctrl-C",
        ] {
            assert!(text.contains(part), "{part}:\n{text}");
        }
        assert!(text.contains('⠤') || text.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "{text}");
    }

    #[test]
    fn an_empty_run_and_a_tiny_screen_are_no_panic() {
        let odd = Moment { epoch: 1, step: 1, numbers: numbers(f64::NAN), samples: 0, seconds: 0.0 };
        for (width, height) in [(1, 1), (10, 3), (200, 60)] {
            text(width, height, None, &[]);
            text(width, height, Some(&odd), &[]);
        }
    }
}
