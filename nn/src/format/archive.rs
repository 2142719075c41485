//! Zip archives from anywhere: `.npz`, `.keras` and PyTorch's `.pt` are such.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Write};
use std::path::Path;

use zip::result::ZipError;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use crate::data::Input;
use crate::{Error, Result};

/// An archive that is open. Nothing of it is ever unpacked into a folder.
pub(crate) struct Archive {
    name: String,
    /// What the archive should be, for complaints: `NPZ`.
    what: &'static str,
    length: u64,
    zip: ZipArchive<BufReader<File>>,
}

impl Archive {
    /// Opens the archive at `path`, which should be a `what`.
    pub(crate) fn open(path: &Path, what: &'static str) -> Result<Self> {
        // Input knows the texts for missing files and folders.
        drop(Input::open(path)?);
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Error::io(path, error))?;
        let length = file.metadata().map_err(|error| Error::io(path, error))?.len();
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|error| damaged(&name, what, &error))?;
        let archive = Self { name, what, length, zip };
        match archive.members()?.iter().find(|member| is_trick(member)) {
            Some(member) => Err(Error::Data(format!(
                "{}: its member {member:?} points out of the archive; no program that saves models writes such names",
                archive.name
            ))),
            None => Ok(archive),
        }
    }

    /// What errors call the archive.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The names of all members, in the archive's order.
    pub(crate) fn members(&self) -> Result<Vec<String>> {
        let names = self.zip.file_names().map(|member| member.map(|member| member.into_owned()));
        names.collect::<std::result::Result<_, _>>().map_err(|error| damaged(&self.name, self.what, &error))
    }

    /// Member number `index`, which errors call `title`, to be unpacked while it is read.
    pub(crate) fn member(&mut self, index: usize, title: &str) -> Result<Input<'_>> {
        let member = self.zip.by_index(index).map_err(|error| damaged(&self.name, self.what, &error))?;
        // The directory of the archive may lie about a member's size; the whole file is a bound that cannot.
        let stored = member.compressed_size().min(self.length);
        let packed = member.compression() != CompressionMethod::Stored;
        Ok(Input::member(format!("{}: {title}", self.name), member, stored, packed))
    }

    /// All bytes of the member called `member`, at most `most`; `None` if there is none.
    pub(crate) fn bytes(&mut self, member: &str, most: u64) -> Result<Option<Vec<u8>>> {
        let Some(index) = self.members()?.iter().position(|name| name == member) else { return Ok(None) };
        let mut input = self.member(index, member)?;
        let mut bytes = Vec::new();
        let read = input.by_ref().take(most.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| input.failed("its data", &error))?;
        match bytes.len() as u64 > most {
            true => Err(input.damaged(format!("it unpacks to more than {most} bytes: damaged, or a bomb"))),
            false => Ok(Some(bytes)),
        }
    }
}

/// Members of a new archive that are not packed: numbers hardly get smaller. The same content gives the same bytes.
pub(crate) struct Packer(ZipWriter<Cursor<Vec<u8>>>);

impl Packer {
    /// An empty archive.
    pub(crate) fn new() -> Self {
        Self(ZipWriter::new(Cursor::new(Vec::new())))
    }

    /// Adds a member.
    pub(crate) fn put(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        let large = options.large_file(bytes.len() as u64 >= u64::from(u32::MAX));
        let put = self.0.start_file(name, large).map_err(std::io::Error::from).and_then(|()| self.0.write_all(bytes));
        put.map_err(|error| Error::io(name, error))
    }

    /// The archive's bytes.
    pub(crate) fn finish(self) -> Result<Vec<u8>> {
        let end = self.0.finish().map_err(std::io::Error::from);
        Ok(end.map_err(|error| Error::io("the archive", error))?.into_inner())
    }
}

/// Whether a member's name would lead elsewhere if the archive were unpacked.
fn is_trick(member: &str) -> bool {
    let parts = || member.split(['/', '\\']);
    member.starts_with(['/', '\\'])
        || parts().any(|part| part == "..")
        || parts().next().is_some_and(|first| first.ends_with(':'))
}

fn damaged(name: &str, what: &str, error: &ZipError) -> Error {
    Error::Data(format!("{name}: not a readable {what} (zip) file: {error}"))
}
