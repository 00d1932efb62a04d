//! The simulated disk: seeded, in memory, with power cuts and faults.
//!
//! Every file has a live image, which the program sees, and a durable one, which a power cut leaves.
//! [`SimDisk::power_cut`] builds the new state of each file from its durable image and a random
//! subset of the sectors that were written since the last sync: unsynced writes are lost, reordered and
//! torn. Names behave likewise: of the operations on a folder since its last sync, a random prefix
//! survives. Handles from before a power cut fail with an error ever after.

mod clock;

pub use clock::SimClock;

use super::map::{Appender, Backing, PrivateBytes, SharedMemory};
use super::{Disk, DiskFile, Environment, Metadata, Open};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Unit in which unsynced writes survive or don't, in bytes.
const SECTOR: usize = 512;

type FileId = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(FileId),
}

/// An operation on a folder's names that no sync has made durable yet.
enum NameChange {
    Set(PathBuf, Node),
    Remove(PathBuf),
    /// What is in a folder moves with it.
    Rename(PathBuf, PathBuf),
}

impl NameChange {
    /// The folder whose sync makes it durable.
    fn folder(&self) -> PathBuf {
        let (NameChange::Set(path, _) | NameChange::Remove(path) | NameChange::Rename(_, path)) = self;
        path.parent().unwrap_or(Path::new("/")).to_path_buf()
    }
}

struct Content {
    memory: SharedMemory,
    len: u64,
    durable: Vec<u8>,
}

/// Which faults the disk injects.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// Bytes of all files together; growing past it is a full disk.
    pub capacity: u64,
    /// Syncs and durable writes until one fails, if any does.
    pub syncs_until_failure: Option<u64>,
    /// Operations that change something until the power is cut in the middle of one, if it is.
    pub changes_until_power_cut: Option<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Faults { capacity: u64::MAX, syncs_until_failure: None, changes_until_power_cut: None }
    }
}

struct World {
    random: StdRng,
    /// Raised by each power cut and kill; handles of an older one are dead.
    age: u64,
    /// Raised by each power cut.
    boot: u64,
    powered: bool,
    max_file_len: usize,
    next_file: FileId,
    files: BTreeMap<FileId, Content>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    name_changes: Vec<NameChange>,
    faults: Faults,
}

/// A simulated file system.
#[derive(Clone)]
pub struct SimDisk {
    world: Arc<Mutex<World>>,
}

/// An environment on a simulated disk, with the disk and clock to steer it.
pub fn environment(seed: u64, max_file_len: usize) -> (Environment, SimDisk, SimClock) {
    let disk = SimDisk::new(seed, max_file_len);
    let clock = SimClock::default();
    clock.advance(1_700_000_000_000);
    let random = Mutex::new(StdRng::seed_from_u64(seed ^ 0x5eed));
    let environment = Environment {
        disk: Arc::new(disk.clone()),
        clock: Arc::new(clock.clone()),
        random: Arc::new(move || random.lock().random()),
    };
    (environment, disk, clock)
}

fn power_is_off() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "simulated power cut")
}

impl SimDisk {
    /// An empty disk; no file can be longer than `max_file_len`.
    pub fn new(seed: u64, max_file_len: usize) -> SimDisk {
        let world = World {
            random: StdRng::seed_from_u64(seed),
            age: 0,
            boot: 0,
            powered: true,
            max_file_len,
            next_file: 0,
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            name_changes: Vec::new(),
            faults: Faults::default(),
        };
        SimDisk { world: Arc::new(Mutex::new(world)) }
    }

    /// Sets the faults to come.
    pub fn set_faults(&self, faults: Faults) {
        self.world.lock().faults = faults;
    }

    /// Whether an injected power cut has happened; [`SimDisk::power_cut`] brings the power back.
    pub fn is_powered(&self) -> bool {
        self.world.lock().powered
    }

