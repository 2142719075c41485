//! `gradus kernel run` and `gradus kernel show`: CUDA kernels, without a GPU.

use gradus_emulator::{Counters, FaultKind, Kernel, Launch, Memory, Module, Param};
use nn::core::kernels::cuda::{COMMON, FAMILIES, Family, REPORT, family_of};
use serde_json::{Value, json};

use super::arguments::Argument;
use super::reference::Reference;
use super::source::{self, unknown};
use crate::args::{KernelRun, KernelShow};
use crate::failure::{Failure, Kind};
use crate::report::table::Table;
use crate::terminal::Terminal;

/// Runs a kernel on the emulator.
///
/// # Errors
/// If it cannot be read or launched; if it does something wrong, with the kind of a failed check.
pub fn run(args: &KernelRun, terminal: &Terminal) -> Result<(), Failure> {
    if !args.emulate {
        let text = "kernels of your own run on the emulator alone: add --emulate";
        return Err(Failure::new(Kind::Device, text));
    }
    let (text, wanted) = source::read(args)?;
    let module = Module::parse(&text).map_err(|error| usage(format!("{}: {error}", args.source)))?;
    let kernel = chosen(&module, wanted.as_deref(), &args.source)?;
    let mut memory = Memory::default();
    let variables = module.place(&mut memory).map_err(|error| usage(error.to_string()))?;
    let mut reference = args.reference.as_deref().map(Reference::read).transpose()?;
    let read = |text: &String| Argument::read(text, &mut memory, reference.as_mut());
    let arguments = args.args.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
    reference.as_ref().map_or(Ok(()), Reference::is_complete)?;
    let bytes: Vec<&[u8]> = arguments.iter().map(|argument| argument.bytes.as_slice()).collect();
    let (grid, block) = (sizes("--grid", &args.grid)?, sizes("--block", &args.block)?);
    let mut launch = Launch::new(&module, kernel, grid, block, &bytes)
        .map_err(|fault| usage(format!("{fault}\n  its parameters: {}", parameters(kernel))))?;
    launch.variables = &variables;
    launch.dynamic_shared = args.shared;
    launch.limits.steps = args.steps;
    let counters = launch.run(&mut memory).map_err(|fault| {
        let is_refused = matches!(fault.kind, FaultKind::Launch(_));
        Failure::new(if is_refused { Kind::Usage } else { Kind::Check }, fault.to_string())
    })?;
    let error = reference.as_ref().map(|reference| reference.error(&memory)).transpose()?;
    let arrays: Vec<_> = arguments.iter().filter_map(|argument| argument.array.as_ref()).collect();
    let shown: Vec<Value> =
        arrays.iter().map(|array| json!({ "array": array.name(), "first": array.first(args.show, &memory) })).collect();
    let name = reference.as_ref().map(Reference::name);
    let value = json!({
        "kernel": kernel.name, "counters": as_json(&counters), "arrays": shown, "reference": name, "max_rel_error": error,
    });
    terminal.answer(&value, || {
        let lines = arrays.iter().map(|array| {
            let more = if array.len() > args.show { ", .." } else { "" };
            format!("{:<12} {}{more}", array.name(), array.first(args.show, &memory).join(", "))
        });
        let right = name.as_ref().zip(error).map(|(name, error)| format!(", {name} with an error of {error:.1e}"));
        let right = right.unwrap_or_default();
        let heading = format!("{}, {grid:?} blocks of {block:?} threads, no fault{right}", terminal.bold(&kernel.name));
        let lines: Vec<String> = [heading, table(&counters).to_string()].into_iter().chain(lines).collect();
        lines.join("\n")
    })
}

/// Shows the kernels that are part of gradus.
///
/// # Errors
/// If there is none of this name, or stdout is closed.
pub fn show(args: &KernelShow, terminal: &Terminal) -> Result<(), Failure> {
    let Some(name) = &args.name else {
        let kernels = |family: &Family| family.kernels().collect::<Vec<_>>();
        let list: Vec<Value> =
            FAMILIES.iter().map(|family| json!({ "family": family.name, "kernels": kernels(family) })).collect();
        return terminal.answer(&list, || {
            let lines = FAMILIES.iter().map(|family| format!("{:<14} {}", family.name, kernels(family).join(" ")));
            lines.collect::<Vec<_>>().join("\n")
        });
    };
    if args.sass_report {
        return sass_report(name, terminal);
    }
    let text = match (Family::named(name), family_of(name)) {
        _ if name == "common" && !args.ptx => COMMON,
        (Some(family), _) if args.ptx => family.ptx,
        (Some(family), _) | (None, Some(family)) if !args.ptx => family.source,
        (None, Some(family)) => family.kernel(name).unwrap_or(family.ptx),
        _ => return Err(unknown(name)),
    };
    terminal.answer(&json!({ "name": name, "text": text }), || text.trim_end().to_owned())
}

