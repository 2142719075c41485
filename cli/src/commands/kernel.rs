//! `gradus kernel`: which operations there are, how fast they are, and how exact.

mod arguments;
mod emulate;
mod reference;
mod scaling;
mod source;

use std::time::Duration;

use nn::profile::{Bench, Measurement, Operation, Variant, operations, show, to_shape};
use serde_json::json;

use super::device::thread_counts;
use crate::args::{KernelArgs, KernelBench, KernelCommand, KernelVerify, Variants};
use crate::failure::{Failure, Kind, did_you_mean};
use crate::report::table::Table;
use crate::terminal::{Format, Terminal};

/// How many elements `verify` computes where nobody names a shape: a multiple of no register and no thread's share.
const SMALL: usize = 10_007;

/// Does it.
///
/// # Errors
/// If something asked for is not there, a kernel is wrong, or stdout is closed.
pub fn run(args: &KernelArgs, terminal: &Terminal) -> Result<(), Failure> {
    match &args.command {
        KernelCommand::List => list(terminal),
        KernelCommand::Bench(args) => bench(args, terminal),
        KernelCommand::Verify(args) => verify(args, terminal),
        KernelCommand::Run(args) => emulate::run(args, terminal),
        KernelCommand::Show(args) => emulate::show(args, terminal),
    }
}

fn list(terminal: &Terminal) -> Result<(), Failure> {
    let operations = operations();
    let variants: Vec<String> = Variant::available().iter().map(Variant::to_string).collect();
    let shapes = |operation: &Operation| operation.shapes.iter().map(|shape| show(shape)).collect::<Vec<_>>();
    if terminal.format() != Format::Text {
        return operations.iter().try_for_each(|operation| {
            terminal.json_line(&json!({
                "op": operation.name,
                "primitive": operation.primitive,
                "dims": operation.dims,
                "shapes": shapes(operation),
                "variants": variants,
            }))
        });
    }
    let mut table = Table::new(["op", "primitive", "dims", "shapes"]);
    for operation in &operations {
        table.row([
            operation.name.to_owned(),
            operation.primitive.to_owned(),
            operation.dims.to_owned(),
            shapes(operation).join(" "),
        ]);
    }
    terminal.result(format!("{table}\n\nvariants of this machine: {}", variants.join(", ")))
}

fn bench(args: &KernelBench, terminal: &Terminal) -> Result<(), Failure> {
    let operations = named(&args.op)?;
    let (variants, counts) = chosen(&args.on)?;
    if !(0.0..=600.0).contains(&args.time) {
        return Err(Failure::new(Kind::Usage, format!("--time {}: give from 0 to 600 seconds", args.time)));
    }
    let mut bench = Bench::new(Duration::from_secs_f64(args.time));
    if let Some(sizes) = &args.sizes {
        return scaling::run(args, sizes, &operations, &variants, &counts, &mut bench, terminal);
    }
    let mut rows = Rows::new(terminal);
    for operation in &operations {
        let shapes = shapes(operation, &args.shapes)?.unwrap_or_else(|| operation.shapes.clone());
        for_each(&shapes, &variants, &counts, |shape, variant, count| {
            rows.add(bench.time(operation, shape, variant, count, true).map_err(usage)?)
        })?;
    }
    rows.print()
}

fn verify(args: &KernelVerify, terminal: &Terminal) -> Result<(), Failure> {
    let operations = named(&args.op)?;
    let (variants, counts) = chosen(&args.on)?;
    let mut rows = Rows::new(terminal);
    let mut wrong = Vec::new();
    for operation in &operations {
        let shapes = shapes(operation, &args.shapes)?.unwrap_or_else(|| vec![operation.shape_of(SMALL)]);
        for_each(&shapes, &variants, &counts, |shape, variant, count| {
            let measured = Bench::verify(operation, shape, variant, count).map_err(usage)?;
            // What is no number is not below the tolerance either.
            if !measured.max_rel_error.is_some_and(|error| error <= operation.tolerance) {
                wrong.push(format!(
                    "{} {} ({variant}, threads: {count}): the error is {}, and {:e} is the most that counts as right",
                    operation.name,
                    measured.shape,
                    scientific(measured.max_rel_error),
                    operation.tolerance
                ));
            }
            rows.add(measured)
        })?;
    }
    rows.print()?;
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Kind::Check, wrong.join("\n"))),
    }
}