    /// Cuts the power: what was not durable survives in part, old handles are dead, new ones work.
    pub fn power_cut(&self) {
        let mut world = self.world.lock();
        world.boot += 1;
        let World { random, names, durable_names, name_changes, .. } = &mut *world;
        // Names: of each folder's changes a prefix survives.
        let mut lost: Vec<PathBuf> = Vec::new();
        for change in name_changes.drain(..) {
            let folder = change.folder();
            if lost.contains(&folder) {
                continue;
            }
            if random.random_bool(0.3) {
                lost.push(folder);
                continue;
            }
            apply_name_change(durable_names, change);
        }
        // A name whose folder did not survive is gone with it.
        loop {
            let orphan = durable_names
                .keys()
                .find(|path| {
                    path.parent().is_some_and(|parent| parent != Path::new("/") && !durable_names.contains_key(parent))
                })
                .cloned();
            match orphan {
                Some(path) => durable_names.remove(&path),
                None => break,
            };
        }
        *names = durable_names.clone();
        let max_file_len = world.max_file_len;
        let World { random, files, names, .. } = &mut *world;
        files.retain(|id, _| names.values().any(|node| *node == Node::File(*id)));
        for content in files.values_mut() {
            let mut live = vec![0; content.len as usize];
            content.memory.read(0, &mut live);
            // The length is either the durable or the live one.
            let len = if random.random_bool(0.5) { live.len() } else { content.durable.len() };
            let mut survived = content.durable.clone();
            survived.resize(len, 0);
            let survival = [0.0, 0.2, 0.8, 1.0][random.random_range(0..4)];
            for (sector, bytes) in survived.chunks_mut(SECTOR).enumerate() {
                let start = sector * SECTOR;
                if let Some(new) = live.get(start..(start + bytes.len()).min(live.len()))
                    && new != &bytes[..new.len()]
                    && random.random_bool(survival)
                {
                    bytes[..new.len()].copy_from_slice(new);
                }
            }
            // New memory: maps of the dead program may still hold the old one.
            if let Ok(memory) = SharedMemory::new(max_file_len) {
                memory.write(0, &survived);
                content.memory = memory;
            }
            content.len = survived.len() as u64;
            content.durable = survived;
        }
        world.age += 1;
        world.powered = true;
        world.faults = Faults::default();
    }

    /// Ends the program as `kill -9` does: all that it wrote is there, and old handles are dead.
    pub fn kill(&self) {
        let mut world = self.world.lock();
        let max_file_len = world.max_file_len;
        for content in world.files.values_mut() {
            let mut live = vec![0; content.len as usize];
            content.memory.read(0, &mut live);
            if let Ok(memory) = SharedMemory::new(max_file_len) {
                memory.write(0, &live);
                content.memory = memory;
            }
        }
        world.age += 1;
    }

    /// Paths of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        let world = self.world.lock();
        world.names.iter().filter(|(_, node)| **node != Node::Folder).map(|(path, _)| path.clone()).collect()
    }

    /// Flips one bit of a file, in what is live and what is durable.
    ///
    /// # Errors
    /// If there is no such file or byte.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) -> io::Result<()> {
        let mut world = self.world.lock();
        let content = world.content(path)?;
        if offset >= content.len {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        let mut byte = [0];
        content.memory.read(offset as usize, &mut byte);
        content.memory.write(offset as usize, &[byte[0] ^ (1 << bit)]);
        if let Some(durable) = content.durable.get_mut(offset as usize) {
            *durable ^= 1 << bit;
        }
        Ok(())
    }

    fn with<T>(&self, age: u64, f: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        let mut world = self.world.lock();
        if world.age != age || !world.powered {
            return Err(power_is_off());
        }
        f(&mut world)
    }

    fn age(&self) -> u64 {
        self.world.lock().age
    }
}

fn apply_name_change(names: &mut BTreeMap<PathBuf, Node>, change: NameChange) {
    match change {
        NameChange::Set(path, node) => names.insert(path, node),
        NameChange::Remove(path) => names.remove(&path),
        NameChange::Rename(from, to) => {
            let moved: Vec<PathBuf> = names.keys().filter(|path| path.starts_with(&from)).cloned().collect();
            for path in moved {
                if let (Some(node), Ok(inside)) = (names.remove(&path), path.strip_prefix(&from)) {
                    let new = if inside.as_os_str().is_empty() { to.clone() } else { to.join(inside) };
                    names.insert(new, node);
                }
            }
            None
        }
    };
}

