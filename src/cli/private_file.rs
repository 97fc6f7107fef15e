//! Files and folders that only their owner can read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Opens a file that is not there yet.
pub(super) fn open_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Creates a file, which is on the disk afterwards; one that is there already is left alone.
pub(super) fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = open_new(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A file that nobody else changes meanwhile: who also takes it waits until this is dropped or its process has
/// ended, however it ends. Who only reads the file does not wait.
#[derive(Debug)]
pub(super) struct Held {
    path: PathBuf,
    file: File,
}

impl Held {
    /// Takes the file; behind a link, the one that it names.
    pub(super) fn take(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        loop {
            // Some file systems over a network lock only what may be written; elsewhere the owner's 0400 is enough.
            let file = match OpenOptions::new().read(true).write(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(&path)?,
                opened => opened?,
            };
            file.lock()?;
            // Whoever had it until now has put another file in its place.
            if is_at(&file, &path)? {
                return Ok(Self { path, file });
            }
        }
    }

    /// Its text.
    pub(super) fn read(&mut self) -> io::Result<String> {
        let mut text = String::new();
        self.file.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Replaces it in one step: whoever reads it gets the old text or the new one, even after a power failure. It
    /// keeps its owner, so that a broker that runs as another user can still read what root has changed.
    pub(super) fn replace(self, text: &str) -> io::Result<()> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        let beside = Path::new(&name);
        // Left by a command that was killed: nobody else is at work on it now.
        match fs::remove_file(beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        create(beside, text)?;
        keep_owner(&self.path, beside).and_then(|()| fs::rename(beside, &self.path)).inspect_err(|_| {
            let _ = fs::remove_file(beside);
        })?;
        sync_folder(&self.path)
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let (this, there) = (file.metadata()?, fs::metadata(path)?);
    Ok((this.dev(), this.ino()) == (there.dev(), there.ino()))
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> io::Result<bool> {
    Ok(true)
}

/// Brings the new name of a file to the disk, where folders can be opened.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn keep_owner(old: &Path, new: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let (old, made) = (fs::metadata(old)?, fs::metadata(new)?);
    if (old.uid(), old.gid()) == (made.uid(), made.gid()) {
        return Ok(());
    }
    chown(new, Some(old.uid()), Some(old.gid()))
}

#[cfg(not(unix))]
fn keep_owner(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "demo")]
/// Makes a folder where there is none.
pub(super) fn folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
