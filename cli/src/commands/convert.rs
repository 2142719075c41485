//! `gradus convert`: models from and for other programs.

use nn::interop::{Format, save};
use serde_json::json;

use crate::args::ConvertArgs;
use crate::checkpoints;
use crate::failure::{Failure, Kind};
use crate::model_file::{self, Loaded};
use crate::terminal::Terminal;

/// Reads a model and writes it in another form.
///
/// # Errors
/// If it cannot be read, or the other form has no place for what it holds.
pub fn run(args: &ConvertArgs, terminal: &Terminal) -> Result<(), Failure> {
    let format = match args.to.or_else(|| Format::of_path(&args.output)) {
        Some(format) => format,
        None => {
            let text = format!(
                "convert: the ending of {} does not tell its form; add --to with one of {}",
                args.output.display(),
                Format::NAMES.join(", ")
            );
            return Err(Failure::new(Kind::Usage, text));
        }
    };
    let mut loaded = model_file::load_with(&args.input, &args.layers, &args.set)?;
    checkpoints::remember(&mut loaded.model, &loaded.path)?;
    if args.output.is_dir() {
        let text = format!("convert: {} is a folder; name a file in it", args.output.display());
        return Err(Failure::new(Kind::Usage, text));
    }
    let Loaded { model, classes, origin, mut remarks, .. } = loaded;
    remarks.extend(save(&model, &args.output, format, model_file::metadata(&classes)?)?);
    remarks.iter().for_each(|remark| terminal.warn(remark));
    let params = model.counts().total;
    let value = json!({
        "input": loaded.path, "origin": origin, "output": args.output, "format": format.to_string(),
        "layers": loaded.recipe.layer_names(), "params": params, "remarks": remarks,
    });
    terminal.answer(&value, || {
        format!("{} ({origin}, {params} weights) is now {} ({format})", loaded.path.display(), args.output.display())
    })
}
