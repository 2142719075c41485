//! `[optimizer]`: how weights move.

use super::reader::Table;
use super::value::Value;
use super::{Preset, Writer};
use crate::Result;
use crate::optim::{
    AdadeltaOptions, AdagradOptions, AdamOptions, AdamWOptions, AdamaxOptions, Around, Average, Clip, Elementwise,
    Group, LionOptions, NadamOptions, Optimizer, Options, RmsPropOptions, Schedule, Setting, SgdOptions, Update, Visit,
    Warmup, WeightDecay,
};
use crate::spec::preset::suggest;

/// Declares the kinds: one row each, its variant and its numbers.
macro_rules! kinds {
    ($($(#[$doc:meta])* $Kind:ident($Options:ty);)*) => {
        /// An optimizer with all its numbers.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Kind { $($(#[$doc])* $Kind($Options),)* }

        impl Kind {
            /// What users write for `kind`.
            pub const NAMES: &[&str] = &[$(<$Options>::KIND),*];

            /// The kind that is called `name`, with the defaults of a framework.
            pub(crate) fn named(name: &str, preset: Preset) -> Option<Self> {
                match name {
                    $(<$Options>::KIND => Some(Kind::$Kind(<$Options>::preset(preset))),)*
                    _ => None,
                }
            }

            /// What users write for this one.
            pub fn name(&self) -> &'static str {
                match self { $(Kind::$Kind(_) => <$Options>::KIND,)* }
            }

            /// The step size.
            pub fn learning_rate(&self) -> f64 {
                match self { $(Kind::$Kind(options) => options.learning_rate(),)* }
            }

            /// Shows `visit` every number; see [`Options::settings`].
            pub fn settings(&mut self, visit: &mut Visit<'_>) -> Result<()> {
                match self { $(Kind::$Kind(options) => options.settings(visit),)* }
            }

            /// What is remembered of each weight, by name.
            pub fn states(&self) -> Vec<&'static str> {
                match self { $(Kind::$Kind(options) => options.states(),)* }
            }

            /// The optimizer itself, fresh.
            pub fn build(&self) -> Box<dyn Optimizer> {
                match self { $(Kind::$Kind(options) => Box::new(Elementwise::new(options.clone())),)* }
            }
        }
    };
}

kinds! {
    /// Stochastic gradient descent, with or without momentum.
    Sgd(SgdOptions);
    /// Adagrad.
    Adagrad(AdagradOptions);
    /// RMSprop.
    RmsProp(RmsPropOptions);
    /// Adam.
    Adam(AdamOptions);
    /// Adam with weights that shrink by themselves.
    AdamW(AdamWOptions);
    /// Adam with the largest gradient in the place of the mean.
    Adamax(AdamaxOptions);
    /// Adam with Nesterov's momentum.
    Nadam(NadamOptions);
    /// Adadelta.
    Adadelta(AdadeltaOptions);
    /// Lion.
    Lion(LionOptions);
}

/// How weights move, with all that is done around the optimizer's steps.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerSpec {
    /// The optimizer.
    pub kind: Kind,
    /// What is done around its steps.
    pub around: Around,
}

impl OptimizerSpec {
    /// The name of the kind.
    pub fn kind(&self) -> &'static str {
        self.kind.name()
    }

    /// The rate at which training starts.
    pub fn learning_rate(&self) -> f64 {
        self.kind.learning_rate()
    }

    /// The optimizer itself, fresh, with all that is done around its steps.
    pub fn build(&self) -> Update {
        Update::new(self.kind.build(), self.around.clone())
    }

    pub(super) fn read(mut table: Table, preset: Preset) -> Result<Self> {
        let Some(node) = table.take_node("kind") else {
            return Err(table.lacks("kind", &format!("one of {}", Kind::NAMES.join(", "))));
        };
        let Value::Text(name) = &node.value else {
            return Err(table.refuse("kind", &node, "must be a text in quotes"));
        };
        let Some(mut kind) = Kind::named(name, preset) else {
            let what = format!("unknown optimizer{}", suggest(name, Kind::NAMES));
            return Err(table.refuse("kind", &node, what));
        };
        table.alias("lr", "learning_rate")?;
        kind.settings(&mut |name, setting| read_setting(&mut table, name, setting))?;
        let around = read_around(&mut table)?;
        table.finish()?;
        Ok(Self { kind, around })
    }

    pub(super) fn write(&self, out: &mut Writer) {
        out.table("optimizer");
        out.put("kind", self.kind());
        self.kind.clone().settings(&mut |name, setting| write_setting(out, name, setting)).unwrap_or_default();
        write_around(&self.around, out);
    }
}

