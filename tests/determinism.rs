//! The same seed gives the same bits: at any number of threads, and in every run.

mod nets;

use gradus::core::RandomKey;
use gradus::nn::data::{Dataset, Loader, Scale};
use gradus::nn::spec::Recipe;
use gradus::nn::train::{Evaluation, Trainer};

/// Trains two epochs with this many threads: the hash of the weights, and the last epoch's numbers. There may be more
/// threads than cores; how products are cut among them is what a result must not show.
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

/// Every recipe, with its own batch size; one has dropout, whose random numbers must not depend on threads either.
#[test]
fn every_recipe_gives_the_same_weights_at_any_number_of_threads() {
    let recipes = std::fs::read_dir(nets::file("cli/recipes")).unwrap();
    let mut names: Vec<String> =
        recipes.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_string()).collect();
    names.sort();
    assert!(names.len() >= 4, "{names:?}");
    let data = nets::clothes().subset(0..1000).unwrap();
    for name in names {
        let recipe = nets::recipe(&name);
        let one = train(&recipe, &data, 1);
        for threads in [2, 3, 7] {
            assert_eq!(train(&recipe, &data, threads), one, "{name} with {threads} threads");
        }
    }
}
