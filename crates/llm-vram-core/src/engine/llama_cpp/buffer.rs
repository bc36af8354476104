//! Bytes by place, and how a backend rounds each tensor in a buffer.

use alloc::{vec, vec::Vec};

use crate::{error::Result, hardware::Backend, quant::GgmlType, units::Bytes};

/// How a buffer lays out its tensors.
///
/// Source: `get_alignment` and `get_alloc_size` of `ggml/src/ggml-*/`, ggml 0.26.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferRule {
    /// Every tensor starts at a multiple of this many bytes.
    pub alignment: u64,
    /// Quantised tensors whose row is no multiple of this many weights get the rest of one row more; 1 for none.
    pub row_multiple: u64,
}

impl BufferRule {
    /// Host memory (`ggml-impl.h`, `TENSOR_ALIGNMENT`), pinned memory included.
    pub const HOST: Self = Self { alignment: 32, row_multiple: 1 };
    /// Nothing is rounded: the sum of the tensors themselves.
    pub const EXACT: Self = Self { alignment: 1, row_multiple: 1 };

    /// The rule of a device.
    #[must_use]
    pub const fn of(backend: Backend) -> Self {
        match backend {
            // ggml-cuda.cu, ggml-sycl.cpp: `MATRIX_ROW_PADDING` 512, alignment 128.
            Backend::Cuda | Backend::Hip | Backend::Sycl => Self { alignment: 128, row_multiple: 512 },
            // ggml-vulkan.cpp takes the device's minStorageBufferOffsetAlignment, 16 to 256; 64 is Intel's and usual.
            Backend::Vulkan => Self { alignment: 64, row_multiple: 1 },
            Backend::Metal | Backend::Cpu => Self::HOST,
            Backend::Ideal => Self::EXACT,
        }
    }

    /// What a tensor of `bytes` bytes, type `ty` and row length `row` takes in the buffer.
    ///
    /// # Errors
    /// [`ErrorKind::Contradiction`](crate::ErrorKind::Contradiction) for a row that is no whole number of blocks.
    pub fn tensor(self, bytes: u128, ty: GgmlType, row: u64) -> Result<u128> {
        let rest = row % self.row_multiple;
        let padding = if ty.is_quantised() && rest != 0 { ty.row_bytes(self.row_multiple - rest)?.get() } else { 0 };
        Ok((bytes + u128::from(padding)).next_multiple_of(u128::from(self.alignment)))
    }
}

/// The devices that hold layers, by their interface.
#[derive(Debug, Clone, Copy)]
pub struct Machine<'a> {
    backends: &'a [Backend],
}

impl<'a> Machine<'a> {
    /// A machine whose devices have these interfaces, in the engine's order; none for the processor alone.
    #[must_use]
    pub const fn new(backends: &'a [Backend]) -> Self {
        Self { backends }
    }

    /// The interface of device `index`.
    #[must_use]
    pub fn backend(&self, index: usize) -> Option<Backend> {
        self.backends.get(index).copied()
    }

    /// How buffers in a place are laid out.
    #[must_use]
    pub fn rule(&self, place: Place) -> BufferRule {
        match place {
            Place::Host => BufferRule::HOST,
            Place::Device(index) => self.backend(index).map_or(BufferRule::HOST, BufferRule::of),
        }
    }

    /// Whether host weights lie in memory that a device pins (`make_cpu_buft_list`: the first device that has
    /// such a buffer type). Metal has none; a machine without devices keeps them in plain or repacked memory.
    #[must_use]
    pub fn pins_host_memory(&self) -> bool {
        self.backends.iter().any(|backend| !matches!(backend, Backend::Metal | Backend::Cpu))
    }
}

/// A place in the machine: the host or a device by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The host's memory.
    Host,
    /// A device's memory.
    Device(usize),
}

/// Bytes in each place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    host: u128,
    devices: Vec<u128>,
}

impl Places {
    /// Nothing anywhere, for `devices` devices.
    #[must_use]
    pub fn empty(devices: usize) -> Self {
        Self { host: 0, devices: vec![0; devices] }
    }

    /// Adds bytes in one place.
    pub fn add(&mut self, place: Place, bytes: u128) {
        let slot = match place {
            Place::Host => Some(&mut self.host),
            Place::Device(index) => self.devices.get_mut(index),
        };
        if let Some(slot) = slot {
            *slot = slot.saturating_add(bytes);
        }
    }

    /// Adds everything of `other`.
    pub fn add_all(&mut self, other: &Self) {
        self.add(Place::Host, other.host);
        for (index, &bytes) in other.devices.iter().enumerate() {
            self.add(Place::Device(index), bytes);
        }
    }

    /// Bytes on the host.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) above [`Bytes::MAX`].
    pub fn host(&self) -> Result<Bytes> {
        Bytes::from_wide(self.host)
    }

    /// Bytes on device `index`; 0 for a device that does not exist.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) above [`Bytes::MAX`].
    pub fn device(&self, index: usize) -> Result<Bytes> {
        Bytes::from_wide(self.devices.get(index).copied().unwrap_or(0))
    }

    /// Bytes everywhere.
    ///
    /// # Errors
    /// [`ErrorKind::Overflow`](crate::ErrorKind::Overflow) above [`Bytes::MAX`].
    pub fn total(&self) -> Result<Bytes> {
        Bytes::from_wide(self.devices.iter().fold(self.host, |sum, &bytes| sum.saturating_add(bytes)))
    }
}
