use alloc::{format, string::String};

use super::*;

const LLAMA: &str = r#"{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}"#;

fn kind(json: &str) -> ErrorKind {
    match HfConfig::read(json).and_then(|config| config.model()) {
        Ok(_) => panic!("accepted: {json}"),
        Err(error) => error.kind(),
    }
}

fn with(field: &str, value: &str) -> String {
    let start = LLAMA.find(&format!("\"{field}\":")).unwrap();
    let end = start + LLAMA[start..].find([',', '}']).unwrap();
    format!("{}\"{field}\": {value}{}", &LLAMA[..start], &LLAMA[end..])
}

#[test]
fn wrong_values_name_their_path() {
    let cases = [
        ("hidden_size", "-1", ErrorKind::OutOfRange),
        ("hidden_size", "0", ErrorKind::OutOfRange),
        ("hidden_size", "1e30", ErrorKind::InvalidValue),
        ("hidden_size", "4096.5", ErrorKind::InvalidValue),
        ("hidden_size", "NaN", ErrorKind::InvalidValue),
        ("hidden_size", "Infinity", ErrorKind::InvalidValue),
        ("hidden_size", "\"4096\"", ErrorKind::InvalidValue),
        ("hidden_size", "[4096]", ErrorKind::InvalidValue),
        ("hidden_size", "true", ErrorKind::InvalidValue),
        ("hidden_size", "18446744073709551615", ErrorKind::OutOfRange),
        ("num_hidden_layers", "4294967296", ErrorKind::OutOfRange),
        ("vocab_size", "null", ErrorKind::MissingField),
        ("num_attention_heads", "99999", ErrorKind::OutOfRange),
    ];
    for (field, value, expected) in cases {
        let error = HfConfig::read(&with(field, value)).unwrap_err();
        assert_eq!(error.kind(), expected, "{field} = {value}: {error}");
        assert_eq!(error.field_name(), Some(field), "{error}");
        let nested = format!("{{\"model_type\": \"gemma3\", \"text_config\": {}}}", with(field, value));
        let error = HfConfig::read(&nested).unwrap_err();
        assert_eq!(error.field_name(), Some(&*format!("text_config.{field}")), "{error}");
    }
}

