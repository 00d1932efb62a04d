//! What clients of Skink talk to: its protocols and languages.

pub mod statement;
