//! `gradus data`: what data sets there are, where they lie, and how they come here.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::args::{DataArgs, DataCommand, DataFetch};
use crate::datasets::catalog::{self, SOURCES, Source};
use crate::datasets::content::Verdict;
use crate::datasets::{self, search};
use crate::failure::{Failure, Kind};
use crate::report::table::Table;
use crate::terminal::{Format, Terminal};

/// Does what `gradus data` was asked for.
///
/// # Errors
/// If a data set is unknown, missing or not genuine.
pub fn run(args: &DataArgs, terminal: &Terminal) -> Result<(), Failure> {
    match &args.command {
        DataCommand::List(args) => list(args.data.as_deref(), terminal),
        DataCommand::Info(args) => info(catalog::named(&args.name)?, args.search.data.as_deref(), terminal),
        DataCommand::Path(args) => path(catalog::named(&args.name)?, args.search.data.as_deref(), terminal),
        DataCommand::Verify(args) => verify(catalog::named(&args.name)?, args.search.data.as_deref(), terminal),
        DataCommand::Fetch(args) => fetch(catalog::named(&args.name)?, args, terminal),
    }
}

fn list(data: Option<&Path>, terminal: &Terminal) -> Result<(), Failure> {
    let found: Vec<_> = SOURCES.iter().map(|source| (source, search::find(source, data).ok())).collect();
    let rows: Vec<_> = found
        .iter()
        .map(|(source, found)| {
            let (place, folder) = match found {
                Some(found) => (Some(found.place), found.folder().map(|folder| folder.display().to_string())),
                None => (None, None),
            };
            json!({ "name": source.name, "about": source.about, "found": place, "path": folder })
        })
        .collect();
    if terminal.format() == Format::JsonLines {
        return rows.iter().try_for_each(|row| terminal.json(row));
    }
    terminal.answer(&rows, || {
        let mut table = Table::new(["name", "found", "about"]);
        for (source, found) in &found {
            let place = found.as_ref().map_or_else(|| "no".to_owned(), search::Found::describe);
            table.row([source.name.to_owned(), place, source.about.to_owned()]);
        }
        table.to_string()
    })
}

fn info(source: &'static Source, data: Option<&Path>, terminal: &Terminal) -> Result<(), Failure> {
    let found = search::find(source, data).ok();
    let searched = search::candidates(source, data);
    let value = json!({
        "name": source.name,
        "about": source.about,
        "licence": source.licence,
        "classes": source.classes,
        "bundled": datasets::is_bundled(source),
        "found": found.as_ref().map(|found| found.place),
        "files": found.as_ref().map(datasets::pieces),
        "content": source.files.iter().map(|file| {
            json!({ "name": file.name, "bytes": file.bytes, "sha256": file.sha256 })
        }).collect::<Vec<_>>(),
        "mirrors": source.mirrors,
        "searched": searched.iter().map(|candidate| {
            json!({ "place": candidate.place, "path": candidate.path })
        }).collect::<Vec<_>>(),
    });
    terminal.answer(&value, || {
        let mut text = format!("{}\n{}\n\nLicence: {}\n", terminal.bold(source.name), source.about, source.licence);
        if !source.classes.is_empty() {
            text += &format!("Classes, from 0: {}\n", source.classes.join(", "));
        }
        let place = found.as_ref().map_or_else(|| "nowhere".to_owned(), search::Found::describe);
        text += &format!("Found: {place}\n\nFiles, unpacked:\n");
        let mut table = Table::new(["file", "bytes", "sha256"]).right([1]);
        for file in source.files {
            table.row([file.name.to_owned(), file.bytes.to_string(), file.sha256.unwrap_or("not known").to_owned()]);
        }
        text += &format!("{table}\n\nSearched, in this order:\n");
        for candidate in &searched {
            text += &format!("  {} ({})\n", candidate.path.display(), candidate.place);
        }
        if datasets::is_bundled(source) {
            text += "  the copy inside the binary\n";
        }
        text.trim_end().to_owned()
    })
}

fn path(source: &'static Source, data: Option<&Path>, terminal: &Terminal) -> Result<(), Failure> {
    let found = search::find(source, data)?;
    let Some(folder) = found.folder() else {
        let text = format!(
            "data: {0} is inside the binary only, so it has no path. `gradus data fetch {0}` writes it to the cache folder.",
            source.name
        );
        return Err(Failure::new(Kind::Data, text));
    };
    let folder = folder.display().to_string();
    terminal.answer(&json!({ "name": source.name, "place": found.place, "path": folder }), || folder.clone())
}

