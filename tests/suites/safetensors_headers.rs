//! Safetensors headers: files of the official writer, checkpoints in one and several files, packed weights.
#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

use std::{fs, path::Path};

use llm_vram_core::{
    Error, ErrorKind,
    input::{
        InputKind, ReadError, detect,
        safetensors::{self, Checkpoint, Dtype, Header, Index},
    },
    model::{Attention, Basis, Group, Hyperparameters, PerLayer},
};

const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

fn fixture(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).expect(name)
}

fn description() -> Hyperparameters {
    let mut hp = Hyperparameters::new("qwen3");
    hp.block_count = 2;
    hp.embedding_length = 16;
    hp.vocab_size = 32;
    hp.feed_forward_length = PerLayer::Uniform(24);
    hp.head_count = PerLayer::Uniform(4);
    hp.head_count_kv = PerLayer::Uniform(2);
    hp.key_length = Some(4);
    hp.value_length = Some(4);
    hp
}

#[test]
fn files_of_the_official_writer_are_read_whole() {
    let names = ["single", "awq", "gptq", "nf4", "compressed", "mlx", "model-00001-of-00002", "model-00002-of-00002"];
    for name in names {
        let bytes = fixture(&format!("{name}.safetensors"));
        assert_eq!(detect(&bytes), InputKind::SafetensorsHeader, "{name}");
        let header = Header::read(&bytes, Some(bytes.len() as u64)).expect(name);
        assert_eq!(header.expected_file_bytes().get(), bytes.len() as u64, "{name}");
        let end = usize::try_from(header.header_bytes().get()).unwrap();
        assert_eq!(safetensors::read(&bytes[..end]).expect(name).tensors(), header.tensors());
        for cut in 0..end {
            match Header::read(&bytes[..cut], None) {
                Err(ReadError::NeedMoreBytes { at_least, .. }) => assert!(at_least > cut as u64 && at_least <= end as u64),
                other => panic!("{name} cut at {cut}: {other:?}"),
            }
            let known = Header::read(&bytes[..cut], Some(cut as u64)).map_err(Error::from);
            assert_eq!(known.unwrap_err().kind(), ErrorKind::Truncated, "{name} cut at {cut}");
        }
        let longer = Header::read(&bytes, Some(bytes.len() as u64 + 1)).map_err(Error::from);
        assert_eq!(longer.unwrap_err().kind(), ErrorKind::Contradiction);
    }
    println!("{} files of the official writer read whole", names.len());
}

#[test]
fn one_file_with_its_description() {
    let bytes = fixture("single.safetensors");
    let checkpoint = Checkpoint::from_header(&safetensors::read(&bytes).unwrap()).unwrap();
    let model = checkpoint.model(Some(&description())).unwrap();
    assert_eq!(model.basis(), Basis::File);
    assert_eq!(model.tensors().len(), 24);
    let stored: u64 = model.tensors().iter().map(|tensor| tensor.stored.as_ref().unwrap().bytes.get()).sum();
    assert_eq!(stored, checkpoint.total_bytes().get());
    assert_eq!(checkpoint.parameters(), Some(stored / 2));
    assert_eq!(checkpoint.dtypes().collect::<Vec<_>>(), [(Dtype::F16, 24, checkpoint.total_bytes())]);
    // The same tensors as the architecture's own list has, in number and weights.
    let derived = llm_vram_core::Model::new(Hyperparameters { facts: tied(), ..description() }).unwrap();
    assert_eq!(derived.tensors().len(), 24);
    assert_eq!(Some(derived.parameters().total), checkpoint.parameters());

    let narrow = Hyperparameters { head_count_kv: PerLayer::Uniform(1), ..description() };
    let error = checkpoint.model(Some(&narrow)).unwrap_err();
    assert_eq!((error.kind(), error.field_name()), (ErrorKind::Contradiction, Some("model.layers.0.self_attn.k_proj.weight")));
    let deep = Hyperparameters { block_count: 3, ..description() };
    assert_eq!(checkpoint.model(Some(&deep)).unwrap_err().kind(), ErrorKind::Contradiction);
    let shallow = Hyperparameters { block_count: 1, ..description() };
    assert_eq!(checkpoint.model(Some(&shallow)).unwrap_err().kind(), ErrorKind::Contradiction);
}

