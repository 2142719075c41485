//! What Keras writes as an object with a class and numbers (an activation, a regularizer, a loss), and gradus as one text.

use serde_json::{Map, Value, json};

use crate::init::Init;
use crate::layers::Activation;
use crate::loss::Loss;
use crate::optim::{Constraint, Regularizer};

/// The class and the numbers of an object, which may also be just its name.
pub(super) fn parts(value: &Value) -> Option<(&str, Option<&Map<String, Value>>)> {
    match value {
        Value::String(name) => Some((name, None)),
        Value::Object(object) => match object.get("class_name")?.as_str()? {
            // A function stands as an object whose class says only that it is one.
            "function" => Some((object.get("config")?.as_str()?, None)),
            class => Some((class, object.get("config").and_then(Value::as_object))),
        },
        _ => None,
    }
}

/// A class as Keras' functions are called: `LeakyReLU` is `leaky_re_lu`.
pub(super) fn snake_case(class: &str) -> String {
    let letters: Vec<char> = class.chars().collect();
    let mut name = String::new();
    for (i, &letter) in letters.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| letters[i]);
        let begins = letter.is_uppercase() && letters.get(i + 1).is_some_and(|next| next.is_lowercase());
        if before.is_some_and(|before| begins || (letter.is_uppercase() && before.is_lowercase())) {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

fn number(config: Option<&Map<String, Value>>, key: &str) -> Option<f64> {
    config?.get(key)?.as_f64().map(shortest)
}

/// Keras keeps these numbers in 32 bits and writes what they are in 64: 0.001 comes out as 0.0010000000474974513.
pub(super) fn shortest(number: f64) -> f64 {
    let short: f64 = (number as f32).to_string().parse().unwrap_or(number);
    if f64::from(number as f32) == number { short } else { number }
}

/// An activation. `version` is Keras' own: its second generation had another `hard_sigmoid`.
pub(super) fn activation(value: &Value, version: &str) -> Result<Activation, String> {
    let lacks = || format!("the activation {value}, which gradus lacks");
    let (name, config) = parts(value).ok_or_else(lacks)?;
    let number = |key: &str| number(config, key);
    match name {
        "leaky_relu" => Ok(Activation::LeakyRelu(0.2)),
        "LeakyReLU" => Ok(Activation::LeakyRelu(number("negative_slope").or(number("alpha")).unwrap_or(0.3))),
        "ELU" => Ok(Activation::Elu(number("alpha").unwrap_or(1.0))),
        "ReLU" if config.is_none_or(|config| config.get("max_value").is_none_or(Value::is_null)) => {
            Ok(Activation::Relu)
        }
        "hard_sigmoid" if !version.starts_with('3') => Err(format!(
            "the activation hard_sigmoid of Keras {version}, clip(0.2 x + 0.5), where gradus has that of Keras 3, clip(x / 6 + 0.5)"
        )),
        "Activation" => activation(config.and_then(|config| config.get("activation")).ok_or_else(lacks)?, version),
        name => snake_case(name).parse().map_err(|_| lacks()),
    }
}

/// An activation as Keras writes it inside a layer; the error says what Keras lacks.
pub(super) fn activation_json(activation: &Activation) -> Result<Value, String> {
    let layer = |class: &str, config: Value| json!({ "module": "keras.layers", "class_name": class, "config": config, "registered_name": null });
    match activation {
        Activation::LeakyRelu(slope) if *slope == 0.2 => Ok("leaky_relu".into()),
        Activation::LeakyRelu(slope) => Ok(layer("LeakyReLU", json!({ "negative_slope": slope }))),
        Activation::Elu(alpha) if *alpha == 1.0 => Ok("elu".into()),
        Activation::Elu(alpha) => Ok(layer("ELU", json!({ "alpha": alpha }))),
        Activation::Celu(alpha) if *alpha == 1.0 => Ok("celu".into()),
        Activation::Celu(_) | Activation::GeluTanh => Err(format!("Keras has no activation {activation} by name")),
        other => Ok(other.to_string().into()),
    }
}

/// How weights began, where gradus has the same.
pub(super) fn init(value: &Value) -> Option<Init> {
    let (class, config) = parts(value)?;
    let number = |key: &str, usual: f64| number(config, key).unwrap_or(usual);
    Some(match snake_case(class).as_str() {
        "constant" => Init::Constant(number("value", 0.0)),
        "random_normal" => Init::RandomNormal(number("mean", 0.0), number("stddev", 0.05)),
        "truncated_normal" => Init::TruncatedNormal(number("mean", 0.0), number("stddev", 0.05)),
        "random_uniform" => Init::RandomUniform(number("minval", -0.05), number("maxval", 0.05)),
        name => name.parse().ok()?,
    })
}

/// How weights began, as Keras writes it; `None` where Keras has no such way.
pub(super) fn init_json(init: &Init) -> Option<Value> {
    let (class, config) = match init {
        Init::Zeros => ("Zeros", json!({})),
        Init::Ones => ("Ones", json!({})),
        Init::Constant(value) => ("Constant", json!({ "value": value })),
        Init::RandomNormal(mean, std) => ("RandomNormal", json!({ "mean": mean, "stddev": std, "seed": null })),
        Init::TruncatedNormal(mean, std) => ("TruncatedNormal", json!({ "mean": mean, "stddev": std, "seed": null })),
        Init::RandomUniform(low, high) => ("RandomUniform", json!({ "minval": low, "maxval": high, "seed": null })),
        Init::GlorotNormal => ("GlorotNormal", json!({ "seed": null })),
        Init::GlorotUniform => ("GlorotUniform", json!({ "seed": null })),
        Init::HeNormal => ("HeNormal", json!({ "seed": null })),
        Init::HeUniform => ("HeUniform", json!({ "seed": null })),
        Init::LecunNormal => ("LecunNormal", json!({ "seed": null })),
        Init::LecunUniform => ("LecunUniform", json!({ "seed": null })),
        _ => return None,
    };
    Some(json!({ "module": "keras.initializers", "class_name": class, "config": config, "registered_name": null }))
}

/// A penalty.
pub(super) fn regularizer(value: &Value) -> Option<Regularizer> {
    let (class, config) = parts(value)?;
    let (l1, l2) = (number(config, "l1").unwrap_or(0.0), number(config, "l2").unwrap_or(0.0));
    match snake_case(class).as_str() {
        "l1" => Some(Regularizer::L1(l1)),
        "l2" => Some(Regularizer::L2(l2)),
        "l1_l2" | "l1l2" => Some(match (l1, l2) {
            (l1, 0.0) => Regularizer::L1(l1),
            (0.0, l2) => Regularizer::L2(l2),
            (l1, l2) => Regularizer::L1L2(l1, l2),
        }),
        _ => None,
    }
}

/// A penalty as Keras writes it.
pub(super) fn regularizer_json(regularizer: &Regularizer) -> Value {
    let (class, config) = match regularizer {
        Regularizer::L1(l1) => ("L1", json!({ "l1": l1 })),
        Regularizer::L2(l2) => ("L2", json!({ "l2": l2 })),
        Regularizer::L1L2(l1, l2) => ("L1L2", json!({ "l1": l1, "l2": l2 })),
    };
    json!({ "module": "keras.regularizers", "class_name": class, "config": config, "registered_name": null })
}

/// A limit. Those of Keras run along an axis; gradus has that of their default.
pub(super) fn constraint(value: &Value) -> Option<Constraint> {
    let (class, config) = parts(value)?;
    if number(config, "axis").is_some_and(|axis| axis != 0.0) {
        return None;
    }
    let number = |key: &str, usual: f64| number(config, key).unwrap_or(usual);
    match class {
        "MaxNorm" => Some(Constraint::MaxNorm(number("max_value", 2.0))),
        "NonNeg" => Some(Constraint::NonNegative),
        "UnitNorm" => Some(Constraint::UnitNorm),
        "MinMaxNorm" => {
            Some(Constraint::MinMaxNorm(number("min_value", 0.0), number("max_value", 1.0), number("rate", 1.0)))
        }
        _ => None,
    }
}

/// A limit as Keras writes it.
pub(super) fn constraint_json(constraint: &Constraint) -> Value {
    let (class, config) = match constraint {
        Constraint::MaxNorm(max) => ("MaxNorm", json!({ "max_value": max, "axis": 0 })),
        Constraint::NonNegative => ("NonNeg", json!({})),
        Constraint::UnitNorm => ("UnitNorm", json!({ "axis": 0 })),
        Constraint::MinMaxNorm(min, max, rate) => {
            ("MinMaxNorm", json!({ "min_value": min, "max_value": max, "rate": rate, "axis": 0 }))
        }
    };
    json!({ "module": "keras.constraints", "class_name": class, "config": config, "registered_name": null })
}

/// A loss; `None` for one that gradus lacks, and for several.
pub(super) fn loss(value: &Value) -> Option<Loss> {
    let (class, config) = parts(value)?;
    let logits = config.and_then(|config| config.get("from_logits")).and_then(Value::as_bool).unwrap_or(false);
    let name = format!("{}{}", snake_case(class), if logits { "_logits" } else { "" });
    let mut loss: Loss = name.parse().ok()?;
    if let (Some(place), Some(share)) = (loss.label_smoothing(), number(config, "label_smoothing")) {
        *place = share;
    }
    if let (Loss::Huber(delta), Some(given)) = (&mut loss, number(config, "delta")) {
        *delta = given;
    }
    Some(loss)
}

/// A loss as Keras writes it; `None` for one that Keras lacks.
pub(super) fn loss_json(loss: &Loss) -> Option<Value> {
    let mut config = Map::new();
    let name = loss.name();
    let plain = name.strip_suffix("_logits").unwrap_or(name);
    let class = match plain {
        "sparse_categorical_crossentropy" => "SparseCategoricalCrossentropy",
        "categorical_crossentropy" => "CategoricalCrossentropy",
        "binary_crossentropy" => "BinaryCrossentropy",
        "huber" => "Huber",
        "quadratic" => return None,
        other => return Some(other.into()),
    };
    if plain != name {
        config.insert("from_logits".into(), true.into());
    }
    if let Some(share) = loss.clone().label_smoothing().filter(|share| **share != 0.0) {
        config.insert("label_smoothing".into(), (*share).into());
    }
    if let Loss::Huber(delta) = loss {
        config.insert("delta".into(), (*delta).into());
    }
    match config.is_empty() {
        true => Some(plain.into()),
        false => {
            Some(json!({ "module": "keras.losses", "class_name": class, "config": config, "registered_name": null }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_become_names_as_in_keras() {
        for (class, name) in [
            ("Dense", "dense"),
            ("LeakyReLU", "leaky_re_lu"),
            ("ELU", "elu"),
            ("ReLU", "re_lu"),
            ("Conv2D", "conv2d"),
            ("MaxPooling2D", "max_pooling2d"),
            ("BatchNormalization", "batch_normalization"),
            ("GlobalAveragePooling2D", "global_average_pooling2d"),
            ("DepthwiseConv2D", "depthwise_conv2d"),
        ] {
            assert_eq!(snake_case(class), name);
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for name in Activation::NAMES {
            let activation: Activation = name.parse().unwrap();
            if let Ok(value) = activation_json(&activation) {
                assert_eq!(super::activation(&value, "3.0"), Ok(activation));
            }
        }
        for name in Init::NAMES {
            let init: Init = name.parse().unwrap();
            if let Some(value) = init_json(&init) {
                assert_eq!(super::init(&value), Some(init));
            }
        }
        for name in Loss::NAMES {
            let loss: Loss = name.parse().unwrap();
            if let Some(value) = loss_json(&loss) {
                assert_eq!(super::loss(&value), Some(loss));
            }
        }
        for rule in [Regularizer::L1(0.5), Regularizer::L2(0.25), Regularizer::L1L2(0.5, 0.25)] {
            assert_eq!(regularizer(&regularizer_json(&rule)), Some(rule));
        }
        for rule in [
            Constraint::MaxNorm(3.0),
            Constraint::NonNegative,
            Constraint::UnitNorm,
            Constraint::MinMaxNorm(0.5, 2.0, 0.5),
        ] {
            assert_eq!(constraint(&constraint_json(&rule)), Some(rule));
        }
    }

    #[test]
    fn what_keras_2_meant_by_a_name_is_not_mistaken() {
        assert!(activation(&"hard_sigmoid".into(), "2.13.1").unwrap_err().contains("clip(0.2 x + 0.5)"));
        assert_eq!(activation(&"hard_sigmoid".into(), "3.3.3"), Ok(Activation::HardSigmoid));
        assert_eq!(activation(&"leaky_relu".into(), "3.3.3"), Ok(Activation::LeakyRelu(0.2)));
        assert_eq!(
            activation(&json!({ "class_name": "LeakyReLU", "config": { "alpha": 0.1 } }), "2.5.0"),
            Ok(Activation::LeakyRelu(0.1))
        );
        assert!(activation(&"sparsemax".into(), "3.0").unwrap_err().contains("\"sparsemax\", which gradus lacks"));
        assert_eq!(constraint(&json!({ "class_name": "MaxNorm", "config": { "max_value": 1, "axis": 1 } })), None);
    }
}
