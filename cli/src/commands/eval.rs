//! `gradus eval`: a trained model on data.

use std::time::Instant;

use nn::core::Device;
use nn::train::EVALUATION_BATCH;
use serde_json::{Map, Value};

use crate::args::{EvalArgs, Part};
use crate::failure::{Failure, Kind};
use crate::report::examined::Examined;
use crate::samples::Samples;
use crate::terminal::Terminal;
use crate::{machine, model_file};

/// Measures.
///
/// # Errors
/// If the model or the data are missing or damaged.
pub fn run(args: &EvalArgs, terminal: &Terminal) -> Result<(), Failure> {
    let device = machine::open(&args.machine)?;
    machine::compute(|| eval(args, terminal, device))
}

fn eval(args: &EvalArgs, terminal: &Terminal, device: Device) -> Result<(), Failure> {
    let loaded = model_file::load_with(&args.model, &args.layers, &args.set)?;
    loaded.remarks.iter().for_each(|remark| terminal.warn(remark));
    let (model, recipe) = (&loaded.model, &loaded.recipe);
    model.to_device(device)?;
    let samples = Samples::load(recipe, args.data.as_deref())?;
    let (part, set) = match args.split {
        Part::Test => ("test", samples.test),
        Part::Val => ("val", samples.val),
        Part::Train => ("train", Some(samples.train)),
    };
    let set = set.ok_or_else(|| {
        let text = format!("eval: the recipe {} keeps no {part} data aside; choose another --split", recipe.name);
        Failure::new(Kind::Usage, text)
    })?;
    let set = match model.graph().input_shapes().as_slice() {
        [shape] => set.shaped(shape)?,
        _ => set,
    };
    let began = Instant::now();
    let examined = Examined::new(model, recipe, &set, args.batch.unwrap_or(EVALUATION_BATCH), device)?;
    let seconds = began.elapsed().as_secs_f64();

    let mut value = Map::new();
    value.insert("model".into(), loaded.path.display().to_string().into());
    value.insert("recipe".into(), recipe.name.clone().into());
    value.insert("part".into(), part.into());
    value.insert("samples".into(), set.len().into());
    value.extend(examined.numbers.0.iter().map(|(name, number)| (name.clone(), Value::from(*number))));
    value.insert("seconds".into(), seconds.into());
    value.insert("confusion".into(), serde_json::to_value(&examined.confusion).unwrap_or_default());
    terminal.answer(&value, || examined.text(part).trim_end().to_owned())
}
