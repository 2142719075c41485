//! Training: the loop, what it reports, and measuring without learning.

pub mod evaluate;
pub mod events;
pub mod fit;
mod parts;

pub use evaluate::{Evaluation, evaluate};
pub use events::{Control, EpochReport, Event, History, Listener};
pub use fit::Trainer;
pub use parts::{EVALUATION_BATCH, Parts, evaluation_batches, scale, training_batches};
