//! Every command and every option, with its help. What they do stands in [`crate::commands`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::report::keras_summary::Style;

pub use self::convert::{ConvertArgs, Layers};
pub use self::experiments::{CompareArgs, LabArgs};
pub use self::kernel::{
    Counts, DeviceArgs, DeviceCommand, KernelArgs, KernelBench, KernelCommand, KernelRun, KernelShow, KernelVerify,
    Variants,
};
pub use self::show::{FilterArgs, MapArgs, Picture, ShowArgs, Shown};
pub use self::train::TrainArgs;
pub use self::transfer::TransferArgs;

mod convert;
mod experiments;
mod kernel;
mod show;
mod train;
mod transfer;

const EXAMPLES: &str = "\
Examples:
  gradus train fashion-bn                          train a bundled recipe on bundled data
  gradus train mnist --data ~/mnist --epochs 3     the same on files of your own
  gradus train net.toml --set optimizer.learning_rate=3e-4 --json | jq .test.accuracy
  gradus eval runs/0001-fashion-bn                 the test numbers again
  gradus predict runs/0001-fashion-bn shirt.png    class and probabilities

Results go to stdout, everything else to stderr.
Exit codes: 0 done, 1 failed, 2 wrong usage or recipe, 3 data missing or corrupt, 4 the loss became NaN,
5 a check failed, 6 no such device, 130 or 143 interrupted with the weights saved.";

/// Trains, evaluates and inspects neural networks; written from scratch down to the kernels.
#[derive(Debug, Parser)]
#[command(name = "gradus", version, about, after_help = EXAMPLES, max_term_width = 110)]
#[command(arg_required_else_help = true, subcommand_required = true, disable_help_subcommand = true)]
pub struct Cli {
    /// Options that every command knows.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command knows.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct Common {
    /// Print the result as one JSON object on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Print one JSON object a line on stdout, as things happen
    #[arg(long, global = true, conflicts_with = "json")]
    pub jsonl: bool,
    /// Say nothing on stderr but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more on stderr; -vv says still more
    #[arg(short, long, global = true, action = clap::ArgAction::Count, conflicts_with = "quiet")]
    pub verbose: u8,
    /// Colours and moving progress bars; `auto` asks NO_COLOR, CLICOLOR_FORCE, TERM and the terminal
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = false)]
    pub color: ColorWhen,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorWhen {
    /// On a terminal that wants it.
    Auto,
    /// Also into a pipe.
    Always,
    /// Nowhere.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train a recipe, test it, and keep everything in a run folder
    Train(TrainArgs),
    /// Train variants of a recipe over several seeds, and tell differences from chance
    Compare(CompareArgs),
    /// Train a new last layer on the layers of a trained model, and then, if you like, all of it
    #[command(mut_arg("recipe", |arg| arg.required(true).value_name("BASE").help("The base: a run folder, a model file, or a recipe, whose newest run is meant")))]
    #[command(mut_arg("base", |arg| arg.hide(true)), mut_arg("resume", |arg| arg.hide(true)), after_help = transfer::EXAMPLES)]
    Transfer(TransferArgs),
    /// Run a whole lab, training after training, and put its numbers beside those of its document
    Lab(LabArgs),
    /// Measure a trained model on the test data
    Eval(EvalArgs),
    /// Name the class of images or rows of numbers
    Predict(PredictArgs),
    /// Draw what is inside a model for images: its filters, or what its layers make of an image
    Show(ShowArgs),
    /// Show a model layer by layer: shapes and parameters
    Summary(SummaryArgs),
    /// Read a model of Keras or PyTorch, or write one for them
    Convert(ConvertArgs),
    /// Find, list, download and check data sets
    Data(DataArgs),
    /// Show what this machine computes with; `device peak` measures what it can do at most
    Device(DeviceArgs),
    /// List, time and check the kernels
    Kernel(KernelArgs),
    /// List the recipes, layers, losses, … that recipes can name
    List(ListArgs),
    /// Print the completion script of a shell
    #[command(after_help = "Example:\n  gradus completions bash > ~/.local/share/bash-completion/completions/gradus")]
    Completions(CompletionsArgs),
}

/// Where data comes from and what computes: the options that train, eval and predict share.
#[derive(Clone, Debug, Default, Args)]
pub struct Machine {
    /// How many threads to compute with; never changes a result [default: all]
    #[arg(long, value_name = "N", env = "GRADUS_THREADS")]
    pub threads: Option<usize>,
    /// What computes: `cpu`, or `cuda:0` and up for NVIDIA GPUs (`gradus device` lists them)
    #[arg(long, value_name = "NAME", env = "GRADUS_DEVICE", default_value = "cpu")]
    pub device: String,
}

/// Options of `gradus eval`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gradus eval runs/0001-fashion-bn
  gradus eval model.safetensors --data ~/mnist --json
  gradus eval runs/0001-fashion-bn --split val
  gradus eval keras.h5 --set data.source=mnist --set data.scale=255

Model files are those of gradus, of Keras (.keras, .h5) and of PyTorch (.pt, .safetensors); see `gradus convert`.")]
pub struct EvalArgs {
    /// A run folder, or a model file
    #[arg(value_name = "RUN_DIR|FILE")]
    pub model: PathBuf,
    /// Which part of the data to measure on
    #[arg(long, value_name = "PART", default_value = "test")]
    pub split: Part,
    /// A folder or file with the data, searched before all other places
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Samples computed at once [default: as in training]
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Change what the model's recipe says of data or loss, as in `data.source=mnist`; may be given again
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
    /// What the model file may lack.
    #[command(flatten)]
    pub layers: Layers,
    /// What computes.
    #[command(flatten)]
    pub machine: Machine,
}

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// What no training step ever saw.
    Test,
    /// What was kept back to watch the training.
    Val,
    /// What it was trained on.
    Train,
}

