//! All schedulers against a model: random commands, conflicts, workers and orders of completion.

mod model;

use super::{BitmapScheduler, GraphScheduler, Kind, Scheduler, SequentialScheduler, TableScheduler, build};
use model::{Exactness, Model, Plan};
use proptest::prelude::*;

fn table(start: u64) -> Box<dyn Scheduler> {
    Box::new(TableScheduler::starting_at(start))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Tags wrap at 2^31, and a few commands are enough to get there from a start nearby.
    #[test]
    fn the_table_is_exact(plan in model::plan(), before_wrap in 0_u64..40, wraps in 0_u64..3) {
        let start = ((wraps + 1) << 31) - before_wrap;
        Model::run(&plan, table(start), Exactness::Command)?;
    }

    #[test]
    fn the_bitmap_keeps_the_order(plan in model::plan(), bits in prop_oneof![1_u32..12, Just(1_000)]) {
        Model::run(&plan, Box::new(BitmapScheduler::new(plan.workers, bits)), Exactness::Safe)?;
    }

    #[test]
    fn the_graph_is_exact_by_batch(plan in model::plan()) {
        Model::run(&plan, Box::<GraphScheduler>::default(), Exactness::Batch)?;
    }

    #[test]
    fn sequential_execution_keeps_the_order(plan in model::plan()) {
        Model::run(&plan, Box::<SequentialScheduler>::default(), Exactness::Safe)?;
    }

    #[test]
    fn what_is_built_by_name_keeps_the_order(plan in model::plan(), name in prop::sample::select(NAMES.to_vec())) {
        Model::run(&plan, build(name.parse().unwrap(), plan.workers), Exactness::Safe)?;
    }
}

const NAMES: [&str; 4] = ["table", "bitmap", "graph", "sequential"];

#[test]
fn names_are_read_and_written() {
    for name in NAMES {
        assert_eq!(name.parse::<Kind>().unwrap().to_string(), name);
    }
    let error = "tables".parse::<Kind>().unwrap_err().to_string();
    assert_eq!(error, "there is no scheduler \"tables\": it is table, bitmap, graph or sequential");
}

/// A plan that shows that the model sees what it is for: a scheduler without order, and one that strands.
#[test]
fn the_model_notices_what_is_wrong() {
    use super::{BatchNumber, Footprints, Unit};
    use model::Shape;

    /// Hands out batches without looking; the second one only if it isn't lost.
    struct Careless {
        queue: Vec<(BatchNumber, u32)>,
        loses: bool,
        outstanding: usize,
    }

    impl Scheduler for Careless {
        fn admit(&mut self, batch: BatchNumber, footprints: &Footprints) {
            self.outstanding += footprints.len();
            if !self.loses || batch.get() != 2 {
                self.queue.push((batch, footprints.len() as u32));
            }
        }

        fn next_ready(&mut self, _worker: usize, _most: usize) -> Option<Unit> {
            self.queue.pop().map(|(batch, count)| Unit::whole(batch, 0, count))
        }

        fn complete(&mut self, unit: Unit) {
            self.outstanding -= unit.commands().len();
        }

        fn outstanding(&self) -> usize {
            self.outstanding
        }

        fn memory_bytes(&self) -> usize {
            0
        }
    }

    let plan = |digests: [u32; 2]| Plan {
        batches: digests.map(|digest| vec![Shape::Keys(vec![(digest, true)])]).to_vec(),
        workers: 2,
        steps: vec![0, 0, 1, 1],
    };
    let run = |loses, digests| {
        let scheduler = Careless { queue: Vec::new(), loses, outstanding: 0 };
        Model::run(&plan(digests), Box::new(scheduler), Exactness::Safe).map_err(|error| error.to_string())
    };
    assert!(run(false, [1, 2]).is_ok());
    assert!(run(false, [1, 1]).unwrap_err().contains("waits for"));
    assert!(run(true, [1, 2]).unwrap_err().contains("stranded"));
}
