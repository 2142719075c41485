//! A block: its warps run one after another from barrier to barrier.

use crate::counters::{Counters, Memo, lanes};
use crate::execute::vector::vectorised;
use crate::fault::{Fault, FaultKind, Place};
use crate::isa::{Instruction, Op};
use crate::launch::{Launch, Turns};
use crate::memory::{Allocation, Memory};
use crate::shared::Shared;
use crate::warp::{ALL, Geometry, Group, Warp};

/// A fault in a lane; where its instruction stands is added later.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub kind: FaultKind,
    pub lane: usize,
}

/// What an instruction returns.
pub(crate) type Done = Result<(), Box<Wrong>>;

/// A fault of this kind in this lane.
pub(crate) fn wrong(lane: usize, kind: FaultKind) -> Box<Wrong> {
    Box::new(Wrong { kind, lane })
}

/// A block that runs.
pub(crate) struct Block<'a> {
    pub launch: &'a Launch<'a>,
    pub memory: &'a Memory,
    pub number: u32,
    pub shared: Shared,
    /// How many barriers have been passed, from 1.
    pub epoch: u32,
    pub counters: Counters,
    /// How shared memory served what was asked for last.
    pub banks: Memo,
    /// The allocation that was used last.
    pub last: Option<&'a Allocation>,
    turns: &'a Turns,
    has_turn: bool,
    index: [u32; 3],
}

vectorised! {
/// Runs a warp until all its lanes have ended or wait at a barrier of the block.
fn run_warp(block: &mut Block<'_>, warp: &mut Warp) -> Result<(), Fault> {
    block.run_groups(warp)
}
}

impl<'a> Block<'a> {
    pub fn new(launch: &'a Launch<'a>, memory: &'a Memory, turns: &'a Turns, number: u32) -> Self {
        let [x, y, _] = launch.grid;
        Self {
            launch,
            memory,
            number,
            shared: Shared::new(launch.shared_bytes()),
            epoch: 1,
            counters: Counters::default(),
            banks: Memo::new(),
            last: None,
            turns,
            has_turn: false,
            index: [number % x, number / x % y, number / x / y],
        }
    }

    /// Runs to the end, in warps whose memory is used again.
    pub fn run(mut self, warps: &mut Vec<Warp>) -> Result<Counters, Fault> {
        let Launch { kernel, grid, block, variables, .. } = *self.launch;
        let geometry = Geometry { grid, block_size: block, block: self.index, variables };
        let threads = block.iter().product::<u32>();
        warps.resize_with(threads.div_ceil(32) as usize, Warp::default);
        (0..).zip(&mut *warps).for_each(|(number, warp)| warp.begin(kernel, geometry, number));
        loop {
            for warp in &mut *warps {
                run_warp(&mut self, warp)?;
            }
            if warps.iter().all(|warp| warp.waiting.is_empty()) {
                return Ok(self.counters);
            }
            self.pass_barrier(warps)?;
        }
    }

    /// Waits until global atomics of this block are next.
    pub fn take_turn(&mut self) {
        if !self.has_turn {
            self.turns.wait(self.number);
            self.has_turn = true;
        }
    }

