//! What the house promises about its own text: who may depend on whom, where `unsafe` may stand, how long a file may be.
//!
//! Each check is a function from text to complaints, so that a test can show it a bad example as well as the real files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The edges that may be, besides those to packages from outside: `kernels <- core <- nn <- cli`, the front door, and the
/// emulator, which knows no other crate.
const EDGES: &[(&str, &str)] = &[
    ("gradus-core", "gradus-kernels"),
    ("gradus-nn", "gradus-core"),
    ("gradus-cli", "gradus-nn"),
    ("gradus-cli", "gradus-emulator"),
    ("gradus", "gradus-core"),
    ("gradus", "gradus-nn"),
];

/// The edges for tests, benches and examples alone.
const DEV_EDGES: &[(&str, &str)] =
    &[("gradus", "gradus-kernels"), ("gradus", "gradus-emulator"), ("gradus-kernels", "gradus-emulator")];

/// The files that may say `unsafe`.
const UNSAFE_FILES: &[&str] = &[
    "benches/peers/rust/src/bin/kernels.rs",
    "benches/cuda.rs",
    "benches/matmul.rs",
    "kernels/emulator/src/driver.rs",
    "kernels/emulator/src/driver/load.rs",
    "kernels/emulator/src/driver/raw.rs",
    "kernels/emulator/src/execute/vector.rs",
    "kernels/emulator/tests/driver.rs",
    "kernels/src/buffer/memory.rs",
    "kernels/src/cpu/conv/channels.rs",
    "kernels/src/cpu/conv/depthwise.rs",
    "kernels/src/cpu/conv/depthwise/grads.rs",
    "kernels/src/cpu/conv/nine.rs",
    "kernels/src/cpu/conv/taps.rs",
    "kernels/src/cpu/conv/weight.rs",
    "kernels/src/cpu/conv/winograd.rs",
    "kernels/src/cpu/conv/winograd/transform.rs",
    "kernels/src/cpu/math/wide.rs",
    "kernels/src/cpu/matmul.rs",
    "kernels/src/cpu/matmul/calls.rs",
    "kernels/src/cpu/matmul/kernels.rs",
    "kernels/src/cpu/matmul/lane.rs",
    "kernels/src/cpu/matmul/lane/x86.rs",
    "kernels/src/cpu/matmul/long.rs",
    "kernels/src/cpu/matmul/pack.rs",
    "kernels/src/cpu/matmul/tile.rs",
    "kernels/src/cpu/matmul/vector.rs",
    "kernels/src/cpu/peak.rs",
    "kernels/src/cpu/simd.rs",
    "kernels/src/cpu/stream.rs",
    "kernels/src/cpu/threads.rs",
    "kernels/src/cpu/threads/board.rs",
    "kernels/src/cpu/transpose.rs",
    "kernels/src/cuda/device.rs",
    "kernels/src/cuda/launch.rs",
    "kernels/src/cuda/memory.rs",
    "kernels/src/cuda/nvrtc.rs",
    "tests/steady_state.rs",
];

/// A file that passes this many lines wants to be two.
const MOST_LINES: usize = 450;

