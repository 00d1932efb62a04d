//! `cargo fuzz run log`: see `skink_fuzz::TARGETS`.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|data: &[u8]| skink_fuzz::run("log", data));

#[cfg(not(fuzzing))]
fn main() {}
