//! Options of `gradus train`.

use std::path::PathBuf;

use clap::Args;

use super::Machine;

/// Options of `gradus train`.
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Examples:
  gradus train fashion-bn                       a bundled recipe; `gradus list recipes` names them all
  gradus train net.toml                         a recipe of your own
  gradus train digits --epochs 5 --lr 0.1 --seed 7
  gradus train digits --set optimizer.momentum=0.9 --set layer.2.units=64
  gradus train mnist --data ~/mnist --json      one JSON object on stdout when done
  gradus train fashion-bn --dry-run             build it, show it, stop
  gradus train fashion-bn --tui                 with curves on the whole screen
  gradus train --resume runs/0001-mnist         go on where a run was interrupted, or crashed
  gradus train runs/0001-mnist --epochs 3       train a finished model further, in a run of its own
  gradus train net.keras --set data.source=mnist --set data.scale=255
  gradus train sandals-shirts-transfer --base runs/0001-fashion-8
  gradus train mobilenet-mnist --data ~/mnist --feature-cache 2G

Each run gets a folder runs/NNNN-name with the complete recipe, the log, history.csv, events for TensorBoard (tb/),
pictures, model.safetensors, the newest checkpoints, and report.html, which shows everything on one page.
Ctrl-C finishes the step, saves everything and stops; a second one stops at once.")]
pub struct TrainArgs {
    /// A bundled recipe, a TOML file, or a run folder or model file (also of Keras), which is trained further, with what its
    /// optimizer remembers if that was saved
    #[arg(value_name = "NAME|FILE", required_unless_present = "resume")]
    pub recipe: Option<String>,
    /// Passes over the training data
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub epochs: Option<String>,
    /// Samples in a step
    #[arg(long, value_name = "N", visible_alias = "batch-size", allow_negative_numbers = true)]
    pub batch: Option<String>,
    /// Learning rate
    #[arg(long, value_name = "RATE", visible_alias = "learning-rate", allow_negative_numbers = true)]
    pub lr: Option<String>,
    /// Seed of everything random: initial weights, order, dropout
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<String>,
    /// Change any other key of the recipe, as in `train.loss=mse`; may be given again
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = super::key_and_value)]
    pub set: Vec<(String, String)>,
    /// The trained model to start from, where the recipe has a [base]: a run folder, a model file, or a recipe
    #[arg(long, value_name = "RUN_DIR|FILE|NAME")]
    pub base: Option<String>,
    /// A folder or file with the data, searched before all other places
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The folder that gets the run folder
    #[arg(long, value_name = "DIR", env = "GRADUS_RUNS", default_value = "runs")]
    pub out: PathBuf,
    /// Show curves and numbers on the whole screen while training; needs a build with the feature `tui`
    #[arg(long)]
    pub tui: bool,
    /// Build the model and show it with the number of steps, then stop
    #[arg(long)]
    pub dry_run: bool,
    /// Go on with a run that was interrupted, in its own folder; the weights become those of a run without a break
    #[arg(long, value_name = "RUN_DIR", conflicts_with = "dry_run")]
    pub resume: Option<PathBuf>,
    /// Resume although the recipe or the data have changed
    #[arg(long, requires = "resume")]
    pub force: bool,
    /// Save the training every so many steps (500) or so often (30s, 5m): what a crash can lose at most
    #[arg(long, value_name = "STEPS|TIME")]
    pub checkpoint_every: Option<String>,
    /// How much memory the results of frozen layers may take, which are then computed once and not in every epoch: 512M, 2G, or `off`.
    /// Never changes a result [default: 1G]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    pub feature_cache: Option<usize>,
    /// What computes.
    #[command(flatten)]
    pub machine: Machine,
}

/// A number of bytes: `512M`, `2G`, or `off` for none.
fn memory_size(text: &str) -> Result<usize, String> {
    let wrong = || "expected a size such as 512M or 2G, or off".to_owned();
    let units = [("K", 10), ("M", 20), ("G", 30)];
    let (number, power) =
        units.iter().find_map(|(unit, power)| Some((text.strip_suffix(unit)?, *power))).unwrap_or((text, 0));
    match text {
        "off" => Ok(0),
        _ => number.parse::<usize>().ok().and_then(|number| number.checked_mul(1 << power)).ok_or_else(wrong),
    }
}
