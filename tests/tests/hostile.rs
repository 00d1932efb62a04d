//! Clients that mean no good: each costs little memory and itself, and others are served meanwhile.
#![allow(clippy::unwrap_used, reason = "tests: a failure is a panic")]

#[path = "hostile/malformed.rs"]
mod malformed;
#[path = "hostile/memory.rs"]
mod memory;

use skink_tests::{Server, Wire};
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes that don't compress.
fn noise(len: usize, mut state: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(state ^ state >> 29).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Runs `attack` while another client reads and writes, and checks that the server has survived and answers rightly.
fn attack(server: &mut Server, attack: impl FnOnce(&Server)) {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (shared, is_over) = (&*server, &is_over);
        let other = scope.spawn(move || {
            let mut wire = shared.wire();
            let mut number = 0;
            while !is_over.load(Ordering::Relaxed) {
                number += 1;
                use_it(&mut wire, number);
            }
            number
        });
        // Also where the attack panics, or the other client would go on for ever.
        let over = Over(is_over);
        attack(shared);
        drop(over);
        assert!(other.join().unwrap() > 0);
    });
    assert!(server.is_alive());
    use_it(&mut server.wire(), 0);
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn use_it(wire: &mut Wire, number: u64) {
    let text = number.to_string();
    assert_eq!(wire.say(&format!("SET other {text}")), "+OK\\r\\n");
    assert_eq!(wire.say("GET other"), format!("${}\\r\\n{text}\\r\\n", text.len()));
}
