//! A launch: a grid of blocks on all cores, with the same result each time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::Counters;
use crate::block::Block;
use crate::fault::{Fault, FaultKind, Place};
use crate::memory::Memory;
use crate::parse::{Kernel, Module};

/// What a block may be, as on every GPU since compute capability 3.0, and how long it may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most threads of a block.
    pub threads: u32,
    /// The most threads of a block in x, y and z.
    pub block: [u32; 3],
    /// The most blocks in x, y and z.
    pub grid: [u32; 3],
    /// The most bytes of shared memory.
    pub shared: usize,
    /// The most instructions that the warps of a block execute together.
    pub steps: u64,
    /// How many cores are used; 0 for all.
    pub cores: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            threads: 1024,
            block: [1024, 1024, 64],
            grid: [i32::MAX as u32, 65535, 65535],
            shared: 99 << 10,
            steps: 1 << 32,
            cores: 0,
        }
    }
}

/// A kernel with all that it is started with.
#[derive(Clone, Debug)]
pub struct Launch<'a> {
    /// Where the kernel stands.
    pub module: &'a Module,
    /// The kernel.
    pub kernel: &'a Kernel,
    /// The addresses that [`Module::place`] gave.
    pub variables: &'a [u64],
    /// How many blocks there are.
    pub grid: [u32; 3],
    /// How many threads a block has.
    pub block: [u32; 3],
    /// Shared memory besides what the kernel declares, in bytes.
    pub dynamic_shared: usize,
    /// The parameters, each at its offset.
    pub params: Vec<u8>,
    /// What is allowed.
    pub limits: Limits,
}

impl<'a> Launch<'a> {
    /// A kernel of a module over so many blocks of so many threads, with one argument for each parameter.
    ///
    /// # Errors
    /// If the number or the sizes of the arguments are not those of the kernel's parameters.
    pub fn new(
        module: &'a Module,
        kernel: &'a Kernel,
        grid: [u32; 3],
        block: [u32; 3],
        args: &[&[u8]],
    ) -> Result<Self, Fault> {
        let refuse = |text: String| refusal(kernel, FaultKind::Launch(text));
        if args.len() != kernel.params.len() {
            return Err(refuse(format!("it takes {} arguments, not {}", kernel.params.len(), args.len())));
        }
        let mut params = vec![0; kernel.params.last().map_or(0, |last| last.offset + last.size)];
        for (param, arg) in kernel.params.iter().zip(args) {
            if arg.len() != param.size {
                let (name, size) = (&param.name, param.size);
                return Err(refuse(format!("{name} takes {size} bytes, not {}", arg.len())));
            }
            params[param.offset..][..arg.len()].copy_from_slice(arg);
        }
        Ok(Self { module, kernel, variables: &[], grid, block, dynamic_shared: 0, params, limits: Limits::default() })
    }

    /// Runs all blocks, and counts.
    ///
    /// Blocks share the cores, yet the result does not depend on who is first: global atomics of a block wait until all
    /// blocks before it have ended, so even sums of floats are added in the order of blocks. Blocks that touch the same bytes in
    /// another way are a race, and a fault.
    ///
    /// # Errors
    /// The first thing that goes wrong in the block with the lowest number. What was written stays written.
    pub fn run(&self, memory: &mut Memory) -> Result<Counters, Fault> {
        self.check()?;
        memory.begin_launch();
        let memory = &*memory;
        let blocks = self.grid.iter().product::<u32>();
        let cores = match self.limits.cores {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            cores => cores,
        };
        let turns = Turns::default();
        let next = AtomicU32::new(0);
        let total: Mutex<Result<Counters, (u32, Fault)>> = Mutex::new(Ok(Counters::default()));
        let work = || {
            let mut warps = Vec::new();
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= blocks || turns.is_over(number) {
                    return;
                }
                let result = Block::new(self, memory, &turns, number).run(&mut warps);
                turns.end(number, result.is_err());
                let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                match (result, &mut *total) {
                    (Ok(counters), Ok(sum)) => *sum += counters,
                    (Err(fault), Ok(_)) => *total = Err((number, fault)),
                    (Err(fault), Err((first, kept))) if number < *first => (*first, *kept) = (number, fault),
                    _ => {}
                }
            }
        };
        let helpers = cores.min(blocks as usize).saturating_sub(1);
        if helpers == 0 {
            work();
        } else {
            std::thread::scope(|scope| {
                (0..helpers).for_each(|_| drop(scope.spawn(work)));
                work();
            });
        }
        total.into_inner().unwrap_or_else(PoisonError::into_inner).map_err(|(_, fault)| fault)
    }

    /// The bytes of shared memory of a block.
    pub(crate) fn shared_bytes(&self) -> usize {
        match self.dynamic_shared {
            0 => self.kernel.shared_bytes,
            dynamic => self.kernel.dynamic_shared + dynamic,
        }
    }

    fn check(&self) -> Result<(), Fault> {
        let Limits { threads, block, grid, shared, .. } = self.limits;
        let size = |sizes: [u32; 3]| sizes.iter().map(|&size| u64::from(size)).product::<u64>();
        let beyond = |sizes: [u32; 3], most: [u32; 3]| (0..3).any(|axis| !(1..=most[axis]).contains(&sizes[axis]));
        let most = self.kernel.max_threads.map_or(u64::from(threads), size);
        let reason = if beyond(self.grid, grid) {
            format!("a grid of {:?} blocks is not within 1 to {grid:?}", self.grid)
        } else if size(self.grid) > i32::MAX as u64 {
            format!("a grid of {:?} blocks has more than {} of them", self.grid, i32::MAX)
        } else if beyond(self.block, block) || size(self.block) > u64::from(threads) {
            format!("a block of {:?} threads is not within 1 to {block:?}, {threads} in all", self.block)
        } else if size(self.block) > most {
            format!("a block of {:?} threads is more than the {most} that the kernel was compiled for", self.block)
        } else if self.shared_bytes() > shared {
            format!("{} bytes of shared memory are more than {shared}", self.shared_bytes())
        } else {
            return Ok(());
        };
        Err(refusal(self.kernel, FaultKind::Launch(reason)))
    }
}

fn refusal(kernel: &Kernel, kind: FaultKind) -> Fault {
    Fault { kind, place: Box::new(Place { kernel: kernel.name.clone(), ..Place::default() }) }
}

/// Which blocks have ended, so that global atomics happen in the order of blocks.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<Ended>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Ended {
    /// All blocks below have ended.
    below: u32,
    /// Blocks that ended before one below them.
    above: BTreeSet<u32>,
    /// The lowest block with a fault; those after it need not begin.
    faulty: Option<u32>,
}

impl Turns {
    /// Waits until all blocks before this one have ended. Blocks begin in order, so the lowest that runs never waits.
    pub fn wait(&self, number: u32) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.below < number {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end(&self, number: u32, is_fault: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.above.insert(number);
        while state.above.first() == Some(&state.below) {
            state.above.pop_first();
            state.below += 1;
        }
        if is_fault {
            state.faulty = Some(state.faulty.map_or(number, |first| first.min(number)));
        }
        self.changed.notify_all();
    }

    fn is_over(&self, number: u32) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.faulty.is_some_and(|first| first < number)
    }
}
