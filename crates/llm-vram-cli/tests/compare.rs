//! Engines and models side by side: what is printed, what is handed on, and that each reason rests on the figures.

#![allow(clippy::panic, clippy::expect_used, clippy::unwrap_used)]

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

fn run(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_llm-vram"))
        .args(arguments)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("the command ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn json(arguments: &[&str]) -> Value {
    let output = run(&[arguments, &["--json"]].concat(), "");
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON and nothing else")
}

fn call(request: &str) -> Output {
    run(&["call", "compare"], request)
}

fn side<'a>(answer: &'a Value, label: &str) -> &'a Value {
    let sides = answer["sides"].as_array().expect("sides");
    sides.iter().find(|side| side["label"] == label).unwrap_or_else(|| panic!("no side `{label}` in {sides:?}"))
}

fn bytes(side: &Value, field: &str) -> i64 {
    side[field].as_i64().unwrap_or(0)
}

fn because(answer: &Value, part: &str, b: &str) -> String {
    let differences = answer["differences"].as_array().expect("differences");
    let found = differences.iter().find(|difference| difference["part"] == part && difference["b"] == b);
    found.map_or_else(String::new, |difference| difference["because"].as_str().expect("a sentence").to_owned())
}

/// Parts that add up to the total; the pool stands for the cache.
fn sum(side: &Value) -> i64 {
    let cache = if side["kv_pool_bytes"].is_null() { "kv_cache_bytes" } else { "kv_pool_bytes" };
    ["weights_bytes", cache, "recurrent_state_bytes", "compute_buffer_bytes", "overhead_bytes"]
        .iter()
        .map(|field| bytes(side, field))
        .sum()
}

#[test]
fn every_engine_that_runs_on_the_device_has_a_column_that_adds_up() {
    for (device, expected) in
        [("rtx-4090", ["llama.cpp", "vllm", "sglang", "exllama"]), ("m4-max-64gb", ["llama.cpp", "lm-studio", "mlx", "omlx"])]
    {
        let answer = json(&["compare", "llama-3.1-8b", "--gpu", device]);
        for engine in expected {
            let side = side(&answer, engine);
            assert_eq!(sum(side), bytes(side, "total_bytes"), "{engine} on {device}");
            assert!(side["verdict"].is_string(), "{engine} on {device}");
        }
        for out in answer["left_out"].as_array().expect("a list") {
            assert!(!out["message"].as_str().expect("why").is_empty());
        }
    }
}

#[test]
fn each_engine_takes_its_own_format_nearest_to_the_asked_one_and_says_so() {
    let answer = json(&["compare", "llama-3.1-8b", "--quant", "Q4_K_M", "--engine", "llama.cpp,vllm,mlx,exllama"]);
    for (engine, quant) in [("vllm", "AWQ"), ("mlx", "MLX-4bit-g64"), ("exllama", "EXL3-4bpw")] {
        let side = side(&answer, engine);
        assert_eq!(side["quant"], quant);
        assert_eq!(side["quant_asked"], "Q4_K_M");
    }
    assert!(side(&answer, "llama.cpp").get("quant_asked").is_none());
    // What MLX's own arrays take, as in the engine's own answer.
    let alone = json(&["estimate", "llama-3.1-8b", "--quant", "MLX-4bit-g64", "--engine", "mlx"]);
    assert_eq!(side(&answer, "mlx")["weights_bytes"], alone["weights_bytes"]);
}

#[test]
fn reasons_name_the_facts_that_the_figures_rest_on() {
    let answer = json(&["compare", "llama-3.1-8b", "--context", "5000", "--gpu", "h100-80gb", "--engine", "llama.cpp,vllm"]);
    let (a, b) = (side(&answer, "llama.cpp"), side(&answer, "vllm"));
    // 32 layers × 2 × 8 heads × 128 × 2 bytes: 5,120 cells and 313 blocks of 16.
    assert_eq!(bytes(a, "kv_cache_bytes"), 5120 * 131_072);
    assert_eq!(bytes(b, "kv_cache_bytes"), 5008 * 131_072);
    let cache = because(&answer, "kv_cache", "vllm");
    assert!(cache.contains("5,120") && cache.contains("5,008") && cache.contains("256") && cache.contains("16"), "{cache}");
    let weights = because(&answer, "weights", "vllm");
    assert!(weights.contains("unquantised") && weights.contains("host memory"), "{weights}");
    let pool = because(&answer, "kv_pool", "vllm");
    assert!(pool.contains("fills it") && pool.contains("gpu_memory_utilization"), "{pool}");
    let compute = because(&answer, "compute_buffer", "vllm");
    assert!(compute.contains("512") && compute.contains("8,192"), "{compute}");
    assert!(because(&answer, "total", "vllm").contains("pool"));
}

