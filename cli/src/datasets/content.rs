//! Comparing files with the hashes of the catalog.

use std::fmt::Write;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::catalog::File;

/// Whether a file is what the catalog says.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Byte for byte; where no hash is known, as far as the number of bytes tells.
    Genuine,
    /// Not: one sentence says in what it differs.
    Different(String),
}

/// Unpacks what `read` gives, if it is packed, and compares it with the catalog; never reads much past the known size.
///
/// # Errors
/// If reading fails. Broken packing is no error but a difference.
pub fn compare(file: &File, read: impl Read) -> io::Result<Verdict> {
    let mut packed = BufReader::with_capacity(1 << 16, read);
    let is_gzip = packed.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    let limit = file.bytes + 1;
    let hashed = match is_gzip {
        true => hash(MultiGzDecoder::new(packed).take(limit)),
        false => hash(packed.take(limit)),
    };
    let (bytes, sha256) = match hashed {
        Ok(hashed) => hashed,
        // What the decoder finds wrong with the stream, as opposed to a disk that cannot be read.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
            return Ok(Verdict::Different(format!("its gzip stream is damaged ({error})")));
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Ok(Verdict::Different("its gzip stream ends too early".to_owned()));
        }
        Err(error) => return Err(error),
    };
    Ok(match bytes {
        _ if bytes > file.bytes => {
            Verdict::Different(format!("it unpacks to more than the expected {} bytes", file.bytes))
        }
        _ if bytes < file.bytes => {
            Verdict::Different(format!("it unpacks to {bytes} bytes where {} are expected", file.bytes))
        }
        _ => match file.sha256 {
            Some(known) if sha256 != known => {
                Verdict::Different(format!("the sha256 of its content is {sha256} where {known} is expected"))
            }
            _ => Verdict::Genuine,
        },
    })
}

/// [`compare`] for a file on disk.
///
/// # Errors
/// If it cannot be read.
pub fn compare_path(file: &File, path: &Path) -> io::Result<Verdict> {
    compare(file, std::fs::File::open(path)?)
}

/// How many bytes there are, and their SHA-256 in hexadecimal.
///
/// # Errors
/// If reading fails.
pub fn hash(mut read: impl Read) -> io::Result<(u64, String)> {
    let mut hasher = Sha256::new();
    let bytes = io::copy(&mut read, &mut Writer(&mut hasher))?;
    Ok((bytes, hexadecimal(&hasher.finalize())))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // Writing to a string cannot fail.
        text
    })
}

struct Writer<'a>(&'a mut Sha256);

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// `abc`, whose hash is the first example of the standard.
    const ABC: File = File {
        name: "abc",
        gz: true,
        bytes: 3,
        sha256: Some("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    };

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_wrapper_does_not_matter() {
        assert_eq!(compare(&ABC, &b"abc"[..]).unwrap(), Verdict::Genuine);
        assert_eq!(compare(&ABC, &gzip(b"abc")[..]).unwrap(), Verdict::Genuine);
    }

    #[test]
    fn says_what_differs() {
        let differs = |content: &[u8], word: &str| match compare(&ABC, content).unwrap() {
            Verdict::Different(text) => assert!(text.contains(word), "{text}"),
            Verdict::Genuine => panic!("taken for genuine: {word}"),
        };
        differs(b"abd", "a52d159f262b2c6ddb724a61840befc36eb30c88877a4030b65cbe86298449c9 where ba7816bf");
        differs(b"ab", "2 bytes where 3");
        differs(b"", "0 bytes where 3");
        differs(&gzip(&vec![0; 1 << 24]), "more than the expected 3 bytes");
        let half = gzip(b"abc");
        differs(&half[..half.len() / 2], "ends too early");
        let mut broken = gzip(b"abc");
        *broken.last_mut().unwrap() ^= 1;
        differs(&broken, "damaged");
    }

    #[cfg(feature = "bundled-data")]
    #[test]
    fn the_bundled_files_are_what_the_catalog_says() {
        use super::super::{catalog::SOURCES, embedded};
        for source in SOURCES.iter().filter(|source| !["mnist", "cifar10"].contains(&source.name)) {
            for file in source.files {
                let bytes = embedded::file(source.name, file.name).unwrap_or_else(|| panic!("no {}", file.name));
                assert_eq!(compare(file, bytes).unwrap(), Verdict::Genuine, "{} of {}", file.name, source.name);
            }
        }
    }
}
