//! `gradus predict`: which class an image or a row of numbers belongs to.

use nn::core::{DType, Device};
use nn::interop::UNKNOWN_DATA;
use serde::Serialize;
use serde_json::json;

use crate::args::PredictArgs;
use crate::failure::{Failure, Kind};
use crate::inputs::{self, Wanted};
use crate::model_file::Loaded;
use crate::report::images::{self, Section, Tile};
use crate::report::write_file;
use crate::terminal::{Format, Terminal};
use crate::{machine, model_file};

/// What is said about one sample.
#[derive(Debug, Serialize)]
struct Prediction {
    input: String,
    /// Which sample of the input, from 0.
    row: usize,
    #[serde(flatten)]
    answer: Answer,
}

impl Prediction {
    /// As a caption: the likeliest class, or the first numbers.
    fn said(&self) -> String {
        match &self.answer {
            Answer::Class { class, probability, .. } => images::said(class, *probability),
            Answer::Values { values } => values.iter().map(|value| format!("{value:.3}")).collect::<Vec<_>>().join(" "),
        }
    }
}

/// A grid of more samples is too large to look at.
const MOST_TILES: usize = 200;

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Answer {
    /// The likeliest class, and the others behind it.
    Class { class: String, index: usize, probability: f64, top: Vec<Choice> },
    /// What a model says that knows no classes.
    Values { values: Vec<f64> },
}

#[derive(Clone, Debug, Serialize)]
struct Choice {
    class: String,
    index: usize,
    probability: f64,
}

/// Predicts.
///
/// # Errors
/// If the model or an input is missing or damaged.
pub fn run(args: &PredictArgs, terminal: &Terminal) -> Result<(), Failure> {
    let device = machine::open(&args.machine)?;
    machine::compute(|| predict(args, terminal, device))
}

fn predict(args: &PredictArgs, terminal: &Terminal, device: Device) -> Result<(), Failure> {
    if args.top_k == 0 {
        return Err(Failure::new(Kind::Usage, "--top-k 0: nothing would be left to print; give 1 or more"));
    }
    let loaded = model_file::load_with(&args.model, &args.layers, &args.set)?;
    loaded.remarks.iter().for_each(|remark| terminal.warn(remark));
    if loaded.recipe.data.source == UNKNOWN_DATA && loaded.recipe.data.scale == 1.0 {
        let file = loaded.path.display();
        terminal.warn(format!("{file} does not say what its inputs were divided by, so they are taken as they are; --set data.scale=255 divides"));
    }
    loaded.model.to_device(device)?;
    let shape = loaded.model.graph().input_shapes().into_iter().next().unwrap_or_default();
    let wanted = Wanted::of(&loaded.recipe, &shape, args.invert);
    if args.images.is_some() && inputs::layout(&shape).is_none() {
        let text = format!("--images: the model takes samples of shape {shape:?}, which no image has");
        return Err(Failure::new(Kind::Usage, text));
    }
    let mut all = Vec::new();
    let (mut tiles, mut samples) = (Vec::new(), 0);
    for path in &args.inputs {
        let input = inputs::read(path, &wanted)?;
        samples += input.samples.shape()[0];
        // As many as a grid may still have, in the numbers that the model sees.
        let shown = if args.images.is_some() { (MOST_TILES - tiles.len()).min(input.samples.shape()[0]) } else { 0 };
        let shown = input.samples.slice(0, 0, shown).map_err(nn::Error::from)?;
        let mut images = images::images(&shown, wanted.white / wanted.scale)?.unwrap_or_default().into_iter();
        input.remarks.iter().for_each(|remark| terminal.warn(remark));
        let outputs = outputs(&loaded, &input.samples.to_device(device).map_err(nn::Error::from)?)?;
        for (row, values) in outputs.into_iter().enumerate() {
            let answer = answer(&loaded, values, args.top_k);
            let prediction = Prediction { input: input.name.clone(), row, answer };
            tiles.extend(images.next().map(|image| Tile { image, said: prediction.said(), truth: None }));
            match terminal.format() {
                Format::Text => terminal.result(line(&prediction))?,
                Format::JsonLines => terminal.json(&prediction)?,
                Format::Json => all.push(prediction),
            }
        }
    }
    if let Some(path) = &args.images {
        let title = match samples > tiles.len() {
            true => format!("the first {} of {samples} samples", tiles.len()),
            false => format!("{samples} samples"),
        };
        let svg = images::grid_svg(&loaded.recipe.name, &[Section { title, tiles }]);
        write_file(path, svg.as_bytes())?;
    }
    match terminal.format() {
        Format::Json => terminal.json(&json!({ "model": loaded.path, "predictions": all })),
        _ => Ok(()),
    }
}

/// What the model says about each sample, as rows of numbers.
fn outputs(loaded: &Loaded, samples: &nn::core::Tensor) -> Result<Vec<Vec<f64>>, Failure> {
    let outputs = loaded.recipe.train.loss.last_activation().apply(&loaded.model.predict(samples)?)?;
    let count = outputs.shape().first().copied().unwrap_or(0);
    let values = outputs.to_dtype(DType::F64).and_then(|outputs| outputs.to_vec::<f64>()).map_err(nn::Error::from)?;
    let width = values.len() / count.max(1);
    Ok(values.chunks(width.max(1)).map(<[f64]>::to_vec).collect())
}

fn answer(loaded: &Loaded, values: Vec<f64>, top_k: usize) -> Answer {
    let names_classes = loaded.recipe.train.loss.name().contains("crossentropy");
    let Some(probabilities) = probabilities(&values).filter(|_| names_classes) else {
        return Answer::Values { values };
    };
    let name = |index: usize| loaded.classes.get(index).cloned().unwrap_or_else(|| index.to_string());
    let mut choices: Vec<Choice> = probabilities
        .iter()
        .enumerate()
        .map(|(index, &probability)| Choice { class: name(index), index, probability })
        .collect();
    choices.sort_by(|a, b| b.probability.total_cmp(&a.probability));
    choices.truncate(top_k);
    let Choice { class, index, probability } = choices[0].clone();
    Answer::Class { class, index, probability, top: choices }
}

/// The values as probabilities of classes, if they are some: a row that adds up to 1, or a single one for class 1.
fn probabilities(values: &[f64]) -> Option<Vec<f64>> {
    let in_range = values.iter().all(|value| (0.0..=1.0).contains(value));
    match values {
        [one] if in_range => Some(vec![1.0 - one, *one]),
        [_, _, ..] if in_range && (values.iter().sum::<f64>() - 1.0).abs() < 1e-3 => Some(values.to_vec()),
        _ => None,
    }
}

fn line(prediction: &Prediction) -> String {
    let name = match prediction.row {
        0 => prediction.input.clone(),
        row => format!("{}[{row}]", prediction.input),
    };
    match &prediction.answer {
        Answer::Class { top, .. } => {
            let choices: Vec<String> =
                top.iter().map(|choice| format!("{} {:.4}", choice.class, choice.probability)).collect();
            format!("{name}\t{}", choices.join("\t"))
        }
        Answer::Values { values } => {
            let values: Vec<String> = values.iter().map(f64::to_string).collect();
            format!("{name}\t{}", values.join("\t"))
        }
    }
}
