//! Those who look on: a file for each invariant. What they say begins with its name.

pub mod acknowledged;
pub mod agreement;
pub mod e1;
pub mod e2;
pub mod e3;
pub mod linearizability;
pub mod o1;
pub mod o2;
pub mod o3;
pub mod o4;
pub mod refused;
pub mod s2;
pub mod s3;

/// What checkers remember.
#[derive(Debug, Default)]
pub struct Checkers {
    pub states: s3::States,
    /// Objects whose histories have too many orders to be tried.
    pub undecided: usize,
}
