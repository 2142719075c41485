//! Options of `gradus convert`, and those that all readers of model files share.

use std::path::PathBuf;

use clap::Args;
use nn::interop::Format;

/// What a file that holds weights alone lacks.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Files of weights without layers")]
pub struct Layers {
    /// The layers: a bundled recipe, or a TOML file
    #[arg(id = "layers", long = "recipe", value_name = "NAME|FILE.toml")]
    pub recipe: Option<String>,
    /// The file's layer THEIRS is the recipe's layer OURS, where neither names nor shapes tell; may be given again
    #[arg(long, value_name = "THEIRS=OURS", value_parser = super::key_and_value, requires = "layers")]
    pub map: Vec<(String, String)>,
}

/// Options of `gradus convert`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  gradus convert model.keras model.safetensors               a model of Keras, as gradus keeps it
  gradus convert old.h5 new.keras                            from one form of Keras to another
  gradus convert runs/0001-fashion-bn model.keras            for keras.models.load_model(\"model.keras\")
  gradus convert runs/0001-mnist w.weights.h5                weights alone, for model.load_weights
  gradus convert net.pt net.safetensors --recipe net.toml    a state_dict of PyTorch into the layers of a recipe
  gradus convert net.pt net.safetensors --recipe net.toml --map fc1=dense --map fc2=dense_1
  gradus convert runs/0001-mnist torch.safetensors --to torch

Files are recognised by their content, whatever they are called. What a file asks for and gradus lacks is refused by
name; pickles are read for tensors alone, and nothing in them is run.")]
pub struct ConvertArgs {
    /// A run folder, or a model file of gradus, Keras (.keras, .h5, .weights.h5), PyTorch (.pt, .safetensors) or NumPy (.npz)
    #[arg(value_name = "IN")]
    pub input: PathBuf,
    /// The file to write
    #[arg(value_name = "OUT")]
    pub output: PathBuf,
    /// In which form: gradus, keras, h5, weights.h5, npz or torch [default: by the ending of OUT]
    #[arg(long, value_name = "FORMAT", value_parser = |text: &str| text.parse::<Format>().map_err(|error| error.to_string()))]
    pub to: Option<Format>,
    /// Change what the model's recipe says of data or training, as in `data.source=mnist`; may be given again
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = super::key_and_value)]
    pub set: Vec<(String, String)>,
    /// What the file may lack.
    #[command(flatten)]
    pub layers: Layers,
}
