//! Which layer lies on which device.
//!
//! Source: `src/llama-model.cpp` (`llama_model_base::load_tensors`), llama-cpp-sys-2 0.1.161.

use alloc::vec::Vec;

use super::buffer::Place;
use crate::{
    hardware::{Backend, Hardware},
    model::Hyperparameters,
};

/// The devices that take layers, and how layers are dealt to them.
///
/// The units are the model's layers (multi-token-prediction layers included) and one more for the output.
/// `n_gpu_layers` counts from the last unit backwards, so 1 offloads the output alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Placement {
    block_count: u32,
    first_offloaded: u32,
    offloaded: u32,
    /// Cumulative shares of the devices, normalised, in the engine's precision.
    cumulative: Vec<f32>,
}

impl Placement {
    /// Deals the units of a model to `free` devices (their weight in the split: explicit shares or free memory).
    ///
    /// `n_gpu_layers` of `None` offloads everything. Without devices, or with shares that are all zero or beyond
    /// what single precision holds, every unit goes to the host or to the first device.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "the engine computes shares in single precision")]
    pub fn new(hp: &Hyperparameters, n_gpu_layers: Option<u64>, shares: &[f64]) -> Self {
        let units = u64::from(hp.block_count) + 1;
        let offloaded = if shares.is_empty() { 0 } else { n_gpu_layers.unwrap_or(units).min(units) };
        let offloaded = u32::try_from(offloaded).unwrap_or(u32::MAX);
        let mut cumulative: Vec<f32> = Vec::with_capacity(shares.len());
        let mut sum = 0.0_f32;
        for &share in shares {
            sum += share as f32;
            cumulative.push(sum);
        }
        if sum > 0.0 && sum.is_finite() {
            cumulative.iter_mut().for_each(|share| *share /= sum);
        } else {
            cumulative.iter_mut().for_each(|share| *share = 1.0);
        }
        Self { block_count: hp.block_count, first_offloaded: hp.block_count + 1 - offloaded, offloaded, cumulative }
    }

    /// The shares by which llama.cpp deals layers to the devices of `hardware`: `tensor_split` if it says
    /// anything, else the memory of each device. The processor takes no share: what lies there is on the host.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "memory sizes are below 2^53")]
    pub fn shares(hardware: &Hardware, tensor_split: Option<&[f64]>) -> Vec<f64> {
        if hardware.is_ideal() {
            return alloc::vec![1.0];
        }
        let takes_layers = |backend| backend != Backend::Cpu;
        let given = tensor_split.filter(|split| split.iter().any(|&share| share > 0.0));
        hardware
            .devices
            .iter()
            .enumerate()
            .filter(|(_, device)| takes_layers(device.backend))
            .map(|(index, device)| match given {
                Some(split) => split.get(index).copied().unwrap_or(0.0),
                None => device.visible_bytes.get() as f64,
            })
            .collect()
    }

    /// How many devices take part.
    #[must_use]
    pub fn device_count(&self) -> usize {
        self.cumulative.len()
    }

    /// Where layer `layer` lies.
    #[must_use]
    pub fn layer(&self, layer: u32) -> Place {
        self.unit(layer.min(self.block_count))
    }

    /// Where the output head and its norm lie.
    #[must_use]
    pub fn output(&self) -> Place {
        self.unit(self.block_count)
    }

    /// Units on devices, the output included.
    #[must_use]
    pub const fn offloaded_units(&self) -> u32 {
        self.offloaded
    }

    /// Whether every layer and the output lie on devices.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.offloaded > self.block_count
    }

    #[allow(clippy::cast_precision_loss, reason = "the engine divides layer numbers in single precision")]
    fn unit(&self, unit: u32) -> Place {
        if unit < self.first_offloaded || unit - self.first_offloaded >= self.offloaded {
            return Place::Host;
        }
        let position = (unit - self.first_offloaded) as f32 / self.offloaded as f32;
        // `std::upper_bound`: the first share above the position.
        let index = self.cumulative.iter().position(|&share| share > position);
        Place::Device(index.unwrap_or(self.cumulative.len().saturating_sub(1)))
    }
}
