//! Options of `gradus transfer`.

use clap::Args;

use super::TrainArgs;

/// Options of `gradus transfer`.
#[derive(Debug, Args)]
pub struct TransferArgs {
    /// All that `gradus train` knows; its recipe is the base here.
    #[command(flatten)]
    pub train: TrainArgs,
    /// Outputs of the new last layer: 1 for a sigmoid, more for a softmax
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub new_head: u32,
    /// How many layers at the base's end are left out, or the name of the first of them [default: 1]
    #[arg(long, value_name = "N|NAME")]
    pub drop: Option<String>,
    /// Layers that are not trained: ..-1 for all but the last, a name, dense*, several with commas
    #[arg(long, value_name = "LAYERS", allow_hyphen_values = true)]
    pub freeze: Option<String>,
    /// After how many epochs they are trained as well, by a fresh optimizer
    #[arg(long, value_name = "EPOCHS")]
    pub unfreeze_after: Option<String>,
    /// Which of them [default: all]
    #[arg(long, value_name = "LAYERS", allow_hyphen_values = true)]
    pub unfreeze: Option<String>,
    /// Over how many training samples batch norms are averaged whose averages were folded away
    #[arg(long, value_name = "SAMPLES")]
    pub calibrate: Option<String>,
    /// New labels for the classes: parity, only:CLASS, or a list such as [0,1,1]
    #[arg(long, value_name = "RULE")]
    pub labels: Option<String>,
    /// The classes to learn, by name or number, numbered from 0 in this order: Sandal,Shirt
    #[arg(long, value_name = "CLASSES")]
    pub classes: Option<String>,
}

/// What `gradus transfer --help` ends with.
pub(super) const EXAMPLES: &str = "\
Examples:
  gradus transfer mnist --new-head 2 --labels parity --freeze ..-1 --data ~/mnist
  gradus transfer runs/0001-fashion-8 --new-head 1 --classes Sandal,Shirt --set data.first=200 \\
    --freeze ..-1 --unfreeze-after 4 --lr 1e-3
  gradus transfer model.safetensors --new-head 10 --drop dense_1 --dry-run

Data, optimizer and number of epochs are those of the base's recipe; every option of `gradus train` changes them.
The recipe that comes of it is config.toml in the run folder.";
