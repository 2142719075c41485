//! Training: the loop, what it reports, going on after a break, and measuring without learning.

pub mod checkpoint;
pub mod early_stop;
pub mod evaluate;
pub mod events;
pub mod features;
pub mod fit;
mod gradients;
mod parts;
pub mod phase;
mod recall;
mod runaway;
pub mod saving;
pub mod trial;

pub use checkpoint::{Checkpoint, Progress};
pub use early_stop::{Best, EarlyStop, Mode};
pub use evaluate::{Evaluation, evaluate, examine};
pub use events::{Control, Ended, EpochReport, Event, History, Listener};
pub use features::{FEATURE_CACHE, FrozenStem};
pub use fit::Trainer;
pub use gradients::{gradient_sizes, gradients};
pub use parts::{EVALUATION_BATCH, Parts, evaluation_batches, scale, start, training_batches};
pub use phase::Phase;
pub use saving::{Saving, StepCost};
pub use trial::Trial;
