//! The same seed gives the same bits: at any number of threads, and in every run.

mod nets;

use gradus::nn::data::Dataset;
use gradus::nn::models::Model;
use gradus::nn::spec::Recipe;
use gradus::nn::train::{Evaluation, Parts, Trainer, training_batches};

/// Trains two epochs with this many threads: the hash of the weights, and the last epoch's numbers; or the error, where the loss
/// runs away. There may be more threads than cores; how products are cut among them is what a result must not show.
fn train(recipe: &Recipe, data: &Dataset, threads: usize) -> Result<(String, Evaluation), String> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let model = Model::build(recipe, data.sample_shape()).unwrap();
        let loader = training_batches(recipe, data).unwrap();
        let history = Trainer::of(recipe, &model).fit(&loader, None, 2, &mut []).map_err(|error| error.to_string())?;
        Ok((model.weights_sha256().unwrap(), history.epochs[1].train.clone()))
    })
}

/// A batch norm net, on large batches, so that kernels do split their work.
#[test]
fn threads_and_runs_change_nothing() {
    let mut recipe = nets::recipe("fashion-bn");
    recipe.train.batch = 512;
    let data = nets::clothes().subset(0..4000).unwrap();
    let one = train(&recipe, &data, 1).unwrap();
    for threads in [1, 2, 3] {
        assert_eq!(train(&recipe, &data, threads).as_ref(), Ok(&one), "with {threads} threads");
    }
    recipe.seed += 1;
    assert_ne!(train(&recipe, &data, 1).unwrap().0, one.0, "another seed must give other weights");
}

/// Multiply-adds that a recipe's samples may cost here, for one epoch.
const BUDGET: usize = 4_000_000_000;

/// Every recipe, with its own batch size and classes; some have dropout, whose random numbers must not depend on threads either,
/// and one is there to run away. Where a sample is much work there are fewer of them, and images are 32 x 32 at most.
#[test]
fn every_recipe_gives_the_same_weights_at_any_number_of_threads() {
    let clothes = [nets::named_clothes("train"), nets::named_clothes("t10k")];
    for name in nets::recipe_names() {
        let mut recipe = nets::whole_recipe(&name);
        recipe.data.images.size = recipe.data.images.size.map(|size| size.map(|side| side.min(32)));
        let [train_part, test_part] = clothes.clone();
        let data = Parts::cut(&recipe, train_part, Some(test_part)).unwrap().train;
        let cost = Model::build(&recipe, data.sample_shape()).unwrap().cost().total();
        let data = data.subset(0..data.len().min(BUDGET / cost).clamp(40, 1000)).unwrap();
        let one = train(&recipe, &data, 1);
        assert!(one.is_ok() || name == "deep-relu", "{name}: {one:?}");
        for threads in [2, 3, 7] {
            assert_eq!(train(&recipe, &data, threads), one, "{name} with {threads} threads");
        }
    }
}
