//! `gradus data fetch` against a server of our own that misbehaves on demand.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::{Place, bundled};

/// How the server answers.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// As it should, ranges included.
    Good,
    /// Closes the first connection in the middle of the file.
    Breaks,
    /// Knows no ranges.
    Plain,
    /// Has no such file.
    Missing,
    /// Sends as many bytes as promised, of something else.
    Lies,
}

/// Serves one file on a port of this machine until the test ends.
struct Server {
    address: String,
    /// The `Range` of each request, empty where there was none.
    ranges: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(content: Vec<u8>, manner: Manner) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("no free port");
        let address = format!("http://{}/some/folder", listener.local_addr().unwrap());
        let ranges = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&ranges);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that hangs up early is part of some tests.
                let _ = answer(stream, &content, manner, &seen);
            }
        });
        Server { address, ranges }
    }

    fn ranges(&self) -> Vec<String> {
        self.ranges.lock().unwrap().clone()
    }
}

fn answer(stream: TcpStream, content: &[u8], manner: Manner, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut range = String::new();
    for line in BufReader::new(&stream).lines() {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("range: bytes=") {
            range = value.to_owned();
        }
    }
    let first = {
        let mut seen = seen.lock().unwrap();
        seen.push(range.clone());
        seen.len() == 1
    };
    let start: usize = range.trim_end_matches('-').parse().unwrap_or(0);
    let total = content.len();
    let mut stream = &stream;
    let (status, headers, body) = match manner {
        Manner::Missing => ("404 Not Found", String::new(), &content[..0]),
        Manner::Plain => ("200 OK", String::new(), content),
        _ if range.is_empty() => ("200 OK", String::new(), content),
        _ if start >= total => {
            ("416 Range Not Satisfiable", format!("Content-Range: bytes */{total}\r\n"), &content[..0])
        }
        _ => {
            let header = format!("Content-Range: bytes {start}-{}/{total}\r\n", total - 1);
            ("206 Partial Content", header, &content[start..])
        }
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len())?;
    match manner {
        Manner::Breaks if first => stream.write_all(&body[..body.len() / 2]),
        Manner::Lies => stream.write_all(&vec![b'x'; body.len()]),
        _ => stream.write_all(body),
    }
}

/// Fetches the digits into `there/` and returns the exit code, stderr, and the two files that may be there.
struct Fetched {
    code: i32,
    stderr: String,
    file: PathBuf,
    part: PathBuf,
}

fn fetch(place: &Place, server: &Server) -> Fetched {
    let run = place.run(&["data", "fetch", "digits", "--from", &server.address, "--to", "there"]);
    let file = place.path().join("there/digits.csv.gz");
    Fetched { code: run.code, stderr: run.stderr, part: file.with_extension("gz.part"), file }
}

impl Fetched {
    #[track_caller]
    fn is_whole(&self) {
        assert_eq!(self.code, 0, "{}", self.stderr);
        assert!(std::fs::read(&self.file).unwrap() == bundled("digits/digits.csv.gz"), "other bytes than were served");
        assert!(!self.part.exists(), "the part is still there");
    }

    #[track_caller]
    fn failed_with(&self, text: &str) {
        assert_eq!(self.code, 3, "{}", self.stderr);
        assert!(self.stderr.contains(text), "{}", self.stderr);
        assert!(!self.file.exists(), "a file that is not whole got its name");
    }
}

fn digits() -> Vec<u8> {
    bundled("digits/digits.csv.gz")
}

#[test]
fn a_whole_download_is_kept_and_not_repeated() {
    let (place, server) = (Place::new(), Server::start(digits(), Manner::Good));
    fetch(&place, &server).is_whole();
    fetch(&place, &server).is_whole();
    assert_eq!(server.ranges(), [""]);
}

#[test]
fn a_broken_download_goes_on_where_it_stopped() {
    let (place, server) = (Place::new(), Server::start(digits(), Manner::Breaks));
    fetch(&place, &server).is_whole();
    assert_eq!(server.ranges(), ["".to_owned(), format!("{}-", digits().len() / 2)]);
}

#[test]
fn what_an_earlier_run_left_is_used() {
    let (place, server) = (Place::new(), Server::start(digits(), Manner::Good));
    place.write("there/digits.csv.gz.part", &digits()[..1234]);
    fetch(&place, &server).is_whole();
    assert_eq!(server.ranges(), ["1234-"]);
}

#[test]
fn a_part_that_lacks_nothing_is_only_checked() {
    let (place, server) = (Place::new(), Server::start(digits(), Manner::Good));
    place.write("there/digits.csv.gz.part", digits());
    fetch(&place, &server).is_whole();
}

#[test]
fn a_damaged_part_is_thrown_away() {
    let (place, server) = (Place::new(), Server::start(digits(), Manner::Good));
    place.write("there/digits.csv.gz.part", [7; 5000]);
    fetch(&place, &server).is_whole();
    assert_eq!(server.ranges(), ["5000-", ""]);
}

#[test]
fn a_part_longer_than_the_file_is_thrown_away() {
    let (place, server) = (Place::new(), Server::start(digits(), Manner::Good));
    place.write("there/digits.csv.gz.part", [7; 100_000]);
    fetch(&place, &server).is_whole();
}

#[test]
fn a_server_without_ranges_starts_from_the_beginning() {
    let (place, server) = (Place::new(), Server::start(digits(), Manner::Plain));
    place.write("there/digits.csv.gz.part", &digits()[..1234]);
    fetch(&place, &server).is_whole();
}

#[test]
fn wrong_content_is_refused_with_both_hashes_in_sight() {
    let place = Place::new();
    let server = Server::start(vec![b'1'; 264_712], Manner::Good);
    let fetched = fetch(&place, &server);
    fetched.failed_with("where 6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8 is expected");
    assert!(!fetched.part.exists(), "bytes that are known to be wrong were kept");
    fetch(&place, &Server::start(digits(), Manner::Lies))
        .failed_with("it unpacks to 57523 bytes where 264712 are expected");
}

#[test]
fn an_endless_file_is_cut_off() {
    fetch(&Place::new(), &Server::start(vec![0; 1 << 20], Manner::Good)).failed_with("so this is another file");
}

#[test]
fn a_missing_file_and_a_dead_server_are_named() {
    let place = Place::new();
    let server = Server::start(digits(), Manner::Missing);
    fetch(&place, &server).failed_with("the server answers 404 Not Found");
    assert_eq!(server.ranges().len(), 1, "asking again for a file that is not there");
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server { address: format!("http://{dead}"), ranges: Arc::default() };
    fetch(&place, &server).failed_with(&format!("http://{dead}/digits.csv.gz: "));
}

#[test]
fn a_bundled_set_needs_no_network() {
    let place = Place::new();
    let path = place.ok(&["data", "fetch", "digits"]);
    assert_eq!(path.trim_end(), place.path().join("home/.cache/gradus/datasets/digits").to_str().unwrap());
    assert_eq!(place.ok(&["data", "path", "digits"]), path);
    assert_eq!(place.ok(&["data", "verify", "digits", "-q"]).lines().count(), 3);
}
