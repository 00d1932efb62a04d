//! Schedulers against each other: what scheduling costs, what runs side by side, what waits in vain.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`batches`] | the batches: conflicts, hot keys, transactions |
//! | [`contender`] | the schedulers, and their costs on one core |
//! | [`execution`] | commands that take a certain time, through the worker pool and one by one |
//! | [`simulation`] | the same on many cores, simulated with the costs that were measured |
//! | [`false_conflicts`] | batches that share no key and meet all the same |

pub mod batches;
pub mod contender;
pub mod execution;
pub mod false_conflicts;
pub mod simulation;
