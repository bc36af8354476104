//! How a model is divided over devices.

use alloc::format;
use core::ops::Range;

use crate::{
    bounds,
    error::{Error, ErrorKind, Result},
    model::{Attention, FeedForward, Model},
    workload::Workload,
};

/// A division over devices: `tensor` ranks share each layer, `pipeline` stages hold different layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parallel {
    /// Tensor-parallel size.
    pub tensor: u64,
    /// Pipeline-parallel size.
    pub pipeline: u64,
    /// Experts are divided whole, instead of each expert's width.
    pub expert: bool,
}

impl Parallel {
    /// One device.
    pub const ONE: Self = Self { tensor: 1, pipeline: 1, expert: false };

    /// The division that is asked for, or one that uses `device_count` devices.
    ///
    /// vLLM and SGLang themselves use one device unless told otherwise. Here all named devices are
    /// meant: the largest tensor-parallel size that divides both their number and the heads, and the
    /// rest as pipeline stages. With `device_count` `None` (no hardware) unset sizes are 1.
    ///
    /// # Errors
    /// [`ErrorKind::OutOfRange`] for more devices than the bound; [`ErrorKind::EngineRefuses`] if the heads or widths cannot be divided so, if more devices are
    /// asked for than there are, or if a stage would be left without a layer.
    pub fn resolve(model: &Model, workload: &Workload, device_count: Option<usize>) -> Result<Self> {
        let devices = bounds::DEVICE_COUNT.check(device_count.map_or(1, |count| count as u64))?;
        let (tensor, pipeline) = match (workload.tensor_parallel_size, workload.pipeline_parallel_size, device_count) {
            (Some(tensor), Some(pipeline), _) => (tensor, pipeline),
            (Some(tensor), None, Some(_)) if devices.is_multiple_of(tensor) => (tensor, devices / tensor),
            (Some(tensor), None, _) => (tensor, 1),
            (None, Some(pipeline), Some(_)) if devices.is_multiple_of(pipeline) => {
                (largest_tensor(model, devices / pipeline), pipeline)
            }
            (None, Some(pipeline), _) => (1, pipeline),
            (None, None, _) => {
                let tensor = largest_tensor(model, devices);
                (tensor, devices / tensor)
            }
        };
        let parallel = Self { tensor, pipeline, expert: workload.enable_expert_parallel };
        let wanted = bounds::DEVICE_COUNT.check(tensor.saturating_mul(pipeline))?;
        if device_count.is_some() && wanted > devices {
            return Err(Error::new(
                ErrorKind::EngineRefuses,
                format!("tensor parallel size {tensor} × pipeline parallel size {pipeline} needs {wanted} devices, but there are {devices}"),
            )
            .field("tensor_parallel_size")
            .help(format!("choose sizes whose product is {devices}")));
        }
        parallel.check(model)?;
        Ok(parallel)
    }

    /// Devices in use.
    #[must_use]
    pub const fn devices(&self) -> u64 {
        self.tensor.saturating_mul(self.pipeline)
    }

    /// Heads on a rank of a tensor that is divided by heads; at least one, which is then replicated.
    #[must_use]
    pub const fn heads(&self, count: u64) -> u64 {
        let share = count / self.tensor;
        if share == 0 { 1 } else { share }
    }

    /// The layers of every stage, in order.
    ///
    /// Each stage has the same number; what is left over goes, one each, to the last stages but one.
    ///
    /// Source: vLLM, `distributed/utils.py` (`get_pp_indices`); SGLang's function of that name is the same.
    pub fn stages(&self, layers: u32) -> impl Iterator<Item = Range<u32>> + '_ {
        let stages = u32::try_from(self.pipeline).unwrap_or(u32::MAX).max(1);
        let (each, left) = (layers / stages, layers % stages);
        let mut start = 0;
        (0..stages).map(move |stage| {
            let from_end = stages - stage;
            let extra = u32::from(from_end >= 2 && from_end < left + 2);
            let range = start..start + each + extra;
            start = range.end;
            range
        })
    }

    fn check(&self, model: &Model) -> Result<()> {
        let layers = u64::from(model.hyperparameters().main_block_count());
        if self.pipeline > layers {
            return Err(refuses(
                "pipeline_parallel_size",
                format!("{layers} layers cannot be divided into `{}` pipeline stages", self.pipeline),
            ));
        }
        match obstacle(model, self.tensor, self.expert) {
            None => Ok(()),
            Some((what, count)) => Err(refuses(
                "tensor_parallel_size",
                format!("{count} {what} cannot be divided by tensor parallel size `{}`", self.tensor),
            )),
        }
    }
}

/// The largest tensor-parallel size that divides `devices` and the model.
fn largest_tensor(model: &Model, devices: u64) -> u64 {
    (1..=devices).rev().find(|&size| devices.is_multiple_of(size) && obstacle(model, size, false).is_none()).unwrap_or(1)
}

/// What cannot be divided by a tensor-parallel size.
///
/// Source: vLLM, `config/model.py` (`verify_with_parallel_config`: attention heads),
/// `model_executor/layers/linear.py` (`QKVParallelLinear`: key-value heads are divided or replicated whole;
/// `divide` of widths).
fn obstacle(model: &Model, tensor: u64, expert_parallel: bool) -> Option<(&'static str, u64)> {
    let divides = |count: u32| u64::from(count).is_multiple_of(tensor);
    model.blocks().iter().filter(|block| !block.is_mtp).find_map(|block| {
        let heads = match block.attention {
            Attention::None => None,
            // One latent row for all heads: there are no key-value heads to divide.
            Attention::Latent(latent) => Some((latent.head_count, 0)),
            Attention::Heads(heads) => Some((heads.head_count, heads.head_count_kv)),
        };
        if let Some((query, kv)) = heads {
            let kv = u64::from(kv);
            if !divides(query) {
                return Some(("attention heads", query.into()));
            }
            if kv > 0 && !kv.is_multiple_of(tensor) && !tensor.is_multiple_of(kv) {
                return Some(("key-value heads", kv));
            }
        }
        match block.feed_forward {
            FeedForward::Dense { length } if !divides(length) => Some(("feed-forward columns", length.into())),
            FeedForward::Experts { length, .. } if !expert_parallel && !divides(length) => {
                Some(("columns of an expert", length.into()))
            }
            FeedForward::Experts { shared_length, .. } if !divides(shared_length) => {
                Some(("columns of the shared experts", shared_length.into()))
            }
            _ => None,
        }
    })
}

#[cold]
fn refuses(field: &str, message: alloc::string::String) -> Error {
    Error::new(ErrorKind::EngineRefuses, message).field(field)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn what_is_left_over_goes_to_the_last_stages_but_one() {
        let split = |layers, pipeline| -> Vec<u32> {
            Parallel { pipeline, ..Parallel::ONE }.stages(layers).map(|range| range.end - range.start).collect()
        };
        assert_eq!(split(80, 3), [27, 27, 26]);
        assert_eq!(split(62, 2), [31, 31]);
        assert_eq!(split(61, 8), [7, 7, 8, 8, 8, 8, 8, 7]);
        assert_eq!(split(2, 3), [1, 1, 0]);
    }
}
