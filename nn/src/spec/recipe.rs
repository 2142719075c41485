//! A whole recipe: data, model, optimizer, training.

use std::collections::HashSet;

use super::optimizer::OptimizerSpec;
use super::training::{Document, TrainSpec};
use super::value::parse;
use super::{BaseSpec, DataSpec, LayerSpec, Preset, Table, Writer, block};
use crate::{Error, Result};

/// Everything that a training run needs to know.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// What run folders are called after.
    pub name: String,
    /// What the recipe is about, in a sentence or two.
    pub about: String,
    /// Whose defaults filled in what was left out.
    pub preset: Preset,
    /// Where all random numbers come from.
    pub seed: u64,
    /// What to train on.
    pub data: DataSpec,
    /// The trained model that it starts from.
    pub base: Option<BaseSpec>,
    /// The model, from input to output.
    pub layers: Vec<LayerSpec>,
    /// How weights move.
    pub optimizer: OptimizerSpec,
    /// How to train.
    pub train: TrainSpec,
    /// What the document that the recipe reproduces reports.
    pub document: Option<Document>,
}

impl Recipe {
    /// Reads a recipe; `file` is what complaints call it.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        Self::with_overrides(text, file, &[])
    }

    /// Reads a recipe in which the values at some dotted paths (`train.epochs`, `layer.dense_1.units`) were replaced by
    /// those of the command line, before anything is checked.
    pub fn with_overrides(text: &str, file: &str, overrides: &[(String, String)]) -> Result<Self> {
        let mut root = Table::new(parse(text, file)?, file);
        for (path, value) in overrides {
            root.set(path, value)?;
        }
        Self::read(root, file)
    }

    fn read(mut root: Table, file: &str) -> Result<Self> {
        let stem = || file.rsplit(['/', '\\']).next().unwrap_or(file).trim_end_matches(".toml").to_string();
        let name_rule = "a name of letters, digits, - and _";
        let is_name = |name: &String| {
            !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
        };
        let name = root.take_if("name", name_rule, is_name)?.unwrap_or_else(stem);
        let about = root.take("about")?.unwrap_or_default();
        let preset = root.take_named("preset")?.unwrap_or_default();
        let seed = root.take("seed")?.unwrap_or(42);

        let data = root.take_table("data")?.ok_or_else(|| root.lacks("[data]", "which data to train on"))?;
        let base = root.take_table("base")?;
        let layers = root.take_tables("layer")?;
        if layers.is_empty() && base.is_none() {
            return Err(root.lacks("[[layer]]", "at least one layer, from input to output"));
        }
        let mut train = root.take_table("train")?.ok_or_else(|| root.lacks("[train]", "loss and epochs"))?;
        // `train.optimizer = "sgd"` is how Keras users think; `[optimizer]` has room for its numbers. Both may be there
        // as long as only one says the kind.
        let short = train.take_table("optimizer")?;
        let optimizer = match (root.take_table("optimizer")?, short) {
            (Some(long), Some(short)) => long.merged(short)?,
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return Err(root.lacks("[optimizer]", "its kind and learning_rate")),
        };
        let document = root.take_table("document")?;
        root.finish()?;

        let base = base.map(BaseSpec::read).transpose()?;
        let layers = read_layers(layers, preset)?;
        if let (None, Some(layer)) = (&base, layers.iter().find(|layer| layer.from_base)) {
            let (place, title) = (&layer.place, &layer.title);
            return Err(Error::Config(format!(
                "{place}: {title}: weights = \"base\", but there is no [base] to take them from"
            )));
        }
        Ok(Self {
            name,
            about,
            preset,
            seed,
            data: DataSpec::read(data)?,
            base,
            layers: named(layers)?,
            optimizer: OptimizerSpec::read(optimizer, preset)?,
            train: TrainSpec::read(train)?,
            document: document.map(Document::read).transpose()?,
        })
    }

    /// The recipe with every value spelled out; reading it again gives the same recipe.
    pub fn to_toml(&self) -> String {
        let mut out = Writer::default();
        out.put("name", self.name.as_str());
        if !self.about.is_empty() {
            out.put("about", self.about.as_str());
        }
        out.put_named("preset", self.preset);
        out.put_number("seed", self.seed);
        self.data.write(&mut out);
        if let Some(base) = &self.base {
            base.write(&mut out);
        }
        for layer in &self.layers {
            layer.write(&mut out);
        }
        self.optimizer.write(&mut out);
        self.train.write(&mut out);
        if let Some(document) = &self.document {
            document.write(&mut out);
        }
        out.finish()
    }
}

