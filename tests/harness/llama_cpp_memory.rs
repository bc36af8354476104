//! The bytes that llama.cpp itself reports for every buffer of a load; see `vectors/README.md`.
#![allow(clippy::expect_used, clippy::panic, reason = "a malformed vector file must fail the test that reads it")]

use std::sync::LazyLock;

/// What one load asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// File type of the weights, as llama-quantize spells it.
    pub weight_ftype: &'static str,
    /// Simulated CUDA devices of equal size; 0 for a build without a device.
    pub n_devices: u32,
    /// Layers on the devices; 999 for all.
    pub n_gpu_layers: u32,
    /// First layers whose experts stay on the host.
    pub n_cpu_moe: u32,
    /// Context as asked for, in tokens.
    pub n_ctx: u64,
    /// Sequences.
    pub n_seq_max: u32,
    /// Whether all sequences share one cache.
    pub kv_unified: bool,
    /// Logical batch as asked for, in tokens.
    pub n_batch: u64,
    /// Physical batch as asked for, in tokens.
    pub n_ubatch: u64,
    /// Type of the cached keys.
    pub type_k: &'static str,
    /// Type of the cached values.
    pub type_v: &'static str,
    /// `auto`, `on` or `off`.
    pub flash_attn: &'static str,
    /// Whether windowed layers keep a full-size cache.
    pub swa_full: bool,
    /// Rows of logits asked for; 0 for the library's default.
    pub n_outputs_max: u64,
    /// Whether the caches follow their layers to the devices.
    pub offload_kqv: bool,
    /// Whether large operations of host layers run on a device.
    pub op_offload: bool,
    /// Answer: context after padding, in tokens.
    pub n_ctx_effective: u64,
    /// Answer: cells per sequence (per context if unified).
    pub n_ctx_seq: u64,
    /// Answer: logical batch.
    pub n_batch_effective: u64,
    /// Answer: physical batch.
    pub n_ubatch_effective: u64,
}

/// The engine's own summary of one cache: for attention keys and values, for recurrent memory the
/// convolution and the recurrent state. Without the padding of quantised rows that a device adds to its buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    /// Cells (of one stream), or sequences.
    pub cells: u64,
    /// Layers that have one.
    pub layers: u64,
    /// Keys, or convolution states (`r`), in bytes over all buffers.
    pub k_bytes: u64,
    /// Values, or recurrent states (`s`), in bytes over all buffers.
    pub v_bytes: u64,
}

/// One load: the model, what was asked for, and every buffer that came of it.
#[derive(Debug, Clone)]
pub struct Load {
    /// Identifier of the model.
    pub model: &'static str,
    /// What was asked for.
    pub setting: &'static Setting,
    /// Whether flash attention is used in the end.
    pub flash_attention: bool,
    /// The full attention cache.
    pub cache_kv: Option<Cache>,
    /// The cache of windowed layers.
    pub cache_kv_swa: Option<Cache>,
    /// The keys of the sparse-attention indexer.
    pub cache_kv_indexer: Option<Cache>,
    /// Recurrent states.
    pub cache_recurrent: Option<Cache>,
    /// Weights.
    pub model_bytes: Buffers,
    /// Full attention cache.
    pub kv: Buffers,
    /// Cache of windowed layers.
    pub kv_swa: Buffers,
    /// Indexer keys.
    pub kv_indexer: Buffers,
    /// Recurrent states.
    pub recurrent: Buffers,
    /// Logits handed to the caller.
    pub output: Buffers,
    /// Compute buffers.
    pub compute: Buffers,
}

/// The bytes of one kind in each buffer that holds some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Buffers {
    /// Plain host memory (`CPU`).
    pub cpu: Option<u64>,
    /// Host memory with repacked weights (`CPU_REPACK`).
    pub cpu_repack: Option<u64>,
    /// Host memory that the devices reach (`CUDA_Host`).
    pub cuda_host: Option<u64>,
    /// Devices (`CUDA0` to `CUDA3`).
    pub cuda: [Option<u64>; 4],
}

impl Buffers {
    /// All bytes in host memory of whatever kind.
    #[must_use]
    pub fn host_bytes(&self) -> u64 {
        [self.cpu, self.cpu_repack, self.cuda_host].into_iter().flatten().sum()
    }

    /// Bytes of device `index`; 0 where there is no buffer.
    #[must_use]
    pub fn device_bytes(&self, index: usize) -> u64 {
        self.cuda.get(index).copied().flatten().unwrap_or(0)
    }

    /// Bytes over all buffers.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.host_bytes() + self.cuda.into_iter().flatten().sum::<u64>()
    }

    fn parse(text: &str) -> Self {
        let mut buffers = Self::default();
        for entry in text.split_ascii_whitespace() {
            let (buffer, bytes) = entry.split_at(1);
            let bytes = Some(number(bytes));
            match buffer {
                "C" => buffers.cpu = bytes,
                "R" => buffers.cpu_repack = bytes,
                "H" => buffers.cuda_host = bytes,
                _ => buffers.cuda[usize::try_from(number(buffer)).expect("a device index")] = bytes,
            }
        }
        buffers
    }
}