/// The libraries, which leave every word to the terminal to their caller.
const SILENT: &[&str] = &["kernels/src/", "kernels/emulator/src/", "core/src/", "nn/src/"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of the repository with one of the given endings: its path from the root, and its text.
fn files(endings: &[&str]) -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() && !["target", "runs", ".git"].iter().any(|skip| name == *skip) {
                walk(&entry.path(), found);
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    let mut found = Vec::new();
    walk(root(), &mut found);
    let mut texts = Vec::new();
    for path in found {
        let name = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        if endings.iter().any(|ending| name.ends_with(ending)) {
            texts.push((name, fs::read_to_string(&path).unwrap()));
        }
    }
    texts.sort();
    assert!(!texts.is_empty(), "no file ends in {endings:?} under {}", root().display());
    texts
}

/// Fails with every complaint at once.
fn report(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Where the comment, string or character that begins at `at` ends, if one does.
fn end_of_quiet(chars: &[char], at: usize) -> Option<usize> {
    let starts = |at: usize, with: &str| chars[at..].iter().copied().take(with.len()).eq(with.chars());
    let find = |from: usize, with: &str| (from..chars.len()).find(|&i| starts(i, with)).map(|i| i + with.len());
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    let end = if starts(at, "//") {
        find(at, "\n").map(|end| end - 1)
    } else if starts(at, "/*") {
        let (mut depth, mut end) = (1, at + 2);
        while depth > 0 && end < chars.len() {
            let open = starts(end, "/*");
            let close = starts(end, "*/");
            depth = depth + usize::from(open) - usize::from(close);
            end += if open || close { 2 } else { 1 };
        }
        Some(end)
    } else if chars[at] == 'r' && chars.get(at + 1 + hashes) == Some(&'"') {
        find(at + 2 + hashes, &format!("\"{}", "#".repeat(hashes)))
    } else if chars[at] == '"' {
        let mut end = at + 1;
        while end < chars.len() && chars[end] != '"' {
            end += if chars[end] == '\\' { 2 } else { 1 };
        }
        Some(end + 1)
    } else if starts(at, "'\\") {
        find(at + 3, "'")
    } else if chars[at] == '\'' && chars.get(at + 2) == Some(&'\'') {
        Some(at + 3)
    } else {
        return None;
    };
    Some(end.map_or(chars.len(), |end| end.min(chars.len())))
}

/// The text with comments, strings and characters turned into blanks, line for line.
fn code(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        match end_of_quiet(&chars, at) {
            Some(end) => {
                out.extend(chars[at..end].iter().map(|&c| if c == '\n' { c } else { ' ' }));
                at = end;
            }
            None => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out
}

/// Whether `word` stands in `line` with nothing of a name before or behind it.
fn says(line: &str, word: &str) -> bool {
    let named = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word)
        .any(|(at, _)| !named(line[..at].chars().next_back()) && !named(line[at + word.len()..].chars().next()))
}

// --- who depends on whom -----------------------------------------------------------------------------------------------

fn wrong_edges(manifest: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().unwrap();
    let package = manifest["package"]["name"].as_str().unwrap();
    let targets = manifest.get("target").and_then(|t| t.as_table()).into_iter().flat_map(|t| t.values());
    let tables = targets.filter_map(|t| t.as_table()).chain([&manifest]);
    let mut complaints = Vec::new();
    for table in tables {
        for (section, allowed) in
            [("dependencies", EDGES), ("build-dependencies", &[]), ("dev-dependencies", DEV_EDGES)]
        {
            let names = table.get(section).and_then(|s| s.as_table()).into_iter().flat_map(|s| s.keys());
            for name in names.filter(|name| name.starts_with("gradus")) {
                let edge = (package, name.as_str());
                let in_tests = section == "dev-dependencies" && EDGES.contains(&edge);
                if !allowed.contains(&edge) && !in_tests {
                    complaints.push(format!(
                        "{package} has {name} under [{section}], but the rule is kernels <- core <- nn <- cli, and the \
                         façade may use core and nn: call through the crate below, or move the code to where it belongs"
                    ));
                }
            }
        }
    }
    complaints
}

#[test]
fn crates_depend_only_downwards() {
    let manifests = files(&["Cargo.toml"]);
    assert!(manifests.len() >= 5, "five manifests are expected, found {}", manifests.len());
    report(manifests.iter().flat_map(|(_, text)| wrong_edges(text)).collect());
}

#[test]
fn a_wrong_edge_is_found() {
    let upwards = "[package]\nname = \"gradus-core\"\n[dependencies]\ngradus-nn.workspace = true";
    let skipping =
        "[package]\nname = \"gradus-nn\"\n[target.'cfg(unix)'.dependencies]\ngradus-kernels.workspace = true";
    let tests = "[package]\nname = \"gradus\"\n[dev-dependencies]\ngradus-kernels.workspace = true";
    assert!(wrong_edges(upwards)[0].starts_with("gradus-core has gradus-nn under [dependencies]"));
    assert_eq!(wrong_edges(skipping).len(), 1);
    assert_eq!(wrong_edges(tests), Vec::<String>::new());
}

// --- unsafe ------------------------------------------------------------------------------------------------------------

/// Whether the statement of line `at` has a comment with `SAFETY:` right above it.
fn has_reason(lines: &[&str], at: usize) -> bool {
    let mut above = lines[..at].iter().rev().map(|line| line.trim()).peekable();
    // The statement may have begun some lines earlier, and attributes may stand between.
    while above
        .next_if(|line| !line.starts_with("//") && !line.ends_with([';', '{', '}', ',']) && !line.is_empty())
        .is_some()
    {}
    above.take_while(|line| line.starts_with("//")).any(|line| line.contains("SAFETY:"))
}

fn wrong_unsafe(name: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let lines: Vec<&str> = text.lines().collect();
    let mut complaints = Vec::new();
    for (at, line) in code.lines().enumerate().filter(|(_, line)| says(line, "unsafe")) {
        let here = format!("{name}:{}", at + 1);
        if !UNSAFE_FILES.contains(&name) {
            complaints.push(format!(
                "{here}: unsafe may stand only in the files that tests/tidy.rs names: use one of their safe functions, \
                 or, if the code must be unsafe, add the file to UNSAFE_FILES"
            ));
        }
        let declares = ["unsafe fn", "unsafe extern", "unsafe trait"].iter().any(|kind| line.contains(kind));
        if !declares && !has_reason(&lines, at) {
            complaints
                .push(format!("{here}: this unsafe has no reason: write above it `// SAFETY:` and why it is sound"));
        }
    }
    complaints
}

#[test]
fn unsafe_stands_in_named_files_with_a_reason() {
    let sources = files(&[".rs"]);
    report(sources.iter().flat_map(|(name, text)| wrong_unsafe(name, text)).collect());
    for name in UNSAFE_FILES {
        let text = sources.iter().find(|(path, _)| path == name).map(|(_, text)| code(text));
        let used = text.is_some_and(|text| text.lines().any(|line| says(line, "unsafe")));
        assert!(used, "{name} says no unsafe: take it out of UNSAFE_FILES in tests/tidy.rs");
    }
}

#[test]
fn an_unsafe_without_a_reason_is_found() {
    let file = "kernels/src/cpu/simd.rs";
    let good = "// SAFETY: the\n// index is below the length.\nlet x =\n    unsafe { *p };\n/// An unsafe word.\nunsafe fn f() {}";
    let bad = "let y = 1;\nlet x = unsafe { *p };";
    assert_eq!(wrong_unsafe(file, good), Vec::<String>::new());
    assert!(wrong_unsafe(file, bad)[0].starts_with("kernels/src/cpu/simd.rs:2: this unsafe has no reason"));
    assert!(wrong_unsafe("nn/src/lib.rs", good)[0].starts_with("nn/src/lib.rs:4: unsafe may stand only in the files"));
}

// --- text --------------------------------------------------------------------------------------------------------------

fn wrong_text(name: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let length = text.lines().count();
    if length > MOST_LINES {
        complaints.push(format!(
            "{name} has {length} lines, and {MOST_LINES} are the most: split it where its subject splits"
        ));
    }
    let code = code(text);
    let lines: Vec<&str> = code.lines().collect();
    // What tests print is kept from the terminal by their runner; they stand at the end of a file.
    let tests = lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "));
    for (at, line) in lines.iter().enumerate() {
        let here = format!("{name}:{}", at + 1);
        let silent = SILENT.iter().any(|folder| name.starts_with(folder)) && tests.is_none_or(|tests| at < tests);
        let prints = ["println!", "eprintln!", "print!", "eprint!"].iter().find(|&word| silent && says(line, word));
        if let Some(word) = prints {
            complaints.push(format!(
                "{here}: {word} in a library: return the value, or emit an event that the caller may print"
            ));
        }
        if says(line, "dbg!") {
            complaints.push(format!("{here}: dbg! is for the moment of searching: take it out"));
        }
        if name.starts_with("nn/src/") && line.contains("impl Op for") {
            complaints.push(format!(
                "{here}: a layer implements no gradient: build it from tensor operations, or add one to core"
            ));
        }
    }
    complaints
}

#[test]
fn sources_are_short_and_silent() {
    report(files(&[".rs"]).iter().flat_map(|(name, text)| wrong_text(name, text)).collect());
}

#[test]
fn a_long_or_talking_source_is_found() {
    let long = "\n".repeat(MOST_LINES + 1);
    assert!(wrong_text("cli/src/main.rs", &long)[0].contains("451 lines, and 450 are the most"));
    let talking = "fn f() {\n    // println!(\"no\")\n    let text = \"println!\";\n    println!(\"{text}\");\n}";
    assert_eq!(wrong_text("nn/src/lib.rs", talking).len(), 1);
    assert!(wrong_text("nn/src/lib.rs", talking)[0].starts_with("nn/src/lib.rs:4: println! in a library"));
    assert_eq!(wrong_text("cli/src/main.rs", talking), Vec::<String>::new());
    assert_eq!(wrong_text("nn/src/lib.rs", &format!("#[cfg(test)]\nmod tests {{\n{talking}")), Vec::<String>::new());
    assert_eq!(wrong_text("cli/src/main.rs", "dbg!(x);").len(), 1);
    assert_eq!(wrong_text("nn/src/lib.rs", "impl Op for Dense {").len(), 1);
}

fn left_over(name: &str, text: &str) -> Vec<String> {
    let outside = concat!("../", "shared");
    let mut complaints = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let here = format!("{name}:{}", at + 1);
        for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")] {
            if says(line, word) {
                complaints.push(format!("{here}: a {word} is a promise nobody reads: do it now, or file an issue"));
            }
        }
        if line.contains(outside) && name != ".ci/run" {
            complaints.push(format!(
                "{here}: {outside} is not part of the repository, and only .ci/run may know it: take the folder from \
                 GRADUS_DATA or from an argument"
            ));
        }
    }
    complaints
}

