//! Keras' optimizers: their numbers, their schedules, and what is done around their steps.

use serde_json::{Map, Value, json};

use super::objects::{parts, shortest};
use crate::optim::{Around, Average, Clip, Schedule, Setting, WeightDecay};
use crate::spec::{Kind, OptimizerSpec, Preset};

/// What Keras calls gradus' optimizers.
const CLASSES: &[(&str, &str)] = &[
    ("sgd", "SGD"),
    ("adagrad", "Adagrad"),
    ("rmsprop", "RMSprop"),
    ("adam", "Adam"),
    ("adamw", "AdamW"),
    ("adamax", "Adamax"),
    ("nadam", "Nadam"),
    ("adadelta", "Adadelta"),
    ("lion", "Lion"),
];

/// The numbers of optimizers that both have. Where Keras lacks one, its rule is that of [`Preset::Keras`].
const NUMBERS: &[&str] = &[
    "learning_rate",
    "momentum",
    "nesterov",
    "rho",
    "centered",
    "epsilon",
    "initial_accumulator_value",
    "beta_1",
    "beta_2",
    "amsgrad",
    "weight_decay",
];

/// Settings of optimizers that say nothing about how they move weights, or that are read in another place.
const QUIET: &[&str] =
    &["name", "jit_compile", "is_legacy_optimizer", "ema_momentum", "ema_overwrite_frequency", "decay"];

/// A schedule: Keras' class, gradus' name, and Keras' and gradus' names of its numbers.
type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const FALL: &[(&str, &str)] = &[("decay_rate", "rate"), ("decay_steps", "steps"), ("staircase", "staircase")];

const SCHEDULES: &[Row] = &[
    ("ExponentialDecay", "exponential", FALL),
    ("InverseTimeDecay", "power", FALL),
    ("PiecewiseConstantDecay", "piecewise", &[("boundaries", "boundaries"), ("values", "values")]),
    ("PolynomialDecay", "polynomial", &[("decay_steps", "steps"), ("end_learning_rate", "end"), ("power", "power")]),
    ("CosineDecay", "cosine", &[("decay_steps", "steps"), ("alpha", "alpha")]),
    (
        "CosineDecayRestarts",
        "cosine_restarts",
        &[("first_decay_steps", "steps"), ("t_mul", "t_mul"), ("m_mul", "m_mul"), ("alpha", "alpha")],
    ),
];

/// Class and numbers of the optimizer that a model was trained with.
pub(super) fn of(training: Option<&Value>) -> Option<(&str, Option<&Map<String, Value>>)> {
    let training = training?;
    let (class, numbers) = parts(training.get("optimizer_config").or_else(|| training.get("optimizer"))?)?;
    Some((class.rsplit('>').next().unwrap_or(class), numbers))
}

/// What gradus calls the optimizer; `None` where it lacks it, or where nothing is said.
pub(super) fn kind(training: Option<&Value>, remarks: &mut Vec<String>) -> Option<String> {
    let (class, _) = of(training)?;
    let kind = class.to_lowercase();
    if Kind::NAMES.contains(&kind.as_str()) {
        return Some(kind);
    }
    remarks.push(format!("gradus lacks the optimizer {class}; sgd stands in the recipe"));
    None
}

/// Whether it is one of Keras' first two generations, up to TensorFlow 2.10: these have a decay of their own.
pub(super) fn is_legacy(numbers: &Map<String, Value>) -> bool {
    numbers.contains_key("decay")
}

