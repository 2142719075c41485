//! What Keras' optimizers remember, and where its files keep it.
//!
//! Keras numbers an optimizer's variables: first how many steps were made and, in its third generation, the step size where no schedule
//! sets it; then, for each trainable weight in the order of the layers, what is remembered of it. What was declared together alternates
//! (`m` and `v` of the first weight, then those of the second), what was declared apart follows in a block of its own.

use std::collections::BTreeMap;

use super::fitted;
use crate::core::{DType, Tensor};
use crate::format::NamedTensors;
use crate::optim::Schedule;
use crate::optim::memory::{AVERAGE, GATHERED, OPTIMIZER, OPTIMIZER_STEP, START, STEPS};
use crate::spec::{Kind, OptimizerSpec};

/// In which order a file keeps what an optimizer remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As the module page says.
    Numbered,
    /// Everything in blocks of its own, as up to TensorFlow 2.10.
    Blocks,
}

/// A weight that is trained: its name here, and its numbers.
pub(super) struct Trained {
    pub(super) name: String,
    pub(super) value: Tensor,
    pub(super) is_penalized: bool,
}

/// What is remembered of one weight: its name in [`crate::optim::Update::state`], the end of Keras' name, and the number of the weight.
struct Slot {
    ours: String,
    theirs: &'static str,
    weight: usize,
}

/// Gradus' and Keras' names of what an optimizer remembers; each inner list alternates.
fn groups(kind: &Kind) -> Vec<Vec<(&'static str, &'static str)>> {
    let (m, v) = (("m", "momentum"), ("v", "velocity"));
    match kind {
        Kind::Sgd(sgd) if sgd.momentum == 0.0 => Vec::new(),
        Kind::Sgd(_) => vec![vec![("velocity", "momentum")]],
        Kind::Adagrad(_) => vec![vec![("accumulator", "accumulator")]],
        Kind::RmsProp(rmsprop) => {
            let mut groups = vec![vec![v]];
            groups.extend((rmsprop.momentum != 0.0).then(|| vec![("velocity", "momentum")]));
            groups.extend(rmsprop.centered.then(|| vec![("mean", "average_gradient")]));
            groups
        }
        Kind::Adam(adam) => with_largest(adam.amsgrad, vec![m, v]),
        Kind::AdamW(adam) => with_largest(adam.0.amsgrad, vec![m, v]),
        Kind::Adamax(_) => vec![vec![m, ("u", "norm")]],
        Kind::Nadam(_) => vec![vec![m, v]],
        Kind::Adadelta(_) => vec![vec![("v", "accumulated_grad"), ("steps", "accumulated_delta_var")]],
        Kind::Lion(_) => vec![vec![m]],
    }
}

fn with_largest(amsgrad: bool, moments: Vec<(&'static str, &'static str)>) -> Vec<Vec<(&'static str, &'static str)>> {
    let largest = amsgrad.then(|| vec![("largest_v", "velocity_hat")]);
    std::iter::once(moments).chain(largest).collect()
}

