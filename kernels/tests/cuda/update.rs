//! Steps of optimizers.

use gradus_kernels::backend::{Adjust, Moving, Rule};
use gradus_kernels::{Backend, Buffer, Layout, REFERENCE, View};

use crate::gpu::{Arg, Gpu, assert_close, numbers};

const N: usize = 200;

const ADJUSTS: [Adjust; 2] =
    [Adjust::NOTHING, Adjust { l1: 0.01, l2: 0.02, scale: 0.5, limit: 0.3, decay: 0.03, keep: 0.99 }];

/// Some numbers of a rule as arguments: floats, and flags.
fn floats(values: &[f64]) -> Vec<Arg> {
    values.iter().map(|&value| Arg::from(value as f32)).collect()
}

/// The kernel of a rule, its numbers, and which of the three states each pointer names.
fn kernel(rule: Rule) -> (&'static str, Vec<Arg>, Vec<usize>) {
    let flag = |is_set: bool| Arg::from(u32::from(is_set));
    match rule {
        Rule::Descend { rate } => ("update_descend", floats(&[rate]), vec![]),
        Rule::Momentum { momentum, inner, outer, nesterov } => {
            let mut numbers = floats(&[momentum, inner, outer]);
            numbers.push(flag(nesterov));
            ("update_momentum", numbers, vec![0])
        }
        Rule::Moments { beta1, beta2, rate_m, rate_g, root, epsilon, largest } => {
            let mut numbers = floats(&[beta1, beta2, rate_m, rate_g, root, epsilon]);
            numbers.push(flag(largest));
            ("update_moments", numbers, vec![0, 1, 2])
        }
        Rule::Infinity { beta1, beta2, rate, inside, outside } => {
            ("update_infinity", floats(&[beta1, beta2, rate, inside, outside]), vec![0, 1])
        }
        Rule::Squares { keep, add, centered, momentum, inner, outer, inside, outside } => {
            let mut numbers = floats(&[keep, add]);
            numbers.push(flag(centered));
            numbers.extend(floats(&[momentum, inner, outer, inside, outside]));
            ("update_squares", numbers, vec![0, 1, if centered { 2 } else { 1 }])
        }
        Rule::Deltas { rho, rate, epsilon } => ("update_deltas", floats(&[rho, rate, epsilon]), vec![0, 1]),
        Rule::Sign { beta1, beta2, rate } => ("update_sign", floats(&[beta1, beta2, rate]), vec![0]),
    }
}

fn rules() -> Vec<Rule> {
    let momentum = |nesterov| Rule::Momentum { momentum: 0.9, inner: 0.1, outer: 1.0, nesterov };
    let moments = |largest| Rule::Moments {
        beta1: 0.9,
        beta2: 0.99,
        rate_m: 0.1,
        rate_g: 0.02,
        root: 1.5,
        epsilon: 1e-7,
        largest,
    };
    let squares = |centered, momentum| Rule::Squares {
        keep: 0.9,
        add: 0.1,
        centered,
        momentum,
        inner: 0.01,
        outer: 1.0,
        inside: 1e-3,
        outside: 1e-7,
    };
    vec![
        Rule::Descend { rate: 0.1 },
        momentum(false),
        momentum(true),
        moments(false),
        moments(true),
        Rule::Infinity { beta1: 0.9, beta2: 0.99, rate: 0.1, inside: 1e-3, outside: 1e-7 },
        squares(false, 0.0),
        squares(true, 0.0),
        squares(false, 0.9),
        squares(true, 0.9),
        Rule::Deltas { rho: 0.95, rate: 1.0, epsilon: 1e-6 },
        Rule::Sign { beta1: 0.9, beta2: 0.99, rate: 0.1 },
    ]
}

#[test]
fn every_rule_moves_as_the_reference_does() {
    let mut gpu = Gpu::new("update");
    let layout = Layout::contiguous(&[N]);
    for rule in rules() {
        for adjust in ADJUSTS {
            let mut weights = Buffer::from_slice(&numbers(N, 27));
            let mut states = [0; 3].map(|_| Buffer::from_slice(&[0f32; N]));
            let (name, _, order) = kernel(rule);
            let (w, on_gpu) = (gpu.put(weights.as_slice::<f32>()), [0; 3].map(|_| gpu.put(&[0f32; N])));
            for step in 0..3 {
                let gradient = Buffer::from_slice(&numbers(N, 28 + step));
                let mut used = states.iter_mut().take(rule.states());
                let moving = Moving {
                    weights: &mut weights,
                    gradient: View::new(&gradient, &layout),
                    states: [used.next(), used.next(), used.next()],
                    adjust,
                    rule,
                };
                REFERENCE.update(&mut [moving]).unwrap();
                let g = gpu.put(gradient.as_slice::<f32>());
                let mut args: Vec<Arg> = vec![w.into(), g.into()];
                args.extend(order.iter().map(|&state| Arg::from(on_gpu[state])));
                args.push(Arg::from(N as u32));
                let Adjust { l1, l2, scale, limit, decay, keep } = adjust;
                args.push([l1, l2, scale, limit, decay, keep].map(|x| x as f32).into());
                args.extend(kernel(rule).1);
                gpu.each(name, N, &args);
            }
            assert_close(&format!("{rule:?}"), &gpu.get(w, N), weights.as_slice(), 1e-5);
            for (address, state) in on_gpu.into_iter().zip(&states).take(rule.states()) {
                assert_close(&format!("states of {rule:?}"), &gpu.get(address, N), state.as_slice(), 1e-5);
            }
        }
    }
}
