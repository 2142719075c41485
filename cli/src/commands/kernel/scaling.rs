//! `gradus kernel bench OP --sizes FROM..TO`: how time grows with work, on one thread and on all.

use std::fs;

use nn::profile::{Bench, Measurement, Operation, Variant, to_shape};

use super::{Rows, usage};
use crate::args::KernelBench;
use crate::failure::{Failure, Kind};
use crate::report::loglog::{self, Curve};
use crate::report::table::Table;
use crate::terminal::{Format, Terminal};

/// More elements than this are a slip of the hand.
const MOST: usize = 1 << 31;

/// Times every operation at sizes that double, and draws them.
///
/// # Errors
/// If the sizes make no sense, an operation fails, or a file cannot be written.
pub fn run(
    args: &KernelBench,
    sizes: &str,
    operations: &[Operation],
    variants: &[Variant],
    counts: &[usize],
    bench: &mut Bench,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let sizes = doubled(sizes)?;
    let with_one: Vec<usize> = match counts {
        [all] if args.on.counts.threads.is_empty() && *all > 1 => vec![1, *all],
        counts => counts.to_vec(),
    };
    let mut rows = Rows::new(terminal);
    let (mut table, mut curves) =
        (Table::new(["op", "work", "shape", "variant", "threads", "time", "ns/unit"]), vec![]);
    table = table.right([1, 4, 5, 6]);
    for operation in operations {
        for &variant in variants {
            for &count in if variant == Variant::Reference { &[1][..] } else { &with_one } {
                let mut points = Vec::new();
                for &size in &sizes {
                    let shape = operation.shape_of(size);
                    let measured = bench.time(operation, &shape, variant, count, false).map_err(usage)?;
                    // The work of the shape itself, which is rounded to whole rows or sides.
                    let work = shape.iter().product::<usize>();
                    points.push((work as f64, measured.seconds.unwrap_or(f64::NAN)));
                    match terminal.format() {
                        Format::Text => table.row(cells(&measured, work)),
                        Format::Json | Format::JsonLines => rows.add(measured)?,
                    }
                }
                let threads = if count == 1 { "1 thread".to_owned() } else { format!("{count} threads") };
                curves.push(Curve { name: format!("{} {variant}, {threads}", operation.name), points });
            }
        }
    }
    if let Some(path) = &args.svg {
        let svg = loglog::draw(&format!("gradus kernel bench {}", args.op), "elements", "seconds", &curves);
        fs::write(path, svg).map_err(|error| Failure::io(path.display(), &error))?;
    }
    match terminal.format() {
        Format::Text => terminal.result(table.to_string()),
        Format::Json | Format::JsonLines => Ok(()),
    }
}

fn cells(measured: &Measurement, work: usize) -> [String; 7] {
    let seconds = measured.seconds.unwrap_or(f64::NAN);
    [
        measured.op.to_owned(),
        work.to_string(),
        measured.shape.clone(),
        measured.variant.clone(),
        measured.threads.to_string(),
        super::duration(seconds),
        format!("{:.3}", seconds * 1e9 / work as f64),
    ]
}

/// `2^6..2^26` as 64, 128, … up to the last.
fn doubled(text: &str) -> Result<Vec<usize>, Failure> {
    let wrong = || {
        let text = format!("--sizes {text:?}: give the first and the last number of elements, as in 2^6..2^26");
        Failure::new(Kind::Usage, text)
    };
    let number = |part: &str| match to_shape(part).ok()?.as_slice() {
        &[size] if (1..=MOST).contains(&size) => Some(size),
        _ => None,
    };
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let (from, to) = (number(from).ok_or_else(wrong)?, number(to).ok_or_else(wrong)?);
    match from <= to {
        true => Ok(std::iter::successors(Some(from), |size| Some(2 * size)).take_while(|&size| size <= to).collect()),
        false => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_double_from_the_first_to_the_last() {
        assert_eq!(doubled("2^2..40").unwrap(), [4, 8, 16, 32]);
        assert_eq!(doubled("7..7").unwrap(), [7]);
        for text in ["", "5", "9..8", "0..4", "2^6..2^99", "a..b", "2x2..8", "1..2^40"] {
            assert_eq!(doubled(text).unwrap_err().kind(), Kind::Usage, "{text}");
        }
    }
}
