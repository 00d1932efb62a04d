//! `cargo fuzz run segment`: see `skink_fuzz::TARGETS`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| skink_fuzz::run("segment", data));

#[cfg(not(fuzzing))]
fn main() {}