impl World {
    fn content(&mut self, path: &Path) -> io::Result<&mut Content> {
        match self.names.get(path) {
            Some(Node::File(id)) => self.files.get_mut(id).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)),
            Some(Node::Folder) => Err(io::Error::from(io::ErrorKind::IsADirectory)),
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        }
    }

    fn file(&mut self, id: FileId) -> io::Result<&mut Content> {
        self.files.get_mut(&id).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    /// Counts a change; the power may go with it.
    fn change(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.faults.changes_until_power_cut {
            if *left == 0 {
                self.powered = false;
                return Err(power_is_off());
            }
            *left -= 1;
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.change()?;
        if let Some(left) = &mut self.faults.syncs_until_failure {
            if *left == 0 {
                return Err(io::Error::other("simulated failure of a sync"));
            }
            *left -= 1;
        }
        Ok(())
    }

    fn set_name(&mut self, path: &Path, node: Node) {
        self.names.insert(path.to_path_buf(), node);
        self.name_changes.push(NameChange::Set(path.to_path_buf(), node));
    }

    fn remove_name(&mut self, path: &Path) {
        self.names.remove(path);
        self.name_changes.push(NameChange::Remove(path.to_path_buf()));
    }

    fn used(&self) -> u64 {
        self.files.values().map(|content| content.len).sum()
    }

    /// Grows a file; refused where the disk is full.
    fn grow(&mut self, id: FileId, len: u64) -> io::Result<()> {
        let (used, capacity, max) = (self.used(), self.faults.capacity, self.max_file_len as u64);
        let content = self.file(id)?;
        if len > content.len {
            if len > max {
                return Err(io::Error::from(io::ErrorKind::FileTooLarge));
            }
            if used.saturating_add(len - content.len) > capacity {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
            content.len = len;
        }
        Ok(())
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let age = self.age();
        self.with(age, |world| {
            let id = match (world.names.get(path).copied(), how) {
                (Some(Node::Folder), _) => return Err(io::Error::from(io::ErrorKind::IsADirectory)),
                (Some(_), Open::CreateNew) => return Err(io::Error::from(io::ErrorKind::AlreadyExists)),
                (Some(Node::File(id)), _) => id,
                (None, Open::CreateNew) => {
                    world.change()?;
                    if path.parent().and_then(|parent| world.names.get(parent)) != Some(&Node::Folder) {
                        return Err(io::Error::from(io::ErrorKind::NotFound));
                    }
                    let id = world.next_file;
                    world.next_file += 1;
                    let memory = SharedMemory::new(world.max_file_len)?;
                    world.files.insert(id, Content { memory, len: 0, durable: Vec::new() });
                    world.set_name(path, Node::File(id));
                    id
                }
                (None, _) => return Err(io::Error::from(io::ErrorKind::NotFound)),
            };
            Ok(Arc::new(SimFile { disk: self.clone(), id, age, durable: how == Open::Durable }) as Arc<dyn DiskFile>)
        })
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.with(self.age(), |world| match world.names.get(path).copied() {
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
            Some(Node::Folder) => Ok(Metadata { len: 0, allocated: 0, links: 1, is_folder: true }),
            Some(Node::File(id)) => {
                let links = world.names.values().filter(|node| **node == Node::File(id)).count() as u64;
                let len = world.file(id)?.len;
                Ok(Metadata { len, allocated: len, links, is_folder: false })
            }
        })
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.with(self.age(), |world| {
            if world.names.get(folder) != Some(&Node::Folder) {
                return Err(io::Error::from(io::ErrorKind::NotFound));
            }
            let inside = world.names.keys().filter(|path| path.parent() == Some(folder));
            Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_string())).collect())
        })
    }

    fn boot(&self) -> Option<u64> {
        Some(self.world.lock().boot)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.with(self.age(), |world| {
            let mut missing: Vec<&Path> =
                path.ancestors().take_while(|above| !world.names.contains_key(*above)).collect();
            while let Some(folder) = missing.pop() {
                world.change()?;
                world.set_name(folder, Node::Folder);
            }
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(self.age(), |world| {
            world.change()?;
            if !world.names.contains_key(from) {
                return Err(io::Error::from(io::ErrorKind::NotFound));
            }
            let change = || NameChange::Rename(from.to_path_buf(), to.to_path_buf());
            apply_name_change(&mut world.names, change());
            world.name_changes.push(change());
            Ok(())
        })
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(self.age(), |world| {
            world.change()?;
            let node = *world.names.get(from).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
            if world.names.contains_key(to) {
                return Err(io::Error::from(io::ErrorKind::AlreadyExists));
            }
            world.set_name(to, node);
            Ok(())
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.with(self.age(), |world| {
            world.change()?;
            world.content(path)?;
            world.remove_name(path);
            let World { files, names, durable_names, name_changes, .. } = world;
            files.retain(|id, _| {
                let node = Node::File(*id);
                names.values().chain(durable_names.values()).any(|named| *named == node)
                    || name_changes.iter().any(|change| matches!(change, NameChange::Set(_, set) if *set == node))
            });
            Ok(())
        })
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.with(self.age(), |world| {
            world.change()?;
            if world.names.keys().any(|inside| inside.parent() == Some(path)) {
                return Err(io::Error::from(io::ErrorKind::DirectoryNotEmpty));
            }
            world.remove_name(path);
            Ok(())
        })
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.with(self.age(), |world| {
            world.sync()?;
            let (synced, rest): (Vec<_>, Vec<_>) =
                std::mem::take(&mut world.name_changes).into_iter().partition(|change| change.folder() == path);
            world.name_changes = rest;
            for change in synced {
                apply_name_change(&mut world.durable_names, change);
            }
            Ok(())
        })
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        // One program at a time runs on a simulated disk.
        self.with(self.age(), |_| Ok(Box::new(()) as Box<dyn Send + Sync>))
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        self.with(self.age(), |world| Ok(world.faults.capacity.saturating_sub(world.used())))
    }
}

struct SimFile {
    disk: SimDisk,
    id: FileId,
    age: u64,
    durable: bool,
}

impl SimFile {
    fn with<T>(&self, f: impl FnOnce(&mut World) -> io::Result<T>) -> io::Result<T> {
        self.disk.with(self.age, f)
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|world| Ok(world.file(self.id)?.len))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.with(|world| {
            let content = world.file(self.id)?;
            if offset.saturating_add(buffer.len() as u64) > content.len {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
            content.memory.read(offset as usize, buffer);
            Ok(())
        })
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.with(|world| {
            world.grow(self.id, offset + bytes.len() as u64)?;
            let outcome = if self.durable { world.sync() } else { world.change() };
            // A write during which the power goes is torn: the live image has it, the durable one not.
            let content = world.file(self.id)?;
            content.memory.write(offset as usize, bytes);
            outcome?;
            if self.durable {
                let end = offset as usize + bytes.len();
                if content.durable.len() < end {
                    content.durable.resize(end, 0);
                }
                content.durable[offset as usize..end].copy_from_slice(bytes);
            }
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|world| {
            world.sync()?;
            let content = world.file(self.id)?;
            let mut live = vec![0; content.len as usize];
            content.memory.read(0, &mut live);
            content.durable = live;
            Ok(())
        })
    }

    fn write_back(&self, _offset: u64, _len: u64) -> io::Result<()> {
        self.with(|_| Ok(()))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.with(|world| {
            world.change()?;
            world.grow(self.id, len)
        })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.with(|world| {
            world.change()?;
            let content = world.file(self.id)?;
            if len < content.len {
                content.memory.write(len as usize, &vec![0; (content.len - len) as usize]);
                content.len = len;
            } else {
                world.grow(self.id, len)?;
            }
            Ok(())
        })
    }

    fn map_append(self: Arc<Self>, capacity: u64, tail: u64) -> io::Result<Appender> {
        let (map, len) = self.with(|world| {
            let content = world.file(self.id)?;
            Ok((Arc::clone(&content.memory.map), content.len))
        })?;
        if tail > len || capacity > map.len() as u64 && len > capacity {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        Ok(Appender::new(Backing::Memory(map), self, tail, len))
    }

    fn map_private(&self) -> io::Result<PrivateBytes> {
        let mut bytes = vec![0; self.len()? as usize];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(PrivateBytes::Owned(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::{Faults, environment};
    use crate::env::{Disk, Open};
    use std::path::Path;

    #[test]
    fn a_power_cut_keeps_what_was_synced_and_some_of_the_rest() {
        let (mut lost, mut kept) = (0, 0);
        for seed in 0..50 {
            let (_, disk, _) = environment(seed, 1 << 20);
            disk.create_folder(Path::new("/d")).unwrap();
            disk.sync_folder(Path::new("/")).unwrap();
            let path = Path::new("/d/f");
            let file = disk.open(path, Open::CreateNew).unwrap();
            file.write_all_at(&[1; 1024], 0).unwrap();
            file.sync_data().unwrap();
            disk.sync_folder(Path::new("/d")).unwrap();
            file.write_all_at(&[2; 512], 512).unwrap();
            disk.power_cut();
            assert!(file.len().is_err(), "the old handle is dead");
            let bytes = disk.read(path, 1 << 20).unwrap();
            assert_eq!(&bytes[..512], [1; 512]);
            match bytes[512] {
                1 => lost += 1,
                _ => kept += 1,
            }
        }
        assert!(lost > 0 && kept > 0, "{lost} {kept}");
    }

    #[test]
    fn a_full_disk_refuses_and_says_so() {
        let (_, disk, _) = environment(1, 1 << 20);
        disk.create_folder(Path::new("/d")).unwrap();
        let file = disk.open(Path::new("/d/f"), Open::CreateNew).unwrap();
        disk.set_faults(Faults { capacity: 4096, ..Faults::default() });
        file.allocate(4096).unwrap();
        assert!(crate::env::is_disk_full(&file.allocate(4097).unwrap_err()));
        assert_eq!(disk.free_bytes(Path::new("/d")).unwrap(), 0);
    }

    #[test]
    fn an_injected_power_cut_stops_everything_until_power_is_back() {
        let (_, disk, _) = environment(1, 1 << 20);
        disk.create_folder(Path::new("/d")).unwrap();
        disk.set_faults(Faults { changes_until_power_cut: Some(1), ..Faults::default() });
        assert!(disk.open(Path::new("/d/a"), Open::CreateNew).is_ok());
        assert!(disk.open(Path::new("/d/b"), Open::CreateNew).is_err());
        assert!(!disk.is_powered() && disk.list(Path::new("/d")).is_err());
        disk.power_cut();
        assert!(disk.is_powered());
    }
}
