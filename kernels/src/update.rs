//! The rules by which weights follow their gradients, one weight at a time.

use crate::{Buffer, View};

/// How each weight `w` and what is remembered about it (its states, in the order in which they are named here) move with
/// the gradient `g`. All states start as zeros unless something else is said.
///
/// What depends on the number of the step, such as corrections of a bias, is in the numbers: whoever counts steps computes
/// it, once for all weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `w -= rate g`.
    Descend {
        /// The step size.
        rate: f64,
    },
    /// `v = momentum v - inner g`, then `w += outer v`; with Nesterov `w += outer (momentum v - inner g)`. State: `v`.
    ///
    /// Keras has the step size in `inner`, so that `v` holds steps; PyTorch in `outer`, so that it holds gradients.
    Momentum {
        /// How much of `v` is kept.
        momentum: f64,
        /// What the gradient is multiplied with.
        inner: f64,
        /// What the step is multiplied with.
        outer: f64,
        /// Whether the gradient counts as taken ahead of the step (Nesterov 1983, as in Sutskever et al. 2013).
        nesterov: bool,
    },
    /// `m = beta1 m + (1 - beta1) g`, `v = beta2 v + (1 - beta2) g²`, then
    /// `w -= (rate_m m + rate_g g) / (root √v + epsilon)`. States: `m`, `v`.
    ///
    /// With `largest` there is a third state, the largest `v` so far, which takes its place in the step (AMSGrad).
    Moments {
        /// How much of `m` is kept.
        beta1: f64,
        /// How much of `v` is kept.
        beta2: f64,
        /// What `m` is multiplied with.
        rate_m: f64,
        /// What the gradient itself is multiplied with.
        rate_g: f64,
        /// What the root is multiplied with.
        root: f64,
        /// Added to the root.
        epsilon: f64,
        /// Whether the largest `v` so far takes the place of `v`.
        largest: bool,
    },
    /// `m = beta1 m + (1 - beta1) g`, `u = max(beta2 u, |g| + inside)`, then `w -= rate m / (u + outside)`. States: `m`, `u`.
    Infinity {
        /// How much of `m` is kept.
        beta1: f64,
        /// How much of `u` is kept.
        beta2: f64,
        /// The step size.
        rate: f64,
        /// Added to the gradient's magnitude.
        inside: f64,
        /// Added to the largest magnitude.
        outside: f64,
    },
    /// `v = keep v + add g²`, with `centered` `a = keep a + add g` and `d = v - a²`, else `d = v`. Then
    /// `b = momentum b + inner g / (√(d + inside) + outside)`, and `w -= outer b`. States: `v`, then `a` if centered, then
    /// `b` if the momentum is not 0.
    Squares {
        /// How much of `v` is kept.
        keep: f64,
        /// How much of the square is added.
        add: f64,
        /// Whether the mean gradient's square is taken off.
        centered: bool,
        /// How much of the last step is kept.
        momentum: f64,
        /// What the gradient is multiplied with.
        inner: f64,
        /// What the step is multiplied with.
        outer: f64,
        /// Added below the root.
        inside: f64,
        /// Added to the root.
        outside: f64,
    },
    /// `v = rho v + (1 - rho) g²`, `d = g √(s + epsilon) / √(v + epsilon)`, `s = rho s + (1 - rho) d²`, then `w -= rate d`.
    /// States: `v`, `s`.
    Deltas {
        /// How much of `v` and `s` is kept.
        rho: f64,
        /// The step size.
        rate: f64,
        /// Added below both roots.
        epsilon: f64,
    },
    /// `w -= rate sign(beta1 m + (1 - beta1) g)`, then `m = beta2 m + (1 - beta2) g`. State: `m`.
    Sign {
        /// How much `m` counts beside the gradient.
        beta1: f64,
        /// How much of `m` is kept.
        beta2: f64,
        /// The step size.
        rate: f64,
    },
}

impl Rule {
    /// How many states a weight has.
    pub fn states(&self) -> usize {
        match *self {
            Rule::Descend { .. } => 0,
            Rule::Momentum { .. } | Rule::Sign { .. } => 1,
            Rule::Infinity { .. } | Rule::Deltas { .. } => 2,
            Rule::Moments { largest, .. } => 2 + usize::from(largest),
            Rule::Squares { centered, momentum, .. } => 1 + usize::from(centered) + usize::from(momentum != 0.0),
        }
    }
}

/// What is done to a gradient before a rule gets it: `g = clamp(scale (g + l1 sign(w) + l2 w), limit) + decay w`; and then to
/// the weight itself: `w = keep w`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adjust {
    /// The slope of a penalty on magnitudes.
    pub l1: f64,
    /// The slope of a penalty on squares.
    pub l2: f64,
    /// What the gradient is multiplied with.
    pub scale: f64,
    /// The largest magnitude that is let through.
    pub limit: f64,
    /// Added to the gradient for each unit of weight.
    pub decay: f64,
    /// What the weight is multiplied with.
    pub keep: f64,
}

impl Adjust {
    /// Leaves everything as it is.
    pub const NOTHING: Self = Self { l1: 0.0, l2: 0.0, scale: 1.0, limit: f64::INFINITY, decay: 0.0, keep: 1.0 };
}

/// A tensor of weights with all that moves it. All parts are of one float type and as many elements; buffers are row-major.
#[derive(Debug)]
pub struct Moving<'a> {
    /// The weights.
    pub weights: &'a mut Buffer,
    /// Their gradient.
    pub gradient: View<'a>,
    /// What is remembered about them, as many as [`Rule::states`] says.
    pub states: [Option<&'a mut Buffer>; 3],
    /// What is done to the gradient first.
    pub adjust: Adjust,
    /// How they move.
    pub rule: Rule,
}