/// How many loads the file must hold.
pub const LOADS: usize = 10_221;

/// Every load, model by model.
///
/// # Panics
/// If the file is malformed or shorter than [`LOADS`].
#[must_use]
pub fn loads() -> &'static [Load] {
    &TABLE
}

static TABLE: LazyLock<Vec<Load>> = LazyLock::new(|| {
    let loads = parse(include_str!("../vectors/llama_cpp_memory.tsv"));
    assert_eq!(loads.len(), LOADS, "the table of loads has changed its length");
    loads
});

fn parse(text: &'static str) -> Vec<Load> {
    let lines = || text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect::<Vec<_>>());
    let settings: Vec<Setting> = lines().filter(|cells| cells[0] == "s").map(|cells| setting(&cells)).collect();
    let settings: &'static [Setting] = Vec::leak(settings);
    let mut loads = Vec::with_capacity(LOADS);
    let mut model = "";
    let mut previous = [""; COLUMNS];
    for cells in lines() {
        match cells[0] {
            "setting" | "s" | "load" => {}
            "m" => (model, previous) = (cells[1], [""; COLUMNS]),
            _ => {
                let mut row = [""; COLUMNS];
                for (column, cell) in cells.iter().enumerate() {
                    row[column] = if *cell == "=" { previous[column] } else { cell };
                }
                previous = row;
                loads.push(load(model, settings, &row));
            }
        }
    }
    loads
}

const COLUMNS: usize = 13;

fn setting(cells: &[&'static str]) -> Setting {
    assert_eq!(cells.len(), 21, "a setting has 21 columns: {cells:?}");
    let small = |column: usize| u32::try_from(number(cells[column])).expect("a small number");
    Setting {
        weight_ftype: cells[1],
        n_devices: small(2),
        n_gpu_layers: small(3),
        n_cpu_moe: small(4),
        n_ctx: number(cells[5]),
        n_seq_max: small(6),
        kv_unified: flag(cells[7]),
        n_batch: number(cells[8]),
        n_ubatch: number(cells[9]),
        type_k: cells[10],
        type_v: cells[11],
        flash_attn: cells[12],
        swa_full: flag(cells[13]),
        n_outputs_max: number(cells[14]),
        offload_kqv: flag(cells[15]),
        op_offload: flag(cells[16]),
        n_ctx_effective: number(cells[17]),
        n_ctx_seq: number(cells[18]),
        n_batch_effective: number(cells[19]),
        n_ubatch_effective: number(cells[20]),
    }
}

fn load(model: &'static str, settings: &'static [Setting], row: &[&'static str; COLUMNS]) -> Load {
    let index = usize::try_from(number(row[0])).expect("an index");
    Load {
        model,
        setting: &settings[index],
        flash_attention: flag(row[1]),
        cache_kv: cache(row[2]),
        cache_kv_swa: cache(row[3]),
        cache_kv_indexer: cache(row[4]),
        cache_recurrent: cache(row[5]),
        model_bytes: Buffers::parse(row[6]),
        kv: Buffers::parse(row[7]),
        kv_swa: Buffers::parse(row[8]),
        kv_indexer: Buffers::parse(row[9]),
        recurrent: Buffers::parse(row[10]),
        output: Buffers::parse(row[11]),
        compute: Buffers::parse(row[12]),
    }
}

fn cache(text: &str) -> Option<Cache> {
    if text.is_empty() {
        return None;
    }
    let numbers: Vec<u64> = text.split(' ').map(number).collect();
    let [cells, layers, k_bytes, v_bytes] = numbers[..] else { panic!("`{text}` is no cache") };
    Some(Cache { cells, layers, k_bytes, v_bytes })
}

fn flag(text: &str) -> bool {
    match text {
        "0" => false,
        "1" => true,
        _ => panic!("`{text}` is no flag"),
    }
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_caches_agree_with_their_buffers() {
        for load in loads() {
            for (cache, buffers) in [
                (load.cache_kv, load.kv),
                (load.cache_kv_swa, load.kv_swa),
                (load.cache_kv_indexer, load.kv_indexer),
                (load.cache_recurrent, load.recurrent),
            ] {
                let sum = cache.map_or(0, |cache| cache.k_bytes + cache.v_bytes);
                let total = buffers.total_bytes();
                // A device pads quantised rows that are no multiple of 512 elements; the summary leaves that out.
                let padded = load.setting.n_devices > 0 && (load.setting.type_k.contains('q') || load.setting.type_v.contains('q'));
                assert!(sum == total || (padded && sum < total), "{} {:?}: {sum} {total}", load.model, load.setting);
            }
        }
        let compute_buffers: usize = loads()
            .iter()
            .map(|load| {
                let compute = load.compute;
                [compute.cpu, compute.cuda_host].into_iter().chain(compute.cuda).flatten().count()
            })
            .sum();
        println!("{} loads, {compute_buffers} compute buffers", loads().len());
    }
}
