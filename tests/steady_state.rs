//! After its first steps, training takes no memory of 4 KiB or more from the system: buffers come from the pool.

mod nets;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use gradus::core::RandomKey;
use gradus::nn::data::{Batch, Loader, Scale};
use gradus::nn::optim::{Adam, AdamOptions, Optimizer};
use gradus::nn::train::Trainer;

/// The system's allocator, counting what is large.
struct Counting;

static LARGE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGE.fetch_add(usize::from(layout.size() >= 4096), Relaxed);
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: passed on.
        unsafe { System.dealloc(start, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The fewest large pieces that 40 steps take after 120 have been made, of three times 40: on two threads it takes a while until
/// every moment at which both need a buffer has come up, longer on a machine that does other things.
fn large_in_steady_state(name: &str, optimizer: Option<Box<dyn Optimizer>>) -> usize {
    let recipe = nets::recipe(name);
    let data = nets::clothes().subset(0..240 * recipe.train.batch).unwrap();
    let loader =
        Loader::new(&data, recipe.train.batch, Some(RandomKey::new(1)), Scale::Divide(recipe.data.scale)).unwrap();
    let batches: Vec<Batch> = loader.epoch(1).collect::<Result<_, _>>().unwrap();
    let model = nets::model(&recipe);
    let mut trainer = match optimizer {
        Some(optimizer) => {
            let train = &recipe.train;
            Trainer::new(&model, train.loss.clone(), train.metrics.clone(), optimizer, RandomKey::new(2))
        }
        None => Trainer::of(&recipe, &model),
    };
    let (first, rest) = batches.split_at(120);
    first.iter().for_each(|batch| _ = trainer.step(batch).unwrap());
    let mut taken = |steps: &[Batch]| {
        let before = LARGE.load(Relaxed);
        steps.iter().for_each(|batch| _ = trainer.step(batch).unwrap());
        LARGE.load(Relaxed) - before
    };
    rest.chunks(40).map(&mut taken).min().unwrap_or(usize::MAX)
}

/// One test, so that no other allocates meanwhile.
#[test]
fn steps_take_no_large_memory_from_the_system() {
    assert!(vec![0u8; 5000].len() < LARGE.load(Relaxed) * 5001, "large pieces are counted");
    for name in ["fashion-bn", "mnist", "digits"] {
        assert_eq!(large_in_steady_state(name, None), 0, "{name}");
    }
    let adam = Box::new(Adam::new(AdamOptions::keras()));
    assert_eq!(large_in_steady_state("fashion-bn", Some(adam)), 0, "fashion-bn with Adam");
}
