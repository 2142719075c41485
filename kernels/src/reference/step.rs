//! Optimizer steps.

use super::{floats, write};
use crate::backend::{Adjust, Moving, Rule};
use crate::{Buffer, Layout, Result, View};

pub fn update(moving: &mut Moving) -> Result<()> {
    let Adjust { l1, l2, scale, limit, decay, keep } = moving.adjust;
    let gradient = floats("update", moving.gradient)?;
    let mut weights = whole(moving.weights)?;
    let mut states = moving.states.iter().flatten().map(|state| whole(state)).collect::<Result<Vec<Vec<f64>>>>()?;
    for (i, (w, g)) in weights.iter_mut().zip(gradient).enumerate() {
        let sign = if *w == 0.0 { 0.0 } else { w.signum() };
        let g = (scale * (g + l1 * sign + l2 * *w)).clamp(-limit, limit) + decay * *w;
        let mut own: Vec<f64> = states.iter().map(|state| state[i]).collect();
        *w = keep * *w + step(moving.rule, g, &mut own);
        states.iter_mut().zip(own).for_each(|(state, own)| state[i] = own);
    }
    *moving.weights = write(moving.weights.dtype(), weights);
    for (buffer, state) in moving.states.iter_mut().flatten().zip(states) {
        **buffer = write(buffer.dtype(), state);
    }
    Ok(())
}

/// What one weight moves by; its states change.
fn step(rule: Rule, g: f64, states: &mut [f64]) -> f64 {
    match (rule, states) {
        (Rule::Descend { rate }, _) => -rate * g,
        (Rule::Momentum { momentum, inner, outer, nesterov }, [v, ..]) => {
            *v = momentum * *v - inner * g;
            outer * if nesterov { momentum * *v - inner * g } else { *v }
        }
        (Rule::Moments { beta1, beta2, rate_m, rate_g, root, epsilon, largest }, [m, v, rest @ ..]) => {
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            let v = match rest {
                [most] if largest => {
                    *most = most.max(*v);
                    *most
                }
                _ => *v,
            };
            -(rate_m * *m + rate_g * g) / (root * v.sqrt() + epsilon)
        }
        (Rule::Infinity { beta1, beta2, rate, inside, outside }, [m, u, ..]) => {
            *m = beta1 * *m + (1.0 - beta1) * g;
            *u = (beta2 * *u).max(g.abs() + inside);
            -rate * *m / (*u + outside)
        }
        (Rule::Squares { keep, add, centered, momentum, inner, outer, inside, outside }, [v, rest @ ..]) => {
            *v = keep * *v + add * g * g;
            let mut d = *v;
            if centered {
                rest[0] = keep * rest[0] + add * g;
                d -= rest[0] * rest[0];
            }
            let step = inner * g / ((d + inside).sqrt() + outside);
            match rest.last_mut() {
                Some(b) if momentum != 0.0 => {
                    *b = momentum * *b + step;
                    -outer * *b
                }
                _ => -outer * step,
            }
        }
        (Rule::Deltas { rho, rate, epsilon }, [v, s, ..]) => {
            *v = rho * *v + (1.0 - rho) * g * g;
            let d = g * (*s + epsilon).sqrt() / (*v + epsilon).sqrt();
            *s = rho * *s + (1.0 - rho) * d * d;
            -rate * d
        }
        (Rule::Sign { beta1, beta2, rate }, [m, ..]) => {
            let direction = beta1 * *m + (1.0 - beta1) * g;
            *m = beta2 * *m + (1.0 - beta2) * g;
            if direction == 0.0 { 0.0 } else { -rate * direction.signum() }
        }
        (rule, states) => unreachable!("{rule:?} has {} states, not {}", rule.states(), states.len()),
    }
}

/// The whole of a float buffer.
fn whole(buffer: &Buffer) -> Result<Vec<f64>> {
    let layout = Layout::contiguous(&[buffer.len()]);
    floats("update", View::new(buffer, &layout))
}
