//! What holds for every optimizer.

use gradus_core::Tensor;

use super::*;

const ORACLE: [f32; 3] = [0.5, -0.25, 0.1];

/// Where a single weight of 1 goes with the gradients of labs' three-step oracle.
fn oracle(optimizer: &mut dyn Optimizer) -> f32 {
    let param = Param::weight("w", Tensor::scalar(1f32));
    ORACLE.iter().for_each(|&gradient| step(optimizer, &param, gradient));
    param.value().to_vec::<f32>().unwrap()[0]
}

fn step(optimizer: &mut dyn Optimizer, param: &Param, gradient: f32) {
    let loss = param.value().mul(&Tensor::scalar(gradient)).unwrap();
    optimizer.step(std::slice::from_ref(param), loss.backward().unwrap()).unwrap();
}

fn heavy(nesterov: bool) -> Sgd {
    Sgd::new(SgdOptions { learning_rate: 1e-3, momentum: 0.9, nesterov, ..SgdOptions::keras() })
}

/// What Keras 3.15.1 gives, rounded to f32; one unit in the last place is left for the order of operations.
#[test]
fn three_steps_end_where_keras_ends() {
    let near = |got: f32, keras: f64| assert!((f64::from(got) - keras).abs() <= 6.1e-8, "{got} is not {keras}");
    near(oracle(&mut heavy(false)), 0.999019980430603);
    near(oracle(&mut heavy(true)), 0.9987679719924927);
    near(oracle(&mut Adam::new(AdamOptions::keras())), 0.9984184503555298);
    near(oracle(&mut Nadam::new(NadamOptions::keras())), 0.9991112351417542);
    near(oracle(&mut Adamax::new(AdamaxOptions::keras())), 0.9985821843147278);
    near(oracle(&mut Adagrad::new(AdagradOptions::keras())), 0.9993903040885925);
    near(oracle(&mut RmsProp::new(RmsPropOptions::keras())), 0.9977021813392639);
}

#[test]
fn an_optimizer_goes_on_from_its_saved_state() {
    let makers: [fn() -> Box<dyn Optimizer>; 4] = [
        || Box::new(heavy(true)),
        || Box::new(Adam::new(AdamOptions { amsgrad: true, ..AdamOptions::keras() })),
        || Box::new(Nadam::new(NadamOptions::torch())),
        || Box::new(Adagrad::new(AdagradOptions::keras())),
    ];
    for make in makers {
        let param = Param::weight("w", Tensor::scalar(1f32));
        let (mut first, mut second) = (make(), make());
        step(&mut *first, &param, 0.5);
        second.load_state(first.state()).unwrap();
        step(&mut *second, &param, -0.25);
        step(&mut *second, &param, 0.1);
        assert_eq!(param.value().to_vec::<f32>().unwrap(), [oracle(&mut *make())]);
    }
}

#[test]
fn a_missing_gradient_is_an_error_and_nothing_moves() {
    let used = Param::weight("used", Tensor::scalar(1f32));
    let unused = Param::weight("dense.bias", Tensor::scalar(1f32));
    let params = [used.clone(), unused.clone()];
    let gradients = || used.value().square().unwrap().backward().unwrap();
    let error = heavy(false).step(&params, gradients()).unwrap_err().to_string();
    assert!(error.starts_with("no gradient for parameter \"dense.bias\""), "{error}");
    assert_eq!(used.value().item().unwrap(), 1.0);
    unused.set_trainable(false);
    heavy(false).step(&params, gradients()).unwrap();
    assert!(used.value().item().unwrap() < 1.0);
}

#[test]
fn two_parameters_of_one_name_are_refused() {
    let params = [Param::weight("w", Tensor::scalar(1f32)), Param::weight("w", Tensor::scalar(1f32))];
    let loss = params[0].value().mul(&params[1].value()).unwrap();
    let error = heavy(false).step(&params, loss.backward().unwrap()).unwrap_err().to_string();
    assert_eq!(error, "two parameters are called \"w\"; an optimizer tells them apart by name");
}

#[test]
fn a_state_of_another_optimizer_is_refused() {
    let state = vec![("w/velocity".to_string(), Tensor::scalar(1f32))];
    let error = Adam::new(AdamOptions::keras()).load_state(state).unwrap_err().to_string();
    assert_eq!(error, "optimizer state \"w/velocity\": not one of step, PARAMETER/m, PARAMETER/v");
}

/// Everything at once that an update remembers.
fn busy() -> Update {
    let around = Around {
        schedule: Schedule::Plateau(Plateau { patience: 1, cooldown: 1, ..Plateau::default() }),
        warmup: Warmup { steps: 3, from: 1e-3 },
        clip: Clip::GlobalNorm(0.8),
        accumulate: 2,
        average: Some(Average { momentum: 0.9, overwrite_every: 2 }),
        groups: vec![Group { pattern: "*.bias".into(), learning_rate_scale: 0.5 }],
    };
    Update::new(Box::new(Adam::new(AdamOptions { learning_rate: 0.1, ..AdamOptions::keras() })), around)
}

