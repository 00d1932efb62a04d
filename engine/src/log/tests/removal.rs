//! The log's files go under another name than their own: they are shortened first, and whoever reads one must find it whole
//! or not at all.

use super::{FILE_LEN, FrameKind, LogFiles, LogOptions, LogWriter};
use crate::env::sim::{SimDisk, environment};
use crate::env::{Disk, DiskFile, Environment, Metadata, Open};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Lets no log file be removed by its own name.
struct Watched(SimDisk);

impl Disk for Watched {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        self.0.open(path, how)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.0.metadata(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.0.list(folder)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.0.create_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        assert!(!name.starts_with(|first: char| first.is_ascii_hexdigit()), "{name} is removed under its name");
        self.0.remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.0.remove_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.0.sync_folder(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.0.lock(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.0.free_bytes(path)
    }
}

#[test]
fn files_are_removed_under_another_name_and_what_is_left_of_them_at_the_next_time() {
    let (environment, disk, _) = environment(1, 1 << 20);
    let environment = Environment { disk: Arc::new(Watched(disk.clone())), ..environment };
    let folder = Path::new("/log");
    disk.create_folder(folder).unwrap();
    let options = LogOptions { file_len: FILE_LEN, spares: 1 };
    let files = Arc::new(LogFiles::new(&environment, folder, options, 1));
    let mut writer = LogWriter::create(Arc::clone(&files)).unwrap();
    for _ in 0..30 {
        writer.append(FrameKind::Payload, &[&[7; 20_000]]).unwrap();
        writer.flush().unwrap();
    }
    // As a process leaves it that ends meanwhile.
    drop(disk.open(&folder.join("gone-77.log"), Open::CreateNew).unwrap());
    let before = files.list().unwrap().len();
    assert!(before > 4);
    files.drop_below(writer.end()).unwrap();
    let names = disk.list(folder).unwrap();
    assert!(names.iter().all(|name| !name.starts_with("gone-")), "{names:?}");
    assert_eq!(files.list().unwrap().len(), 1, "{names:?}");
}
