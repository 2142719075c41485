//! What the readers read from: a file or bytes, packed by gzip or not, with a bound on what may come out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::{Error, Result};

/// No deflate stream grows by more than this (a length code of 258 bytes takes two bits, RFC 1951).
const MOST_GROWTH: u64 = 1032;
/// Beyond [`ALWAYS_ALLOWED`], packed data that grow by more than this are taken for a bomb.
const PLAUSIBLE_GROWTH: u64 = 100;
/// Up to this many bytes any growth is allowed: they fit into memory anyway.
const ALWAYS_ALLOWED: u64 = 64 << 20;
/// A pipe has no length, so its bytes are collected first, up to this many.
const LONGEST_PIPE: u64 = 4 << 30;

/// A stream of bytes that knows its name and how many bytes it can give at most.
pub(crate) struct Input<'a> {
    name: String,
    reader: Box<dyn Read + 'a>,
    limit: u64,
    packed: bool,
    done: u64,
}

impl Input<'static> {
    /// A file, or whatever else can be opened by a path; gzip is recognised by its first bytes, not by the name.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
        let (file, metadata) = opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::Data(format!("{name}: there is no such file; check the path")),
            _ => Error::Data(format!("{name}: cannot be opened: {error}")),
        })?;
        if metadata.is_dir() {
            return Err(Error::Data(format!("{name}: this is a folder; name a file in it")));
        }
        if metadata.is_file() {
            return Self::sniffed(name, BufReader::with_capacity(1 << 16, file), metadata.len());
        }
        let mut bytes = Vec::new();
        file.take(LONGEST_PIPE)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::Data(format!("{name}: cannot be read: {error}")))?;
        let length = bytes.len() as u64;
        Self::sniffed(name, Cursor::new(bytes), length)
    }
}

impl<'a> Input<'a> {
    /// Bytes in memory; `name` stands for the file's name in errors.
    pub(crate) fn bytes(name: &str, bytes: &'a [u8]) -> Result<Self> {
        Self::sniffed(name.to_string(), bytes, bytes.len() as u64)
    }

    /// A member of an archive: `stored` bytes long there, unpacked by `reader` if `packed`.
    pub(crate) fn member(name: String, reader: impl Read + 'a, stored: u64, packed: bool) -> Self {
        let limit = if packed { plausible(stored) } else { stored };
        Self { name, reader: Box::new(reader), limit, packed, done: 0 }
    }

    fn sniffed(name: String, mut reader: impl BufRead + 'a, stored: u64) -> Result<Self> {
        let start = reader.fill_buf().map_err(|error| Error::Data(format!("{name}: cannot be read: {error}")))?;
        if start.starts_with(&[0x1f, 0x8b]) {
            Ok(Self::member(name, MultiGzDecoder::new(reader), stored, true))
        } else {
            Ok(Self::member(name, reader, stored, false))
        }
    }

    /// What errors call the input.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// How many bytes have been read.
    pub(crate) fn done(&self) -> u64 {
        self.done
    }

    /// How many more bytes can come at most: never less than what is there, unless that is taken for a bomb.
    pub(crate) fn left(&self) -> u64 {
        self.limit.saturating_sub(self.done)
    }

    /// Whether the bytes are unpacked while they are read, so that [`Input::left`] is only a bound.
    pub(crate) fn is_packed(&self) -> bool {
        self.packed
    }

    /// The error for data that are not what they should be.
    pub(crate) fn damaged(&self, what: impl std::fmt::Display) -> Error {
        Error::Data(format!("{}: {what}", self.name))
    }

    /// The error for a read that failed inside `part`, such as "the header".
    pub(crate) fn failed(&self, part: &str, error: &io::Error) -> Error {
        match error.kind() {
            ErrorKind::UnexpectedEof => {
                let done = self.done;
                self.damaged(format!("truncated: the data end after {done} bytes, inside {part}; get the file again"))
            }
            _ => self.damaged(format!("cannot be read on from byte {}, inside {part}: {error}", self.done)),
        }
    }

    /// Fails unless everything was read; this also makes gzip and zip check their checksums.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let before = self.done;
        match self.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged(format!(
                "longer than its header says: data go on after byte {before}; the file is damaged or not what it seems"
            ))),
            Err(error) => Err(self.failed("the end", &error)),
        }
    }
}

impl Read for Input<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.done += count as u64;
        if self.packed && self.done > self.limit {
            return Err(io::Error::other(format!(
                "it unpacks to more than {} bytes, far more than its size lets expect; if you trust it, unpack it first",
                self.limit
            )));
        }
        Ok(count)
    }
}

/// How many bytes `stored` packed ones may become.
pub(crate) fn plausible(stored: u64) -> u64 {
    stored.saturating_mul(MOST_GROWTH).min(stored.saturating_mul(PLAUSIBLE_GROWTH).max(ALWAYS_ALLOWED))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    /// `bytes` as a gzip file.
    pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory takes every write")
    }

    #[test]
    fn gzip_is_recognised_by_content_and_may_have_several_members() {
        let mut packed = gzip(b"one ");
        packed.extend(gzip(b"two"));
        let mut text = String::new();
        Input::bytes("x.csv", &packed).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "one two");
        text.clear();
        Input::bytes("x.gz", b"plain").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "plain");
    }

    #[test]
    fn a_bomb_is_stopped_while_it_unpacks() {
        let member = gzip(&vec![0; 1 << 20]);
        let bomb: Vec<u8> = (0..80).flat_map(|_| member.iter().copied()).collect();
        let mut input = Input::bytes("bomb.gz", &bomb).unwrap();
        let error = io::copy(&mut input, &mut io::sink()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it unpacks to more than 67108864 bytes, far more than its size lets expect; if you trust it, unpack it first"
        );
        assert!(input.done() < ALWAYS_ALLOWED + (1 << 20));
    }

    #[test]
    fn honest_packed_data_pass() {
        assert_eq!(plausible(10), 10_320);
        assert_eq!(plausible(1 << 20), ALWAYS_ALLOWED.max(100 << 20));
        assert_eq!(plausible(u64::MAX), u64::MAX);
        let noise: Vec<u8> = (0..100_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let packed = gzip(&noise);
        let mut back = Vec::new();
        Input::bytes("noise", &packed).unwrap().read_to_end(&mut back).unwrap();
        assert_eq!(back, noise);
    }

    #[test]
    fn missing_files_and_folders_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.gz");
        let missing = Input::open(&path).err().unwrap();
        assert!(matches!(missing, Error::Data(_)));
        assert_eq!(missing.to_string(), format!("{}: there is no such file; check the path", path.display()));
        let dir = Input::open(folder.path()).err().unwrap().to_string();
        assert_eq!(dir, format!("{}: this is a folder; name a file in it", folder.path().display()));
    }
}
