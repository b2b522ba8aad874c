//! Work on tensors of a running graph, on other cores while it goes on.

use std::sync::{Arc, OnceLock};

use tract_onnx::prelude::Tensor;

use crate::onnx::Plan;
use crate::{Error, Result};

/// Elements of all outputs of a graph from which on other cores are asked for help.
const WORTH_A_CORE: usize = 1 << 16;

/// What a graph gave, and what came of the jobs.
pub(super) struct Streamed<T> {
    pub values: Vec<Arc<Tensor>>,
    pub results: Vec<T>,
}

/// Runs a plan, and each job as soon as the outputs are there that it needs (`needs`, by their
/// places). With one thread, and for small graphs, jobs are done in between.
///
/// # Errors
/// When the plan fails, and the first error of a job.
pub(super) fn run<T: Send + Sync>(
    plan: &Plan,
    inputs: Vec<Arc<Tensor>>,
    needs: &[Vec<usize>],
    job: impl Fn(usize, &dyn Fn(usize) -> Option<Arc<Tensor>>) -> Result<T> + Sync,
) -> Result<Streamed<T>> {
    let count = plan.outputs().len();
    let values: Vec<OnceLock<Arc<Tensor>>> = (0..count).map(|_| OnceLock::new()).collect();
    let results: Vec<OnceLock<Result<T>>> = needs.iter().map(|_| OnceLock::new()).collect();
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut waiting: Vec<Vec<usize>> = vec![vec![]; count];
    for (number, needs) in needs.iter().enumerate() {
        needs.iter().for_each(|place| waiting[*place].push(number));
    }
    let work = |number: usize| {
        // Each job is started once.
        let _ = results[number].set(job(number, &|place| values.get(place)?.get().cloned()));
    };
    // Waking another core takes longer than the whole of a small model.
    let elements = plan.outputs().iter().map(|info| info.shape.iter().product::<usize>());
    let alone = rayon::current_num_threads() == 1 || elements.sum::<usize>() < WORTH_A_CORE;
    let outputs = rayon::in_place_scope(|scope| {
        let (values, work) = (&values, &work);
        let mut arrived = |place: usize, tensor: &Arc<Tensor>| {
            if values[place].set(tensor.clone()).is_err() {
                return;
            }
            for number in &waiting[place] {
                missing[*number] -= 1;
                if missing[*number] == 0 {
                    let number = *number;
                    if alone { work(number) } else { scope.spawn(move |_| work(number)) }
                }
            }
        };
        let outputs = plan.run_watched(inputs, &mut arrived)?;
        outputs.iter().enumerate().for_each(|(place, tensor)| arrived(place, tensor));
        Ok::<_, Error>(outputs)
    })?;
    let undone = || Error::Execution {
        model: "a proof".into(),
        reason: "an operation waits for a tensor that is not computed".into(),
    };
    let results = results.into_iter().map(|result| result.into_inner().ok_or_else(undone)?);
    Ok(Streamed { values: outputs, results: results.collect::<Result<_>>()? })
}
