//! One load, put together: weights, caches, states and buffers, place by place.

use alloc::vec::Vec;

use super::{
    buffer::{Machine, Place, Places},
    cache::{self, Caches},
    context::Context,
    options::Parameters,
    output, overhead,
    placement::Placement,
    recurrent, refusal,
    remarks::Facts,
    steps,
    version::VersionRules,
    weights::{self, StoredAs, Weights},
    working,
};
use crate::{
    derivation::Derivation,
    engine::{Amount, DeviceMemory, HostMemory, Memory, Scene},
    error::Result,
    hardware::{Backend, Hardware},
};

/// A load as far as it is exact: everything but compute buffers and the driver's own costs.
pub struct Load<'a> {
    /// The question.
    pub scene: &'a Scene<'a>,
    /// The resolved options.
    pub parameters: &'a Parameters,
    /// The version's rules.
    pub rules: &'a VersionRules,
    /// How each tensor is stored.
    pub stored: &'a [StoredAs],
    /// The rounded context.
    pub context: Context,
    /// Where layers lie.
    pub placement: Placement,
    /// The interfaces of the devices that take layers.
    pub backends: Vec<Backend>,
    /// The shares by which layers were dealt.
    pub shares: Vec<f64>,
    /// Weight buffers.
    pub weights: Weights,
    /// Attention caches.
    pub caches: Caches,
    /// Recurrent states.
    pub states: Places,
}

impl<'a> Load<'a> {
    /// Places weights, caches and states.
    ///
    /// # Errors
    /// [`ErrorKind::EngineRefuses`](crate::ErrorKind::EngineRefuses) for combinations that llama.cpp refuses,
    /// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) beyond 2^53 - 1 bytes.
    pub fn new(scene: &'a Scene<'a>, parameters: &'a Parameters, rules: &'a VersionRules, stored: &'a [StoredAs]) -> Result<Self> {
        let model = scene.model;
        refusal::check(model, parameters)?;
        let context = Context::new(parameters);
        let shares = Placement::shares(scene.hardware, parameters.tensor_split.as_deref());
        let placement = Placement::new(model.hyperparameters(), parameters.n_gpu_layers, &shares);
        let backends = layer_backends(scene.hardware);
        let machine = Machine::new(&backends);
        let exact = |index: usize, tensor: &crate::model::Tensor| {
            stored.get(index).copied().map_or_else(|| super::stored::missing(tensor), Ok)
        };
        let weights = weights::allocate(model, &placement, parameters.n_cpu_moe, machine, exact)?;
        let caches = cache::allocate(model, parameters, &context, &placement, machine)?;
        let states = recurrent::allocate(model, parameters, &context, &placement, machine)?;
        Ok(Self { scene, parameters, rules, stored, context, placement, backends, shares, weights, caches, states })
    }

    /// The whole answer.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) beyond 2^53 - 1 bytes.
    pub fn memory(&self, derivation: &mut Derivation) -> Result<Memory> {
        let scene = self.scene;
        let model = scene.model;
        let buffers = working::plan(self)?;
        let kv_cache = self.caches.all();
        let output_buffer = output::allocate(model.hyperparameters(), &self.context)?;
        let mut host = HostMemory {
            weights: self.weights.places.host()?,
            kv_cache: kv_cache.host()?,
            recurrent_state: self.states.host()?,
            compute_buffer: buffers.host.expected,
            output_buffer,
        };
        let layers = self.layers_by_device();
        let mut devices = Vec::with_capacity(scene.hardware.devices.len().max(1));
        let mut offloading = 0..self.placement.device_count();
        let ideal = scene.hardware.is_ideal();
        let backends = scene.hardware.devices.iter().map(|device| device.backend).chain(ideal.then_some(Backend::Ideal));
        for (number, backend) in backends.enumerate() {
            let terms = scene.hardware.devices.get(number).map_or_else(Vec::new, overhead::of);
            let Some(index) = (if backend == Backend::Cpu { None } else { offloading.next() }) else {
                devices.push(processor(&mut host, model.hyperparameters().block_count, self.backends.is_empty()));
                continue;
            };
            devices.push(DeviceMemory {
                weights: self.weights.places.device(index)?,
                kv_cache: kv_cache.device(index)?,
                recurrent_state: self.states.device(index)?,
                compute_buffer: buffers.devices.get(index).copied().unwrap_or(Amount::ZERO),
                overhead: terms,
                layers: layers.get(index).copied().unwrap_or(0),
                kv_pool: None,
            });
        }
        let facts = Facts {
            model,
            workload: scene.workload,
            parameters: self.parameters,
            context: &self.context,
            caches: &self.caches,
            states: &self.states,
            weights: &self.weights,
        };
        let mut warnings = facts.remarks()?;
        warnings.extend(buffers.warning.clone());
        steps::record(self, &buffers, output_buffer, derivation);
        Ok(Memory {
            weights: self.weights.total,
            kv_cache: kv_cache.total()?,
            recurrent_state: self.states.total()?,
            devices,
            host,
            resolved: self.parameters.resolved(scene.workload),
            warnings,
        })
    }

    fn layers_by_device(&self) -> Vec<u32> {
        let mut layers = alloc::vec![0; self.placement.device_count()];
        for layer in 0..self.scene.model.hyperparameters().block_count {
            if let Place::Device(index) = self.placement.layer(layer)
                && let Some(count) = layers.get_mut(index)
            {
                *count += 1;
            }
        }
        layers
    }
}

/// A machine of processors alone holds everything on its first; the host then holds nothing beside it.
fn processor(host: &mut HostMemory, layers: u32, alone: bool) -> DeviceMemory {
    let held = if alone { core::mem::take(host) } else { HostMemory::default() };
    let any = held != HostMemory::default();
    DeviceMemory {
        weights: held.weights,
        kv_cache: held.kv_cache,
        recurrent_state: held.recurrent_state,
        compute_buffer: Amount::exact(held.compute_buffer + held.output_buffer),
        overhead: Vec::new(),
        layers: if any { layers } else { 0 },
        kv_pool: None,
    }
}

/// The interfaces of the devices that take layers; the ideal device if none was named.
fn layer_backends(hardware: &Hardware) -> Vec<Backend> {
    if hardware.is_ideal() {
        return alloc::vec![Backend::Ideal];
    }
    hardware.devices.iter().map(|device| device.backend).filter(|&backend| backend != Backend::Cpu).collect()
}
