//! Downloads: resumed where they stopped, checked before they count, never half there.
//!
//! Bytes go to `NAME.part`. Only when the content has the known hash does the file get its name, in one step; so a file
//! with its name is whole, however the process ended.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

use super::catalog;
use super::content::{Verdict, compare};
use crate::failure::{Failure, Kind};

/// How often a mirror is asked again after the connection broke; each time only for what is still missing.
const ATTEMPTS: usize = 3;

/// A packed file may be a little longer than its content, if that cannot be packed.
const MARGIN: u64 = 1 << 16;

/// Told how many bytes there are, and how many there will be if the server says so.
pub type Progress<'a> = &'a mut dyn FnMut(u64, Option<u64>);

/// Downloads one file into `folder` from the first mirror that has it genuine.
///
/// # Errors
/// If no mirror has it, or the folder cannot be written. What was received stays for the next call.
pub fn fetch(
    file: &catalog::File,
    mirrors: &[String],
    folder: &Path,
    progress: Progress<'_>,
) -> Result<PathBuf, Failure> {
    let name = file.remote_name();
    let (path, part_path) = (folder.join(&name), folder.join(format!("{name}.part")));
    fs::create_dir_all(folder).map_err(|error| Failure::io(folder.display(), &error))?;
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&part_path);
    let mut part = open.map_err(|error| Failure::io(part_path.display(), &error))?;
    match part.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let text = format!("fetch: another process is downloading {} just now; wait for it", path.display());
            return Err(Failure::new(Kind::Run, text));
        }
        // Some network file systems know no locks; the hash still guards the result.
        Err(TryLockError::Error(_)) => {}
    }
    let agent = agent();
    let mut complaints = Vec::new();
    for mirror in mirrors {
        let address = format!("{}/{name}", mirror.trim_end_matches('/'));
        for _ in 0..ATTEMPTS {
            match receive(&agent, &address, &mut part, file.bytes + MARGIN, progress) {
                Err(Trouble::Disk(error)) => return Err(Failure::io(part_path.display(), &error)),
                Err(Trouble::Refused(why)) => {
                    complaints.push(format!("{address}: {why}"));
                    break;
                }
                Err(Trouble::Broken(why)) => complaints.push(format!("{address}: {why}")),
                Ok(received) => {
                    let verdict = part.rewind().and_then(|()| compare(file, &part));
                    match verdict.map_err(|error| Failure::io(part_path.display(), &error))? {
                        Verdict::Genuine => {
                            let kept = keep(&part, &part_path, &path, folder);
                            return kept.map(|()| path.clone()).map_err(|error| Failure::io(path.display(), &error));
                        }
                        Verdict::Different(why) => {
                            complaints.push(format!("{address}: {why}"));
                            part.set_len(0).map_err(|error| Failure::io(part_path.display(), &error))?;
                            // What an earlier run left may be to blame: only then is the same mirror worth asking again.
                            if !received.resumed {
                                break;
                            }
                        }
                    }
                }
            }
        }
    }
    // An empty file helps nobody; what holds bytes is where the next call goes on.
    if part.metadata().is_ok_and(|metadata| metadata.len() == 0) {
        let _ = fs::remove_file(&part_path);
    }
    complaints.dedup();
    let text = format!("fetch: {name} was not to be had:\n  {}", complaints.join("\n  "));
    Err(Failure::new(Kind::Data, text + "\nRun the command again to go on, or name another mirror with --from URL."))
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)))
        .user_agent(concat!("gradus/", env!("CARGO_PKG_VERSION")))
        .build();
    config.new_agent()
}

enum Trouble {
    /// Asking again may help.
    Broken(String),
    /// Asking again will not help.
    Refused(String),
    /// The file cannot be written.
    Disk(io::Error),
}

struct Received {
    /// Whether the file began with what an earlier attempt left.
    resumed: bool,
}

/// Asks for what `part` still lacks and appends it.
fn receive(
    agent: &Agent,
    address: &str,
    part: &mut File,
    limit: u64,
    progress: Progress<'_>,
) -> Result<Received, Trouble> {
    let mut done = part.seek(SeekFrom::End(0)).map_err(Trouble::Disk)?;
    let request = agent.get(address);
    let request = if done > 0 { request.header(header::RANGE, format!("bytes={done}-")) } else { request };
    let response = request.call().map_err(|error| match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::HostNotFound => {
            Trouble::Refused(error.to_string())
        }
        other => Trouble::Broken(other.to_string()),
    })?;
    let range = content_range(&response);
    let resumed = match response.status() {
        StatusCode::PARTIAL_CONTENT if range.is_some_and(|range| range.start == Some(done)) => true,
        StatusCode::OK => {
            // The server does not know ranges, so it starts from the beginning.
            part.set_len(0).and_then(|()| part.rewind()).map_err(Trouble::Disk)?;
            done = 0;
            false
        }
        // Nothing is missing: the last run ended between the last byte and the check.
        StatusCode::RANGE_NOT_SATISFIABLE if range.is_some_and(|range| range.total == Some(done)) => {
            return Ok(Received { resumed: true });
        }
        StatusCode::RANGE_NOT_SATISFIABLE | StatusCode::PARTIAL_CONTENT => {
            part.set_len(0).map_err(Trouble::Disk)?;
            return Err(Trouble::Broken("what was there before does not fit the server's file; starting anew".into()));
        }
        status if status.is_server_error() => return Err(Trouble::Broken(format!("the server answers {status}"))),
        status => return Err(Trouble::Refused(format!("the server answers {status}"))),
    };
    let total = match range {
        Some(range) if resumed => range.total,
        _ => response.body().content_length(),
    };
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    progress(done, total);
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Trouble::Broken(format!("{error} after {done} bytes"))),
        };
        part.write_all(&buffer[..count]).map_err(Trouble::Disk)?;
        done += count as u64;
        progress(done, total);
        if done > limit {
            part.set_len(0).map_err(Trouble::Disk)?;
            return Err(Trouble::Refused(format!("the server sends more than {limit} bytes, so this is another file")));
        }
    }
    match total {
        Some(total) if done < total => {
            Err(Trouble::Broken(format!("the connection ended after {done} of {total} bytes")))
        }
        _ => Ok(Received { resumed }),
    }
}

#[derive(Clone, Copy)]
struct Range {
    start: Option<u64>,
    total: Option<u64>,
}

/// Reads `bytes 100-199/200` and `bytes */200`.
fn content_range<T>(response: &Response<T>) -> Option<Range> {
    let text = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (span, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = span.split_once('-').and_then(|(start, _)| start.parse().ok());
    Some(Range { start, total: total.parse().ok() })
}

/// Gives a whole file its name, so that it is there after a power cut too.
fn keep(part: &File, part_path: &Path, path: &Path, folder: &Path) -> io::Result<()> {
    part.sync_all()?;
    fs::rename(part_path, path)?;
    if cfg!(unix) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}