    /// Of several groups of lanes the one furthest behind runs first, so that lanes meet again where their ways meet, without
    /// any knowledge of the flow of control.
    #[inline(always)]
    fn run_groups(&mut self, warp: &mut Warp) -> Result<(), Fault> {
        let code: &'a [Instruction] = &self.launch.kernel.code;
        while let Some(&Group { mut pc, mask: here }) = warp.running.first() {
            let next = warp.running.get(1).map_or(u32::MAX, |group| group.pc);
            while pc < next {
                let instruction = &code[pc as usize];
                let mask = match instruction.guard {
                    None => here,
                    Some((number, true)) => here & warp.predicate(crate::isa::Operand::Not(number)),
                    Some((number, false)) => {
                        let register = crate::isa::Register::Predicate(number);
                        here & warp.predicate(crate::isa::Operand::Register(register))
                    }
                };
                self.counters.instructions += 1;
                self.counters.lane_instructions += u64::from(mask.count_ones());
                if self.counters.instructions >= self.launch.limits.steps {
                    let kind = FaultKind::StepLimit { steps: self.counters.instructions };
                    return Err(self.fault(warp, pc, *wrong(here.trailing_zeros() as usize, kind)));
                }
                let leaves = match instruction.op {
                    Op::Branch { target } if mask == here => {
                        pc = target;
                        continue;
                    }
                    Op::Branch { target } => {
                        if mask != 0 {
                            self.counters.divergent_branches += 1;
                            warp.running.push(Group { pc: target, mask });
                        }
                        mask
                    }
                    Op::Exit => mask,
                    Op::Barrier => {
                        if mask != 0 {
                            warp.waiting.push(Group { pc, mask });
                        }
                        mask
                    }
                    _ if mask == 0 => 0,
                    ref op => {
                        self.execute(warp, op, instruction.line, mask).map_err(|error| self.fault(warp, pc, *error))?;
                        0
                    }
                };
                pc += 1;
                if leaves != 0 {
                    warp.running[0] = Group { pc, mask: here & !leaves };
                    break;
                }
            }
            if warp.running[0].mask == here {
                warp.running[0].pc = pc;
            }
            warp.running.retain(|group| group.mask != 0);
            warp.merge();
        }
        Ok(())
    }

    /// Lets the threads go on if all of them wait at the same barrier.
    fn pass_barrier(&mut self, warps: &mut [Warp]) -> Result<(), Fault> {
        let first = warps.iter().position(|warp| !warp.waiting.is_empty()).unwrap_or(0);
        let Group { pc, mask } = warps[first].waiting[0];
        let code = &self.launch.kernel.code;
        for warp in warps.iter() {
            let arrived: u32 = warp.waiting.iter().filter(|group| group.pc == pc).map(|group| group.mask).sum();
            let Some(missing) = lanes(warp.lanes & !arrived).next() else { continue };
            let elsewhere = warp.waiting.iter().find(|group| group.mask >> missing & 1 == 1);
            let other = match elsewhere {
                Some(group) => format!("waits at another one, in line {}", code[group.pc as usize].line),
                None => "has ended".to_owned(),
            };
            let other_thread = warp.first_thread + missing as u32;
            let kind = FaultKind::DivergentBarrier { other_thread, other };
            return Err(self.fault(&warps[first], pc, *wrong(mask.trailing_zeros() as usize, kind)));
        }
        for warp in warps {
            warp.running.clear();
            warp.running.push(Group { pc: pc + 1, mask: warp.lanes });
            warp.waiting.clear();
        }
        self.epoch += 1;
        self.counters.barriers += 1;
        Ok(())
    }

    /// The lanes that `members` names, which must all be here.
    pub fn members(&self, what: &'static str, members: &[u32; 32], here: u32) -> Result<u32, Box<Wrong>> {
        for lane in lanes(here) {
            let members = members[lane];
            if members & !here != 0 || members >> lane & 1 == 0 {
                return Err(wrong(lane, FaultKind::DivergentWarp { what, members, here }));
            }
        }
        Ok(members[here.trailing_zeros() as usize])
    }

    /// Fails unless the whole warp is here.
    pub fn whole_warp(&self, what: &'static str, here: u32) -> Done {
        self.members(what, &[ALL; 32], here).map(drop)
    }

    fn fault(&self, warp: &Warp, pc: u32, error: Wrong) -> Fault {
        let Launch { kernel, module, .. } = self.launch;
        let Instruction { line, source, .. } = kernel.code[pc as usize];
        let file = |number: u32| module.files.get(&number).cloned().unwrap_or_else(|| format!("file {number}"));
        let place = Place {
            kernel: kernel.name.clone(),
            line,
            text: module.line(line).to_owned(),
            source: source.map(|(number, line)| (file(number), line)),
            block: self.index,
            thread: warp.thread(error.lane),
        };
        Fault { kind: error.kind, place: Box::new(place) }
    }
}
