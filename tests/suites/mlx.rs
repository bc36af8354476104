//! MLX: bytes of modules and caches against what mlx and mlx-lm themselves computed.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;

use llm_vram_core::{
    ErrorKind, Model,
    quant::mlx::{self, MlxMode, MlxPrecision, MlxQuantisation},
};
use llm_vram_tests::{models, tsv};

/// The columns of `mlx_weights.tsv` that name a quantisation.
const QUANTISATIONS: [&str; 20] = [
    "bf16",
    "affine-4bit-g64",
    "affine-8bit-g64",
    "mixed_4_6",
    "affine-4bit-g32",
    "affine-6bit-g64",
    "affine-5bit-g64",
    "affine-3bit-g64",
    "affine-2bit-g64",
    "affine-4bit-g128",
    "affine-8bit-g32",
    "mxfp4",
    "nvfp4",
    "mxfp8",
    "mixed_2_6",
    "mixed_3_4",
    "mixed_3_6",
    "experts-mxfp4+rest-bf16",
    "experts-mxfp4+rest-affine-8bit-g64",
    "experts-mxfp4+rest-affine-4bit-g64",
];

fn quantisation(column: &str) -> MlxQuantisation {
    let affine = |text: &str| {
        let (bits, group) = text.split_once("bit-g").expect("bits and group");
        MlxPrecision::new(MlxMode::Affine, bits.parse().unwrap(), group.parse().unwrap()).unwrap()
    };
    if let Some(rest) = column.strip_prefix("experts-mxfp4+rest-") {
        return MlxQuantisation::ExpertsMxfp4(rest.strip_prefix("affine-").map(affine));
    }
    match column.strip_prefix("affine-") {
        Some(text) => MlxQuantisation::Uniform(affine(text)),
        None => MlxQuantisation::parse(&format!("MLX-{column}")).unwrap().expect("a format"),
    }
}

/// Models whose description in these vectors differs from the one that the figures were computed for.
const DESCRIBED_OTHERWISE: [(&str, &str); 2] = [
    ("internlm2.5-7b", "built without `bias` in its config, which the class takes for true: 327,680 biases more"),
    ("gemma-3n-e4b", "built with 262,400 rows of the embedding, GGUF files have 262,144"),
];

fn described() -> BTreeMap<String, Model> {
    models().into_iter().map(|(id, record)| (id, record.model())).collect()
}

#[test]
fn bytes_of_every_module_list() {
    let models = described();
    let (mut exact, mut off, mut unread) = (0, 0, 0);
    for row in tsv("mlx_weights.tsv") {
        let id = row.text("model");
        let rows = QUANTISATIONS.iter().filter(|column| !row.text(column).is_empty());
        let Some(model) = models.get(id) else {
            unread += rows.count();
            continue;
        };
        if let Some((_, reason)) = DESCRIBED_OTHERWISE.iter().find(|(other, _)| *other == id) {
            println!("{id}: {} rows left out: {reason}", rows.clone().count());
            unread += rows.count();
            continue;
        }
        let mut misses = Vec::new();
        for column in rows {
            let wanted = row.text(column);
            let found = mlx::weights(model, quantisation(column));
            let same = match &found {
                Ok(found) => found.bytes.get().to_string() == wanted && found.parameters == row.number("params"),
                Err(error) => wanted == "refused" && error.kind() == ErrorKind::EngineRefuses,
            };
            if same {
                exact += 1;
            } else {
                off += 1;
                misses.push(format!("{column}: {wanted} wanted, {found:?} found"));
            }
        }
        if !misses.is_empty() {
            println!("{id} ({}): {}", row.text("model_type"), misses.join("; "));
        }
    }
    println!("module bytes: {exact} rows exact, {off} off, {unread} of models that are not described");
    assert_eq!(off, 0);
    assert!(exact >= 636, "rows were lost");
}