fn ramp(shape: &[usize], seed: usize) -> Tensor {
    let values: Vec<f32> =
        (0..shape.iter().product()).map(|i: usize| ((i * 7 + seed * 5) % 13) as f32 / 6.0 - 1.0).collect();
    Tensor::from_slice(&values, shape).unwrap()
}

fn layer() -> [Param; 2] {
    let params = [Param::weight("dense.kernel", ramp(&[3, 2], 1)), Param::weight("dense.bias", ramp(&[2], 2))];
    params[0].set_regularizer(Some(Regularizer::L1L2(0.1, 0.2)));
    params[0].set_constraint(Some(Constraint::MaxNorm(1.5)));
    params
}

/// One batch, the number of which decides about the gradients, and every third time the end of an epoch.
fn batch(update: &mut Update, params: &[Param], number: usize) {
    let part =
        |(i, param): (usize, &Param)| param.value().mul(&ramp(&param.shape(), number + i)).unwrap().sum(&[]).unwrap();
    let parts: Vec<Tensor> = params.iter().enumerate().map(part).collect();
    update.apply(params, parts[0].add(&parts[1]).unwrap().backward().unwrap()).unwrap();
    if number % 3 == 2 {
        update.epoch_end(&[("loss".into(), 0.0), ("val_loss".into(), [1.0, 2.0, 0.5, 3.0][number / 3 % 4])]).unwrap();
    }
}

#[test]
fn training_goes_on_from_any_saved_state_as_if_it_had_not_stopped() {
    let values = |params: &[Param; 2]| params.each_ref().map(|param| param.value().to_vec::<f32>().unwrap());
    let (whole, mut update) = (layer(), busy());
    (0..14).for_each(|number| batch(&mut update, &whole, number));
    for stop in 1..14 {
        let (params, mut before) = (layer(), busy());
        (0..stop).for_each(|number| batch(&mut before, &params, number));
        let mut after = busy();
        after.load_state(before.state()).unwrap();
        (stop..14).for_each(|number| batch(&mut after, &params, number));
        assert_eq!(values(&params), values(&whole), "stopped after {stop}");
        assert_eq!((after.steps(), after.learning_rate()), (update.steps(), update.learning_rate()));
    }
    assert!(update.learning_rate() < 0.1, "the plateau was met");
}

#[test]
fn a_state_that_is_none_is_refused() {
    let error = busy().load_state(Vec::new()).unwrap_err().to_string();
    assert_eq!(error, "state of training: \"plateau/best\" is missing");
    let error = busy().load_state(vec![("lr".into(), Tensor::scalar(1f32))]).unwrap_err().to_string();
    assert_eq!(error, "state of training: \"lr\" is not known");
}

/// The slopes of penalties are added in the pass that moves the weights; here the loss has them itself.
#[test]
fn a_penalty_in_the_pass_is_one_in_the_graph() {
    let ends = [false, true].map(|in_graph| {
        let params = layer();
        let penalty = params[0].regularizer().unwrap();
        if in_graph {
            params[0].set_regularizer(None);
        }
        let around = Around { clip: Clip::Value(0.5), ..Around::default() };
        let mut update = Update::new(Box::new(heavy(true)), around);
        for _ in 0..5 {
            let mut loss = params[0].value().mul(&ramp(&[3, 2], 4)).unwrap().sum(&[]).unwrap();
            if in_graph {
                loss = loss.add(&penalty.penalty(&params[0].value()).unwrap()).unwrap();
            }
            update.apply(&params[..1], loss.backward().unwrap()).unwrap();
        }
        params[0].value().to_f64_vec().unwrap()
    });
    assert!(ends[0].iter().zip(&ends[1]).all(|(a, b)| (a - b).abs() < 1e-6), "{ends:?}");
}

#[test]
fn groups_have_steps_of_their_own() {
    let params = [Param::weight("a.kernel", Tensor::scalar(0f64)), Param::weight("b.kernel", Tensor::scalar(0f64))];
    let group = |pattern: &str, learning_rate_scale| Group { pattern: pattern.into(), learning_rate_scale };
    let moved = |groups: Vec<Group>| {
        let mut update = Update::new(Box::new(Sgd::new(SgdOptions::keras())), Around { groups, ..Around::default() });
        let loss = params[0].value().add(&params[1].value()).unwrap();
        let before = params.each_ref().map(|param| param.value().item().unwrap());
        update.apply(&params, loss.backward()?)?;
        Ok::<_, Error>([0, 1].map(|i| ((params[i].value().item().unwrap() - before[i]) * -1e6).round() / 1e4))
    };
    assert_eq!(moved(vec![group("b*", 0.1)]).unwrap(), [1.0, 0.1]);
    assert_eq!(moved(vec![group("?.ker*el", 0.0), group("a*", 5.0)]).unwrap(), [0.0, 0.0]);
    let error = moved(vec![group("c.*", 0.1)]).unwrap_err().to_string();
    assert_eq!(error, "optimizer.group: \"c.*\" matches no parameter; there are a.kernel, b.kernel");
}

#[test]
fn a_plateau_says_which_numbers_there_are() {
    let error = busy().epoch_end(&[("loss".into(), 1.0)]).unwrap_err().to_string();
    assert_eq!(error, "the plateau schedule watches \"val_loss\", which no epoch has; there are loss");
}