/// Takes over all that the numbers of Keras' optimizer say; `remarks` gets what gradus lacks.
pub(super) fn read(numbers: &Map<String, Value>, spec: &mut OptimizerSpec, remarks: &mut Vec<String>) {
    let mut lacks = Vec::new();
    let mut rest: Map<String, Value> =
        numbers.iter().filter(|(key, _)| !QUIET.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect();
    if let Some(schedule) = rest.get("learning_rate").filter(|rate| rate.is_object()).cloned() {
        rest.remove("learning_rate");
        match read_schedule(&schedule) {
            Some((start, schedule)) => {
                spec.around.schedule = schedule;
                rest.extend(start.map(|start| ("learning_rate".to_string(), start)));
            }
            None => lacks.push(format!("learning_rate = {schedule}")),
        }
    }
    let visited = spec.kind.settings(&mut |name, setting| {
        if let Some(value) = rest.remove(name).filter(|value| !value.is_null())
            && !fill(setting, &value)
        {
            lacks.push(format!("{name} = {value}"));
        }
        Ok(())
    });
    debug_assert!(visited.is_ok(), "the visitor refuses nothing");
    read_around(&mut rest, numbers, &mut spec.around);
    if is_legacy(numbers) {
        read_legacy(numbers.get("decay").and_then(Value::as_f64).map_or(0.0, shortest), spec);
    }
    let is_on = |value: &Value| !value.is_null() && *value != Value::Bool(false);
    lacks.extend(rest.iter().filter(|(_, value)| is_on(value)).map(|(key, value)| format!("{key} = {value}")));
    if !lacks.is_empty() {
        remarks.push(format!("its optimizer has {}, which gradus' {} lacks", lacks.join(", "), spec.kind()));
    }
}

/// What optimizers up to TensorFlow 2.10 did in another way.
fn read_legacy(decay: f64, spec: &mut OptimizerSpec) {
    match &mut spec.kind {
        // Nadam's is how fast its momentum grows.
        Kind::Nadam(nadam) => return nadam.momentum_decay = decay,
        Kind::Adagrad(adagrad) => adagrad.epsilon_inside = false,
        Kind::RmsProp(rmsprop) => rmsprop.epsilon_inside = rmsprop.momentum != 0.0,
        _ => {}
    }
    if decay > 0.0 {
        spec.around.schedule = Schedule::Power { rate: decay, steps: 1.0, staircase: false };
    }
}

fn read_around(rest: &mut Map<String, Value>, numbers: &Map<String, Value>, around: &mut Around) {
    if rest.remove("use_ema") == Some(Value::Bool(true)) {
        let mut average = Average::default();
        if let Some(momentum) = numbers.get("ema_momentum").and_then(Value::as_f64) {
            average.momentum = shortest(momentum);
        }
        average.overwrite_every = numbers.get("ema_overwrite_frequency").and_then(Value::as_u64).unwrap_or(0);
        around.average = Some(average);
    }
    let mut positive = |key: &str| {
        let number = rest.get(key).and_then(Value::as_f64).filter(|number| number.is_finite() && *number > 0.0)?;
        rest.remove(key);
        Some(shortest(number))
    };
    for key in ["clipvalue", "clipnorm", "global_clipnorm"] {
        let Some(most) = positive(key) else { continue };
        around.clip = match key {
            "clipvalue" => Clip::Value(most),
            "clipnorm" => Clip::Norm(most),
            _ => Clip::GlobalNorm(most),
        };
    }
    if let Some(steps) = positive("gradient_accumulation_steps") {
        around.accumulate = steps as usize;
    }
}

/// A schedule and the rate from which it starts, if it has one.
fn read_schedule(value: &Value) -> Option<(Option<Value>, Schedule)> {
    let (class, numbers) = parts(value)?;
    let (numbers, (_, name, keys)) = (numbers?, SCHEDULES.iter().find(|row| row.0 == class)?);
    let known = |key: &str| key == "name" || key == "initial_learning_rate" || keys.iter().any(|pair| pair.0 == key);
    let is_off = |value: &Value| value.is_null() || *value == json!(false) || value.as_f64() == Some(0.0);
    if numbers.iter().any(|(key, value)| !known(key) && !is_off(value)) {
        return None;
    }
    let (mut schedule, mut right) = (Schedule::named(name)?, true);
    let visit = &mut |ours: &'static str, setting: Setting<'_>| {
        let theirs = keys.iter().find(|pair| pair.1 == ours).and_then(|pair| numbers.get(pair.0));
        right &= theirs.is_none_or(|value| value.is_null() || fill(setting, value));
        Ok(())
    };
    schedule.settings(visit).ok()?;
    let start = numbers.get("initial_learning_rate").cloned();
    (right && schedule.complaint().is_none()).then_some((start, schedule))
}

/// Puts a value in a setting's place; tells whether it is one that the setting may have.
fn fill(setting: Setting<'_>, value: &Value) -> bool {
    let number = value.as_f64().filter(|number| number.is_finite() && *number >= 0.0).map(shortest);
    match (setting, number) {
        (Setting::Positive(place), Some(number)) if number > 0.0 => *place = number,
        (Setting::NotNegative(place), Some(number)) => *place = number,
        (Setting::Share(place), Some(number)) if number < 1.0 => *place = number,
        (Setting::Decay(place), Some(number)) => *place = WeightDecay::Decoupled(number),
        (Setting::Flag(place), None) if value.is_boolean() => *place = *value == Value::Bool(true),
        (Setting::List(place), None) => {
            let numbers: Option<Vec<f64>> =
                value.as_array().and_then(|list| list.iter().map(|x| x.as_f64().map(shortest)).collect());
            let Some(numbers) = numbers else { return false };
            *place = numbers;
        }
        _ => return false,
    }
    true
}

/// An optimizer as Keras writes it.
#[derive(Debug)]
pub(super) struct Described {
    /// `None` if Keras has no such optimizer.
    pub(super) config: Option<Value>,
    /// What Keras lacks, in words.
    pub(super) lacks: Vec<String>,
    /// Whether Keras' optimizer goes on from what ours remembers as ours would.
    pub(super) same_rule: bool,
}

/// The optimizer with all that Keras' has as well.
pub(super) fn describe(spec: &OptimizerSpec) -> Described {
    let kind = spec.kind();
    let Some((_, class)) = CLASSES.iter().find(|(ours, _)| *ours == kind) else {
        return Described { config: None, lacks: vec![format!("the optimizer {kind}")], same_rule: false };
    };
    let mut lacks = Vec::new();
    let mut usual = Map::new();
    if let Some(mut keras) = Kind::named(kind, Preset::Keras) {
        usual = numbers(&mut |visit| keras.settings(visit));
    }
    let mut own = spec.kind.clone();
    let mut config = numbers(&mut |visit| own.settings(visit));
    for (key, value) in &config {
        if (!NUMBERS.contains(&key.as_str())) && usual.get(key) != Some(value) {
            lacks.push(format!("{key} = {value}"));
        }
    }
    let same_rule = lacks.is_empty();
    config.retain(|key, _| NUMBERS.contains(&key.as_str()));
    if config.get("weight_decay").and_then(Value::as_f64) == Some(0.0) {
        config.insert("weight_decay".into(), Value::Null);
    }
    let Around { schedule, warmup, clip, accumulate, average, groups } = &spec.around;
    match schedule {
        Schedule::Constant => {}
        other => match schedule_json(other, spec.learning_rate()) {
            Some(schedule) => _ = config.insert("learning_rate".into(), schedule),
            None => lacks.push(format!("schedule {}", other.name())),
        },
    }
    if warmup.steps > 0 {
        lacks.push(format!("warmup_steps = {}", warmup.steps));
    }
    match clip {
        Clip::No => {}
        Clip::Value(most) => _ = config.insert("clipvalue".into(), json!(most)),
        Clip::Norm(most) => _ = config.insert("clipnorm".into(), json!(most)),
        Clip::GlobalNorm(most) => _ = config.insert("global_clipnorm".into(), json!(most)),
    }
    if *accumulate > 1 {
        config.insert("gradient_accumulation_steps".into(), json!(accumulate));
    }
    if let Some(Average { momentum, overwrite_every }) = average {
        let every = if *overwrite_every == 0 { Value::Null } else { json!(overwrite_every) };
        config.insert("use_ema".into(), true.into());
        config.insert("ema_momentum".into(), json!(momentum));
        config.insert("ema_overwrite_frequency".into(), every);
    }
    lacks.extend(groups.iter().map(|group| format!("a rate of its own for {:?}", group.pattern)));
    let config =
        json!({ "module": "keras.optimizers", "class_name": class, "config": config, "registered_name": null });
    Described { config: Some(config), lacks, same_rule }
}

fn schedule_json(schedule: &Schedule, start: f64) -> Option<Value> {
    let mut own = match schedule {
        Schedule::Step { rate, steps } => Schedule::Exponential { rate: *rate, steps: *steps, staircase: true },
        other => other.clone(),
    };
    let (class, _, keys) = SCHEDULES.iter().find(|row| row.1 == own.name())?;
    let values = numbers(&mut |visit| own.settings(visit));
    let mut config: Map<String, Value> =
        keys.iter().filter_map(|(theirs, ours)| Some((theirs.to_string(), values.get(*ours)?.clone()))).collect();
    if own.name() != "piecewise" {
        config.insert("initial_learning_rate".into(), start.into());
    }
    Some(
        json!({ "module": "keras.optimizers.schedules", "class_name": class, "config": config, "registered_name": null }),
    )
}

/// All settings that `show` shows, with a coupled decay under a name that Keras does not know.
fn numbers(show: &mut dyn FnMut(&mut crate::optim::Visit<'_>) -> crate::Result<()>) -> Map<String, Value> {
    let mut values = Map::new();
    let visited = show(&mut |name, setting| {
        let (name, value) = match setting {
            Setting::Positive(x) | Setting::NotNegative(x) | Setting::Share(x) => (name, json!(*x)),
            Setting::Flag(flag) => (name, json!(*flag)),
            Setting::List(list) => (name, json!(list)),
            Setting::Count(count) => (name, json!(*count)),
            Setting::Text(text) => (name, json!(text)),
            Setting::Decay(WeightDecay::Decoupled(share)) => (name, json!(*share)),
            Setting::Decay(WeightDecay::Coupled(0.0)) => (name, json!(0.0)),
            Setting::Decay(WeightDecay::Coupled(slope)) => ("coupled weight_decay", json!(*slope)),
        };
        values.insert(name.into(), value);
        Ok(())
    });
    debug_assert!(visited.is_ok(), "the visitor refuses nothing");
    values
}