#[test]
fn nothing_is_left_over() {
    let texts = files(&[".rs", ".md", ".toml", ".py", ".sh", ".ci/run"]);
    report(texts.iter().flat_map(|(name, text)| left_over(name, text)).collect());
}

#[test]
fn a_left_over_is_found() {
    let outside = concat!("let x = \"..", "/shared/data\";");
    assert!(left_over("nn/src/lib.rs", outside)[0].starts_with("nn/src/lib.rs:1: .."));
    assert_eq!(left_over(".ci/run", outside), Vec::<String>::new());
    assert_eq!(left_over("README.md", concat!("a TO", "DO and a FIX", "ME")).len(), 2);
}

// --- links -------------------------------------------------------------------------------------------------------------

/// The targets of the links in a Markdown text, outside of code.
fn links(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        let prose = line.split('`').step_by(2).collect::<Vec<_>>().join("`");
        for piece in prose.split("](").skip(1).filter(|_| !fenced) {
            found.extend(piece.split(')').next().map(str::to_owned));
        }
    }
    found
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn broken_links(name: &str, text: &str, read: impl Fn(&Path) -> Option<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for link in links(text).iter().filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
        let (path, section) = link.split_once('#').unwrap_or((link, ""));
        let target = Path::new(name).parent().unwrap().join(path);
        let content = if path.is_empty() { Some(text.to_owned()) } else { read(&target) };
        let Some(content) = content else {
            complaints.push(format!(
                "{name} links to {link}, which does not exist: mend the path, which starts at the page's folder"
            ));
            continue;
        };
        let headings =
            content.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#')));
        if !section.is_empty() && link.contains(".md") | path.is_empty() && !headings.into_iter().any(|h| h == section)
        {
            complaints
                .push(format!("{name} links to {link}, but no heading there is called so: mend the part after #"));
        }
    }
    complaints
}

