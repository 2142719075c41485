//! Steps of optimizers, in place.

use super::super::device::Gpu;
use super::super::launch::{Address, Arguments, Grid, Kernel};
use super::super::operand::{Adjusted, count, start};
use super::Dense;
use crate::backend::{Adjust, Moving, Rule};
use crate::{DType, Result};

type A = Address;
type H = Adjusted;

static DESCEND: Kernel<(A, A, u32, H, f32)> = Kernel::new("update", "update_descend");
static MOMENTUM: Kernel<(A, A, A, u32, H, f32, f32, f32, u32)> = Kernel::new("update", "update_momentum");
#[rustfmt::skip]
static MOMENTS: Kernel<(A, A, A, A, A, u32, H, f32, f32, f32, f32, f32, f32, u32)> = Kernel::new("update", "update_moments");
static INFINITY: Kernel<(A, A, A, A, u32, H, f32, f32, f32, f32, f32)> = Kernel::new("update", "update_infinity");
#[rustfmt::skip]
static SQUARES: Kernel<(A, A, A, A, A, u32, H, f32, f32, u32, f32, f32, f32, f32, f32)> = Kernel::new("update", "update_squares");
static DELTAS: Kernel<(A, A, A, A, u32, H, f32, f32, f32)> = Kernel::new("update", "update_deltas");
static SIGN: Kernel<(A, A, A, u32, H, f32, f32, f32)> = Kernel::new("update", "update_sign");

/// Moves weights by their rule; false where there is no kernel for their type.
pub fn update(gpu: &'static Gpu, moving: &mut Moving<'_>) -> Result<bool> {
    if moving.weights.dtype() != DType::F32 {
        return Ok(false);
    }
    let n = count(moving.weights.len())?;
    if n == 0 {
        return Ok(true);
    }
    let w = start(moving.weights)?;
    let gradient = Dense::new(gpu, moving.gradient)?;
    let g = gradient.at;
    let mut state = [Address::default(); 3];
    for (address, buffer) in state.iter_mut().zip(&moving.states) {
        *address = buffer.as_ref().map_or(Ok(Address::default()), |buffer| start(buffer))?;
    }
    let [s, t, u] = state;
    let Adjust { l1, l2, scale, limit, decay, keep } = moving.adjust;
    let how = Adjusted([l1, l2, scale, limit, decay, keep].map(|x| x as f32));
    let run = Run { gpu, grid: Grid::each(n) };
    match moving.rule {
        Rule::Descend { rate } => run.with(&DESCEND, (w, g, n, how, rate as f32))?,
        Rule::Momentum { momentum, inner, outer, nesterov } => {
            let [momentum, inner, outer] = [momentum, inner, outer].map(|x| x as f32);
            run.with(&MOMENTUM, (w, g, s, n, how, momentum, inner, outer, nesterov.into()))?;
        }
        Rule::Moments { beta1, beta2, rate_m, rate_g, root, epsilon, largest } => {
            let [beta1, beta2, rate_m, rate_g] = [beta1, beta2, rate_m, rate_g].map(|x| x as f32);
            let [root, epsilon] = [root, epsilon].map(|x| x as f32);
            let numbers = (w, g, s, t, u, n, how, beta1, beta2, rate_m, rate_g, root, epsilon, largest.into());
            run.with(&MOMENTS, numbers)?;
        }
        Rule::Infinity { beta1, beta2, rate, inside, outside } => {
            let [beta1, beta2, rate, inside, outside] = [beta1, beta2, rate, inside, outside].map(|x| x as f32);
            run.with(&INFINITY, (w, g, s, t, n, how, beta1, beta2, rate, inside, outside))?;
        }
        Rule::Squares { keep, add, centered, momentum, inner, outer, inside, outside } => {
            let [keep, add, momentum] = [keep, add, momentum].map(|x| x as f32);
            let [inner, outer, inside, outside] = [inner, outer, inside, outside].map(|x| x as f32);
            // Without an average, the last step is the second state.
            let step = if centered { u } else { t };
            let numbers =
                (w, g, s, t, step, n, how, keep, add, centered.into(), momentum, inner, outer, inside, outside);
            run.with(&SQUARES, numbers)?;
        }
        Rule::Deltas { rho, rate, epsilon } => {
            let [rho, rate, epsilon] = [rho, rate, epsilon].map(|x| x as f32);
            run.with(&DELTAS, (w, g, s, t, n, how, rho, rate, epsilon))?;
        }
        Rule::Sign { beta1, beta2, rate } => {
            let [beta1, beta2, rate] = [beta1, beta2, rate].map(|x| x as f32);
            run.with(&SIGN, (w, g, s, n, how, beta1, beta2, rate))?;
        }
    }
    Ok(true)
}

struct Run {
    gpu: &'static Gpu,
    grid: Grid,
}

impl Run {
    fn with<T: Arguments>(&self, kernel: &Kernel<T>, arguments: T) -> Result<()> {
        self.gpu.launch(kernel, self.grid, arguments)
    }
}