#[test]
fn windows_kept_and_ignored_are_told_apart() {
    let answer = json(&["compare", "gemma-3-27b", "--context", "16k", "--engine", "llama.cpp,exllama,transformers"]);
    let ignored = because(&answer, "kv_cache", "exllama");
    assert!(ignored.contains("1,536") && ignored.contains("whole context"), "{ignored}");
    let other = because(&answer, "kv_cache", "transformers");
    assert!(other.contains("1,536") && other.contains("1,023"), "{other}");
    let output_copy = because(&answer, "weights", "transformers");
    assert!(output_copy.contains("second copy of the tied embedding"), "{output_copy}");
}

#[test]
fn latent_caches_kept_and_expanded_are_told_apart() {
    let answer = json(&["compare", "deepseek-v3", "--engine", "llama.cpp,transformers"]);
    let cache = because(&answer, "kv_cache", "transformers");
    assert!(cache.contains("full heads") && cache.contains("compressed rows"), "{cache}");
}

#[test]
fn every_difference_has_a_reason_and_the_right_sign() {
    for model in ["llama-3.1-8b", "gemma-3-27b", "qwen3-30b-a3b", "gpt-oss-20b", "qwen3-next-80b-a3b"] {
        let answer = json(&["compare", model, "--gpu", "h100-80gb"]);
        let first = &answer["sides"][0];
        for difference in answer["differences"].as_array().expect("differences") {
            let field = format!("{}_bytes", difference["part"].as_str().expect("a part"));
            let other = side(&answer, difference["b"].as_str().expect("a label"));
            assert_eq!(difference["a"], first["label"]);
            assert_eq!(difference["bytes"].as_i64(), Some(bytes(other, &field) - bytes(first, &field)), "{model} {field}");
            assert!(difference["because"].as_str().is_some_and(|sentence| sentence.len() > 20), "{model} {difference}");
        }
    }
}

#[test]
fn models_stand_side_by_side_with_labels_that_tell_them_apart() {
    let answer = json(&["compare", "llama-3.1-8b", "qwen3-8b", "--gpu", "rtx-4090"]);
    assert_eq!(answer["sides"].as_array().map(Vec::len), Some(2));
    assert!(because(&answer, "weights", "qwen3-8b").contains("another model"));
    let alone = json(&["estimate", "qwen3-8b", "--quant", "Q4_K_M", "--gpu", "rtx-4090"]);
    assert_eq!(side(&answer, "qwen3-8b")["total_bytes"], alone["total_bytes"]);
    let crossed = json(&["compare", "llama-3.1-8b", "qwen3-8b", "--gpu", "rtx-4090", "--engine", "llama.cpp,ollama"]);
    assert_eq!(crossed["sides"].as_array().map(Vec::len), Some(4));
    side(&crossed, "ollama · qwen3-8b");
}

