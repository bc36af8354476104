//! The engine's placement in the scheduler's terms: numbered backends, the host last.

use super::{request::ComputeRequest, tensor::BackendIndex};
use crate::engine::llama_cpp::{Placement, buffer::Place};

/// Where layers, experts and caches lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backends<'a> {
    placement: &'a Placement,
    /// Devices beside the host; the host's index is this number.
    pub(super) device_count: BackendIndex,
    /// The backend of the output head.
    pub(super) output: BackendIndex,
    n_cpu_moe: u64,
    offload_kqv: bool,
}

impl<'a> Backends<'a> {
    pub(super) fn new(request: &ComputeRequest<'a>) -> Self {
        let placement = request.placement;
        let mut backends = Self {
            placement,
            // Validated to be at most 15.
            device_count: placement.device_count() as BackendIndex,
            output: 0,
            n_cpu_moe: request.parameters.n_cpu_moe,
            offload_kqv: request.parameters.offload_kqv,
        };
        backends.output = backends.of(placement.output());
        backends
    }

    fn of(&self, place: Place) -> BackendIndex {
        match place {
            Place::Host => self.host(),
            Place::Device(device) => device as BackendIndex,
        }
    }

    /// The host.
    pub(super) const fn host(&self) -> BackendIndex {
        self.device_count
    }

    /// Whether every layer and the output lie on devices.
    pub(super) fn is_full_offload(&self) -> bool {
        self.device_count > 0 && self.placement.is_full()
    }

    /// The backend of a layer.
    pub(super) fn layer(&self, layer: u32) -> BackendIndex {
        self.of(self.placement.layer(layer))
    }

    /// The backend of a layer's routed experts.
    pub(super) fn experts(&self, layer: u32) -> BackendIndex {
        if u64::from(layer) < self.n_cpu_moe { self.host() } else { self.layer(layer) }
    }

    /// The backend of a layer's cache or recurrent state.
    pub(super) fn cache(&self, layer: u32) -> BackendIndex {
        if self.offload_kqv { self.layer(layer) } else { self.host() }
    }

    /// Whether caches follow their layers.
    pub(super) const fn offloads_caches(&self) -> bool {
        self.offload_kqv
    }
}
