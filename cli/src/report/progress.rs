//! What moves on stderr while something takes time.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal::Terminal;

/// A bar for a download of yet unknown length; invisible where bars do not belong.
#[cfg(feature = "fetch")]
pub fn download_bar(terminal: &Terminal, name: &str) -> ProgressBar {
    let template = "{msg}  {bar:30}  {bytes} of {total_bytes}  {bytes_per_sec}  {eta} left";
    bar(terminal, 0, template, name)
}

fn bar(terminal: &Terminal, length: u64, template: &str, message: &str) -> ProgressBar {
    let target = if terminal.bars() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━╸─"));
    }
    bar.set_message(message.to_owned());
    bar
}

/// A bar for the steps of an epoch; invisible where bars do not belong.
pub fn training_bar(terminal: &Terminal, steps: usize) -> ProgressBar {
    bar(terminal, steps as u64, "{prefix}  {bar:24}  {pos}/{len}  {msg}  {elapsed}", "")
}