/// The operation of this name, or all.
fn named(name: &str) -> Result<Vec<Operation>, Failure> {
    let mut operations = operations();
    if name == "all" {
        return Ok(operations);
    }
    match operations.iter().position(|operation| operation.name == name) {
        Some(at) => Ok(vec![operations.swap_remove(at)]),
        None => Err(Failure::new(
            Kind::Usage,
            format!(
                "there is no operation {name:?}; `gradus kernel list` names them all.{}",
                did_you_mean(name, operations.iter().map(|operation| operation.name))
            ),
        )),
    }
}

/// The variants and counts of threads that were asked for.
fn chosen(on: &Variants) -> Result<(Vec<Variant>, Vec<usize>), Failure> {
    let variants = match on.variant.as_slice() {
        [] => vec![Variant::current()],
        [all] if all == "all" => Variant::available(),
        names => names
            .iter()
            .map(|name| Variant::named(name.trim()))
            .collect::<nn::Result<_>>()
            .map_err(|error| Failure::new(Kind::Usage, format!("--variant: {error}")))?,
    };
    Ok((variants, thread_counts(&on.counts, false)?))
}

/// The shapes that were asked for, all of which fit the operation; none if nobody asked.
fn shapes(operation: &Operation, texts: &[String]) -> Result<Option<Vec<Vec<usize>>>, Failure> {
    let read = |text: &String| {
        let shape = to_shape(text)?;
        operation.check(&shape).map(|()| shape)
    };
    let shapes = texts.iter().map(read).collect::<nn::Result<Vec<_>>>()?;
    Ok((!shapes.is_empty()).then_some(shapes))
}

/// Calls `f` for every shape, variant and count; the reference, which knows no threads, once.
fn for_each(
    shapes: &[Vec<usize>],
    variants: &[Variant],
    counts: &[usize],
    mut f: impl FnMut(&[usize], Variant, usize) -> Result<(), Failure>,
) -> Result<(), Failure> {
    for shape in shapes {
        for &variant in variants {
            let counts = if variant == Variant::Reference { &[1] } else { counts };
            counts.iter().try_for_each(|&count| f(shape, variant, count))?;
        }
    }
    Ok(())
}

/// What the library refuses here was asked for on the command line.
fn usage(error: nn::Error) -> Failure {
    match error {
        nn::Error::Tensor(error) => Failure::new(Kind::Usage, error.to_string()),
        other => other.into(),
    }
}

/// Measurements on their way to stdout: a line of JSON each as they come, or a table in the end.
struct Rows<'a> {
    terminal: &'a Terminal,
    table: Table,
}

impl<'a> Rows<'a> {
    fn new(terminal: &'a Terminal) -> Rows<'a> {
        let heading = ["op", "shape", "variant", "threads", "time", "GFLOP/s", "GB/s", "of peak", "error"];
        Rows { terminal, table: Table::new(heading).right([3, 4, 5, 6, 7, 8]) }
    }

    fn add(&mut self, row: Measurement) -> Result<(), Failure> {
        if self.terminal.format() != Format::Text {
            return self.terminal.json_line(&row);
        }
        let number = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"));
        self.table.row([
            row.op.to_owned(),
            row.shape,
            row.variant,
            row.threads.to_string(),
            row.seconds.map_or_else(|| "-".to_owned(), duration),
            number(row.gflops),
            number(row.gbps),
            row.share_of_peak.map_or_else(|| "-".to_owned(), |share| format!("{:.0} %", 100.0 * share)),
            scientific(row.max_rel_error),
        ]);
        Ok(())
    }

    fn print(self) -> Result<(), Failure> {
        match self.terminal.format() {
            Format::Text => self.terminal.result(self.table.to_string()),
            Format::Json | Format::JsonLines => Ok(()),
        }
    }
}

fn scientific(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(0.0) => "0".to_owned(),
        Some(value) => format!("{value:.1e}"),
    }
}

/// Seconds in a unit that suits them.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.0} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.2} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}
