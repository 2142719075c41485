//! Replacing a file as a whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::{Error, Result};

/// Writes a file through `write`; whoever reads `path` finds the old content or the new, never a part.
///
/// The bytes go into a new file in the same folder, which then takes the old one's name. If anything fails (a full disk,
/// an error of `write`), the old file is as it was and the new one is gone. A symbolic link is followed. What is no file,
/// such as `/dev/null` or a pipe, is written to directly.
pub fn write_atomic(path: impl AsRef<Path>, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let path = path.as_ref();
    // A link's target is replaced, not the link; a path that does not exist yet stands for itself.
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if fs::metadata(&target).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        let written = File::create(&target).and_then(|file| buffered(&file, write));
        return written.map_err(|error| Error::io(path, error));
    }
    replace(&target, write).map_err(|error| {
        let fate = if target.is_file() { "; the file that was there before is unchanged" } else { "" };
        Error::io(path, io::Error::new(error.kind(), format!("cannot be saved: {error}{fate}")))
    })
}

fn replace(target: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = new_file(target, folder)?;
    buffered(file.as_file(), write)?;
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    // The new name is on disk only once the folder is. Some systems cannot open folders: there, that is all there is.
    File::open(folder).map_or(Ok(()), |folder| folder.sync_all())
}

/// A file in `folder` that is removed when dropped.
fn new_file(target: &Path, folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    let name = target.file_name().ok_or_else(|| io::Error::other("the path has no file name"))?;
    let prefix = format!(".{}.", name.to_string_lossy());
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Temporary files are private by default; this one becomes a file like any other, or like the one it replaces.
        let mode = fs::metadata(target).map_or(0o666, |old| old.permissions().mode() & 0o777);
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    builder.tempfile_in(folder)
}

fn buffered(file: &File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(1 << 16, file);
    write(&mut writer)?;
    writer.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn files_are_made_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        for text in ["long content", "short"] {
            write_atomic(&path, |writer| writer.write_all(text.as_bytes())).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let half = |writer: &mut dyn Write| {
            writer.write_all(&[b'x'; 1 << 20])?;
            Err(io::ErrorKind::StorageFull.into())
        };
        let error = write_atomic(&path, half).unwrap_err().to_string();
        assert_eq!(error, format!("{}: cannot be saved: no storage space", path.display()));
        assert!(names(folder.path()).is_empty());
        fs::write(&path, "old").unwrap();
        let error = write_atomic(&path, half).unwrap_err();
        assert!(matches!(error, Error::Io { .. }));
        let text = "cannot be saved: no storage space; the file that was there before is unchanged";
        assert_eq!(error.to_string(), format!("{}: {text}", path.display()));
        assert_eq!((fs::read_to_string(&path).unwrap().as_str(), names(folder.path())), ("old", vec!["a.txt".into()]));
    }

    #[test]
    fn a_missing_folder_and_a_folder_in_the_way_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing").join("a.txt");
        let error = write_atomic(&path, |_| Ok(())).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{}: cannot be saved: No such file", path.display())), "{error}");
        assert!(write_atomic(folder.path(), |_| Ok(())).is_err());
        assert!(names(folder.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn links_devices_and_permissions_stay() {
        use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&file, &link).unwrap();
        write_atomic(&link, |writer| writer.write_all(b"new")).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        write_atomic("/dev/null", |writer| writer.write_all(b"gone")).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    }
}