/// Options of `gradus predict`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gradus predict runs/0001-fashion-bn shirt.png
  gradus predict model.safetensors *.png --top-k 3 --jsonl
  gradus predict model.safetensors batch.npy --json
  gradus predict runs/0001-fashion-bn *.png --images grid.svg
  gzip -dc t10k-images-idx3-ubyte.gz | gradus predict model.safetensors - --jsonl

Images are PNG or JPEG; colours are turned to grey where the model was trained on grey. Arrays are NPY or IDX
files (also .gz) with one sample a row, in the numbers that the training data had before scaling.")]
pub struct PredictArgs {
    /// A run folder, or a model file of gradus, Keras or PyTorch
    #[arg(value_name = "RUN_DIR|FILE")]
    pub model: PathBuf,
    /// Images, NPY or IDX files; `-` reads one of them from stdin
    #[arg(value_name = "INPUT", required = true)]
    pub inputs: Vec<PathBuf>,
    /// How many classes to name, the likeliest first
    #[arg(long, value_name = "K", default_value_t = 3)]
    pub top_k: usize,
    /// Turn dark on light images into light on dark ones
    #[arg(long)]
    pub invert: bool,
    /// Also draw the samples with their classes into an SVG file
    #[arg(long, value_name = "FILE.svg")]
    pub images: Option<PathBuf>,
    /// Change what the model's recipe says of data or loss, as in `data.scale=255`; may be given again
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
    /// What the model file may lack.
    #[command(flatten)]
    pub layers: Layers,
    /// What computes.
    #[command(flatten)]
    pub machine: Machine,
}

/// Options of `gradus summary`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gradus summary fashion-bn
  gradus summary net.toml --json
  gradus summary model.keras --style keras3")]
pub struct SummaryArgs {
    /// A bundled recipe, a TOML file, a run folder, or a model file of gradus, Keras or PyTorch
    #[arg(value_name = "NAME|FILE")]
    pub model: String,
    /// Print it as a version of Keras does
    #[arg(long, value_name = "STYLE")]
    pub style: Option<Style>,
    /// What the model file may lack.
    #[command(flatten)]
    pub layers: Layers,
    /// Change a key of the recipe, as in `layer.2.units=64`; may be given again
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
    /// A folder or file with the data, if the recipe does not tell the shape of its input
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Options of `gradus data`.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    after_help = "\
Examples:
  gradus data list                        every known set, and where it was found
  gradus data fetch mnist                 download it into the cache folder
  gradus data verify mnist --data ~/mnist compare with the known hashes

Searched in this order: --data, GRADUS_DATA, the cache folder, the folders of Debian's packages, of Keras and of
torchvision, the copy inside the binary."
)]
pub struct DataArgs {
    /// What to do with data sets.
    #[command(subcommand)]
    pub command: DataCommand,
}

/// What to do with data sets.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// List the known data sets and where each was found
    List(DataSearch),
    /// Show what a data set holds, its licence, its files and every place that was searched
    Info(DataNamed),
    /// Print the folder that a data set was found in
    Path(DataNamed),
    /// Download a data set into the cache folder: resumes, checks hashes, never leaves half a file
    Fetch(DataFetch),
    /// Compare the files of a data set with the known hashes
    Verify(DataNamed),
}

/// Where to look for data sets.
#[derive(Debug, Args)]
pub struct DataSearch {
    /// A folder to search before all other places
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// One data set and where to look for it.
#[derive(Debug, Args)]
pub struct DataNamed {
    /// The name of a data set, as `gradus data list` prints it
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Where to look.
    #[command(flatten)]
    pub search: DataSearch,
}

/// Options of `gradus data fetch`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gradus data fetch mnist
  gradus data fetch mnist --from https://mirror.example.org/mnist/ --to ~/mnist")]
pub struct DataFetch {
    /// The name of a data set, as `gradus data list` prints it
    #[arg(value_name = "NAME")]
    pub name: String,
    /// An address that the file names are appended to, instead of the known mirrors
    #[arg(long, value_name = "URL")]
    pub from: Option<String>,
    /// The folder to put the files in [default: the cache folder]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Download again what is there already
    #[arg(long)]
    pub force: bool,
}

/// Options of `gradus list`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  gradus list recipes\n  gradus list layers --json")]
pub struct ListArgs {
    /// What to list
    #[arg(value_name = "WHAT")]
    pub what: Listing,
}

/// What `gradus list` can list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Listing {
    /// Bundled recipes
    Recipes,
    /// Labs
    Labs,
    /// `type` of a `[[layer]]`
    Layers,
    /// `loss` of `[train]`
    Losses,
    /// `kind` of `[optimizer]`, with its numbers
    Optimizers,
    /// `kind` of `[optimizer.schedule]`, with its numbers
    Schedules,
    /// `kernel_regularizer`, `bias_regularizer` and `activity_regularizer` of a layer
    Regularizers,
    /// `kernel_constraint` and `bias_constraint` of a layer
    Constraints,
    /// `init` of a layer
    Inits,
    /// `activation` of a layer
    Activations,
    /// `source` of `[data]`
    Datasets,
    /// `metrics` of `[train]`
    Metrics,
}

/// Options of `gradus completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// Which shell
    #[arg(value_name = "SHELL")]
    pub shell: clap_complete::Shell,
}

/// Cuts `a.b=c` in two.
fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err("expected KEY=VALUE, as in optimizer.learning_rate=0.01".to_owned()),
    }
}
