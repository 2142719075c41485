//! What moves on stderr while something takes time.

use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::history::{Epoch, Numbers};
use crate::failure::Failure;
#[cfg(not(feature = "tui"))]
use crate::failure::Kind;
use crate::terminal::Terminal;

/// A bar for a download of yet unknown length; invisible where bars do not belong.
#[cfg(feature = "fetch")]
pub fn download_bar(terminal: &Terminal, name: &str) -> ProgressBar {
    let template = "{msg}  {bar:30}  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";
    let bar = bar(terminal, template);
    bar.set_message(name.to_owned());
    bar
}

fn bar(terminal: &Terminal, template: &str) -> ProgressBar {
    let target = if terminal.bars() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(0), target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar
}

/// A training run that somebody watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What the recipe is called.
    pub name: String,
    /// How many epochs there will be.
    pub epochs: usize,
    /// How many steps an epoch has.
    pub steps: usize,
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// Which epoch, from 1.
    pub epoch: usize,
    /// Which step of it, from 1.
    pub step: usize,
    /// The means over the epoch so far.
    pub numbers: Numbers,
    /// How many samples of the epoch are done.
    pub samples: usize,
    /// Since the epoch began.
    pub seconds: f64,
}

impl Moment {
    /// How long a step takes, on average over this epoch.
    pub fn step_seconds(&self) -> f64 {
        self.seconds / self.step.max(1) as f64
    }

    /// Samples trained on in a second of this epoch.
    pub fn samples_per_second(&self) -> f64 {
        self.samples as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// How many seconds the rest of the run should take: this epoch's steps at the speed so far, and every other epoch as
    /// long as the last one took, with its validation, or else as long as this one should.
    pub fn seconds_left(&self, plan: &Plan, last: Option<&Epoch>) -> f64 {
        let step = self.step_seconds();
        let whole = last.map_or(step * plan.steps as f64, |epoch| epoch.seconds);
        step * plan.steps.saturating_sub(self.step) as f64 + whole * plan.epochs.saturating_sub(self.epoch) as f64
    }

    /// `0.64 ms/step  49,911 samples/s  12 seconds left`
    pub fn pace(&self, plan: &Plan, last: Option<&Epoch>) -> String {
        let left = Duration::try_from_secs_f64(self.seconds_left(plan, last)).unwrap_or_default();
        let rate = crate::commands::summary::grouped(self.samples_per_second().round() as usize);
        format!("{:.2} ms/step  {rate} samples/s  {} left", 1000.0 * self.step_seconds(), HumanDuration(left))
    }
}

/// Shows a training run to people.
pub trait View {
    /// A run begins.
    fn start(&mut self, plan: Plan);
    /// A step is done; not called for every one.
    fn step(&mut self, moment: &Moment, history: &[Epoch]);
    /// Something that people should know.
    fn remark(&mut self, line: &str);
    /// The last epoch of `history` is done; `line` sums it up.
    fn epoch(&mut self, line: &str, history: &[Epoch]);
    /// Nothing more will come.
    fn finish(&mut self);
}

/// A run on the whole screen, for `--tui`; lines where there is no screen to draw on.
///
/// # Errors
/// Never, but without the feature `tui` always.
#[cfg(feature = "tui")]
pub fn whole_screen<'a>(terminal: &'a Terminal) -> Result<Box<dyn View + 'a>, Failure> {
    if terminal.bars() {
        return Ok(Box::new(super::dashboard::Dashboard::new(terminal)));
    }
    terminal.warn("--tui: stderr is no terminal that can be drawn on, so there are plain lines instead");
    Ok(Box::new(Lines::new(terminal)))
}

/// What `--tui` says where it was not built in.
///
/// # Errors
/// Always.
#[cfg(not(feature = "tui"))]
pub fn whole_screen<'a>(_: &'a Terminal) -> Result<Box<dyn View + 'a>, Failure> {
    let text = "--tui: this gradus was built without the dashboard; build it with \
                `cargo install --path cli --features tui`, or leave the option away";
    Err(Failure::new(Kind::Usage, text))
}

/// A line for each epoch, and below them a bar for the steps of the running one.
pub struct Lines<'a> {
    terminal: &'a Terminal,
    bar: ProgressBar,
    plan: Option<Plan>,
}

impl<'a> Lines<'a> {
    /// Lines on the terminal's stderr.
    pub fn new(terminal: &'a Terminal) -> Lines<'a> {
        Lines { terminal, bar: ProgressBar::hidden(), plan: None }
    }
}

impl View for Lines<'_> {
    fn start(&mut self, plan: Plan) {
        self.bar = bar(self.terminal, "{prefix}  {bar:20}  {pos}/{len}  {wide_msg}");
        self.bar.set_length(plan.steps as u64);
        self.plan = Some(plan);
    }

    fn step(&mut self, moment: &Moment, history: &[Epoch]) {
        let Some(plan) = &self.plan else { return };
        self.bar.set_prefix(format!("epoch {}/{}", moment.epoch, plan.epochs));
        self.bar.set_position(moment.step as u64);
        self.bar.set_message(format!("{}  {}", moment.numbers.line(), moment.pace(plan, history.last())));
    }

    fn remark(&mut self, line: &str) {
        self.bar.suspend(|| self.terminal.say(line));
    }

    fn epoch(&mut self, line: &str, _: &[Epoch]) {
        self.bar.suspend(|| self.terminal.say(line));
    }

    fn finish(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(epoch: usize, step: usize) -> Moment {
        Moment { epoch, step, numbers: Numbers::default(), samples: 32 * step, seconds: 0.5 * step as f64 }
    }

    #[test]
    fn the_pace_follows_from_this_epoch_and_the_rest_from_the_last_one() {
        let plan = Plan { name: "x".into(), epochs: 4, steps: 100 };
        let now = moment(2, 40);
        assert_eq!((now.step_seconds(), now.samples_per_second()), (0.5, 64.0));
        // 60 steps of half a second, and two epochs of 50 s each.
        assert_eq!(now.seconds_left(&plan, None), 130.0);
        // The last epoch took 60 s, validation included.
        let last = Epoch { epoch: 1, numbers: Numbers::default(), seconds: 60.0 };
        assert_eq!(now.seconds_left(&plan, Some(&last)), 150.0);
        assert_eq!(now.pace(&plan, Some(&last)), "500.00 ms/step  64 samples/s  3 minutes left");
        assert_eq!(moment(4, 100).seconds_left(&plan, Some(&last)), 0.0);
    }
}