/// All that is remembered of `weights`, in Keras' order.
fn slots(spec: &OptimizerSpec, form: Form, weights: &[Trained]) -> Vec<Slot> {
    let mut slots = Vec::new();
    let mut block = |prefix: &str, names: &[(&str, &'static str)]| {
        for (weight, Trained { name, .. }) in weights.iter().enumerate() {
            for (ours, theirs) in names {
                let ours = if ours.is_empty() { format!("{prefix}{name}") } else { format!("{prefix}{name}/{ours}") };
                slots.push(Slot { ours, theirs, weight });
            }
        }
    };
    if spec.around.average.is_some() {
        block(AVERAGE, &[("", "average")]);
    }
    if spec.around.accumulate > 1 {
        block(GATHERED, &[("", "gradient_accumulator")]);
    }
    for group in groups(&spec.kind) {
        match form {
            Form::Numbered => block(OPTIMIZER, &group),
            Form::Blocks => group.iter().for_each(|names| block(OPTIMIZER, std::slice::from_ref(names))),
        }
    }
    slots
}

/// What [`crate::optim::Update::load_state`] takes, from a file's variables in their order; the error says why they do not fit.
pub(super) fn read(
    variables: Vec<Tensor>,
    spec: &OptimizerSpec,
    form: Form,
    weights: &[Trained],
) -> Result<NamedTensors, String> {
    let mut variables = variables.into_iter();
    let steps = variables.next().filter(|steps| steps.rank() == 0 && !steps.dtype().is_float());
    let steps = steps.and_then(|steps| steps.item().ok()).filter(|steps| *steps >= 0.0);
    let steps = steps.ok_or("its first number does not say how many steps were made")? as u64;
    // The step size, which the settings say as well, and what follows from the number of steps.
    let mut arrays: Vec<Tensor> = variables.filter(|variable| variable.rank() > 0).collect();
    let slots = slots(spec, form, weights);
    // Up to 2.15 descent without momentum kept one, unused.
    let spare = slots.len() + weights.len();
    if groups(&spec.kind).is_empty() && arrays.len() == spare && !weights.is_empty() {
        arrays.truncate(slots.len());
    }
    if arrays.len() != slots.len() {
        return Err(format!(
            "it has {} arrays, where {} over {} trainable weights has {}",
            arrays.len(),
            spec.kind(),
            weights.len(),
            slots.len()
        ));
    }
    let parts = spec.around.accumulate.max(1) as u64;
    let is_waiting = !steps.is_multiple_of(parts);
    if is_waiting && weights.iter().any(|weight| weight.is_penalized) {
        return Err("it was saved while gradients were gathered, which in Keras have penalties in them".into());
    }
    let mut state: NamedTensors = spec.build().state();
    for (name, number) in [(STEPS, steps), (OPTIMIZER_STEP, steps / parts)] {
        state.retain(|(other, _)| other != name);
        state.push((name.into(), Tensor::scalar(number as i64)));
    }
    for (slot, array) in slots.into_iter().zip(arrays) {
        let Trained { name, value, .. } = &weights[slot.weight];
        let wrong = |error: crate::Error| error.to_string();
        let (shape, array) = (array.shape().to_vec(), fitted(array, value).map_err(wrong)?);
        if array.shape() != value.shape() {
            return Err(format!(
                "its {} of {name} has shape {shape:?}, and the weight {:?}",
                slot.theirs,
                value.shape()
            ));
        }
        // Before the first step these are zeros that mean nothing.
        if slot.ours.starts_with(GATHERED) && !is_waiting || slot.ours.starts_with(AVERAGE) && steps < parts {
            continue;
        }
        let array = array.to_dtype(DType::F32).map_err(|error| error.to_string())?;
        let finite = array.to_f64_vec().map_err(|error| error.to_string())?.iter().all(|x| x.is_finite());
        if !finite {
            return Err(format!("its {} of {name} is NaN or infinite in places", slot.theirs));
        }
        state.push((slot.ours, array));
    }
    Ok(state)
}

/// The variables of Keras' optimizer with the ends of their names, from what [`crate::optim::Update::state`] gave; the error says what
/// Keras' lacks.
pub(super) fn write(
    state: &NamedTensors,
    spec: &OptimizerSpec,
    weights: &[Trained],
) -> Result<Vec<(String, Tensor)>, String> {
    let state: BTreeMap<&str, &Tensor> = state.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let number = |name: &str| state.get(name).and_then(|number| number.item().ok());
    let (Some(steps), Some(moves)) = (number(STEPS), number(OPTIMIZER_STEP)) else {
        return Err("it does not say how many steps were made".into());
    };
    let mut variables = vec![("iteration".to_string(), Tensor::scalar(steps as i64))];
    if matches!(spec.around.schedule, Schedule::Constant | Schedule::Plateau(_)) {
        let rate = number(START).unwrap_or(spec.learning_rate());
        variables.push(("learning_rate".into(), Tensor::scalar(rate as f32)));
    }
    for slot in slots(spec, Form::Numbered, weights) {
        let Trained { name, value, is_penalized } = &weights[slot.weight];
        let given = state.get(slot.ours.as_str()).map(|&tensor| tensor.clone());
        if given.is_some() && slot.ours.starts_with(GATHERED) && *is_penalized {
            return Err("it was saved while gradients were gathered, which in Keras have penalties in them".into());
        }
        let tensor = match given {
            Some(tensor) => tensor,
            None if slot.ours.starts_with(OPTIMIZER) => return Err(format!("it remembers nothing of {name}")),
            None => value.zeros_like().map_err(|error| error.to_string())?,
        };
        variables.push((format!("{}_{}", name.replace('.', "_"), slot.theirs), tensor));
    }
    if let Kind::Nadam(nadam) = &spec.kind {
        // After as many it is 0 in 32 bits.
        let momenta = (1..=moves.min(1e4) as i32).map(|step| nadam.beta_1 * (1.0 - 0.5 * 0.96f64.powi(step)));
        let product = momenta.product::<f64>() as f32;
        variables.push(("variable".into(), Tensor::scalar(product)));
    }
    Ok(variables)
}