/// What NVIDIA's assembler made of a kernel or a family: what decides how fast it can be, without a GPU.
fn sass_report(name: &str, terminal: &Terminal) -> Result<(), Failure> {
    let family = Family::named(name).or_else(|| family_of(name)).ok_or_else(|| unknown(name))?;
    let wanted = |kernel: &str| kernel == name || (family.name == name && family.kernels().any(|own| own == kernel));
    let rows = REPORT.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    let rows: Vec<Vec<&str>> = rows.filter(|row| wanted(row[0])).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    let value = |row: &Vec<&str>| {
        let [kernel, arch, registers, spilled, shared, length, multiply, multiplies, matrix_loads, narrow] = row[..]
        else {
            return json!(row);
        };
        json!({
            "kernel": kernel, "sm": number(arch), "registers": number(registers), "spilled_bytes": number(spilled),
            "shared_bytes": number(shared), "loop": number(length), "multiply": multiply, "multiplies": number(multiplies),
            "matrix_loads": number(matrix_loads), "narrow_loads": number(narrow),
        })
    };
    terminal.answer(&rows.iter().map(value).collect::<Vec<_>>(), || {
        let head = [
            "kernel",
            "sm",
            "registers",
            "spilled",
            "shared",
            "inner loop",
            "multiply",
            "load matrices",
            "narrow loads",
        ];
        let mut table = Table::new(head).right([1, 2, 3, 4, 5, 6, 7, 8]);
        for row in &rows {
            let share = |part: &str, name: &str| match (number(part), number(row[5])) {
                (Some(part @ 1..), Some(whole)) => format!("{:.1} % {name}", 100.0 * part as f64 / whole as f64),
                _ => String::new(),
            };
            let (multiply, matrices) = (share(row[7], row[6]), share(row[8], "LDSM"));
            let cells = [row[0], row[1], row[2], row[3], row[4], row[5], &multiply, &matrices, row[9]];
            table.row(cells.map(str::to_owned));
        }
        table.to_string()
    })
}

/// The kernel of this name, or the only one.
fn chosen<'a>(module: &'a Module, wanted: Option<&str>, source: &str) -> Result<&'a Kernel, Failure> {
    let names: Vec<&str> = module.kernels.iter().map(|kernel| kernel.name.as_str()).collect();
    match (wanted, module.kernels.as_slice()) {
        (Some(name), kernels) => kernels
            .iter()
            .find(|kernel| kernel.name == name)
            .ok_or_else(|| usage(format!("{source} has no kernel {name:?}; it has {}", names.join(", ")))),
        (None, [only]) => Ok(only),
        (None, []) => Err(usage(format!("{source} has no kernel"))),
        (None, _) => {
            Err(usage(format!("{source} has {} kernels: choose by --kernel one of {}", names.len(), names.join(", "))))
        }
    }
}

fn sizes(option: &str, given: &[u32]) -> Result<[u32; 3], Failure> {
    match *given {
        [x] => Ok([x, 1, 1]),
        [x, y] => Ok([x, y, 1]),
        [x, y, z] => Ok([x, y, z]),
        _ => Err(usage(format!("{option} takes one to three numbers, not {}", given.len()))),
    }
}

/// The parameters of a kernel: `u64, u64, u32`.
fn parameters(kernel: &Kernel) -> String {
    let one = |param: &Param| match param.size == param.ty.size() {
        true => format!("{:?}", param.ty).to_lowercase(),
        false => format!("{} bytes", param.size),
    };
    kernel.params.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn usage(text: String) -> Failure {
    Failure::new(Kind::Usage, text)
}

fn as_json(counters: &Counters) -> Value {
    json!({
        "instructions": counters.instructions,
        "lane_instructions": counters.lane_instructions,
        "active_lanes": counters.active_lanes(),
        "multiply_adds": counters.multiply_adds,
        "multiply_add_share": counters.multiply_add_share(),
        "tensor_products": counters.tensor_products,
        "divergent_branches": counters.divergent_branches,
        "global_requests": counters.global_requests,
        "global_sectors": counters.global_sectors,
        "sectors_per_request": counters.sectors_per_request(),
        "sector_use": counters.sector_use(),
        "global_atomics": counters.global_atomics,
        "shared_requests": counters.shared_requests,
        "bank_conflicts": counters.bank_conflicts(),
        "barriers": counters.barriers,
    })
}

fn table(counters: &Counters) -> Table {
    let mut table = Table::new(["counted", "", "which is"]).right([1]);
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let mut row = |what: &str, count: u64, note: String| table.row([what.to_owned(), count.to_string(), note]);
    row(
        "instructions of warps",
        counters.instructions,
        format!("{} of lanes take part", percent(counters.active_lanes())),
    );
    row(
        "multiply-adds of lanes",
        counters.multiply_adds,
        format!("{} of lanes' instructions", percent(counters.multiply_add_share())),
    );
    row("tensor products", counters.tensor_products, String::new());
    row("divergent branches", counters.divergent_branches, String::new());
    row("global requests", counters.global_requests, format!("{:.2} sectors each", counters.sectors_per_request()));
    row(
        "global sectors",
        counters.global_sectors,
        format!("{} of their bytes asked for", percent(counters.sector_use())),
    );
    row("global atomics", counters.global_atomics, String::new());
    row("shared requests", counters.shared_requests, String::new());
    row("bank conflicts", counters.bank_conflicts(), "turns lost".to_owned());
    row("barriers", counters.barriers, String::new());
    table
}