fn read_around(table: &mut Table) -> Result<Around> {
    let mut around = Around::default();
    for (key, clip) in
        [("clipvalue", Clip::Value as fn(f64) -> Clip), ("clipnorm", Clip::Norm), ("global_clipnorm", Clip::GlobalNorm)]
    {
        let Some(most) = positive(table, key)? else { continue };
        if around.clip != Clip::No {
            return Err(table.complain(format!("{key} is there beside another clip; keep one")));
        }
        around.clip = clip(most);
    }
    let steps = table.take_if("gradient_accumulation_steps", "a whole number of 1 or more", |&n: &usize| n > 0)?;
    around.accumulate = steps.unwrap_or(1);
    let mut average = Average::default();
    let use_ema = table.take::<bool>("use_ema")?;
    let momentum = share(table, "ema_momentum")?;
    let overwrite = table.take::<u64>("ema_overwrite_frequency")?;
    if use_ema.unwrap_or(momentum.is_some() || overwrite.is_some()) {
        fill(&mut average.momentum, momentum);
        fill(&mut average.overwrite_every, overwrite);
        around.average = Some(average);
    }
    if let Some(schedule) = table.take_table("schedule")? {
        (around.schedule, around.warmup) = read_schedule(schedule)?;
    }
    for mut group in table.take_tables("group")? {
        group.title = group.title.replace("group", "optimizer.group");
        let names = "a text such as \"dense_1.*\"";
        let pattern = group.need_if("match", names, |text: &String| !text.is_empty())?;
        let scale = group
            .need_if("learning_rate_scale", "a finite number of 0 or more", |&x: &f64| x.is_finite() && x >= 0.0)?;
        group.finish()?;
        around.groups.push(Group { pattern, learning_rate_scale: scale });
    }
    Ok(around)
}

fn write_around(around: &Around, out: &mut Writer) {
    match around.clip {
        Clip::No => {}
        Clip::Value(most) => out.put("clipvalue", most),
        Clip::Norm(most) => out.put("clipnorm", most),
        Clip::GlobalNorm(most) => out.put("global_clipnorm", most),
    }
    if around.accumulate > 1 {
        out.put_number("gradient_accumulation_steps", around.accumulate);
    }
    if let Some(Average { momentum, overwrite_every }) = around.average {
        out.put("ema_momentum", momentum);
        out.put_number("ema_overwrite_frequency", overwrite_every);
    }
    if (&around.schedule, around.warmup) != (&Schedule::Constant, Warmup::default()) {
        out.table("optimizer.schedule");
        out.put("kind", around.schedule.name());
        let mut schedule = around.schedule.clone();
        schedule.settings(&mut |name, setting| write_setting(out, name, setting)).unwrap_or_default();
        out.put_number("warmup_steps", around.warmup.steps);
        out.put("warmup_from", around.warmup.from);
    }
    for group in &around.groups {
        out.element("optimizer.group");
        out.put("match", group.pattern.as_str());
        out.put("learning_rate_scale", group.learning_rate_scale);
    }
}

fn read_schedule(mut table: Table) -> Result<(Schedule, Warmup)> {
    table.title = "[optimizer.schedule]".into();
    for (keras, key) in [
        ("decay_rate", "rate"),
        ("decay_steps", "steps"),
        ("first_decay_steps", "steps"),
        ("end_learning_rate", "end"),
        ("min_lr", "min_rate"),
    ] {
        table.alias(keras, key)?;
    }
    let Some(node) = table.take_node("kind") else {
        return Err(table.lacks("kind", &format!("one of {}", Schedule::NAMES.join(", "))));
    };
    let Value::Text(name) = &node.value else {
        return Err(table.refuse("kind", &node, "must be a text in quotes"));
    };
    let Some(mut schedule) = Schedule::named(name) else {
        let what = format!("unknown schedule{}", suggest(name, Schedule::NAMES));
        return Err(table.refuse("kind", &node, what));
    };
    schedule.settings(&mut |name, setting| read_setting(&mut table, name, setting))?;
    if let Some(what) = schedule.complaint() {
        return Err(table.complain(what));
    }
    let steps = table.take("warmup_steps")?.unwrap_or(0);
    let from = not_negative(&mut table, "warmup_from")?.unwrap_or(0.0);
    table.finish()?;
    Ok((schedule, Warmup { steps, from }))
}

