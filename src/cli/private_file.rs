//! Files and folders that only their owner can read, and locked replacement of files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Creates a new file and opens it for writing. Fails if the file exists.
pub(super) fn open_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Creates a new file with this content and syncs it to the disk. Fails if the file exists.
pub(super) fn create(path: &Path, text: &str) -> io::Result<()> {
    let mut file = open_new(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A file with an exclusive lock: another process that locks it waits until this value is dropped or this process
/// has ended, even if it was killed. Processes that only read the file do not wait.
#[derive(Debug)]
pub(super) struct LockedFile {
    path: PathBuf,
    file: File,
}

impl LockedFile {
    /// Locks the file. If the path is a symbolic link, this locks its target.
    pub(super) fn lock(path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(path)?;
        loop {
            // Some network file systems lock only files that are open for writing; elsewhere a file with mode 0400 is
            // enough.
            let file = match OpenOptions::new().read(true).write(true).open(&path) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => File::open(&path)?,
                opened => opened?,
            };
            file.lock()?;
            // The previous holder of the lock may have replaced the file; then the lock is on the old one.
            if is_at(&file, &path)? {
                return Ok(Self { path, file });
            }
        }
    }

    /// Reads the text of the file.
    pub(super) fn read(&mut self) -> io::Result<String> {
        let mut text = String::new();
        self.file.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Replaces the file atomically: a reader sees the old text or the new one, even after a power failure. The file
    /// keeps its owner, so that a broker that runs as another user can still read a file that root has changed.
    pub(super) fn replace(self, text: &str) -> io::Result<()> {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        let new_file = Path::new(&name);
        // A leftover of a command that was killed. No other process uses it, because this one holds the lock.
        match fs::remove_file(new_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        create(new_file, text)?;
        keep_owner(&self.path, new_file).and_then(|()| fs::rename(new_file, &self.path)).inspect_err(
            |_| {
                let _ = fs::remove_file(new_file);
            },
        )?;
        sync_folder(&self.path)
    }
}

/// Whether this open file is the one that the path names now.
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

/// Syncs the folder of a file, so that the renaming is on the disk.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Gives the new file the owner and group of the old one.
#[cfg(unix)]
fn keep_owner(old: &Path, new: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let (old, current) = (fs::metadata(old)?, fs::metadata(new)?);
    if (old.uid(), old.gid()) == (current.uid(), current.gid()) {
        return Ok(());
    }
    chown(new, Some(old.uid()), Some(old.gid()))
}

#[cfg(not(unix))]
fn keep_owner(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

/// Creates a folder and its missing parents; does nothing if it exists.
#[cfg(feature = "demo")]
pub(super) fn folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}