fn tied() -> llm_vram_core::model::Facts {
    llm_vram_core::model::Facts { tied: true, qk_norm: true, ..Default::default() }
}

#[test]
fn names_and_shapes_give_the_caches_without_a_description() {
    let bytes = fixture("single.safetensors");
    let checkpoint = Checkpoint::from_header(&safetensors::read(&bytes).unwrap()).unwrap();
    let model = checkpoint.model(None).unwrap();
    let told = checkpoint.model(Some(&description())).unwrap();
    assert_eq!(model.blocks(), told.blocks());
    assert!(model.hyperparameters().facts.tied);
    assert_eq!(model.warnings()[0].code, "inferred_from_shapes");
}

#[test]
fn several_files() {
    let index = Index::read(&String::from_utf8(fixture("model.safetensors.index.json")).unwrap()).unwrap();
    assert_eq!(index.files(), SHARDS);
    let bytes = SHARDS.map(fixture);
    let header = |shard: usize| (SHARDS[shard], safetensors::read(&bytes[shard]).unwrap());
    let checkpoint = index.checkpoint(&[header(1), header(0)]).unwrap();
    assert_eq!(Some(checkpoint.total_bytes()), index.total_bytes());
    let model = checkpoint.model(None).unwrap();
    assert!(!model.hyperparameters().facts.tied);
    assert_eq!(model.tensors().len(), 25);

    let outline = index.model(&Hyperparameters { facts: tied(), ..description() }).unwrap();
    assert_eq!((outline.basis(), outline.tensors().len(), outline.warnings().len()), (Basis::File, 25, 0));
    let wider = index.model(&Hyperparameters { vocab_size: 64, ..description() }).unwrap();
    assert_eq!((wider.basis(), wider.warnings()[0].code), (Basis::Architecture, "total_size_differs"));
    let deeper = index.model(&Hyperparameters { block_count: 9, ..description() }).unwrap_err();
    assert_eq!(deeper.kind(), ErrorKind::Contradiction);

    let missing = index.checkpoint(&[header(0)]).unwrap_err();
    assert_eq!((missing.kind(), missing.field_name()), (ErrorKind::MissingField, Some(SHARDS[1])));
    let swapped = index.checkpoint(&[(SHARDS[0], header(1).1), (SHARDS[1], header(0).1)]).unwrap_err();
    assert_eq!(swapped.kind(), ErrorKind::Contradiction);
    let foreign = index.checkpoint(&[header(0), header(1), ("other.safetensors", header(0).1)]).unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::Contradiction);
}

#[test]
fn packed_weights_count_as_what_they_hold() {
    let rows = [("awq", "AWQ-4bit"), ("gptq", "GPTQ-4bit"), ("nf4", "NF4"), ("compressed", "INT4"), ("mlx", "MLX-4bit-g64")];
    for (name, type_name) in rows {
        let bytes = fixture(&format!("{name}.safetensors"));
        let header = safetensors::read(&bytes).unwrap();
        let checkpoint = Checkpoint::from_header(&header).unwrap();
        let packed = checkpoint.weights().iter().find(|weight| weight.name.ends_with("q_proj.weight")).unwrap();
        assert_eq!(packed.type_name, type_name);
        assert_eq!(packed.shape.as_ref().map(|shape| shape.iter().product()), Some(64 * 128_u64), "{name}");
        assert_eq!(checkpoint.total_bytes(), header.data_bytes(), "{name}");
        let norm = if name == "mlx" { 64 } else { 0 };
        assert_eq!(checkpoint.parameters(), Some(64 * 128 + norm), "{name}");
    }
    println!("{} packings of 64 × 128 weights recognised", rows.len());
}

/// Name, element type, shape.
type Entry<'e> = (&'e str, &'e str, &'e [u64]);

/// A header of the given entries.
fn header(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut begin = 0;
    let mut json = serde_json::Map::new();
    for (name, dtype, shape) in entries {
        let bits = u64::from(Dtype::from_name(dtype).unwrap().bits());
        let end = begin + shape.iter().product::<u64>() * bits / 8;
        json.insert((*name).into(), serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}));
        begin = end;
    }
    let text = serde_json::to_vec(&json).unwrap();
    [&(text.len() as u64).to_le_bytes(), text.as_slice()].concat()
}

