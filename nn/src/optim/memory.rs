//! Under which names [`Update::state`](super::Update::state) has what it gives.

/// How many batches there were.
pub(crate) const STEPS: &str = "steps";
/// The step size from which the schedule starts.
pub(crate) const START: &str = "learning_rate";
/// A plateau's best number so far.
pub(crate) const BEST: &str = "plateau/best";
/// A plateau's epochs without progress.
pub(crate) const WAIT: &str = "plateau/wait";
/// A plateau's epochs in which nothing is counted.
pub(crate) const COOLDOWN: &str = "plateau/cooldown";
/// All of these.
pub(crate) const NUMBERS: [&str; 5] = [STEPS, START, BEST, WAIT, COOLDOWN];
/// What stands before the names of what the optimizer remembers.
pub(crate) const OPTIMIZER: &str = "optimizer/";
/// How many steps the optimizer made.
pub(crate) const OPTIMIZER_STEP: &str = "optimizer/step";
/// What stands before the names of weights, for sums of gradients that wait for more.
pub(crate) const GATHERED: &str = "gathered/";
/// What stands before the names of weights, for their running means.
pub(crate) const AVERAGE: &str = "average/";
