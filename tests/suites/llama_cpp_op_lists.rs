//! Op lists of llama.cpp's compute buffers that the large table has no loads of, against the engine's own
//! figures for loads without a device; and what is said about a buffer at its largest.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use llm_vram_core::{
    Model,
    engine::llama_cpp::{
        Parameters, Placement,
        compute::{self, ComputeRequest, Exactness, WeightTypes},
    },
    model::Facts,
    quant::GgmlType,
    workload::FlashAttention,
};

/// Loads and models in `llama_cpp_memory_more.tsv`.
const LOADS: usize = 330;
const MODELS: usize = 55;

const ALL_F32: &dyn WeightTypes = &all_f32;

const fn all_f32(_: Option<u32>, _: &str, _: [u64; 4]) -> GgmlType {
    GgmlType::F32
}

fn parameters(row: &llm_vram_tests::Row) -> Parameters {
    let ty = |column| GgmlType::from_name(row.text(column)).expect("a cache type");
    Parameters {
        n_seq_max: row.number("n_seq_max"),
        kv_unified: row.number("kv_unified") == 1,
        n_batch: row.number("n_batch"),
        n_ubatch: row.number("n_ubatch"),
        n_outputs_max: row.number("n_outputs_max"),
        type_k: ty("type_k"),
        type_v: ty("type_v"),
        flash_attn: match row.text("flash_attn") {
            "auto" => FlashAttention::Auto,
            "on" => FlashAttention::On,
            _ => FlashAttention::Off,
        },
        swa_full: false,
        ..Parameters::library(row.number("n_ctx"))
    }
}

#[test]
fn every_op_list_gives_the_engines_host_buffer() {
    let models: BTreeMap<String, Model> =
        llm_vram_tests::jsonl::<llm_vram_tests::ModelRecord>("llama_cpp_memory_more_models.jsonl")
            .into_iter()
            .map(|record| (record.id.clone(), record.model()))
            .collect();
    let (mut rows, mut seen, mut architectures, mut misses) = (0, BTreeSet::new(), BTreeSet::new(), Vec::new());
    for row in llm_vram_tests::tsv("llama_cpp_memory_more.tsv") {
        let id = row.text("model").to_owned();
        let model = &models[&id];
        let parameters = parameters(&row);
        let placement = Placement::new(model.hyperparameters(), Some(0), &[]);
        let plan = compute::plan(model, &ComputeRequest::measured(&parameters, &placement), ALL_F32)
            .unwrap_or_else(|error| panic!("{}: {error}", row.place()));
        rows += 1;
        let truth = row.number("compute_bytes");
        if plan.host.get() != truth {
            misses.push(format!("{id}: {} instead of {truth} ({})", plan.host.get(), row.place()));
        }
        assert_eq!(plan.exactness, Exactness::OpList, "{id}");
        architectures.insert(model.hyperparameters().architecture.clone());
        seen.insert(id);
    }
    println!(
        "host buffers of further op lists: {rows} loads of {} models of {} architectures, {} bytes-off rows",
        seen.len(),
        architectures.len(),
        misses.len()
    );
    assert!(misses.is_empty(), "{misses:#?}");
    assert_eq!((rows, seen.len(), models.len()), (LOADS, MODELS, MODELS));
}

#[test]
fn experts_in_one_tensor_and_alternating_layers_are_marked() {
    let parameters = Parameters::library(4096);
    let exactness = |model: &Model| {
        let placement = Placement::new(model.hyperparameters(), None, &[1.0]);
        compute::plan(model, &ComputeRequest::load(&parameters, &placement), ALL_F32).expect("a plan").exactness
    };
    let scout = llm_vram_tests::record("llama-4-scout").hyperparameters();
    let mut alternating = scout.clone();
    alternating.interleave_moe_layer_step = 2;
    let deepseek = llm_vram_tests::record("glm-4.5-air").hyperparameters();
    let mut fused = deepseek.clone();
    fused.facts = Facts { fused_gate_up_exps: true, ..fused.facts };
    let outcomes = [scout, alternating, deepseek, fused].map(|description| exactness(&Model::new(description).expect("a model")));
    use Exactness::{OpList, OpListComparedOnHost};
    assert_eq!(outcomes, [OpList, OpListComparedOnHost, OpList, OpListComparedOnHost]);
}

#[test]
fn a_buffer_at_its_largest_is_the_sum_of_what_it_holds() {
    let model = llm_vram_tests::model("llama-3.1-8b");
    let parameters = Parameters { n_outputs_max: 1, ..Parameters::library(32_768) };
    let placement = Placement::new(model.hyperparameters(), None, &[1.0]);
    let request = ComputeRequest::measured(&parameters, &placement);
    let plan = compute::plan(&model, &request, ALL_F32).expect("a plan");
    let peaks = compute::explain(&model, &request, ALL_F32).expect("peaks");
    let buffers: Vec<_> = plan.devices.iter().chain([&plan.host]).copied().collect();
    assert_eq!(peaks.len(), buffers.len());
    for (peak, buffer) in peaks.iter().zip(buffers) {
        let live: u64 = peak.live.iter().map(|tensor| tensor.bytes.get()).sum();
        assert_eq!(live + peak.holes.get(), peak.total.get());
        assert_eq!(peak.total, buffer);
        assert!(peak.live.is_sorted_by(|a, b| a.bytes >= b.bytes));
        for tensor in &peak.live {
            let is_readable = !tensor.name.is_empty()
                && !tensor.name.ends_with(".weight")
                && tensor.name.chars().any(|letter| letter.is_ascii_lowercase());
            assert!(is_readable, "{:?}", tensor.name);
        }
        println!("{}", peak.in_words());
    }
    let names: Vec<&str> = peaks[0].live.iter().map(|tensor| tensor.name.as_str()).collect();
    assert!(names.iter().any(|name| name.starts_with("ffn_gate of layer")), "{names:?}");
    let reading = peaks[0].in_words();
    assert!(reading.starts_with("largest at gated activation of layer "), "{reading}");
    assert!(reading.contains(" = 32.00 MiB for attention mask + 28.00 MiB for ffn_up of layer "), "{reading}");
    assert!(reading.ends_with("16.00 MiB that lie free between them"), "{reading}");
}
