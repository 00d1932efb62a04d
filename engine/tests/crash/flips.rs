//! Flipped bits: whatever bit of the data directory changes while no process runs, the next one says which file is
//! damaged, or answers as if nothing had happened.

use crate::oracle::{Commands, Oracle};
use crate::replica::{Machine, root};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use skink_engine::error::Fault;
use skink_engine::position::LogPosition;
use std::path::{Path, PathBuf};

/// One seed's run: some history, an end, then flips of one bit each.
pub fn flips(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let machine = Machine::new(seed, &mut random);
    let (mut oracle, mut commands) = (Oracle::default(), Commands::new(&mut random));
    let mut last_write = None;
    for _ in 0..random.random_range(1..4) {
        let mut replica = machine.open().unwrap();
        oracle.settle(replica.instance());
        for _ in 0..random.random_range(0..30) {
            match random.random_range(0..20) {
                0 | 1 => replica.maintain(random.random_bool(0.5)).unwrap(),
                2 | 3 => {
                    replica.cut();
                    replica.checkpoint().unwrap();
                }
                4 | 5 => replica.seal().unwrap(),
                6 => replica.prepare_next_file().unwrap(),
                _ => {
                    let batches = commands.batches(&mut random, &oracle);
                    replica.submit(&machine, &mut oracle, batches).unwrap();
                }
            }
        }
        last_write = replica.last_write.or(last_write);
        if random.random_bool(0.4) {
            assert!(replica.stop().unwrap());
            last_write = None;
        }
        machine.disk.kill();
    }
    let image = machine.files();
    let (path, bytes) = &image[random.random_range(0..image.len())];
    let Some(offset) = position(bytes, &mut random) else { return };
    if is_in_last_write(path, offset, last_write) {
        return;
    }
    machine.disk.flip_bit(path, offset, random.random_range(0..8)).unwrap();
    let label = format!("{} at {offset}", path.display());
    match read_everything(&machine, &oracle, &label) {
        Ok(()) => {}
        Err(fault @ (Fault::Corrupt { .. } | Fault::Refused(_))) => {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            assert!(fault.to_string().contains(name), "{label}: {fault}");
        }
        Err(other) => panic!("{label}: {other}"),
    }
    // Whatever it finds, it gets to the end of it.
    let _ = skink_engine::verify::verify(&machine.environment, root());
}

fn read_everything(machine: &Machine, oracle: &Oracle, label: &str) -> Result<(), Fault> {
    let replica = machine.open()?;
    assert_eq!(replica.instance(), oracle.instance, "{label}: acknowledged batches are lost");
    replica.compare(oracle)
}

/// A byte to flip: anywhere, near the start, or one that is not zero.
fn position(bytes: &[u8], random: &mut StdRng) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    let at = match random.random_range(0..4) {
        0 => random.random_range(0..bytes.len()),
        1 => random.random_range(0..bytes.len().min(5000)),
        _ => {
            let set: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
            if set.is_empty() { 0 } else { set[random.random_range(0..set.len())] }
        }
    };
    Some(at as u64)
}

/// Whether the byte is in the log's very last write, with neither a seal nor an orderly stop after it. Such a flip
/// can't be told from a torn write, which was never acknowledged: it is the one that may go unnoticed.
fn is_in_last_write(path: &Path, offset: u64, last_write: Option<(LogPosition, LogPosition)>) -> bool {
    let Some((start, end)) = last_write else { return false };
    let file_len = 128 << 10;
    let first = start.get() / file_len * file_len;
    let file: PathBuf = root().join("log").join(format!("{first:016x}.log"));
    file == path && (start.get() - first..end.get() - first).contains(&offset)
}

#[test]
fn a_byte_is_in_the_last_write_or_not() {
    let write = Some((LogPosition::new((128 << 10) + 4096), LogPosition::new((128 << 10) + 8192)));
    let path = Path::new("/data/log/0000000000020000.log");
    assert!(is_in_last_write(path, 4096, write) && is_in_last_write(path, 8191, write));
    assert!(!is_in_last_write(path, 8192, write) && !is_in_last_write(path, 4096, None));
    assert!(!is_in_last_write(Path::new("/data/log/0000000000000000.log"), 4096, write));
}