#[test]
fn contradictions_are_errors() {
    assert_eq!(kind(&with("num_key_value_heads", "5")), ErrorKind::Contradiction);
    assert_eq!(kind(&with("num_attention_heads", "0")), ErrorKind::Contradiction);
    assert_eq!(kind(r#"{"model_type": "gemma3_text", "layer_types": ["full_attention"]}"#), ErrorKind::Contradiction);
    assert_eq!(kind(r#"{"model_type": "nemotron_h", "hybrid_override_pattern": "MX"}"#), ErrorKind::InvalidValue);
    assert_eq!(kind(r#"{"model_type": "jamba", "attn_layer_period": 2, "attn_layer_offset": 2}"#), ErrorKind::Contradiction);
}

#[test]
fn what_is_no_model_config_is_refused() {
    assert_eq!(kind("{}"), ErrorKind::MissingField);
    assert_eq!(kind(r#"{"model_type": 3}"#), ErrorKind::InvalidValue);
    assert_eq!(kind(r#"{"model_type": "somethingnew"}"#), ErrorKind::MissingField);
    assert_eq!(kind(r#"{"model_type": "llama", "model_type": "qwen2"}"#), ErrorKind::Contradiction);
    let deep = format!("{{\"model_type\": {}", "[".repeat(5000));
    assert_eq!(kind(&deep), ErrorKind::Malformed);
}

#[test]
fn unknown_types_give_a_bound_that_says_so() {
    let config = HfConfig::read(&LLAMA.replace("\"llama\"", "\"somethingnew\"")).unwrap();
    assert_eq!(config.warnings()[0].code, "unknown_architecture");
    let (unknown, known) = (config.model().unwrap(), HfConfig::read(LLAMA).unwrap().model().unwrap());
    assert_eq!(unknown.parameters().total, known.parameters().total);
    assert_eq!(unknown.warnings().len(), 1);
}

#[test]
fn class_defaults_are_named() {
    let config =
        HfConfig::read(r#"{"model_type": "gemma3", "text_config": {"hidden_size": 2560, "num_hidden_layers": 34}}"#).unwrap();
    assert_eq!(config.hyperparameters().vocab_size, 262_208);
    let warning = config.warnings().iter().find(|warning| warning.code == "class_default").unwrap();
    assert!(warning.message.contains("vocab_size") && !warning.message.contains("hidden_size"), "{}", warning.message);
}

#[test]
fn prediction_layers_are_optional() {
    let json = r#"{"model_type": "glm4_moe", "hidden_size": 4096, "num_hidden_layers": 46, "num_attention_heads": 96, "head_dim": 128,
        "num_key_value_heads": 8, "n_routed_experts": 128, "num_experts_per_tok": 8, "first_k_dense_replace": 1,
        "attention_bias": true, "num_nextn_predict_layers": 1, "vocab_size": 151552, "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "fp8"}}"#;
    let config = HfConfig::read(json).unwrap();
    assert_eq!((config.prediction_layers(), config.dtype()), (1, Some("bfloat16")));
    assert_eq!(config.model().unwrap().parameters().mtp, 0);
    // The published checkpoint of GLM-4.5-Air lists 110,468,824,832 parameters.
    assert_eq!(config.model_with_prediction().unwrap().parameters().total, 110_468_824_832);
}

#[test]
fn searched_architectures_state_each_block() {
    let json = r#"{"model_type": "nemotron-nas", "hidden_size": 8192, "num_hidden_layers": 3, "num_attention_heads": 64,
        "num_key_value_heads": null, "intermediate_size": null, "vocab_size": 128256, "block_configs": [
        {"attention": {"n_heads_in_group": 8, "no_op": false}, "ffn": {"ffn_mult": 5.25, "no_op": false}},
        {"attention": {"no_op": true}, "ffn": {"ffn_mult": 2.625}},
        {"attention": {"replace_with_linear": true}, "ffn": {"no_op": true}}]}"#;
    let hp = HfConfig::read(json).unwrap().hyperparameters().clone();
    assert_eq!(hp.head_count_kv, PerLayer::Each(alloc::vec![8, 0, 0]));
    assert_eq!(hp.head_count, PerLayer::Each(alloc::vec![64, 0, 64]));
    assert_eq!(hp.feed_forward_length, PerLayer::Each(alloc::vec![28_672, 14_336, 0]));
    assert_eq!(kind(&json.replace("5.25", "1e9")), ErrorKind::OutOfRange);
    assert_eq!(kind(&json.replace("\"num_hidden_layers\": 3", "\"num_hidden_layers\": 4")), ErrorKind::Contradiction);
}

#[test]
fn the_published_format_is_read() {
    let cases = [
        (r#""torch_dtype": "bfloat16""#, "BF16"),
        (r#""quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}"#, "FP8-block"),
        (r#""quantization_config": {"quant_method": "fbgemm_fp8"}"#, "FP8"),
        (r#""quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 64}"#, "AWQ-g64"),
        (r#""quantization_config": {"quant_method": "gptq", "bits": 8, "group_size": 32}"#, "GPTQ-8bit-g32"),
        (r#""quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": true}"#, "NF4"),
        (r#""quantization_config": {"quant_method": "exl3", "bits": 4.25}"#, "EXL3-4.25bpw"),
        (r#""quantization": {"group_size": 64, "bits": 4}"#, "MLX-4bit-g64"),
        (
            r#""quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups":
               {"group_0": {"weights": {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 32}}}}"#,
            "W4A16-g32",
        ),
        (
            r#""quantization_config": {"quant_method": "compressed-tensors", "config_groups":
               {"group_0": {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}}}"#,
            "FP8",
        ),
    ];
    for (field, expected) in cases {
        let config = HfConfig::read(&format!("{},{field}}}", LLAMA.trim_end_matches('}'))).unwrap();
        assert_eq!(format!("{}", config.published_format().unwrap()), expected, "{field}");
    }
    assert_eq!(HfConfig::read(LLAMA).unwrap().published_format(), None);
}

/// Every truncation and every replaced byte of a real config gives an answer or an error.
#[test]
fn mutilated_configs_never_panic() {
    let json = r#"{"model_type":"qwen3_5","text_config":{"layer_types":["linear_attention","full_attention"],"hidden_size":64,
        "num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,"vocab_size":100,"head_dim":16,"intermediate_size":32,
        "time_step_limit":[0.0,Infinity]},"vision_config":{"depth":2,"hidden_size":8,"out_hidden_size":64}}"#;
    assert!(HfConfig::read(json).unwrap().model().is_ok());
    for length in 0..json.len() {
        assert!(HfConfig::read(&json[..length]).is_err());
        for byte in ["0", "9", "-", "\"", "}", "]", ",", "e"] {
            let mutilated = format!("{}{byte}{}", &json[..length], &json[length + 1..]);
            let _ = HfConfig::read(&mutilated).and_then(|config| config.model_with_prediction());
        }
    }
}

/// Extreme but allowed numbers in every field of every family stay within checked arithmetic.
#[test]
fn extreme_numbers_never_panic() {
    let fields = [
        "hidden_size",
        "intermediate_size",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "vocab_size",
        "num_experts",
        "num_experts_per_tok",
        "moe_intermediate_size",
        "mamba_expand",
        "mamba_d_state",
        "linear_key_head_dim",
        "linear_num_value_heads",
        "expand",
        "state_size",
        "conv_kernel",
        "n_groups",
        "mamba_n_groups",
        "kv_lora_rank",
        "qk_rope_head_dim",
        "num_kv_shared_layers",
        "decoder_sparse_step",
        "attn_layer_period",
        "expert_layer_period",
        "num_nextn_predict_layers",
        "block_multiple_of",
        "sliding_window",
        "first_k_dense_replace",
        "num_hidden_layers",
        "conv_L_cache",
        "altup_num_inputs",
        "mamba_n_heads",
    ];
    let types = READERS.iter().flat_map(|(types, _, _)| types.iter()).chain(WRAPPERS.iter().map(|(wrapper, _)| wrapper));
    for model_type in types {
        for field in fields {
            for value in ["0", "1", "3", "4096", "2147483648"] {
                let json = format!(
                    "{{\"model_type\":\"{model_type}\",\"{field}\":{value},\"vision_config\":{{\"hidden_size\":{value},\"depth\":1}}}}"
                );
                let _ = HfConfig::read(&json).and_then(|config| config.model_with_prediction());
            }
        }
    }
}
