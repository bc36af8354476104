//! Derived tensor lists against the numbers of tensors and elements that llama.cpp loads.

use std::collections::BTreeSet;

use llm_vram_core::{
    Model,
    model::{Hyperparameters, Storage, Tensor},
};
use llm_vram_tests::{ModelRecord, models, record, records};

fn compare(file: &str, expected_rows: usize) {
    let records = records(file);
    assert_eq!(records.len(), expected_rows, "{file} has lost rows");
    let off: Vec<String> = records.values().filter_map(difference).collect();
    println!("{file}: {} models, {} with another number of tensors or parameters", records.len(), off.len());
    assert!(off.is_empty(), "{}", off.join("\n"));
}

fn difference(record: &ModelRecord) -> Option<String> {
    let model = record.model();
    let (tensors, parameters) = (model.tensors().len(), model.parameters().total);
    assert!(model.warnings().is_empty(), "{}: {:?}", record.id, model.warnings());
    let differs = tensors != record.n_tensors || parameters != record.n_params;
    differs.then(|| {
        format!(
            "{}: {tensors} tensors instead of {}, {parameters} parameters instead of {}",
            record.id, record.n_tensors, record.n_params
        )
    })
}

#[test]
fn full_size_models() {
    compare("models.jsonl", 62);
}

#[test]
fn models_of_the_type_chooser() {
    compare("quant_golden_models.jsonl", 13);
}

/// What transformers 5.23.0 counts for the text model, built on the meta device from the same configuration.
const CHECKPOINTS: &[(&str, u64)] = &[
    ("llama-3.1-8b", 8_030_261_248),
    ("qwen3-0.6b", 596_049_920),
    ("qwen3-30b-a3b", 30_532_122_624),
    ("qwen3-next-80b-a3b", 79_674_391_296),
    ("gemma-2-9b", 9_241_705_984),
    ("gemma-4-31b", 30_697_345_280),
    ("gemma-4-e4b", 7_463_013_376),
    ("mixtral-8x7b", 46_702_792_704),
    ("deepseek-v3-671b", 671_026_404_352),
    ("deepseek-v2-lite", 15_706_484_224),
    ("glm-4.5-air", 106_852_245_504),
    ("gpt-oss-20b", 20_914_757_184),
    ("llama-4-scout", 107_769_861_120),
    ("jamba-1.5-mini", 51_570_323_328),
    ("minimax-m2", 228_689_748_992),
    ("lfm2-1.2b", 1_170_340_608),
    ("command-r-35b", 34_980_831_232),
];

#[test]
fn checkpoint_parameters() {
    let models = models();
    let off: Vec<String> = CHECKPOINTS
        .iter()
        .filter_map(|(id, expected)| {
            let found = models[*id].model().parameters().checkpoint;
            (found != *expected).then(|| format!("{id}: {found} instead of {expected}"))
        })
        .collect();
    println!("transformers: {} models, {} with another count", CHECKPOINTS.len(), off.len());
    assert!(off.is_empty(), "{}", off.join("\n"));
}

#[test]
fn names_are_unique_and_tell_the_storage() {
    let mut tensors = 0;
    for (id, record) in models() {
        let model = record.model();
        let mut names = BTreeSet::new();
        for tensor in model.tensors() {
            assert!(names.insert(tensor.name()), "{id}: {} twice", tensor.name());
            let storage = Storage::of(model.architecture(), &tensor.stem, tensor.dimensions());
            assert_eq!(tensor.storage, storage, "{id}: {}", tensor.name());
        }
        tensors += names.len();
    }
    println!("{tensors} tensors: each named once, each stored as its name says");
}

#[test]
fn a_list_from_a_file_is_classified_like_a_derived_one() {
    let mut tensors = 0;
    for (id, record) in models() {
        let hp = record.hyperparameters();
        let derived = record.model();
        let bare = |tensor: &Tensor| Tensor::new(&hp.architecture, tensor.block, tensor.stem.clone(), tensor.shape);
        let listed = derived.tensors().iter().map(bare).collect();
        let read = Model::from_file(hp.clone(), listed, Vec::new()).unwrap_or_else(|error| panic!("{id}: {error}"));
        assert_eq!(read.tensors(), derived.tensors(), "{id}");
        assert_eq!(read.parameters(), derived.parameters(), "{id}");
        tensors += read.tensors().len();
    }
    println!("{tensors} tensors: the same storage, group and origin from a list as from the architecture");
}

#[test]
fn an_unknown_architecture_is_a_plain_transformer_with_a_warning() {
    let mut hp = Hyperparameters { architecture: String::from("newcomer"), ..record("qwen3-8b").hyperparameters() };
    hp.facts.qk_norm = true;
    let model = Model::new(hp).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(model.warnings().iter().map(|warning| warning.code).collect::<Vec<_>>(), ["unknown_architecture"]);
    assert_eq!(model.parameters(), record("qwen3-8b").model().parameters());
}

#[test]
fn an_absent_width_is_named() {
    let hp = Hyperparameters { ssm_state_size: 0, ..record("mamba-2.8b").hyperparameters() };
    let error = Model::new(hp).expect_err("a state of no size");
    assert_eq!((error.kind().code(), error.field_name()), ("missing_field", Some("blk.0.ssm_a")));
}