fn read_layers(tables: Vec<Table>, preset: Preset) -> Result<Vec<LayerSpec>> {
    let (mut layers, mut blocks) = (Vec::new(), Vec::new());
    for table in tables {
        let more = block::read(table, preset, &mut layers, &mut blocks)?;
        layers.extend(more);
    }
    Ok(layers)
}

/// Names the layers that the user did not: by kind, the second of a kind with `_1`, as Keras does. Those of a base keep theirs.
pub(super) fn named(mut layers: Vec<LayerSpec>) -> Result<Vec<LayerSpec>> {
    let is_fixed = |layer: &LayerSpec| layer.named || layer.from_base;
    let mut taken = HashSet::new();
    for layer in layers.iter().filter(|layer| is_fixed(layer)) {
        if !taken.insert(layer.name.clone()) {
            let text = format!("{}: two layers are called {:?}; rename one", layer.place, layer.name);
            return Err(Error::Config(text));
        }
    }
    for layer in layers.iter_mut().filter(|layer| !is_fixed(layer)) {
        let base = layer.config.naming().auto;
        let mut names = std::iter::once(base.to_string()).chain((1..).map(|i| format!("{base}_{i}")));
        layer.name = names.find(|name| taken.insert(name.clone())).unwrap_or_default();
    }
    Ok(layers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
preset = "keras"
[data]
source = "fashion-mnist"
scale = 255
split.val = "first:5000"
[[layer]]
type = "flatten"
[[layer]]
type = "dense"
units = 300
activation = "relu"
[[layer]]
type = "dense"
units = 10
activation = "softmax"
[optimizer]
kind = "sgd"
lr = 1e-3
[train]
loss = "sparse_categorical_crossentropy"
epochs = 2
"#;

    fn read(text: &str) -> Recipe {
        Recipe::parse(text, "folder/mine.toml").unwrap_or_else(|error| panic!("{error}"))
    }

    /// The complaint about [`TEXT`] with `from` replaced by `to`.
    fn complaint(from: &str, to: &str) -> String {
        assert!(TEXT.contains(from), "{from}");
        match Recipe::parse(&TEXT.replacen(from, to, 1), "r.toml") {
            Err(error @ Error::Config(_)) => error.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn complaint_with(path: &str, value: &str) -> String {
        Recipe::with_overrides(TEXT, "r.toml", &[(path.into(), value.into())]).unwrap_err().to_string()
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let recipe = read(TEXT);
        let names: Vec<_> = recipe.layers.iter().map(|layer| layer.name.as_str()).collect();
        assert_eq!(names, ["flatten", "dense", "dense_1"]);
        assert_eq!((recipe.name.as_str(), recipe.seed, recipe.train.batch), ("mine", 42, 32));
        assert_eq!(recipe.optimizer.learning_rate(), 1e-3);
        assert_eq!(recipe.train.metrics.len(), 1);
    }

    #[test]
    fn a_recipe_spelled_out_reads_back_as_itself() {
        for preset in Preset::NAMES {
            let text = TEXT.replace("keras", preset);
            let full = read(&text).to_toml();
            assert_eq!(read(&full).to_toml(), full);
            assert!(full.contains("bias_init") && full.contains("momentum"), "{full}");
        }
    }

    #[test]
    fn the_whole_vocabulary_of_training_reads_back_as_itself() {
        let rules = "l1 = 0.1\nl2 = 0.01\nbias_regularizer = \"l2\"\nactivity_regularizer = \"l1(1e-4)\"\nmax_norm = 3.0\n\
                     bias_constraint = \"min_max_norm\"";
        let base = TEXT
            .replace("units = 300", &format!("units = 300\n{rules}"))
            .replace("epochs = 2", "epochs = 2\nlabel_smoothing = 0.1\nclass_weight = [1, 2.5]");
        for kind in crate::spec::Kind::NAMES {
            for schedule in crate::optim::Schedule::NAMES {
                let numbers = match *schedule {
                    "constant" | "plateau" => "",
                    "piecewise" => "boundaries = [3, 9]\nvalues = [0.1, 0.2, 0.3]",
                    "power" | "exponential" | "step" => "decay_steps = 20\nrate = 0.5",
                    _ => "steps = 30",
                };
                let around =
                    "global_clipnorm = 1\ngradient_accumulation_steps = 4\nema_momentum = 0.9\nweight_decay = 0.1";
                let text = base.replace(
                    "kind = \"sgd\"\nlr = 1e-3",
                    &format!("kind = \"{kind}\"\n{around}\n[optimizer.schedule]\nkind = \"{schedule}\"\n{numbers}\nwarmup_steps = 5\n[[optimizer.group]]\nmatch = \"dense.*\"\nlearning_rate_scale = 0.1"),
                );
                let recipe = read(&text);
                let again = read(&recipe.to_toml());
                assert_eq!((&again.optimizer, &again.train), (&recipe.optimizer, &recipe.train));
                assert_eq!(again.layers[1].rules, recipe.layers[1].rules);
                assert_eq!((recipe.optimizer.kind(), recipe.optimizer.around.schedule.name()), (*kind, *schedule));
                assert_eq!(recipe.layers[1].rules.kernel_regularizer.as_ref().unwrap().to_string(), "l1_l2(0.1, 0.01)");
            }
        }
    }

    #[test]
    fn slips_in_the_vocabulary_of_training_are_found_with_their_place() {
        let optimizer = |more: &str| complaint("lr = 1e-3", &format!("lr = 1e-3\n{more}"));
        let layer = |more: &str| complaint("units = 300", &format!("units = 300\n{more}"));
        let train = |more: &str| complaint("epochs = 2", &format!("epochs = 2\n{more}"));
        for (got, wanted) in [
            (
                complaint("\"sgd\"", "\"adamv\""),
                "r.toml:18:8: kind = \"adamv\" in [optimizer]: unknown optimizer; did you mean \"adam\"?",
            ),
            (optimizer("beta_1 = 0.9"), "r.toml:20:1: unknown key \"beta_1\" in [optimizer]"),
            (optimizer("clipnorm = 1\nclipvalue = 2"), "keep one"),
            (optimizer("schedule = { kind = \"expo\", rate = 1, steps = 2 }"), "unknown schedule"),
            (
                optimizer("schedule = { kind = \"exponential\", rate = 0.1 }"),
                "[optimizer.schedule] lacks steps: a finite number above 0",
            ),
            (
                optimizer("schedule = { kind = \"piecewise\", boundaries = [1], values = [1] }"),
                "one more than boundaries",
            ),
            (
                optimizer("[[optimizer.group]]\nmatch = \"a*\""),
                "[[optimizer.group]] number 1 lacks learning_rate_scale",
            ),
            (
                layer("l2 = -1"),
                "r.toml:12:6: l2 = -1 in [[layer]] number 2 (\"dense\"): must be a finite number above 0",
            ),
            (layer("kernel_regularizer = \"l3\""), "unknown regularizer \"l3\"; did you mean \"l1\"?"),
            (layer("l2 = 0.1\nkernel_regularizer = \"l1\""), "kernel_regularizer stands beside l1 or l2"),
            (layer("kernel_constraint = \"max_norm(0)\""), "max must be above 0"),
            (train("label_smoothing = 1"), "must be a number from 0 up to but without 1"),
            (train("class_weight = []"), "a list of finite numbers of 0 or more, one for each class"),
        ] {
            assert!(got.contains(wanted), "{got}\nlacks\n{wanted}");
        }
        let mse = TEXT.replace("\"sparse_categorical_crossentropy\"", "\"mse\"\nlabel_smoothing = 0.1");
        let error = Recipe::parse(&mse, "r.toml").unwrap_err().to_string();
        assert!(error.contains("loss mean_squared_error has no labels to smooth"), "{error}");
    }

    #[test]
    fn every_recipe_of_the_command_line_reads_back_as_itself() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/recipes");
        let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 4);
        for file in files {
            let recipe = read(&std::fs::read_to_string(&file).unwrap());
            assert_eq!(Some(recipe.name.as_str()), file.file_stem().and_then(|stem| stem.to_str()));
            let again = read(&recipe.to_toml());
            assert_eq!(again.to_toml(), recipe.to_toml());
            assert_eq!((&again.data, &again.train, &again.document), (&recipe.data, &recipe.train, &recipe.document));
        }
    }

    #[test]
    fn layers_are_numbered_as_keras_does_around_names_of_the_user() {
        let text = TEXT.replace("units = 300", "units = 300\nname = \"dense\"");
        assert_eq!(read(&text).layers[2].name, "dense_1");
        let twice = text.replace("units = 10", "units = 10\nname = \"dense\"");
        let error = Recipe::parse(&twice, "r.toml").unwrap_err().to_string();
        assert!(error.ends_with("two layers are called \"dense\"; rename one"), "{error}");
    }

    #[test]
    fn presets_switch_the_defaults() {
        let leaky = TEXT.replace("\"relu\"", "\"leaky_relu\"").replace("type = \"flatten\"", "type = \"leaky_relu\"");
        let keras = read(&leaky).to_toml();
        assert!(keras.contains("leaky_relu(0.3)") && keras.contains("leaky_relu(0.2)"), "{keras}");
        let torch = read(&leaky.replace("\"keras\"", "\"torch\"")).to_toml();
        assert!(torch.matches("leaky_relu(0.01)").count() == 2 && !torch.contains("glorot"), "{torch}");
    }

    #[test]
    fn the_command_line_wins() {
        let overrides = [
            ("train.epochs", "7"),
            ("optimizer.kind", "adam"),
            ("optimizer.learning_rate", "0.5"),
            ("layer.dense_1.units", "5"),
        ];
        let text = TEXT.replace("units = 10", "name = \"dense_1\"\nunits = 10");
        let overrides: Vec<_> = overrides.map(|(key, value)| (key.to_string(), value.to_string())).to_vec();
        let recipe = Recipe::with_overrides(&text, "r.toml", &overrides).unwrap();
        assert_eq!((recipe.train.epochs, recipe.optimizer.kind(), recipe.optimizer.learning_rate()), (7, "adam", 0.5));
        assert!(recipe.to_toml().contains("units = 5"));
    }

    #[test]
    fn a_star_means_every_layer_that_has_the_key() {
        let star = |key: &str| Recipe::with_overrides(TEXT, "r.toml", &[(format!("layer.*.{key}"), "7".into())]);
        let units = star("units").unwrap().to_toml();
        assert_eq!((units.matches("units = 7").count(), units.matches("units = ").count()), (2, 2));
        let error = star("rate").unwrap_err().to_string();
        assert_eq!(error, "command line: layer.*.rate: no layer has \"rate\"; write it into those that are meant");
        assert!(complaint_with("layer.4.units", "7").ends_with("use a name, a number from 1 to 3, or *"));
    }

    #[test]
    fn the_short_form_of_the_optimizer_and_the_long_one_go_together() {
        let short = TEXT
            .replace("[optimizer]\nkind = \"sgd\"\nlr = 1e-3\n", "")
            .replace("[train]", "[train]\noptimizer = \"sgd\"");
        assert_eq!(read(&short).optimizer.learning_rate(), 0.01);
        let rate = [("optimizer.lr".to_string(), "0.5".to_string())];
        let both = Recipe::with_overrides(&short, "r.toml", &rate).unwrap();
        assert_eq!((both.optimizer.kind(), both.optimizer.learning_rate()), ("sgd", 0.5));
        assert!(complaint("[train]", "[train]\noptimizer = \"adam\"").contains("keep one"));
    }

    #[test]
    fn bad_numbers_are_refused_by_name() {
        let rate = "must be a finite number above 0";
        assert_eq!(
            complaint("lr = 1e-3", "lr = -0.1"),
            format!("r.toml:19:6: learning_rate = -0.1 in [optimizer]: {rate}")
        );
        assert_eq!(
            complaint("lr = 1e-3", "lr = nan"),
            format!("r.toml:19:6: learning_rate = NaN in [optimizer]: {rate}")
        );
        let one = "must be a whole number of 1 or more";
        assert_eq!(complaint("epochs = 2", "epochs = 0"), format!("r.toml:22:10: epochs = 0 in [train]: {one}"));
        assert_eq!(complaint_with("train.batch", "0"), format!("command line: batch = 0 in [train]: {one}"));
    }

    #[test]
    fn slips_are_found_with_their_place() {
        assert_eq!(
            complaint("units = 300", "unitz = 300"),
            "r.toml:11:1: unknown key \"unitz\" in [[layer]] number 2 (\"dense\"); did you mean \"units\"?"
        );
        assert_eq!(
            complaint("units = 300", "init = \"zeros\""),
            "r.toml:9:1: [[layer]] number 2 (\"dense\") lacks units: a whole number of 1 or more"
        );
        assert_eq!(
            complaint("activation = \"relu\"", "activatoin = \"relu\""),
            "r.toml:12:1: unknown key \"activatoin\" in [[layer]] number 2 (\"dense\"); did you mean \"activation\"?"
        );
        assert_eq!(
            complaint("\"relu\"", "\"rleu\""),
            "r.toml:12:14: activation = \"rleu\" in [[layer]] number 2 (\"dense\"): unknown activation \"rleu\"; did you \
             mean \"relu\"?"
        );
        assert_eq!(
            complaint("\"flatten\"", "\"flaten\""),
            "r.toml:8:8: type = \"flaten\" in [[layer]] number 1 (\"flaten\"): unknown layer type; did you mean \"flatten\"?"
        );
        assert!(
            complaint("[train]", "[trian]")
                .ends_with("unknown key \"trian\" in the top level; did you mean \"train\"?")
        );
        assert!(complaint("kind = \"sgd\"", "kind = \"sdg\"").contains("did you mean \"sgd\"?"));
        assert!(complaint("first:5000", "first").contains("r.toml:6:13: val = \"first\" in [data.split]"));
        assert!(
            complaint_with("trian.epochs", "3")
                .contains("unknown key \"trian\" in the top level; did you mean \"train\"?")
        );
    }
}
