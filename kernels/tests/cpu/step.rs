//! Optimizer steps.

use gradus_kernels::backend::{Adjust, Moving, Rule};
use gradus_kernels::cpu::CPU;
use gradus_kernels::{Backend, Buffer, DType, Layout, REFERENCE, Unary, View};

use crate::common::*;

/// One of every rule, with all of its flags.
fn rules() -> Vec<Rule> {
    let mut rules = vec![
        Rule::Descend { rate: 0.1 },
        Rule::Infinity { beta1: 0.9, beta2: 0.99, rate: 0.1, inside: 1e-3, outside: 0.5 },
        Rule::Deltas { rho: 0.95, rate: 0.5, epsilon: 0.1 },
        Rule::Sign { beta1: 0.9, beta2: 0.99, rate: 0.1 },
    ];
    for flag in [false, true] {
        rules.push(Rule::Momentum { momentum: 0.9, inner: 0.1, outer: 0.7, nesterov: flag });
        rules.push(Rule::Moments {
            beta1: 0.9,
            beta2: 0.99,
            rate_m: 0.1,
            rate_g: 0.05,
            root: 1.5,
            epsilon: 0.5,
            largest: flag,
        });
        for momentum in [0.0, 0.9] {
            let (keep, add, inner, outer) = (0.9, 0.2, 0.1, 0.5);
            // So much below the root that it stays above 0 without the mean's square.
            rules.push(Rule::Squares { keep, add, centered: flag, momentum, inner, outer, inside: 40.0, outside: 0.1 });
        }
    }
    rules
}

#[test]
fn optimizer_steps_agree() {
    let adjust = Adjust { l1: 0.3, l2: 0.2, scale: 0.5, limit: 0.4, decay: 0.1, keep: 0.9 };
    for dtype in FLOATS {
        for shape in SHAPES {
            for (name, layout) in layouts(shape) {
                let gradient = values(dtype, &layout, 14);
                let gradient = View::new(&gradient, &layout);
                let flat = Layout::contiguous(shape);
                let [w, m, v] = [15, 16, 17].map(|seed| values(dtype, &flat, seed));
                let squared = |x: &Buffer| REFERENCE.unary(Unary::Square, View::new(x, &flat)).unwrap();
                for rule in rules() {
                    // Where a rule takes a root, the state is a mean of squares.
                    let states = match rule {
                        Rule::Squares { .. } => [squared(&v), m.clone(), w.clone()],
                        Rule::Deltas { .. } => [squared(&v), squared(&m), w.clone()],
                        _ => [m.clone(), squared(&v), squared(&w)],
                    };
                    for adjust in [Adjust::NOTHING, adjust] {
                        let run = |backend: &dyn Backend| {
                            let (mut weights, mut states) = (w.clone(), states.clone());
                            let mut each = states.each_mut().map(Some);
                            each[rule.states()..].fill_with(|| None);
                            backend
                                .update(&mut [Moving { weights: &mut weights, gradient, states: each, adjust, rule }])
                                .unwrap();
                            let [a, b, c] = states;
                            [weights, a, b, c]
                        };
                        let what = || format!("a step of {dtype} {shape:?} {name}, {rule:?}, {adjust:?}");
                        for (got, want) in run(&CPU).iter().zip(&run(&REFERENCE)) {
                            assert_close(got, want, Bound::ulps(4.0).or(1e-6), what);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn what_is_remembered_of_weights_without_gradients_ends_at_zero() {
    let flat = Layout::contiguous(&[40]);
    let zeros = Buffer::full(DType::F32, 40, 0.0.into());
    for rule in rules().into_iter().filter(|rule| rule.states() > 0) {
        let mut weights = zeros.clone();
        let mut states: [Buffer; 3] = std::array::from_fn(|_| Buffer::full(DType::F32, 40, 1e-37.into()));
        for _ in 0..400 {
            let mut each = states.each_mut().map(Some);
            each[rule.states()..].fill_with(|| None);
            let gradient = View::new(&zeros, &flat);
            let moving = Moving { weights: &mut weights, gradient, states: each, adjust: Adjust::NOTHING, rule };
            CPU.update(&mut [moving]).unwrap();
            let remembered = states[..rule.states()].iter().flat_map(|state| state.as_slice::<f32>());
            assert!(remembered.clone().all(|x| *x == 0.0 || x.is_normal()), "{rule:?}");
        }
    }
}
