//! Derived tensor lists against the numbers of tensors and elements that llama.cpp loads.

use llm_vram_tests::{ModelRecord, records};

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
