//! Optimizer steps.

use super::{floats, write};
use crate::backend::{Adam, Sgd};
use crate::{Buffer, Layout, Result, View};

pub fn sgd(how: &Sgd, weights: &mut Buffer, gradient: View, velocity: Option<&mut Buffer>) -> Result<()> {
    let Sgd { learning_rate, momentum, nesterov } = *how;
    let gradient = floats("sgd_step", gradient)?;
    let mut w = state("sgd_step", weights)?;
    match velocity {
        None => {
            for (w, g) in w.iter_mut().zip(gradient) {
                *w -= learning_rate * g;
            }
        }
        Some(velocity) => {
            let mut v = state("sgd_step", velocity)?;
            for ((w, v), g) in w.iter_mut().zip(&mut v).zip(gradient) {
                *v = momentum * *v - learning_rate * g;
                *w += if nesterov { momentum * *v - learning_rate * g } else { *v };
            }
            *velocity = write(velocity.dtype(), v);
        }
    }
    *weights = write(weights.dtype(), w);
    Ok(())
}

pub fn adam(how: &Adam, weights: &mut Buffer, gradient: View, m: &mut Buffer, v: &mut Buffer) -> Result<()> {
    let Adam { learning_rate, beta1, beta2, epsilon, epsilon_inside, step } = *how;
    let gradient = floats("adam_step", gradient)?;
    let mut w = state("adam_step", weights)?;
    let mut first = state("adam_step", m)?;
    let mut second = state("adam_step", v)?;
    let correction1 = 1.0 - beta1.powf(step as f64);
    let correction2 = 1.0 - beta2.powf(step as f64);
    for (((w, m), v), g) in w.iter_mut().zip(&mut first).zip(&mut second).zip(gradient) {
        *m = beta1 * *m + (1.0 - beta1) * g;
        *v = beta2 * *v + (1.0 - beta2) * g * g;
        let root = if epsilon_inside {
            (v.sqrt() + epsilon) / correction2.sqrt()
        } else {
            v.sqrt() / correction2.sqrt() + epsilon
        };
        *w -= learning_rate * (*m / correction1) / root;
    }
    *weights = write(weights.dtype(), w);
    *m = write(m.dtype(), first);
    *v = write(v.dtype(), second);
    Ok(())
}

/// The whole of a float buffer.
fn state(op: &'static str, buffer: &Buffer) -> Result<Vec<f64>> {
    let layout = Layout::contiguous(&[buffer.len()]);
    floats(op, View::new(buffer, &layout))
}