fn verify(source: &'static Source, data: Option<&Path>, terminal: &Terminal) -> Result<(), Failure> {
    let found = search::find(source, data)?;
    let verdicts = datasets::verify(&found)?;
    if verdicts.is_empty() {
        let text = format!(
            "data: {} holds {} in a form for which no hashes are known, so nothing can be compared",
            found.describe(),
            source.name
        );
        return Err(Failure::new(Kind::Check, text));
    }
    let rows: Vec<_> = verdicts
        .iter()
        .map(|(name, verdict)| match verdict {
            Verdict::Genuine => json!({ "file": name, "ok": true }),
            Verdict::Different(why) => json!({ "file": name, "ok": false, "why": why }),
        })
        .collect();
    terminal.answer(&json!({ "name": source.name, "place": found.describe(), "files": rows }), || {
        let mut table = Table::new(["file", "verdict"]);
        for (name, verdict) in &verdicts {
            let verdict = match verdict {
                Verdict::Genuine => "genuine".to_owned(),
                Verdict::Different(why) => why.clone(),
            };
            table.row([(*name).to_owned(), verdict]);
        }
        format!("{table}\n{} in {}", source.name, found.describe())
    })?;
    match verdicts.iter().find(|(_, verdict)| *verdict != Verdict::Genuine) {
        None => Ok(()),
        Some((name, _)) => {
            let text = format!(
                "verify: {name} of {} in {} is not what was published; `gradus data fetch {} --force` gets it anew",
                source.name,
                found.describe(),
                source.name
            );
            Err(Failure::new(Kind::Check, text))
        }
    }
}

fn fetch(source: &'static Source, args: &DataFetch, terminal: &Terminal) -> Result<(), Failure> {
    if let (Some(archive), None) = (&source.archive, &args.from) {
        let text = format!(
            "fetch: {} is published as one archive, which is not unpacked here: download {}, unpack it, and name the folder \
             that holds {} with --data or {}",
            source.name,
            archive.address,
            archive.folder,
            search::VARIABLE
        );
        return Err(Failure::new(Kind::Run, text));
    }
    let folder = match &args.to {
        Some(folder) => folder.clone(),
        None => cache_folder(source)?,
    };
    fs::create_dir_all(&folder).map_err(|error| Failure::io(folder.display(), &error))?;
    let mut files = Vec::new();
    for file in source.files {
        let path = folder.join(file.remote_name());
        let how = bring(source, file, &path, args, terminal)?;
        terminal.say(format!("{how} {}", path.display()));
        files.push(json!({ "path": path, "how": how }));
    }
    let folder = folder.display().to_string();
    terminal.answer(&json!({ "name": source.name, "path": folder, "files": files }), || folder.clone())
}

fn cache_folder(source: &Source) -> Result<PathBuf, Failure> {
    let cache = search::cache_folder().ok_or_else(|| {
        Failure::new(Kind::Usage, "fetch: neither HOME nor XDG_CACHE_HOME is set; name a folder with --to DIR")
    })?;
    Ok(cache.join(source.name))
}

/// Makes sure that one file is in its folder, and says how it came there.
fn bring(
    source: &Source,
    file: &catalog::File,
    path: &Path,
    args: &DataFetch,
    terminal: &Terminal,
) -> Result<&'static str, Failure> {
    let is_there = || datasets::content::compare_path(file, path).is_ok_and(|verdict| verdict == Verdict::Genuine);
    if !args.force && is_there() {
        return Ok("kept");
    }
    if let (None, Some(bytes)) = (&args.from, datasets::bundled(source.name, file.name)) {
        crate::report::write_file(path, bytes)?;
        return Ok("unpacked from the binary");
    }
    download(source, file, path, args, terminal)
}

#[cfg(feature = "fetch")]
fn download(
    source: &Source,
    file: &catalog::File,
    path: &Path,
    args: &DataFetch,
    terminal: &Terminal,
) -> Result<&'static str, Failure> {
    let mirrors: Vec<String> = match &args.from {
        Some(address) => vec![address.clone()],
        None => source.mirrors.iter().map(|&mirror| mirror.to_owned()).collect(),
    };
    let folder = path.parent().unwrap_or(Path::new(""));
    let bar = crate::report::progress::download_bar(terminal, &file.remote_name());
    let fetched = datasets::fetch::fetch(file, &mirrors, folder, &mut |done, total| {
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(done);
    });
    bar.finish_and_clear();
    fetched.map(|_| "downloaded")
}

#[cfg(not(feature = "fetch"))]
fn download(
    source: &Source,
    file: &catalog::File,
    path: &Path,
    args: &DataFetch,
    _terminal: &Terminal,
) -> Result<&'static str, Failure> {
    let addresses = args.from.iter().map(String::as_str).chain(source.mirrors.iter().copied());
    let list: Vec<String> = addresses.map(|mirror| format!("\n  {mirror}{}", file.remote_name())).collect();
    let folder = path.parent().unwrap_or(Path::new("")).display();
    let text = format!(
        "fetch: this gradus was built without the feature `fetch`; download one of these into {folder} yourself:{}",
        list.concat()
    );
    Err(Failure::new(Kind::Run, text))
}
