//! Descriptions and headers changed at random: whatever is accepted is answered by every engine without a panic and in
//! bounded time. Test builds check arithmetic for overflow, so a sum that wraps fails here.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use llm_vram_core::{
    Bytes, Model, catalog,
    derivation::Derivation,
    engine::{self, Scene},
    hardware::{Backend, Device, Hardware},
    input::gguf,
    model::Hyperparameters,
    quant::{FileType, GgmlType, WeightFormat, weight_bytes},
    workload::Workload,
};
use llm_vram_tests::{
    gguf_writer::{GgufWriter, Kv},
    models,
};
use serde_json::Value;

const AT_MOST: Duration = Duration::from_secs(1);

/// Xorshift: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap_or(0)
    }

    fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }
}

/// Numbers at which rules change.
const EDGES: &[u64] = &[
    0,
    1,
    2,
    3,
    5,
    7,
    31,
    32,
    33,
    63,
    64,
    96,
    127,
    128,
    255,
    256,
    257,
    512,
    1000,
    4096,
    16_384,
    65_536,
    1 << 20,
    1 << 22,
    1 << 24,
    u32::MAX as u64,
];

fn change(random: &mut Random, value: &mut Value) {
    let number = |random: &mut Random| Value::from(*random.pick(EDGES));
    match value {
        Value::Bool(flag) => *flag = !*flag,
        Value::Number(_) => *value = number(random),
        Value::Null => *value = if random.below(3) == 0 { Value::Null } else { number(random) },
        Value::Array(items) => match random.below(3) {
            0 => items.truncate(random.below(items.len() + 1)),
            _ if !items.is_empty() => {
                let index = random.below(items.len());
                change(random, &mut items[index]);
            }
            _ => {}
        },
        Value::Object(fields) => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            if !keys.is_empty() {
                let key = random.pick(&keys);
                change(random, &mut fields[key.as_str()]);
            }
        }
        Value::String(_) => {}
    }
}

fn cards(count: usize) -> Hardware {
    let card = Device {
        id: "card".into(),
        name: "card".into(),
        backend: Backend::Cuda,
        nameplate_bytes: Bytes::mib(24_576),
        visible_bytes: Bytes::mib(24_100),
        visible_is_measured: true,
        unified_memory: false,
        bandwidth_bytes_per_second: None,
        compute_capability: Some(89),
    };
    Hardware { devices: vec![card; count], host_bytes: None }
}

struct Questions {
    hardware: [Hardware; 3],
    workloads: Vec<Workload>,
    formats: Vec<WeightFormat>,
    answers: u64,
    refusals: u64,
    slowest: (Duration, String),
    off: BTreeMap<String, String>,
}

impl Questions {
    fn new() -> Self {
        let usual = Workload::default;
        Self {
            hardware: [Hardware::default(), cards(1), cards(3)],
            workloads: vec![
                usual(),
                Workload { context: 1 << 27, concurrency: 3, ..usual() },
                Workload { context: 1, concurrency: 256, n_ubatch: Some(1), ..usual() },
                Workload { n_gpu_layers: Some(3), n_cpu_moe: Some(2), ..usual() },
                Workload { tensor_parallel_size: Some(3), context: 100_000, ..usual() },
                Workload { pipeline_parallel_size: Some(3), gpu_memory_utilization: Some(1.0), ..usual() },
            ],
            formats: ["Q4_K_M", "FP8", "AWQ", "NVFP4", "MLX-4bit-g64", "EXL3-4.0bpw"]
                .map(|name| WeightFormat::parse(name).expect(name))
                .into_iter()
                .chain([WeightFormat::Plain(GgmlType::BF16), WeightFormat::gguf(FileType::Q2_K), WeightFormat::Stored])
                .collect(),
            answers: 0,
            refusals: 0,
            slowest: (Duration::ZERO, String::new()),
            off: BTreeMap::new(),
        }
    }

