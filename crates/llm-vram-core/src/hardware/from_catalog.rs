//! From a catalog record to a device: which of its figures software really sees.

use alloc::string::String;

use llm_vram_catalog::{HardwareKind, HardwareRecord};

use super::{Backend, Device};
use crate::{error::Result, units::Bytes};

/// CUDA on Linux reports 0.6 to 2 % less than nvidia-smi or the nameplate; where no log shows a card's own figure, the
/// larger cut stands. Source: totals in public llama.cpp, vLLM and Ollama logs, listed with the catalog's records.
const CUDA_UNSEEN: f64 = 0.02;

/// Devices with a share of the host's memory that is no Apple chip: what firmware and driver leave by default is at most
/// three quarters (96 of 128 GiB on Strix Halo boards).
const SHARED_SHARE: f64 = 0.75;

impl Device {
    /// One device of a catalog record (a board can carry several, each with an equal part of its memory).
    ///
    /// `memory` replaces the nameplate for records without one (processors), and is required there.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) for absurd records.
    pub fn from_record(record: &HardwareRecord, memory: Option<Bytes>) -> Result<Self> {
        let parts = u64::from(record.devices.max(1));
        let nameplate = match (memory, record.memory_gib) {
            (Some(bytes), _) => bytes,
            (None, Some(gib)) => Bytes::new((u64::from(gib) << 30) / parts)?,
            (None, None) => Bytes::ZERO,
        };
        let backend = backend(record);
        let (visible, measured) = visible(record, backend, nameplate)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let bandwidth = record.bandwidth_gb_s.map(|fact| (fact.low() * 1e9 + 0.5) as u64 / parts);
        Ok(Self {
            id: String::from(record.id),
            name: String::from(record.name),
            backend,
            nameplate_bytes: nameplate,
            visible_bytes: visible,
            visible_is_measured: measured,
            unified_memory: record.unified,
            bandwidth_bytes_per_second: bandwidth,
            compute_capability: record.compute_capability.and_then(capability),
        })
    }
}

fn backend(record: &HardwareRecord) -> Backend {
    match (record.vendor, record.kind) {
        (_, HardwareKind::Cpu) => Backend::Cpu,
        ("NVIDIA", _) => Backend::Cuda,
        ("Apple", _) => Backend::Metal,
        ("AMD", _) => Backend::Hip,
        ("Intel", _) => Backend::Sycl,
        _ => Backend::Vulkan,
    }
}

fn visible(record: &HardwareRecord, backend: Backend, nameplate: Bytes) -> Result<(Bytes, bool)> {
    let mib = |mebibytes: u32| Bytes::new(u64::from(mebibytes) << 20);
    let published = |field: &str| !record.unverified.contains(&field);
    if let Some(limit) = record.working_set_mib.or(record.working_set_mib_macos_26) {
        return Ok((mib(limit.low())?, limit.exact().is_some() && published("working_set_mib")));
    }
    if let Some(seen) = record.memory_mib_cuda {
        return Ok((mib(seen.low())?, published("memory_mib_cuda")));
    }
    Ok(match backend {
        Backend::Cuda => {
            let reported = record.memory_mib_reported.map_or(Ok(nameplate), |fact| mib(fact.low()))?;
            (reported.saturating_sub(reported.share(CUDA_UNSEEN)), false)
        }
        Backend::Cpu => (nameplate, false),
        _ if record.unified => (nameplate.share(SHARED_SHARE), false),
        _ => (nameplate, false),
    })
}

/// `8.9` as 89, `12.0` as 120.
fn capability(text: &str) -> Option<u32> {
    let (major, minor) = text.split_once('.')?;
    major.parse::<u32>().ok()?.checked_mul(10)?.checked_add(minor.parse::<u32>().ok()?)
}
