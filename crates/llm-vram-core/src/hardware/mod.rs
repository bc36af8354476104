//! Devices and hosts: what a nameplate says and what software can use of it.

#[cfg(feature = "catalog")]
mod from_catalog;

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::units::Bytes;

/// The software interface through which a device is used; engines differ in what they allocate on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Backend {
    /// NVIDIA cards.
    Cuda,
    /// AMD cards with ROCm (HIP).
    Hip,
    /// Any card through Vulkan.
    Vulkan,
    /// Intel cards through SYCL.
    Sycl,
    /// Apple Silicon.
    Metal,
    /// The processor.
    Cpu,
    /// A device of unlimited memory without fixed costs, for questions without hardware.
    Ideal,
}

/// One device.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Device {
    /// Its catalog id, or what the user typed.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its interface.
    pub backend: Backend,
    /// Memory on the nameplate (a "24 GB" card has 24 GiB).
    pub nameplate_bytes: Bytes,
    /// Memory that software sees as the total: CUDA's total, Metal's recommended working set, all memory of a processor.
    pub visible_bytes: Bytes,
    /// Whether `visible_bytes` has a published source (`true`), or is unverified or estimated from the nameplate.
    pub visible_is_measured: bool,
    /// Whether the device shares its memory with the processor.
    pub unified_memory: bool,
    /// Memory bandwidth in bytes per second (nameplate), where known.
    pub bandwidth_bytes_per_second: Option<u64>,
    /// CUDA compute capability times ten (89 for Ada), where it applies.
    pub compute_capability: Option<u32>,
}

/// The devices of one machine, and its host memory.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Hardware {
    /// The devices, in the order in which engines number them. Empty: one ideal device.
    pub devices: Vec<Device>,
    /// Memory of the host, where known.
    pub host_bytes: Option<Bytes>,
}

impl Hardware {
    /// Memory that software sees on all devices together.
    #[must_use]
    pub fn visible_bytes(&self) -> Bytes {
        self.devices.iter().map(|device| device.visible_bytes).sum()
    }

    /// Whether no device was named.
    #[must_use]
    pub fn is_ideal(&self) -> bool {
        self.devices.is_empty()
    }
}