#[test]
fn further_packings() {
    let cases: [(&[Entry<'_>], &str, u64); 6] = [
        (&[("m.w.weight", "F8_E4M3", &[128, 256]), ("m.w.weight_scale_inv", "F32", &[1, 2])], "F8_E4M3", 128 * 256),
        (
            &[("m.w.weight", "U8", &[128, 32]), ("m.w.weight_scale", "F8_E4M3", &[128, 4]), ("m.w.weight_scale_2", "F32", &[])],
            "NVFP4",
            128 * 64,
        ),
        (&[("m.w_blocks", "U8", &[4, 128, 2, 16]), ("m.w_scales", "U8", &[4, 128, 2])], "MXFP4", 4 * 128 * 64),
        (&[("m.w.trellis", "I16", &[8, 16, 64]), ("m.w.suh", "F16", &[128]), ("m.w.svh", "F16", &[256])], "EXL3", 128 * 256),
        (
            &[("m.w.q_weight", "I32", &[40, 256]), ("m.w.q_invperm", "I16", &[128]), ("m.w.q_scale", "I32", &[4, 32])],
            "EXL2",
            128 * 256,
        ),
        (&[("m.w.weight", "I8", &[128, 256]), ("m.w.SCB", "F32", &[128])], "INT8", 128 * 256),
    ];
    for (entries, type_name, weights) in cases {
        let bytes = header(entries);
        let checkpoint = Checkpoint::from_header(&safetensors::read(&bytes).unwrap()).unwrap();
        assert_eq!(checkpoint.weights().len(), 1, "{type_name}");
        assert_eq!((checkpoint.weights()[0].type_name.as_ref(), checkpoint.parameters()), (type_name, Some(weights)));
    }
    let bytes = header(&[("m.w.packed", "I32", &[8, 8])]);
    let unknown = Checkpoint::from_header(&safetensors::read(&bytes).unwrap()).unwrap();
    assert_eq!(unknown.parameters(), None);
}

#[test]
fn latent_attention_and_experts_without_a_description() {
    // DeepSeek-V2-Lite's shapes, two layers, three of its experts.
    let (d, rank, rope, heads) = (2048, 512, 64, 16);
    let mut entries: Vec<(String, Vec<u64>)> = vec![("model.embed_tokens.weight".into(), vec![102_400, d])];
    for layer in 0..2 {
        let name = |stem: &str| format!("model.layers.{layer}.{stem}.weight");
        entries.push((name("self_attn.q_proj"), vec![heads * 192, d]));
        entries.push((name("self_attn.kv_a_proj_with_mqa"), vec![rank + rope, d]));
        entries.push((name("self_attn.kv_a_layernorm"), vec![rank]));
        entries.push((name("self_attn.kv_b_proj"), vec![heads * 256, rank]));
        entries.push((name("self_attn.o_proj"), vec![d, heads * 128]));
        if layer == 0 {
            entries.push((name("mlp.up_proj"), vec![10_944, d]));
        } else {
            entries.push((name("mlp.gate"), vec![64, d]));
            for expert in 0..3 {
                entries.push((name(&format!("mlp.experts.{expert}.up_proj")), vec![1408, d]));
            }
        }
    }
    entries.push(("vision_tower.patch.weight".into(), vec![3, 14, 14, 64, 2]));
    let rows: Vec<Entry<'_>> = entries.iter().map(|(name, shape)| (name.as_str(), "BF16", shape.as_slice())).collect();
    let bytes = header(&rows);
    let model = Checkpoint::from_header(&safetensors::read(&bytes).unwrap()).unwrap().model(None).unwrap();
    let Attention::Latent(latent) = model.blocks()[1].attention else { panic!("{:?}", model.blocks()[1]) };
    assert_eq!((latent.kv_lora_rank, latent.rope_length, latent.head_count), (512, 64, 16));
    let hp = model.hyperparameters();
    assert_eq!((hp.expert_count, hp.expert_feed_forward_length, hp.leading_dense_block_count), (64, Some(1408), 1));
    let tower: Vec<_> = model.tensors().iter().filter(|tensor| tensor.group == Group::Tower).collect();
    assert_eq!(tower.iter().map(|tensor| tensor.elements()).collect::<Vec<_>>(), [3 * 14 * 14 * 64 * 2]);
}
