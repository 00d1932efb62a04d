//! `cargo fuzz run transport_frames`: see `skink_fuzz::TARGETS`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| skink_fuzz::run("transport_frames", data));

#[cfg(not(fuzzing))]
fn main() {}
