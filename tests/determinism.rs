//! The same seed gives the same bits: at any number of threads, and in every run.

mod nets;

use gradus::core::RandomKey;
use gradus::nn::data::{Dataset, Loader, Scale};
use gradus::nn::spec::Recipe;
use gradus::nn::train::{Evaluation, Trainer};

/// Trains two epochs with this many threads: the hash of the weights, and the last epoch's numbers.
fn train(recipe: &Recipe, data: &Dataset, threads: usize) -> (String, Evaluation) {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let model = nets::model(recipe);
        let key = RandomKey::new(recipe.seed).named("shuffle");
        let loader = Loader::new(data, recipe.train.batch, Some(key), Scale::Divide(recipe.data.scale)).unwrap();
        let history = Trainer::of(recipe, &model).fit(&loader, None, 2, &mut []).unwrap();
        (model.weights_sha256().unwrap(), history.epochs[1].train.clone())
    })
}

/// A batch norm net, on large batches, so that kernels do split their work.
#[test]
fn threads_and_runs_change_nothing() {
    let mut recipe = nets::recipe("fashion-bn");
    recipe.train.batch = 512;
    let data = nets::clothes().subset(0..4000).unwrap();
    let one = train(&recipe, &data, 1);
    for threads in [1, 2, 3] {
        assert_eq!(train(&recipe, &data, threads), one, "with {threads} threads");
    }
    recipe.seed += 1;
    assert_ne!(train(&recipe, &data, 1).0, one.0, "another seed must give other weights");
}

/// A net with dropout, whose random numbers must not depend on threads either.
#[test]
fn dropout_is_the_same_at_any_number_of_threads() {
    let recipe = nets::recipe("digits");
    let data = nets::clothes().subset(0..1000).unwrap();
    assert_eq!(train(&recipe, &data, 1), train(&recipe, &data, 3));
}