#[test]
fn links_in_the_docs_lead_somewhere() {
    let read = |path: &Path| {
        let path = root().join(path);
        path.exists().then(|| fs::read_to_string(&path).unwrap_or_default())
    };
    report(files(&[".md"]).iter().flat_map(|(name, text)| broken_links(name, text, read)).collect());
}

#[test]
fn a_broken_link_is_found() {
    let read = |path: &Path| (path == Path::new("docs/b.md")).then(|| "## The Big Part (1)\n".to_owned());
    let good =
        "[b](b.md), [part](b.md#the-big-part-1), [web](https://example.org), `[c](code.md)`\n```\n[d](d.md)\n```";
    assert_eq!(broken_links("docs/a.md", good, read), Vec::<String>::new());
    assert!(
        broken_links("docs/a.md", "[c](c.md)", read)[0].starts_with("docs/a.md links to c.md, which does not exist")
    );
    assert!(broken_links("docs/a.md", "[b](b.md#other)", read)[0].contains("no heading there"));
}

// --- the reader of code itself -----------------------------------------------------------------------------------------

#[test]
fn comments_and_strings_are_no_code() {
    let text = "a /* b /* c */ d */ 'e' \"f \\\" g\" r#\"h \" i\"# &'j k '\\'' l // m\n\"n\no\" p '\\n' q br\"s\" t";
    let words: Vec<String> = code(text).split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["a", "&'j", "k", "l", "p", "q", "b", "t"]);
    assert_eq!(code(text).lines().count(), text.lines().count());
}