    /// Asks every engine about the model, each in one setting.
    fn ask(&mut self, random: &mut Random, name: &str, model: &Model) {
        for format in &self.formats {
            if catch_unwind(AssertUnwindSafe(|| weight_bytes(model, format).map(drop).map_err(drop))).is_err() {
                self.off.entry(format!("panic: weights {} {format}", model.architecture())).or_insert_with(|| name.to_owned());
            }
        }
        for engine in engine::all() {
            let (workload, format) = (random.pick(&self.workloads).clone(), *random.pick(&self.formats));
            let hardware = random.pick(&self.hardware).clone();
            let scene = Scene { model, format: &format, workload: &workload, hardware: &hardware, version: None, memo: None };
            let timed = || {
                let start = Instant::now();
                let outcome = catch_unwind(AssertUnwindSafe(|| engine.memory(&scene, &mut Derivation::on())));
                (outcome, start.elapsed())
            };
            let (outcome, mut elapsed) = timed();
            if elapsed > AT_MOST {
                // A busy machine is no slow sum.
                elapsed = elapsed.min(timed().1);
            }
            if elapsed > self.slowest.0 {
                self.slowest = (elapsed, format!("{} {name}", engine.name()));
            }
            let place = format!("{} {}", engine.name(), model.architecture());
            match outcome {
                Err(_) => self.note(format!("panic: {place}"), || format!("{name} {format} {workload:?}")),
                Ok(_) if elapsed > AT_MOST => self.note(format!("slow: {place}"), || format!("{elapsed:?} {name}")),
                Ok(Ok(_)) => self.answers += 1,
                Ok(Err(_)) => self.refusals += 1,
            }
        }
    }

    /// Keeps the first fault of a kind.
    fn note(&mut self, place: String, name: impl FnOnce() -> String) {
        self.off.entry(place).or_insert_with(name);
    }

    fn finish(self, what: &str, accepted: u64, least: u64) {
        println!(
            "{what}: {accepted} accepted; {} answers, {} refusals; slowest {:?}: {}",
            self.answers,
            self.refusals,
            self.slowest.0,
            self.slowest.1.chars().take(200).collect::<String>()
        );
        let shown: Vec<String> =
            self.off.iter().map(|(place, name)| format!("{place}: {}", name.chars().take(1500).collect::<String>())).collect();
        assert!(shown.is_empty(), "{} faults:\n{}", shown.len(), shown.join("\n"));
        assert!(accepted >= least, "{accepted} accepted");
    }
}

#[test]
fn changed_descriptions() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut questions = Questions::new();
    let mut architectures: BTreeMap<&str, Hyperparameters> = BTreeMap::new();
    for record in catalog::data::models() {
        architectures.entry(record.architecture.architecture).or_insert_with(|| catalog::hyperparameters(record));
    }
    let mut accepted = 0;
    for (architecture, description) in &architectures {
        let whole = serde_json::to_value(description).expect("JSON");
        for round in 0..120 {
            let mut changed = whole.clone();
            for _ in 0..=round % 4 {
                change(&mut random, &mut changed);
            }
            let Ok(hp) = serde_json::from_value::<Hyperparameters>(changed.clone()) else { continue };
            let name = || {
                let old = whole.as_object().unwrap();
                let fields = changed.as_object().unwrap().iter().filter(|(key, value)| old[*key] != **value);
                format!("{architecture} with {:?}", fields.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>())
            };
            match catch_unwind(AssertUnwindSafe(|| Model::new(hp))) {
                Err(_) => questions.note(format!("panic: model {architecture}"), name),
                Ok(Err(_)) => {}
                Ok(Ok(model)) => {
                    accepted += 1;
                    questions.ask(&mut random, &name(), &model);
                }
            }
        }
    }
    questions.finish(&format!("descriptions of {} architectures changed", architectures.len()), accepted, 1000);
}

#[test]
fn changed_headers() {
    let mut random = Random(0xd1b5_4a32_d192_ed03);
    let mut questions = Questions::new();
    let mut accepted = 0;
    for record in models().values() {
        let derived = record.model();
        for round in 0..24 {
            let mut writer = GgufWriter::new();
            let mut metadata = Value::Object(record.metadata.clone());
            for _ in 0..=round % 3 {
                change(&mut random, &mut metadata);
            }
            for (key, value) in metadata.as_object().unwrap() {
                writer = writer.kv(key, Kv::from_json(value));
            }
            let dropped = (round % 2 == 1).then(|| random.below(derived.tensors().len()));
            let mut offset = 0;
            for (index, tensor) in derived.tensors().iter().enumerate() {
                if dropped == Some(index) {
                    continue;
                }
                writer = writer.tensor(&tensor.name(), &tensor.shape[..tensor.dimensions()], 30, offset);
                offset += (tensor.elements() * 2).next_multiple_of(32);
            }
            let bytes = writer.bytes();
            let name = || format!("{} round {round}: {metadata}", record.id);
            let model = catch_unwind(AssertUnwindSafe(|| gguf::read(&bytes).and_then(|header| header.model())));
            match model {
                Err(_) => questions.note(format!("panic: header {}", record.id), name),
                Ok(Err(_)) => {}
                Ok(Ok(model)) => {
                    accepted += 1;
                    questions.ask(&mut random, &name(), &model);
                }
            }
        }
    }
    questions.finish("headers of 62 models changed", accepted, 200);
}
