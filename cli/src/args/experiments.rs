//! The options of commands that train several times.

use std::path::PathBuf;

use clap::Args;

use super::{Machine, key_and_value};

/// Options of `gradus compare`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gradus compare digits --vary optimizer.learning_rate=0.001,0.003,0.01 --seeds 10
  gradus compare net.toml --vary 'layer.*.init=zeros,random_normal(0, 1),glorot_uniform,he_normal'
  gradus compare digits --vary layer.dense.units=16,64 --vary train.batch=32,128 --metric val_loss --csv

Every variant is trained with the same seeds, so that differences are taken seed by seed (paired t-tests, with
Holm's correction where there are several). `layer.*.KEY` means every layer that has the key. The folder
runs/NNNN-compare-NAME gets compare.json, compare.csv, compare.svg and log.jsonl.")]
pub struct CompareArgs {
    /// A bundled recipe, or a TOML file
    #[arg(value_name = "NAME|FILE.toml")]
    pub recipe: String,
    /// What differs: a key of the recipe and its values; given again, every combination is trained
    #[arg(long, value_name = "KEY=A,B,..", value_parser = key_and_value, required = true)]
    pub vary: Vec<(String, String)>,
    /// How many seeds each variant is trained with, counting from the recipe's
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub seeds: u16,
    /// What is compared: `test_accuracy`, `val_loss`, .. [default: the test's first metric, or that of validation]
    #[arg(long, value_name = "NAME")]
    pub metric: Option<String>,
    /// Passes over the training data
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub epochs: Option<String>,
    /// Change any other key of all variants
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
    /// Print every training as a line of CSV instead of the table
    #[arg(long, conflicts_with_all = ["json", "jsonl"])]
    pub csv: bool,
    /// A folder or file with the data, searched before all other places
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The folder that gets the folder of the comparison
    #[arg(long, value_name = "DIR", env = "GRADUS_RUNS", default_value = "runs")]
    pub out: PathBuf,
    /// What computes.
    #[command(flatten)]
    pub machine: Machine,
}

/// Options of `gradus lab`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gradus lab transfer-parity --data ~/mnist
  gradus lab transfer-fashion --seeds 1 --json
  gradus lab mobilenet-mnist --data ~/data --set data.first=12000
  gradus list labs

The folder runs/NNNN-lab-NAME gets lab.json, curves.svg and the folders of the runs.")]
pub struct LabArgs {
    /// The lab; `gradus list labs` names them all
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Seed of every run, or the first of them
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<String>,
    /// How many seeds every run is trained with; of several, the table has means and deviations [default: the lab's own, mostly 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub seeds: Option<u16>,
    /// Passes over the training data of every run; the numbers of the document are left out then
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub epochs: Option<String>,
    /// Change any other key of every run's recipe; what the document reports still stands beside it, and is not judged by
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
    /// Print the table as Markdown
    #[arg(long, conflicts_with_all = ["json", "jsonl"])]
    pub markdown: bool,
    /// A folder or file with the data, searched before all other places
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The folder that gets the folder of the lab
    #[arg(long, value_name = "DIR", env = "GRADUS_RUNS", default_value = "runs")]
    pub out: PathBuf,
    /// What computes.
    #[command(flatten)]
    pub machine: Machine,
}