#[test]
fn the_json_surface_takes_engines_or_scenarios() {
    let output = call(
        r#"{"scenarios": [{"model": "qwen3-8b", "context": "8k"}, {"model": "qwen3-8b", "context": "32k"}, {"model": "qwen3-8b", "context": "32k", "kv_cache_type_k": "q8_0", "kv_cache_type_v": "q8_0"}]}"#,
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let sides = answer["sides"].as_array().expect("sides");
    assert_eq!(sides.len(), 3);
    assert_eq!(bytes(&sides[1], "kv_cache_bytes"), 4 * bytes(&sides[0], "kv_cache_bytes"));
    let labels: Vec<&str> = sides.iter().filter_map(|side| side["label"].as_str()).collect();
    assert!(labels.windows(2).all(|pair| pair[0] != pair[1]), "{labels:?}");
    let last = labels[2];
    assert!(because(&answer, "kv_cache", last).contains("q8_0"), "{answer}");
}

#[test]
fn bad_comparisons_are_refused_with_a_code() {
    let seventeen = format!(r#"{{"scenarios": [{}]}}"#, vec![r#"{"model": "qwen3-8b"}"#; 17].join(","));
    for (request, code) in [
        (r#"{"model": "qwen3-8b", "engines": ["llama.cpp", "nonsense"]}"#, "unknown_engine"),
        (r#"{"model": "qwen3-8b", "engines": "vllm"}"#, "invalid_value"),
        (r#"{"scenarios": [{"model": "qwen3-8b"}], "context": 8192}"#, "contradiction"),
        (r#"{"scenarios": [{"model": "qwen3-8b"}], "engines": ["vllm"]}"#, "contradiction"),
        (r#"{"scenarios": [3]}"#, "invalid_value"),
        (r#"{"scenarios": []}"#, "missing_field"),
        (r#"{"model": "qwen3-8b", "engine": "vllm", "engines": ["vllm"]}"#, "contradiction"),
        (r#"{"engines": ["vllm"]}"#, "missing_field"),
        (seventeen.as_str(), "out_of_range"),
    ] {
        let output = call(request);
        assert!(!output.status.success(), "{request}");
        let both = text(&output.stdout) + &text(&output.stderr);
        assert!(both.contains(code), "{request}: {both}");
    }
}

#[test]
fn a_refusal_of_one_engine_is_listed_and_of_all_is_an_error() {
    let answer = json(&["compare", "llama-3.1-8b", "--gpu", "rtx-4090", "--engine", "llama.cpp,mlx"]);
    assert_eq!(answer["left_out"][0]["engine"], "mlx");
    assert_eq!(answer["left_out"][0]["code"], "engine_refuses");
    let output = run(&["compare", "llama-3.1-8b", "--gpu", "rtx-4090", "--engine", "mlx,omlx"], "");
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("engine_refuses"), "{}", text(&output.stderr));
}

#[test]
fn lm_studio_runs_mlx_conversions_as_mlx_does() {
    let arguments = ["compare", "llama-3.1-8b", "--quant", "MLX-4bit-g64", "--gpu", "m4-max-64gb", "--engine", "mlx,lm-studio"];
    let answer = json(&arguments);
    let (mlx, studio) = (side(&answer, "mlx"), side(&answer, "lm-studio"));
    assert_eq!(mlx["weights_bytes"], studio["weights_bytes"]);
    assert_eq!(studio["quant"], "MLX-4bit-g64");
    let codes: Vec<&str> =
        studio["warnings"].as_array().expect("a list").iter().filter_map(|warning| warning["code"].as_str()).collect();
    assert!(codes.contains(&"guard_rails") && codes.contains(&"defaults_assumed"), "{codes:?}");
}

#[test]
fn tensorrt_llm_fills_a_fraction_of_what_is_free_with_blocks_of_32_tokens() {
    let answer = json(&[
        "compare",
        "llama-3.1-8b",
        "--quant",
        "BF16",
        "--context",
        "5000",
        "--gpu",
        "h100-80gb",
        "--engine",
        "vllm,trt-llm",
    ]);
    let side = side(&answer, "tensorrt-llm");
    assert_eq!(bytes(side, "kv_cache_bytes"), 5024 * 131_072);
    assert_eq!(sum(side), bytes(side, "total_bytes"));
    // 0.9 of what weights, activations and overhead leave of the card.
    let taken = bytes(side, "total_bytes") - bytes(side, "kv_pool_bytes");
    let card = json(&["estimate", "llama-3.1-8b", "--gpu", "h100-80gb"])["devices"][0]["usable_bytes"].as_i64().expect("bytes");
    let free = (card - taken) as f64 * 0.9;
    assert!((bytes(side, "kv_pool_bytes") as f64 / free - 1.0).abs() < 1e-6, "{side}");
    assert!(because(&answer, "kv_cache", "tensorrt-llm").is_empty(), "16 tokens more are below the threshold");
    assert!(because(&answer, "kv_pool", "tensorrt-llm").contains("free_gpu_memory_fraction"));
    let codes: Vec<&str> =
        side["warnings"].as_array().expect("a list").iter().filter_map(|warning| warning["code"].as_str()).collect();
    assert!(codes.contains(&"engine_modelled"), "{codes:?}");
    let refused = run(&["estimate", "falcon-h1-7b", "--engine", "tensorrt-llm"], "");
    assert!(!refused.status.success());
}

#[test]
fn the_table_is_aligned_and_each_difference_is_a_sentence() {
    let output = run(&["compare", "llama-3.1-8b", "--gpu", "rtx-4090", "--engine", "llama.cpp,vllm"], "");
    let printed = text(&output.stdout);
    for needed in
        ["weights", "KV cache", "cache pool", "on devices", "verdict", "vllm against llama.cpp", "AWQ stands in for Q4_K_M"]
    {
        assert!(printed.contains(needed), "{needed} is missing from\n{printed}");
    }
    let columns: Vec<usize> = printed.lines().take(3).map(|line| line.chars().count()).collect();
    assert!(columns.windows(2).all(|pair| pair[0] == pair[1]), "{columns:?}\n{printed}");
}
