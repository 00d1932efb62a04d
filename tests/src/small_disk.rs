//! A disk that is really full: a small file system of the test's own. It takes root to make one; others skip the test.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// A small file system, unmounted with this value.
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// One of so many MiB; `None` where it can't be had, which is printed. The log of a server whose data directory is
    /// `data` lies outside, where there is always room.
    ///
    /// # Panics
    /// There is no room for a folder.
    pub fn mount(mb: u32) -> Option<SmallDisk> {
        let folder = tempfile::tempdir().expect("a folder for the disk");
        std::fs::create_dir(folder.path().join("disk")).expect("a folder in a folder");
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mb}m"), "skink-test"])
            .arg(folder.path().join("disk"))
            .stdin(Stdio::null())
            .output();
        match output {
            Ok(output) if output.status.success() => {}
            other => {
                eprintln!("skipped: no file system can be mounted here: {other:?}");
                return None;
            }
        }
        let disk = SmallDisk { folder };
        std::os::unix::fs::symlink(disk.folder.path().join("log"), disk.path("data.log"))
            .expect("a link on a new disk");
        Some(disk)
    }

    /// A place on it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("disk").join(name)
    }

    /// Fills the disk with a file, up to this length or its end.
    ///
    /// # Panics
    /// There is no room for any file.
    pub fn put(&self, name: &str, len: usize) {
        let mut file = File::create(self.path(name)).expect("a file takes no room");
        let block = [7; 4096];
        for _ in 0..len / block.len() {
            if file.write_all(&block).is_err() {
                return;
            }
        }
    }

    /// Removes a file from it.
    ///
    /// # Panics
    /// There is none.
    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.path(name)).expect("the file is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, as a failing test may leave a file open.
        let _ = Command::new("umount").arg("-l").arg(self.folder.path().join("disk")).status();
    }
}