/// Every optimizer with its numbers and Keras' defaults, as a list shows them.
pub fn list_optimizers() -> Vec<(&'static str, String)> {
    let kinds = Kind::NAMES.iter().filter_map(|name| Kind::named(name, Preset::Keras));
    kinds.map(|mut kind| (kind.name(), numbers(|visit| kind.settings(visit)))).collect()
}

/// Every schedule with its numbers and their defaults, as far as they have any.
pub fn list_schedules() -> Vec<(&'static str, String)> {
    let schedules = Schedule::NAMES.iter().filter_map(|name| Schedule::named(name));
    schedules.map(|mut schedule| (schedule.name(), numbers(|visit| schedule.settings(visit)))).collect()
}

/// The numbers that `settings` shows, in one line.
fn numbers(settings: impl FnOnce(&mut Visit<'_>) -> Result<()>) -> String {
    let mut out = Writer::default();
    settings(&mut |name, setting| write_setting(&mut out, name, setting)).unwrap_or_default();
    out.finish().trim_end().replace('\n', ", ").replace(" = nan", "").replace(" = []", "")
}

/// Reads a number, if it is there, over its default.
fn read_setting(table: &mut Table, name: &'static str, setting: Setting<'_>) -> Result<()> {
    match setting {
        Setting::Positive(x) => {
            fill(x, positive(table, name)?);
            if x.is_nan() {
                return Err(table.lacks(name, POSITIVE));
            }
        }
        Setting::NotNegative(x) => fill(x, not_negative(table, name)?),
        Setting::Share(x) => fill(x, share(table, name)?),
        Setting::Flag(x) => fill(x, table.take(name)?),
        Setting::List(list) => {
            let wanted = "a list of finite numbers of 0 or more";
            *list = table.need_if(name, wanted, |list: &Vec<f64>| list.iter().all(|x| x.is_finite() && *x >= 0.0))?;
        }
        Setting::Count(n) => fill(n, table.take(name)?),
        Setting::Text(text) => fill(text, table.take(name)?),
        Setting::Decay(decay) => {
            let (mut decoupled, mut size) = match *decay {
                WeightDecay::Decoupled(size) => (true, size),
                WeightDecay::Coupled(size) => (false, size),
            };
            fill(&mut size, not_negative(table, name)?);
            fill(&mut decoupled, table.take("decoupled")?);
            *decay = if decoupled { WeightDecay::Decoupled(size) } else { WeightDecay::Coupled(size) };
        }
    }
    Ok(())
}

/// Writes a number.
fn write_setting(out: &mut Writer, name: &'static str, setting: Setting<'_>) -> Result<()> {
    match setting {
        Setting::Positive(x) | Setting::NotNegative(x) | Setting::Share(x) => out.put(name, *x),
        Setting::Flag(x) => out.put(name, *x),
        Setting::List(list) => out.put(name, list.clone()),
        Setting::Count(n) => out.put_number(name, n),
        Setting::Text(text) => out.put(name, text.as_str()),
        Setting::Decay(decay) => {
            let (decoupled, size) = match *decay {
                WeightDecay::Decoupled(size) => (true, size),
                WeightDecay::Coupled(size) => (false, size),
            };
            out.put(name, size);
            out.put("decoupled", decoupled);
        }
    }
    Ok(())
}

/// Replaces a default by what the user wrote, if anything.
pub(super) fn fill<T>(default: &mut T, written: Option<T>) {
    if let Some(value) = written {
        *default = value;
    }
}

/// A number from 0 up to, but without, 1.
pub(super) fn share(table: &mut Table, key: &'static str) -> Result<Option<f64>> {
    table.take_if(key, "a number from 0 up to but without 1", |x: &f64| (0.0..1.0).contains(x))
}

const POSITIVE: &str = "a finite number above 0";

fn positive(table: &mut Table, key: &'static str) -> Result<Option<f64>> {
    table.take_if(key, POSITIVE, |&x: &f64| x.is_finite() && x > 0.0)
}

/// A finite number of 0 or more.
fn not_negative(table: &mut Table, key: &'static str) -> Result<Option<f64>> {
    table.take_if(key, "a finite number of 0 or more", |&x: &f64| x.is_finite() && x >= 0.0)
}
