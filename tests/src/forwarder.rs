//! The network between replicas: what each sends to another goes through this process, which can hold it back.
//!
//! ```text
//! replica N --> 127.A.B.NM (here) --> replica M        a connection, and both directions of it
//! ```
//!
//! A direction that is cut takes nothing and says nothing, as a network does that loses packets: what was sent
//! arrives when it is healed, if the connection is still there.

use crate::cluster::{Addresses, REPLICAS};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a forwarder looks at what it may do.
const STEP: Duration = Duration::from_millis(5);

/// What may not pass, and whether all is over.
#[derive(Default)]
struct State {
    cut: BTreeSet<(usize, usize)>,
    /// Connections older than this are broken off.
    epoch: u64,
    is_over: bool,
}

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All ways between replicas, which end with this value.
pub struct Network {
    state: Shared,
    threads: Vec<JoinHandle<()>>,
}

impl Network {
    pub(crate) fn new(addresses: Addresses) -> Network {
        let state = Shared::default();
        let ways = REPLICAS.iter().flat_map(|from| REPLICAS.map(|to| (*from, to))).filter(|(from, to)| from != to);
        let threads = ways.map(|(from, to)| {
            let listener = TcpListener::bind(addresses.way(from, to)).expect("the address is the test's own");
            listener.set_nonblocking(true).expect("a socket need not block");
            let (state, target) = (Arc::clone(&state), addresses.peer(to));
            std::thread::spawn(move || accept(&listener, (from, to), &target, &state))
        });
        Network { threads: threads.collect(), state }
    }

    /// From now on, nothing passes from one replica to another.
    pub fn cut(&self, from: usize, to: usize) {
        lock(&self.state).cut.insert((from, to));
    }

    /// From now on, nothing passes between a replica and the others.
    pub fn cut_off(&self, replica: usize) {
        for other in REPLICAS.into_iter().filter(|other| *other != replica) {
            self.cut(replica, other);
            self.cut(other, replica);
        }
    }

    /// From now on everything passes.
    pub fn heal(&self) {
        lock(&self.state).cut.clear();
    }

    /// Breaks all connections off, as a box in between does that starts again.
    pub fn break_all(&self) {
        lock(&self.state).epoch += 1;
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        lock(&self.state).is_over = true;
        // They end by themselves within a step.
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

/// Takes connections from a replica, and makes as many to the other.
fn accept(listener: &TcpListener, (from, to): (usize, usize), target: &str, state: &Shared) {
    while !lock(state).is_over {
        let Ok((near, _)) = listener.accept() else {
            std::thread::sleep(STEP);
            continue;
        };
        let Ok(far) = TcpStream::connect(target) else { continue };
        let epoch = lock(state).epoch;
        for (input, output, way) in [(&near, &far, (from, to)), (&far, &near, (to, from))] {
            let (Ok(input), Ok(output)) = (input.try_clone(), output.try_clone()) else { continue };
            let state = Arc::clone(state);
            std::thread::spawn(move || carry(input, output, way, epoch, &state));
        }
    }
}

/// Carries what comes in one direction, while that may pass.
fn carry(mut input: TcpStream, mut output: TcpStream, way: (usize, usize), epoch: u64, state: &Shared) {
    let is_set = input.set_nonblocking(false).and(input.set_read_timeout(Some(STEP * 4))).and(output.set_nodelay(true));
    let mut buffer = vec![0; 64 << 10];
    let mut held = 0..0;
    while is_set.is_ok() {
        let (is_cut, is_over) = {
            let state = lock(state);
            (state.cut.contains(&way), state.is_over || state.epoch != epoch)
        };
        if is_over {
            break;
        }
        if is_cut {
            std::thread::sleep(STEP);
            continue;
        }
        if held.is_empty() {
            match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(len) => held = 0..len,
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
                Err(_) => break,
            }
            // It may have been cut meanwhile.
            continue;
        }
        if output.write_all(&buffer[held.clone()]).is_err() {
            break;
        }
        held = 0..0;
    }
    // The other direction ends with this one.
    let _ = input.shutdown(Shutdown::Both);
    let _ = output.shutdown(Shutdown::Both);
}
